"""Who holds a lock: a process, as a lock file names it."""

from __future__ import annotations

import json
import os
import socket
import sys
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a lock; ``is_by_file``: without the system.

    A process id is known within ``pid_namespace`` alone: containers may share a host's
    name and not its ids.
    """

    pid: int
    host: str
    command: str
    is_by_file: bool = False
    pid_namespace: str = ""

    def as_json(self) -> bytes:
        """Return what a lock file says of it."""
        return json.dumps(asdict(self)).encode()

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} ({self.command})"

    @property
    def is_gone(self) -> bool:
        """Return whether it is known to have ended; of another host or container it
        never is."""
        if (self.host, self.pid_namespace) != (socket.gethostname(), _pid_namespace()):
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False


def this_process(*, is_by_file: bool) -> Holder:
    """Return this process as the holder of a lock."""
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
    host = socket.gethostname()
    return Holder(os.getpid(), host, command, is_by_file, _pid_namespace())


def holder_of(path: Path) -> Holder | None:
    """Return the process that a lock file names; None where it names none yet."""
    try:
        return Holder(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _pid_namespace() -> str:
    """Return the name of the process ids' namespace, empty if unknown."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:  # not Linux
        return ""
