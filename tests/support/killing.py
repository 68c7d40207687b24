"""Run something in a child and kill it as it enters its N-th system call, whichever that is: ptrace(2), no interpreter start."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import sys
import traceback
from collections.abc import Callable, Iterator

_TRACEME, _SYSCALL, _SETOPTIONS, _GET_SYSCALL_INFO = 0, 24, 0x4200, 0x420E
_O_TRACESYSGOOD, _O_EXITKILL = 1, 0x100000

# The calls by which something is changed for others, by machine: bpf, mkdir, mkdirat, rmdir, unlink, unlinkat, rename,
# renameat, renameat2, utimensat, flock, sendto, sendmsg, perf_event_open.
_CHANGING = {
    "x86_64": frozenset((321, 83, 258, 84, 87, 263, 82, 264, 316, 280, 73, 44, 46, 298)),
    "aarch64": frozenset((280, 34, 35, 38, 276, 88, 32, 206, 211, 241)),
}

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)


def _ptrace(request: int, pid: int, data: int = 0) -> None:
    if _libc.ptrace(request, pid, None, data) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "ptrace")


def _number(pid: int) -> int:
    """Return the number of the system call that a stopped child is about to enter (struct ptrace_syscall_info: entry.nr)."""
    info = ctypes.create_string_buffer(88)
    if _libc.ptrace(_GET_SYSCALL_INFO, pid, ctypes.c_void_p(len(info)), ctypes.cast(info, ctypes.c_void_p)) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "ptrace")
    return int.from_bytes(info.raw[24:32], sys.byteorder)


def run_killed_at(number: int, action: Callable[[], object], *, changing: bool = False) -> bool:
    """Do `action` in a child; kill it as it enters system call `number` (from 1). Return whether it came to that.

    `changing`: count only calls that may change something for others, where the machine's numbers are known.

    A child that ends before that must have succeeded: an exception in it fails the test.
    """
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            _ptrace(_TRACEME, 0)
            os.kill(os.getpid(), signal.SIGSTOP)
            action()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    counted = _CHANGING.get(platform.machine()) if changing else None
    os.waitpid(pid, 0)
    _ptrace(_SETOPTIONS, pid, _O_TRACESYSGOOD | _O_EXITKILL)
    entered, inside, deliver = 0, False, 0
    while True:
        _ptrace(_SYSCALL, pid, deliver)
        _, status = os.waitpid(pid, 0)
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            assert os.WIFEXITED(status), f"the child died of signal {os.WTERMSIG(status)}"
            assert os.WEXITSTATUS(status) == 0, "the child failed: see what it printed"
            return False
        deliver = 0
        if os.WSTOPSIG(status) != signal.SIGTRAP | 0x80:
            deliver = os.WSTOPSIG(status)
            continue
        inside = not inside
        entered += inside and (counted is None or _number(pid) in counted)
        if inside and entered == number and (counted is None or _number(pid) in counted):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return True


def every_kill(action: Callable[[], object], *, changing: bool = False, step: int = 1) -> Iterator[int]:
    """Kill `action` at its first system call, then at its second, … and yield after each kill, until it gets to its end.

    `step`: only at each third, for example, for what has very many.
    `changing`: only at those that may change something for others. Otherwise the exit of the child is its last system call, so
    the last kills come after `action` is done.
    """
    number = 1
    while run_killed_at(number, action, changing=changing):
        yield number
        number += step
