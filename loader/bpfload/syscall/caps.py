"""capset(2): giving up capabilities. Source: include/uapi/linux/capability.h, kernel/capability.c."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from struct import pack, unpack

_VERSION_3 = 0x20080522
_libc = ctypes.CDLL(None, use_errno=True)


def drop_effective(numbers: Iterable[int]) -> None:
    """Take capabilities out of this thread's effective set; it may take them back. Raises OSError."""
    header = pack("=Ii", _VERSION_3, 0)
    data = ctypes.create_string_buffer(24)
    if _libc.capget(header, data) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "capget")
    # Two of (effective, permitted, inheritable): for capabilities 0 to 31, and from 32 on.
    sets = list(unpack("=6I", data.raw))
    for number in numbers:
        sets[3 * (number // 32)] &= ~(1 << number % 32)
    if _libc.capset(header, pack("=6I", *sets)) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "capset")
