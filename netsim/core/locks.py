"""One process at a time in a folder: a lock of the operating system, which ends with
its process; where a file system has none, a file that one process alone creates."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from netsim.core.files import DRAFT, is_draft, make_folder
from netsim.core.lock_holder import holder_of, this_process
from netsim.errors import InputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK_FILE = ".lock"
POLL_S = 0.1
UNNAMED_S = 60.0  # a lock file without a name is abandoned after this time
_NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
# of the file system; EBADF: of a file that is open for reading
_NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK, errno.EBADF}


@contextmanager
def locked(folder: Path, *, patience_s: float = 0.0) -> Iterator[None]:
    """Hold a folder, made where it is missing, against other processes.

    Where another process holds it, wait up to ``patience_s``, then refuse and name that
    process. A folder that was made and is empty at the end is removed; one that cannot
    be written needs no lock.
    """
    if folder.is_symlink() and not folder.exists():
        raise InputError(
            f"--out {folder} is a link to nothing; remove it, or choose another folder"
        )
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--out {folder} is a file, not a folder")
    is_made = not folder.exists()
    make_folder(folder)
    if not os.access(folder, os.W_OK):
        yield
        return
    path = folder / LOCK_FILE
    handle = _taken(path, patience_s)
    for draft in folder.glob(f"{LOCK_FILE}-*{DRAFT}"):  # of those that were killed
        draft.unlink(missing_ok=True)
    try:
        yield
    finally:
        if _is_current(handle, path):
            path.unlink(missing_ok=True)  # while it is held, so that it is ours
        os.close(handle)
        if is_made:
            with contextlib.suppress(OSError):  # it holds something by now
                folder.rmdir()


def clear_lock(folder: Path) -> None:
    """Remove the lock that a killed process has left in a folder; one that is held
    stays."""
    if (folder / LOCK_FILE).exists():
        with contextlib.suppress(InputError), locked(folder):
            pass


def is_empty(folder: Path) -> bool:
    """Return whether a folder holds nothing but a lock and unfinished files."""
    return all(path.name == LOCK_FILE or is_draft(path) for path in folder.iterdir())


def _taken(path: Path, patience_s: float) -> int:
    """Return the open file of the lock, which is ours from now on."""
    until_s = time.monotonic() + patience_s
    while True:
        handle = _try(path)
        if handle is not None:
            return handle
        if time.monotonic() >= until_s:
            raise InputError(
                f"{path.parent} is in use by {holder_of(path) or 'another process'}; "
                "wait for it, or choose another folder; if that process has ended, "
                f"delete {path}"
            )
        time.sleep(POLL_S)


def _try(path: Path) -> int | None:
    """Return the lock's open file, or None where another process holds it."""
    handle = _created(path)
    if handle is None and _clear_left(path):
        handle = _created(path)
    return handle


def _created(path: Path) -> int | None:
    """Return the file of a lock that did not exist, or None where it does: it appears
    with its holder's name in it, and locked where the file system has locks."""
    if path.exists():
        return None
    draft = _beside(path, secrets.token_hex(8))
    handle = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    _sign(handle, draft, path, is_by_file=not _is_locked(handle))
    try:
        os.link(draft, path)
    except (FileExistsError, FileNotFoundError):  # or the holder has swept our draft
        os.close(handle)
        return None
    except OSError as error:
        os.close(handle)
        if error.errno not in _NO_LINKS:
            raise
        return _created_in_place(path)
    finally:
        draft.unlink(missing_ok=True)
    return handle


def _created_in_place(path: Path) -> int | None:
    """Return the file of a new lock where the file system has no links: another process
    may meet it before it is named."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return None
    _sign(handle, path, path, is_by_file=not _is_locked(handle))
    if _is_current(handle, path):
        return handle
    os.close(handle)
    return None


def _beside(path: Path, what: str) -> Path:
    """Return the name of a draft of a lock, or of a claim to one."""
    return path.with_name(f"{path.name}-{what}{DRAFT}")


def _is_locked(handle: int) -> bool | None:
    """Return whether the system's lock is ours; None where there are no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return None
    return True


def _clear_left(path: Path) -> bool:
    """Remove a lock file that its process has left, and return whether that was done.

    One process alone removes it: the one whose link to this very file is the first.
    """
    try:
        handle = _opened(path)
    except FileNotFoundError:  # its holder has let go since
        return True
    try:
        if not _is_left(handle, path):
            return False
        found = os.fstat(handle)
        claim = _beside(path, f"{found.st_ino:x}-{found.st_mtime_ns:x}")
        return _removed(handle, path, claim)
    finally:
        os.close(handle)


def _opened(path: Path) -> int:
    """Return the open file of a lock; another user's is read only, which some file
    systems do not lock."""
    try:
        return os.open(path, os.O_RDWR)
    except PermissionError:
        return os.open(path, os.O_RDONLY)


def _removed(handle: int, path: Path, claim: Path) -> bool:
    """Remove an open lock file that is left; return whether it was ours to remove."""
    try:
        os.link(path, claim)
    except FileNotFoundError:  # another process has removed it
        return True
    except FileExistsError:  # another process is about to, or was killed meanwhile
        with contextlib.suppress(FileNotFoundError):
            if time.time() - claim.stat().st_ctime > UNNAMED_S:
                claim.unlink()
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
    if _is_current(handle, path):
        path.unlink(missing_ok=True)
    claim.unlink(missing_ok=True)
    return True


def _is_left(handle: int, path: Path) -> bool:
    """Return whether the process of a lock file has ended. The system's lock tells so,
    save of one that locks by its file alone: file systems over a network may refuse one
    process and serve the next."""
    is_locked, holder = _is_locked(handle), holder_of(path)
    if is_locked is False:
        return False
    if is_locked and not (holder and holder.is_by_file):
        return True
    if holder is None:
        return time.time() - os.fstat(handle).st_mtime > UNNAMED_S
    return holder.is_gone


def _sign(handle: int, written: Path, path: Path, *, is_by_file: bool) -> None:
    """Write who holds the lock into its file."""
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, this_process(is_by_file=is_by_file).as_json(), 0)
    except OSError as error:  # such as a full disk
        written.unlink(missing_ok=True)
        os.close(handle)
        what = f"cannot write, {error.strerror}"
        raise OSError(error.errno, what, str(path)) from error


def _is_current(handle: int, path: Path) -> bool:
    """Return whether the open file is still the one at ``path``."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return False
    return os.path.samestat(found, os.fstat(handle))
