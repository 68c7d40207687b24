"""The few system calls and facts that the tests need for themselves, without the library that they test."""

from __future__ import annotations

import ctypes
import errno
import functools
import gzip
import os
import platform
import re
import struct
import time
from pathlib import Path

CLONE_NEWNS = 0x0002_0000
CLONE_NEWNET = 0x4000_0000
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MNT_DETACH = 2
_PR_SET_PDEATHSIG = 1
_SYS_BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "s390x": 351, "ppc64le": 361, "loongarch64": 280}
_BPF_MAP_CREATE = 0
_BPF_LINK_GET_FD_BY_ID, _BPF_LINK_GET_NEXT_ID = 30, 31

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def unshare(flags: int) -> None:
    _check(_libc.unshare(flags), "unshare")


def setns(fd: int, kind: int) -> None:
    _check(_libc.setns(fd, kind), "setns")


def mount(source: str, target: str | os.PathLike[str], kind: str, flags: int = 0, data: str = "") -> None:
    path = os.fsencode(target)
    _check(_libc.mount(source.encode(), path, kind.encode(), ctypes.c_ulong(flags), data.encode()), f"mount {target}")


def umount(target: str | os.PathLike[str]) -> None:
    _check(_libc.umount2(os.fsencode(target), MNT_DETACH), f"umount {target}")


def die_with_parent() -> None:
    """For a child between fork and exec: be killed when the parent ends, however it ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, 9, 0, 0, 0)


def bpf(command: int, attribute: bytearray) -> int:
    """Call bpf(2), which may write to `attribute`: a result below 0 is an OSError."""
    number = _SYS_BPF[platform.machine()]
    buffer = (ctypes.c_char * len(attribute)).from_buffer(attribute)
    return _check(_libc.syscall(ctypes.c_long(number), command, buffer, len(attribute)), "bpf")


@functools.cache
def kernel_version() -> tuple[int, int]:
    match = re.match(r"(\d+)\.(\d+)", platform.release())
    assert match, platform.release()
    return int(match[1]), int(match[2])


@functools.cache
def has_oopsed() -> bool:
    """Whether the kernel has gone on after a fault of its own (taint flag D): locks may be held by who died of it."""
    return bool(int(Path("/proc/sys/kernel/tainted").read_text()) & 1 << 7)


def stuck_link() -> int:
    """Return the id of a link that can't be opened since it is still being made, and has been for a while; 0 for none.

    Whoever makes it waits in the kernel for something that doesn't come: a lock that the dead hold (see `has_oopsed`).
    """
    if not has_oopsed():
        return 0
    for _ in range(3):
        stuck = _half_made_link()
        if not stuck:
            return 0
        time.sleep(0.2)
    return stuck


def _half_made_link() -> int:
    ident = 0
    while True:
        attribute = bytearray(struct.pack("=III", ident, 0, 0))
        try:
            bpf(_BPF_LINK_GET_NEXT_ID, attribute)
        except OSError:
            return 0
        ident = struct.unpack_from("=I", attribute, 4)[0]
        try:
            os.close(bpf(_BPF_LINK_GET_FD_BY_ID, bytearray(struct.pack("=III", ident, 0, 0))))
        except OSError as error:
            if error.errno == errno.EAGAIN:
                return ident


@functools.cache
def kconfig() -> dict[str, str] | None:
    """The running kernel's configuration, or None where it isn't to be found."""
    for path in (Path("/proc/config.gz"), Path(f"/boot/config-{platform.release()}")):
        try:
            text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        except OSError:
            continue
        lines = (line.partition("=") for line in text.decode().splitlines() if line.startswith("CONFIG_"))
        return {name: value for name, _, value in lines}
    return None


@functools.cache
def why_no_kernel() -> str:
    """Why kernel tests can't run here; "" if they can."""
    if os.geteuid() != 0:
        return "not root"
    attribute = bytearray(72)
    attribute[0:16] = b"".join(n.to_bytes(4, "little") for n in (2, 4, 4, 1))  # ARRAY, key 4, value 4, 1 entry
    try:
        os.close(bpf(_BPF_MAP_CREATE, attribute))
    except (OSError, KeyError) as error:
        return f"bpf(2) doesn't work here: {error}"
    return ""
