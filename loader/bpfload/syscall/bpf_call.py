"""The bpf(2) call itself: its number, buffers as addresses, and the limit of locked memory that older kernels count it against.

Source: __sys_bpf() in kernel/bpf/syscall.c.
"""

from __future__ import annotations

import ctypes
import errno
import os

from bpfload.abi import consts
from bpfload.errors import KernelError

# __NR_bpf by machine (arch/*/entry/syscalls/syscall*.tbl; 280 is the generic table's).
_NUMBERS = {
    "x86_64": 321,
    "i386": 357,
    "i686": 357,
    "armv6l": 386,
    "armv7l": 386,
    "ppc64": 361,
    "ppc64le": 361,
    "s390x": 351,
    "sparc64": 349,
    "mips64": 5315,
}
_NR_BPF = _NUMBERS.get(os.uname().machine, 280)

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_uint)


def address(buffer: bytes | bytearray | None) -> int:
    """Return the address of a buffer's first byte, 0 for None or an empty one.

    The caller keeps the buffer alive, and a bytearray unresized, until the call that uses the address has returned.
    """
    if not buffer:
        return 0
    if isinstance(buffer, bytearray):
        return ctypes.addressof(ctypes.c_char.from_buffer(buffer))
    return ctypes.cast(ctypes.c_char_p(buffer), ctypes.c_void_p).value or 0


def call(command: int, attr: bytes | bytearray, name: str) -> int:
    """Make one bpf(2) call with a copy of `attr`; return its result. Raises KernelError named `name`."""
    data = bytes(attr)
    result = call_at(command, data, len(data))
    if result < 0:
        raise KernelError(name, -result)
    return result


def call_in_place(command: int, attr: bytearray, name: str) -> None:
    """Make one bpf(2) call whose attributes the kernel writes to. Raises KernelError named `name`."""
    holder = ctypes.c_char.from_buffer(attr)
    result = call_at(command, ctypes.addressof(holder), len(attr))
    if result < 0:
        raise KernelError(name, -result)


def call_at(command: int, attr: int | bytes, size: int) -> int:
    """Make one bpf(2) call; return its result, or minus the errno.

    `attr`: the attributes, or the address where they stand. `size`: theirs in bytes.
    """
    result = _syscall(_NR_BPF, command, attr, size)
    if result < 0:
        code = ctypes.get_errno()
        if code != errno.EPERM or command not in _COUNTED or not _lift_memory_limit():
            return -code
        result = _syscall(_NR_BPF, command, attr, size)
        if result < 0:
            return -ctypes.get_errno()
    return int(result)


# What kernels before 5.11 count against RLIMIT_MEMLOCK; beyond it they say EPERM.
_COUNTED = (consts.BPF_MAP_CREATE, consts.BPF_PROG_LOAD, consts.BPF_BTF_LOAD)


def counts_locked_memory() -> bool:
    """Whether the running kernel counts maps, programs and BTF against RLIMIT_MEMLOCK."""
    numbers = os.uname().release.split(".")
    try:
        return (int(numbers[0]), int(numbers[1])) < (5, 11)
    except (ValueError, IndexError):
        return False


def _lift_memory_limit() -> bool:
    """Raise RLIMIT_MEMLOCK as far as this process may, where the kernel counts by it; return whether it is higher now."""
    if not counts_locked_memory():
        return False
    import resource

    unlimited = resource.RLIM_INFINITY
    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    for limit in ((unlimited, unlimited), (hard, hard)):
        if soft == limit[0]:
            return False
        try:
            resource.setrlimit(resource.RLIMIT_MEMLOCK, limit)
        except (OSError, ValueError):
            continue
        return True
    return False
