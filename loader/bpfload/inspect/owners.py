"""Which processes hold which objects, and where objects are pinned."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from bpfload.errors import BpfError
from bpfload.inspect.arrival import ArrivalTable
from bpfload.kernel.mounts import mount_points
from bpfload.kernel.processes import command_name, fdinfo, fdinfo_number, open_files, pids
from bpfload.objects import opening
from bpfload.syscall import bpf

# The line of /proc/PID/fdinfo/N that has the id of the object, by kind.
_ID_KEYS = {"program": "prog_id", "map": "map_id", "link": "link_id", "BTF object": "btf_id"}
_TARGETS = {
    "program": ("anon_inode:bpf-prog",),
    "map": ("anon_inode:bpf-map",),
    "link": ("anon_inode:bpf_link", "anon_inode:bpf-link"),
    "BTF object": ("anon_inode:btf",),
}


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that holds an object by a file descriptor. `comm`: its name, at most 15 characters."""

    pid: int
    comm: str


@dataclass(frozen=True, slots=True)
class Holders:
    """Who holds the objects of one kind. `pins`: None where nobody asked for pins.

    `processes`: by object id, in the order of their pids. Reading them means looking at every open file of every process,
    which only root sees all of, and which is what costs most in a listing.
    """

    processes: dict[int, tuple[Owner, ...]]
    pins: ArrivalTable | None

    def owners(self, ident: int) -> tuple[Owner, ...] | None:
        """Return the processes that hold an object, None if there is none."""
        return self.processes.get(ident)

    def pinned(self, ident: int) -> tuple[str, ...] | None:
        """Return where an object is pinned; None if that wasn't asked for, or nothing of this kind is pinned at all."""
        return self.pins.texts(ident) if self.pins else None


def holders(kind: str, *, pins: bool = False) -> Holders:
    """Look who holds objects of `kind` ("program", "map", "link", "BTF object"), and with `pins` where they are pinned."""
    return Holders(processes(kind), pinned_objects(kind) if pins else None)


def processes(kind: str) -> dict[int, tuple[Owner, ...]]:
    """Return the processes that hold objects of `kind` open, by object id. This process itself is left out."""
    found: dict[int, dict[int, Owner]] = {}
    me = os.getpid()
    for pid in pids():
        if pid == me:
            continue
        for ident in _held_by(pid, kind):
            owners = found.setdefault(ident, {})
            if pid not in owners:
                owners[pid] = Owner(pid, command_name(pid))
    return {ident: tuple(owners.values()) for ident, owners in found.items()}


def _held_by(pid: int, kind: str) -> Iterator[int]:
    """Yield the ids of the objects of `kind` that a process has open."""
    targets, key = _TARGETS[kind], _ID_KEYS[kind]
    for fd, target in open_files(pid):
        if target in targets:
            ident = fdinfo_number(fdinfo(fd, pid), key)
            if ident is not None:
                yield ident


# --- pins -----------------------------------------------------------------------------------------------------------


def pinned_objects(kind: str) -> ArrivalTable:
    """Return the paths at which objects of `kind` are pinned, by object id, on every bpffs that this process sees."""
    table = ArrivalTable()
    for mount in mount_points("bpf"):
        for path in _files(mount):
            ident = _id_at(path, kind)
            if ident is not None:
                table.add(ident, path)
    return table


def _files(directory: str) -> Iterator[str]:
    """Yield the regular files below a directory, in the order of reading it, each directory when it is met."""
    try:
        entries = list(os.scandir(directory))
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path)
        elif entry.is_file(follow_symlinks=False):
            yield entry.path


def _id_at(path: str, kind: str) -> int | None:
    """Return the id of what is pinned at a path, None if it is of another kind or can't be opened."""
    try:
        fd = bpf.obj_get(path)
    except (BpfError, OSError):
        return None
    try:
        return fdinfo_number(fdinfo(fd), _ID_KEYS[kind]) if opening.kind_of(fd) == kind else None
    finally:
        os.close(fd)
