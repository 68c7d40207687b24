"""mmap(2) at chosen addresses, which Python's mmap module has no way to ask for."""

from __future__ import annotations

import ctypes
import mmap

from bpfload.errors import KernelError

_MAP_FIXED_NOREPLACE = 0x100000  # include/uapi/asm-generic/mman-common.h

_libc = ctypes.CDLL(None, use_errno=True)
_mmap = _libc.mmap
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
_munmap = _libc.munmap
_munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_FAILED = ctypes.c_void_p(-1).value


def map_shared(fd: int, size: int, *, address: int = 0, writable: bool = True) -> int:
    """Map `size` bytes of `fd` and return their address. `address`: where, refused if something is there; 0: anywhere."""
    protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
    flags = mmap.MAP_SHARED | (_MAP_FIXED_NOREPLACE if address else 0)
    result = _mmap(address, size, protection, flags, fd, 0)
    if result is None or result == _FAILED:
        raise KernelError("mmap", ctypes.get_errno(), f"can't map {size} bytes at {address:#x}")
    return int(result)


def unmap(address: int, size: int) -> None:
    """Undo map_shared."""
    if _munmap(address, size):
        raise KernelError("munmap", ctypes.get_errno())


def write(address: int, data: bytes) -> None:
    """Copy bytes to mapped memory."""
    ctypes.memmove(address, data, len(data))


def read(address: int, size: int) -> bytes:
    """Copy bytes from mapped memory."""
    return ctypes.string_at(address, size)
