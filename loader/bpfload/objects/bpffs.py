"""What is pinned on a bpffs."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from struct import unpack_from

from bpfload.errors import KernelError
from bpfload.kernel import mounts
from bpfload.objects.opening import kind_of
from bpfload.syscall import bpf

_BPF_F_RDONLY = 1 << 3


@dataclass(frozen=True, slots=True)
class Pin:
    """One pin. `kind`: "program", "map", "link". `prog_id`: of a link's program, else 0. `mtime`: of the pin, nanoseconds."""

    path: str
    kind: str
    id: int
    prog_id: int = 0
    mtime: int = 0


def identify(path: str) -> Pin | None:
    """Return what is pinned at `path`; None for anything that isn't a program, map or link, or may not be opened."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):  # BPF_OBJ_GET would follow a symbolic link
        return None
    try:
        fd = _open(path)
    except KernelError:
        return None
    try:
        return _ask(fd, path, status.st_mtime_ns)
    finally:
        os.close(fd)


def _open(path: str) -> int:
    try:
        return bpf.obj_get(path)
    except KernelError as error:
        if error.errno not in (errno.EACCES, errno.EPERM):
            raise
    return bpf.obj_get(path, _BPF_F_RDONLY)  # a map that is read-only for user space


def _ask(fd: int, path: str, mtime: int) -> Pin | None:
    kind = kind_of(fd)
    if kind not in ("program", "map", "link"):
        return None
    # struct bpf_prog_info, bpf_map_info and bpf_link_info all start with the type and the id; a link's program follows.
    info = bytearray(16)
    bpf.obj_get_info_by_fd(fd, info)
    ident, third = unpack_from("=II", info, 4)
    return Pin(path, kind, ident, third if kind == "link" else 0, mtime)


def files(directory: str) -> Iterator[str]:
    """Yield the path of every file in `directory` and below, without going into other mounts; none that vanishes meanwhile."""
    try:
        with os.scandir(directory) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return
    for entry in found:
        try:
            if entry.is_dir(follow_symlinks=False):
                if not os.path.ismount(entry.path):
                    yield from files(entry.path)
            elif entry.is_file(follow_symlinks=False):
                yield entry.path
        except OSError:
            continue


def pins(directory: str | None = None) -> Iterator[Pin]:
    """Yield every pin in `directory` and below; without one, on every bpffs that is mounted."""
    roots = mounts.mount_points("bpf") if directory is None else [directory]
    for root in roots:
        for path in files(root):
            found = identify(path)
            if found is not None:
                yield found


def walk(directory: str | None = None) -> dict[tuple[str, int], list[str]]:
    """Return the paths at which each object is pinned, by (kind, id), kind being "program", "map" or "link".

    `directory`: where to look, or None for every bpffs that is mounted.
    """
    found: dict[tuple[str, int], list[str]] = {}
    for each in pins(directory):
        found.setdefault((each.kind, each.id), []).append(each.path)
    return found


def mount_point_of(path: str) -> str:
    """Return the mount point of the file system that `path` is on."""
    place = os.path.abspath(path)
    while not os.path.ismount(place):
        place = os.path.dirname(place)
    return place
