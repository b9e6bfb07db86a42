"""Workers of a Ray cluster, of this machine alone or of many."""

from __future__ import annotations

import logging
import os
import socket
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from fl.memory import recipe
from fl.memory.code import every_source, listing_digest
from fl.workers.executor import Death, NoCluster, Outcome, Spread
from fl.workers.processes import applied

if TYPE_CHECKING:
    from ray import ObjectRef
    from ray.actor import ActorHandle

State = TypeVar("State")
AUTO = "auto"
DEFAULT_PORT = 6379
REACH_S = 5.0
_log = logging.getLogger(__name__)
QUIET: Mapping[str, str] = {  # Ray reads these when it is imported
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # an accelerator is seen by all workers
    "RAY_SCHEDULER_EVENTS": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",  # what is said of deaths goes to stdout
}
TOLD = (  # of the environment here; the rest is the cluster's own
    "XDG_CACHE_HOME",
    "HF_HOME",
    "HF_HUB_OFFLINE",
    "OMP_NUM_THREADS",
    "TRANSFORMERS_VERBOSITY",
    "HF_HUB_DISABLE_PROGRESS_BARS",
    "TOKENIZERS_PARALLELISM",
)


class RayHand:
    """The remote end of a worker: a process that holds the state."""

    def __init__(
        self, state: object, told: Mapping[str, str], software: Mapping[str, object]
    ) -> None:
        os.environ.update(told)
        self._state = state
        self._software = software

    def apply(
        self, function: Callable[[object, object], object], item: object
    ) -> Outcome[object]:
        """Return what comes of one piece of work."""
        found = software()
        if found != self._software:
            return Outcome(None, NoCluster(_difference(self._software, found)))
        return applied(function, self._state, item)


@dataclass(eq=False, slots=True)
class RayWorker:
    """A worker as it is seen from here."""

    hand: ActorHandle[RayHand]
    answer: ObjectRef[Outcome[object]] | None = None


@dataclass(slots=True)
class RayCrew:
    """Actors of one cluster; they end with the process that started them."""

    size: int
    state: object
    is_ours: bool  # the connection, to be closed in the end
    num_gpus: float = 0.0
    _software: Mapping[str, object] = field(default_factory=lambda: software())

    def prepare(self) -> None:
        return None

    def start(self) -> RayWorker:
        import ray

        told = {name: os.environ[name] for name in TOLD if name in os.environ}
        remote: Any = ray.remote(num_cpus=1, num_gpus=self.num_gpus)(RayHand)
        return RayWorker(remote.remote(self.state, told, self._software))

    def give(self, worker: RayWorker, function: object, item: object) -> None:
        hand: Any = worker.hand
        worker.answer = hand.apply.remote(function, item)

    def wait(
        self, busy: Sequence[RayWorker]
    ) -> Sequence[tuple[RayWorker, Outcome[object] | Death]]:
        import ray

        by_answer = {worker.answer: worker for worker in busy}
        ready, _ = ray.wait(list(by_answer), num_returns=1)
        return [(by_answer[answer], _received(answer)) for answer in ready]

    def end(self, worker: RayWorker) -> None:
        import ray

        ray.kill(worker.hand)

    def close(self) -> None:
        import ray

        if self.is_ours:
            ray.shutdown()


def ray_workers(
    address: str, state: State, *, num_workers: int | None, num_gpus: float = 0.0
) -> Spread[State, RayWorker]:
    """Return an executor over the workers of a Ray cluster, by default one per free
    processor; ``auto`` joins the cluster that is there, or starts one on this machine.

    Raises ``NoCluster``.
    """
    is_ours = connect(address, num_workers)
    import ray

    typed: Any = ray  # parts of it have no types
    size = num_workers or max(1, int(typed.available_resources().get("CPU", 1)))
    return Spread(RayCrew(size, state, is_ours, num_gpus))


def connect(address: str, num_workers: int | None) -> bool:
    """Connect this process to a cluster; return whether it was not connected before."""
    if find_spec("ray") is None:
        raise NoCluster("needs Ray: pip install -c constraints.txt -e '.[cluster]'")
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        return False
    place = address if address != AUTO else _running()
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if place is None:
        num_cpus = max(num_workers or 1, os.cpu_count() or 1)
        ray.init("local", num_cpus=num_cpus, include_dashboard=False, **quiet)
        return True
    _require_reachable(place)
    try:
        ray.init(place, **quiet)
    except (ConnectionError, RuntimeError, ValueError, SystemExit) as error:
        raise NoCluster(f"cannot join the Ray cluster at {place}: {error}") from error
    return True


def software() -> dict[str, object]:
    """Return what must be the same on every worker for the same results."""
    found = recipe.Environment.here(device="", threads=0, precision="")
    return {**asdict(found), "fl": listing_digest(every_source("fl"))}


def _running() -> str | None:
    """Return the cluster that ``RAY_ADDRESS`` names, or `ray start` left here alive."""
    named = os.environ.get("RAY_ADDRESS")
    if named and named != AUTO:
        return named
    note = Path(os.environ.get("RAY_TMPDIR", tempfile.gettempdir()))
    try:
        path = note / "ray" / "ray_current_cluster"
        if path.stat().st_uid not in (0, os.geteuid()):
            return None  # another user's cluster would be told to run what we send
        place = path.read_text().strip()
        _require_reachable(place)
    except (OSError, NoCluster):
        return None
    return place


def _require_reachable(address: str) -> None:
    """Refuse an address where no server listens; Ray itself tries for two minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host:
        host, port = port, str(DEFAULT_PORT)
    if not port.isdecimal():
        raise NoCluster(f"must be auto or an address such as 10.0.0.1:6379: {address}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACH_S).close()
    except (OSError, OverflowError) as error:
        raise NoCluster(f"no Ray cluster at {address}: {error}") from error


def _received(answer: ObjectRef[Outcome[object]]) -> Outcome[object] | Death:
    import ray
    from ray.exceptions import RayActorError, RayError

    try:
        found: Any = ray.get(answer)
        return cast("Outcome[object]", found)
    except RayActorError as error:
        cause = _cause(str(error)) or type(error).__name__
        _log.warning("a Ray worker ended: %s", cause)
        return Death(f"'{cause}'")
    except RayError as error:
        return Outcome(None, error)


def _cause(text: str) -> str:
    """Return the cause of a death from Ray's message."""
    last = text.strip().rpartition("\n")[2].strip()
    detail = last.rpartition("exit detail: ")[2].partition(" Some common causes")[0]
    return detail[:200].rstrip(". ")


def _difference(ours: Mapping[str, object], theirs: Mapping[str, object]) -> str:
    names = [name for name in ours if ours[name] != theirs[name]]
    pairs = (f"{n} {str(theirs[n])[:12]} for {str(ours[n])[:12]}" for n in names)
    return (
        f"worker {socket.gethostname()} has other software, so its results would "
        f"differ: {', '.join(pairs)}"
    )
