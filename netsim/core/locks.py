"""One process at a time in a folder: a lock of the operating system, which ends with
its process, however that ends."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from netsim.core.files import is_draft
from netsim.errors import InputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK_FILE = ".lock"
POLL_S = 0.1
_NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK}  # of the file system


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock."""

    pid: int
    host: str
    command: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} ({self.command})"

    @property
    def is_gone(self) -> bool:
        """Return whether it is known to have ended; of another host nothing is."""
        if self.host != socket.gethostname():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False


@contextmanager
def locked(folder: Path, *, patience_s: float = 0.0) -> Iterator[None]:
    """Hold a folder, made where it is missing, against other processes.

    Where another one holds it, wait so long for it, then refuse and name it. A folder
    that was made and is empty at the end goes again; one that cannot be written needs
    no lock. Without locks of the system, the file's process must be alive to count.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--out {folder} is a file, not a folder")
    is_made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        yield
        return
    path = folder / LOCK_FILE
    handle = _taken(path, patience_s)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is held, so that it is ours
        os.close(handle)
        if is_made:
            with contextlib.suppress(OSError):  # it holds something by now
                folder.rmdir()


def is_empty(folder: Path) -> bool:
    """Return whether a folder holds nothing, a lock and unfinished files apart."""
    return all(path.name == LOCK_FILE or is_draft(path) for path in folder.iterdir())


def _taken(path: Path, patience_s: float) -> int:
    """Return the open file of the lock, which is ours from now on."""
    until_s = time.monotonic() + patience_s
    while True:
        handle = _try(path)
        if handle is not None:
            return handle
        if time.monotonic() >= until_s:
            holder = _holder(path)
            raise InputError(
                f"{path.parent} is in use by {holder or 'another process'}; wait for "
                "it, or choose another folder"
            )
        time.sleep(POLL_S)


def _try(path: Path) -> int | None:
    """Return the lock's open file, or None where somebody else holds it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    if not (_is_locked(handle, path) and _is_current(handle, path)):
        os.close(handle)
        return None
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
    me = Holder(os.getpid(), socket.gethostname(), command)
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(asdict(me)).encode(), 0)
    except OSError as error:  # such as a full disk
        path.unlink(missing_ok=True)
        os.close(handle)
        what = f"cannot write, {error.strerror}"
        raise OSError(error.errno, what, str(path)) from error
    return handle


def _is_locked(handle: int, path: Path) -> bool:
    """Return whether the lock is ours now: by the system, else by what it says."""
    if fcntl is not None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        else:
            return True
    holder = _holder(path)
    return holder is None or holder.is_gone


def _is_current(handle: int, path: Path) -> bool:
    """Return whether the open file is still the one that others find."""
    try:
        found = os.stat(path)
    except FileNotFoundError:  # its holder has let go since
        return False
    return os.path.samestat(found, os.fstat(handle))


def _holder(path: Path) -> Holder | None:
    """Return who says to hold a lock; nobody where it says nothing yet."""
    try:
        return Holder(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
