"""Run something in a child and kill it as it enters its N-th system call, whichever that is: ptrace(2), no interpreter start."""

from __future__ import annotations

import ctypes
import os
import signal
import traceback
from collections.abc import Callable, Iterator

_TRACEME, _SYSCALL, _SETOPTIONS = 0, 24, 0x4200
_O_TRACESYSGOOD, _O_EXITKILL = 1, 0x100000

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)


def _ptrace(request: int, pid: int, data: int = 0) -> None:
    if _libc.ptrace(request, pid, None, data) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "ptrace")


def run_killed_at(number: int, action: Callable[[], object]) -> bool:
    """Do `action` in a child; kill it as it enters system call `number` (from 1). Return whether it came to that.

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
        entered += inside
        if inside and entered == number:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return True


def every_kill(action: Callable[[], object]) -> Iterator[int]:
    """Kill `action` at its first system call, then at its second, … and yield after each kill, until it gets to its end.

    The exit of the child is its last system call, so the last kills come after `action` is done.
    """
    number = 1
    while run_killed_at(number, action):
        yield number
        number += 1
