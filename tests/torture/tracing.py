"""A process whose file operations are counted, and of which the nth one fails.

The kernel stops the process before each operation (ptrace, with a seccomp filter that
picks them), so libraries in C++ and Rust and all child processes are seen as well.
Linux on x86-64 only.
"""

import ctypes
import errno
import os
import platform
import signal
import struct
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

CWD = -100  # AT_FDCWD
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
# by number: name, and where its paths are: arguments that hold a path, a descriptor,
# or a descriptor of a folder and a path in it
CALLS = {
    1: ("write", "f"),
    2: ("open", "p"),
    18: ("write", "f"),
    20: ("write", "f"),
    73: ("flock", "f"),
    74: ("fsync", "f"),
    75: ("fsync", "f"),
    77: ("truncate", "f"),
    82: ("rename", "pp"),
    83: ("mkdir", "p"),
    84: ("rmdir", "p"),
    86: ("link", "pp"),
    87: ("unlink", "p"),
    217: ("list", "f"),
    257: ("open", "d"),
    258: ("mkdir", "d"),
    263: ("unlink", "d"),
    264: ("rename", "dd"),
    265: ("link", "dd"),
    280: ("utime", "d"),
    285: ("write", "f"),
    296: ("write", "f"),
    316: ("rename", "dd"),
}
_SEIZE, _CONT, _SYSCALL, _GETREGS, _SETREGS = 0x4206, 7, 24, 12, 13
_OPTIONS = 0x2 | 0x4 | 0x8 | 0x80 | 0x100000  # forks, clones, seccomp, end with us
_EVENT_SECCOMP, _EVENT_STOP = 7, 128
_WALL = 0x40000000
_REGISTERS = struct.Struct("27Q")
_RAX, _RDX, _ORIG_RAX = 10, 12, 15
_ARGUMENTS = (14, 13, 12, 7)  # rdi, rsi, rdx, r10
_SAFE = 2**64 - 1


class Operation(NamedTuple):
    """What a process is about to do to a file; ``paths`` are absolute."""

    name: str
    paths: tuple[str, ...]


@dataclass(frozen=True)
class Fault:
    """What happens to one operation, and to later ones of these names if it stays.

    ``number`` is an errno; without one the whole tree of processes is killed, in the
    middle of the operation if it is a write and ``is_torn``.
    """

    name: str
    number: int | None = None
    only: tuple[str, ...] = ()
    stays: bool = False
    is_torn: bool = False


ADDS = ("create", "write", "mkdir", "link", "rename")
# a kill before any other operation leaves what a kill before the next of these leaves
CHANGES = (*ADDS, "unlink", "rmdir", "truncate", "utime", "flock")
FAULTS = {
    fault.name: fault
    for fault in (
        Fault("kill", only=CHANGES),
        Fault("torn write", only=("write",), is_torn=True),
        Fault("EIO", errno.EIO),
        Fault("ENOSPC", errno.ENOSPC, only=ADDS, stays=True),
        Fault("ENOLCK", errno.ENOLCK, only=("flock",), stays=True),
        Fault("ENOMEM", errno.ENOMEM),
    )
}


def can_trace():
    """Return whether this machine can count the operations of a process."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    try:
        return traced(lambda: os._exit(7), (), lambda at, operation: None) == 7
    except OSError:
        return False


@dataclass
class Injector:
    """Lets the nth operation that a fault concerns suffer it; counts all operations."""

    fault: Fault | None = None
    nth: int = 0  # from 1
    seen: list[Operation] = field(default_factory=list)
    hit: Operation | None = None
    _num: int = 0

    def __call__(self, operation):
        self.seen.append(operation)
        fault = self.fault
        if fault is None or (fault.only and operation.name not in fault.only):
            return None
        self._num += 1
        if self._num == self.nth:
            self.hit = operation
        elif not (self.hit and fault.stays):
            return None
        return fault


def num_concerned(fault, seen):
    """Return how many of these operations a fault concerns."""
    counts = Counter(operation.name for operation in seen)
    return sum(counts[name] for name in fault.only or counts)


def traced(work, folders, decide):
    """Run ``work`` in a child process and return its exit code, negative for a signal.

    ``decide`` is called before every operation on a path below ``folders`` and returns
    the fault that it suffers, or None.
    """
    reading, writing = os.pipe()
    first = os.fork()
    if not first:
        os.close(writing)
        os.setpgid(0, 0)
        os.read(reading, 1)
        _filter()
        work()
        os._exit(0)
    os.close(reading)
    os.setpgid(first, first)
    try:
        _ptrace(_SEIZE, first, 0, _OPTIONS)
    finally:
        os.close(writing)
    roots = tuple(str(Path(folder).resolve()) for folder in folders)
    return _followed(first, roots, decide)


def _followed(first, roots, decide):
    """Answer the stops of a process and of all its children, its process group, until
    the last has ended; return the exit code of the first."""
    code, torn = None, None
    while True:
        try:
            pid, status = os.waitpid(-first, _WALL)
        except ChildProcessError:
            assert code is not None
            return code
        if not os.WIFSTOPPED(status):
            if pid == first:
                code = os.waitstatus_to_exitcode(status)
                _kill_group(first)  # workers of a process that has ended
            continue
        event, number, step = status >> 16, os.WSTOPSIG(status), _CONT
        if torn == pid:
            _kill_group(first)
        elif event == _EVENT_SECCOMP:
            fault = _decision(pid, roots, decide)
            if fault is not None and fault.number is None:
                if fault.is_torn:
                    torn, step = pid, _SYSCALL
                else:
                    _kill_group(first)
        is_signal = event == 0 and torn != pid
        _ptrace(step, pid, 0, number if is_signal else 0)


def _decision(pid, roots, decide):
    """Let a stopped operation pass, or make it fail; return its fault."""
    registers = _registers(pid)
    operation = _operation(pid, registers)
    if operation is None or not any(
        path == root or path.startswith(root + "/")
        for path in operation.paths
        for root in roots
    ):
        return None
    fault = decide(operation)
    if fault is None:
        return None
    if fault.number is not None:
        registers[_ORIG_RAX], registers[_RAX] = _SAFE, 2**64 - fault.number
        _set_registers(pid, registers)
    elif fault.is_torn:
        registers[_RDX] //= 2
        _set_registers(pid, registers)
    return fault


def _operation(pid, registers):
    name, places = CALLS[registers[_ORIG_RAX]]
    values = [registers[place] for place in _ARGUMENTS]
    if name == "open":
        flags = values[2 if places == "d" else 1]
        name = "create" if flags & WRITING else "open"
    paths = []
    try:
        for place in places:
            if place == "f":
                paths.append(os.readlink(f"/proc/{pid}/fd/{_int(values.pop(0))}"))
                continue
            at = _int(values.pop(0)) if place == "d" else CWD
            paths.append(_path(pid, at, values.pop(0)))
    except OSError:
        return None
    return Operation(name, tuple(paths))


def _int(value):
    """Return a register's value as the signed int that the call takes."""
    return ctypes.c_int(value & 0xFFFFFFFF).value


def _path(pid, at, address):
    folder = os.readlink(f"/proc/{pid}/cwd" if at == CWD else f"/proc/{pid}/fd/{at}")
    if not address:
        return folder
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        memory.seek(address)
        text = memory.read(256)
        while b"\0" not in text:
            text += memory.read(256)
    return os.path.normpath(os.path.join(folder, os.fsdecode(text.split(b"\0")[0])))


def _kill_group(pid):
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


_libc = ctypes.CDLL(None, use_errno=True)


def _ptrace(request, pid, address, data):
    pointers = ctypes.c_void_p(address), ctypes.c_void_p(data)
    _libc.ptrace.restype = ctypes.c_long
    if _libc.ptrace(request, pid, *pointers) < 0:
        number = ctypes.get_errno()
        if number != errno.ESRCH:  # it was killed meanwhile
            raise OSError(number, os.strerror(number))


def _registers(pid):
    content = ctypes.create_string_buffer(_REGISTERS.size)
    _ptrace(_GETREGS, pid, 0, ctypes.addressof(content))
    return list(_REGISTERS.unpack(content.raw))


def _set_registers(pid, registers):
    content = ctypes.create_string_buffer(_REGISTERS.pack(*registers))
    _ptrace(_SETREGS, pid, 0, ctypes.addressof(content))


def _filter():
    """Let the kernel stop this process, and its children, before each operation."""
    numbers = sorted(CALLS)
    lines = [(0x20, 0, 0, 0)]  # the number of the call
    lines += [(0x15, len(numbers) - i, 0, n) for i, n in enumerate(numbers)]
    lines += [(0x06, 0, 0, 0x7FFF0000), (0x06, 0, 0, 0x7FF00000)]  # allow, trace
    code = b"".join(struct.pack("HBBI", *line) for line in lines)
    kept = ctypes.create_string_buffer(code)
    program = struct.pack("HxxxxxxQ", len(lines), ctypes.addressof(kept))
    if _libc.prctl(38, 1, 0, 0, 0) or _libc.prctl(22, 2, program, 0, 0):
        raise OSError(ctypes.get_errno(), "no seccomp filter")
