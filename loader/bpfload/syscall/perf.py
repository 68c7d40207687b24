"""perf_event_open(2), and the ioctls of a perf event that BPF needs.

Every function raises KernelError with the bare errno; what it means is decided by the callers, who know what was meant.

Source: struct perf_event_attr and PERF_EVENT_IOC_* in include/uapi/linux/perf_event.h.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
from struct import pack
from sys import byteorder

from bpfload.errors import KernelError
from bpfload.syscall.bpf import address

# __NR_perf_event_open by machine (arch/*/entry/syscalls/syscall*.tbl; 241 is the generic table's).
_NUMBERS = {
    "x86_64": 298,
    "i386": 336,
    "i686": 336,
    "armv6l": 364,
    "armv7l": 364,
    "ppc64": 319,
    "ppc64le": 319,
    "s390x": 331,
    "sparc64": 327,
    "mips64": 5292,
}
_MACHINE = os.uname().machine
_NUMBER = _NUMBERS.get(_MACHINE, 241)

_ATTR_SIZE = 112  # PERF_ATTR_SIZE_VER5 (Linux 4.1)
_FD_CLOEXEC = 8

# Bits of the flags in struct perf_event_attr, counted from the first.
_DISABLED, _INHERIT, _EXCLUDE_USER, _FREQ = 0, 1, 4, 10

# _IO('$', n) and _IOW('$', n, __u32): three architectures number the directions otherwise (include/uapi/asm-generic/ioctl.h).
_OLD_DIRECTIONS = _MACHINE.startswith(("mips", "ppc", "sparc"))
_IO, _IOW = (0x20002400, 0x80042400) if _OLD_DIRECTIONS else (0x2400, 0x40042400)
_IOC_ENABLE, _IOC_DISABLE, _IOC_SET_BPF = _IO | 0, _IO | 1, _IOW | 8

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = (ctypes.c_long, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_ulong)


def _flag(bit: int) -> int:
    """Return a flag's value: bit fields start at the lowest bit, on big-endian machines at the highest."""
    return 1 << bit if byteorder == "little" else 1 << 63 - bit


def perf_event_open(
    kind: int,
    config: int,
    *,
    text: bytes = b"",
    config1: int = 0,
    config2: int = 0,
    sample_period: int = 0,
    sample_frequency: int = 0,
    sample_type: int = 0,
    read_format: int = 0,
    wakeup_events: int = 0,
    disabled: bool = False,
    inherit: bool = False,
    exclude_user: bool = False,
    pid: int = -1,
    cpu: int = -1,
    group: int = -1,
) -> int:
    """Open a perf event and return its fd.

    `kind`, `config`: PERF_TYPE_* or the number of a PMU, and what to count. `text`: a string whose address is `config1` (the
    function of a kprobe, the path of a uprobe). `sample_period`: one sample each so many events; `sample_frequency`: samples a
    second instead. `exclude_user`: only what happens in the kernel counts. `pid`: 0 this process, -1 every one (then with
    a `cpu`). `cpu`: -1 any (then with a `pid`).
    """
    held = text + b"\0" if text else b""
    flags = _flag(_DISABLED) * disabled | _flag(_INHERIT) * inherit | _flag(_FREQ) * bool(sample_frequency)
    flags |= _flag(_EXCLUDE_USER) * exclude_user
    attr = pack(
        "=IIQQQQQIIQQ",
        kind,
        _ATTR_SIZE,
        config,
        sample_frequency or sample_period,
        sample_type,
        read_format,
        flags,
        wakeup_events,
        0,
        address(held) or config1,
        config2,
    ).ljust(_ATTR_SIZE, b"\0")
    fd = _syscall(_NUMBER, attr, pid, cpu, group, _FD_CLOEXEC)
    if fd < 0:
        raise KernelError("perf_event_open", ctypes.get_errno())
    return int(fd)


def _ioctl(fd: int, request: int, argument: int, name: str) -> None:
    try:
        fcntl.ioctl(fd, request, argument)
    except OSError as error:
        raise KernelError(name, error.errno or 0) from None


def enable(fd: int) -> None:
    """Let an event count, and a program at it run."""
    _ioctl(fd, _IOC_ENABLE, 0, "PERF_EVENT_IOC_ENABLE")


def disable(fd: int) -> None:
    """Stop an event, and with it the program at it."""
    _ioctl(fd, _IOC_DISABLE, 0, "PERF_EVENT_IOC_DISABLE")


def set_bpf(fd: int, prog_fd: int) -> None:
    """Attach a program to an event, until the event is closed: the form before Linux 5.15, without a link."""
    _ioctl(fd, _IOC_SET_BPF, prog_fd, "PERF_EVENT_IOC_SET_BPF")
