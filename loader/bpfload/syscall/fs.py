"""What bpffs and tracefs need of the file system calls and Python's `os` lacks: statfs(2), mount(2), renameat2(2).

Every function raises OSError with the path, as `os` does. Source: man-pages, section 2.
"""

from __future__ import annotations

import ctypes
import os

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_RENAME_EXCHANGE = 2

_libc = ctypes.CDLL(None, use_errno=True)
# struct statfs is at most 120 bytes on all architectures, and f_type its first field: a long, or (s390x) an unsigned int.
_STATFS_SIZE = 256
_TYPE_BYTES = 4 if os.uname().machine.startswith("s390") else ctypes.sizeof(ctypes.c_long)


def _check(result: int, path: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)


def filesystem_magic(path: str) -> int:
    """Return the magic number of the file system that `path` is on (statfs(2), f_type)."""
    from sys import byteorder

    buffer = ctypes.create_string_buffer(_STATFS_SIZE)
    _check(_libc.statfs(os.fsencode(path), buffer), path)
    return int.from_bytes(buffer.raw[:_TYPE_BYTES], byteorder) & 0xFFFFFFFF


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    """Mount a file system of type `kind` at `target`. `flags`: MS_*."""
    names = (source.encode(), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), data.encode() or None)
    _check(_libc.mount(*names), target)


def rename_noreplace(old: str, new: str) -> None:
    """Rename, unless `new` exists: FileExistsError then. bpffs knows the flag since Linux 4.9 (simple_rename())."""
    _check(_libc.renameat2(_AT_FDCWD, os.fsencode(old), _AT_FDCWD, os.fsencode(new), _RENAME_NOREPLACE), new)


def rename_exchange(old: str, new: str) -> None:
    """Exchange two names in one step, whatever they are. bpffs knows the flag since Linux 5.17 (simple_rename_exchange()).

    Raises OSError EINVAL on older kernels.
    """
    _check(_libc.renameat2(_AT_FDCWD, os.fsencode(old), _AT_FDCWD, os.fsencode(new), _RENAME_EXCHANGE), new)
