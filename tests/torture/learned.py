"""Short runs with learning, each with its own process and cache."""

import json
import os
import pickle
import shutil
import traceback

from fl.memory.files import cache_folder
from tests.torture.judging import Verdict, judged

SETTINGS = (
    "stop={rounds: 2}",
    "population.num_clients=4",
    "server.sampling={kind: uniform, num_drawn: 2}",
    "learning.training.local_steps=1",
)
LIMIT_S = 60.0


STORE = "netsim/store"


def new_cache(cache):
    """Make a cache with the user's counted costs, but without learning."""
    counted = cache_folder()
    if counted.is_dir():
        shutil.copytree(
            counted,
            cache / "netsim",
            ignore=shutil.ignore_patterns("store"),
            dirs_exist_ok=True,
        )
    return cache


def run_words(out, *settings, seed=1):
    """Return the arguments of the command that makes such a run."""
    sets = [word for s in (*SETTINGS, *settings) for word in ("--set", s)]
    named = ("run", "quickstart", "--seed", seed, *sets)
    return (*named, "--quiet", "--json", "--out", out)


def import_all():
    """Import what every child process needs."""
    import peft  # noqa: F401
    import torch
    import transformers  # noqa: F401

    import netsim.cosim.learner
    import netsim.study.run  # noqa: F401

    torch.set_num_threads(1)


def judged_apart(cache, *words, allowed=(0, 2)):
    """Run ``netsim WORDS`` in a child with the cache folder ``cache`` and return the
    verdict."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        _answer(writing, cache, words, allowed)
    os.close(writing)
    with open(reading, "rb") as file:
        content = file.read()
    _, status = os.waitpid(pid, 0)
    if not content:
        code = os.waitstatus_to_exitcode(status)
        return Verdict(code, 0.0, "", f"its process died, exit code {code}")
    verdict = pickle.loads(content)  # our own child's
    assert not isinstance(verdict, str), verdict
    return verdict


def _answer(writing, cache, words, allowed):
    """Write the verdict to a pipe and exit."""
    try:
        os.environ["XDG_CACHE_HOME"] = str(cache)
        verdict = judged(*words, allowed=allowed, limit_s=LIMIT_S)
    except BaseException:
        verdict = traceback.format_exc()
    with open(writing, "wb") as file:
        file.write(pickle.dumps(verdict))
    os._exit(0)


def summary(verdict):
    """Return the last line printed by a successful command."""
    assert (verdict.code, verdict.fault) == (0, ""), verdict
    return json.loads(verdict.printed.splitlines()[-1])
