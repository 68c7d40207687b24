"""What keeps a program in the kernel: pins, links, processes, maps of programs, attachments made by netlink."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from struct import unpack_from

from bpfload.abi import consts
from bpfload.errors import BpfError, KernelError
from bpfload.kernel import processes
from bpfload.objects.bpffs import pins
from bpfload.syscall import bpf

# The last reference of a pin goes with its inode, after an RCU grace period: some milliseconds, more on a busy machine.
_GRACE_SECONDS = 1.0
_POLL_SECONDS = 0.002
# What an fd of a program, or of a link to one, points to in /proc/PID/fd.
_OF_PROGRAMS = ("anon_inode:bpf-prog", "anon_inode:bpf_link", "anon_inode:bpf-link")


@dataclass(frozen=True, slots=True)
class Holder:
    """One reason for a program to stay. `kind`: "pin", "link", "process", "map", "device", "other", or "unknown": the kernel
    doesn't tell this process whether the program is still there.

    `program`: its id. `id`: of the link, process or map; of the device, its index. `name`: path, process or device name.
    """

    program: int
    kind: str
    id: int = 0
    name: str = ""

    def __str__(self) -> str:
        if self.kind == "pin":
            return f"pinned at {self.name}"
        if self.kind == "link":
            return f"attached by link {self.id}" + (f", pinned at {self.name}" if self.name else "")
        if self.kind == "process":
            return f"held by process {self.id} ({self.name})"
        if self.kind == "map":
            return f"an element of map {self.id}" + (f" ({self.name})" if self.name else "")
        if self.kind == "device":
            return f"attached to device {self.name} without a link"
        if self.kind == "unknown":
            return "there, or it is gone: asking takes CAP_SYS_ADMIN"
        return "held by something in the kernel: an attachment without a link (tc, cgroup, socket), or work not done yet"


def remaining_holders(programs: Collection[int], ignored_links: Collection[int] = ()) -> list[Holder]:
    """Return what still holds these programs, by id, a moment after their pins were removed.

    `ignored_links`: ids of links whose pins were removed just now; they are on their way out. A program that vanishes within
    a second has no holder; one that this process may not ask about has an "unknown" one.
    """
    import time

    deadline = time.monotonic() + _GRACE_SECONDS
    try:
        waiting = [program for program in programs if _exists(program)]
    except KernelError:
        return [Holder(program, "unknown") for program in programs]
    if not waiting:
        return []
    found = [holder for holder in holders(waiting) if not (holder.kind == "link" and holder.id in ignored_links)]
    explained = {holder.program for holder in found}
    while unexplained := [program for program in waiting if program not in explained and _exists(program)]:
        if time.monotonic() > deadline:
            late = list(holders(unexplained)) + list(_by_netlink(unexplained))
            named = {holder.program for holder in late}
            return found + late + [Holder(program, "other") for program in unexplained if program not in named]
        time.sleep(_POLL_SECONDS)
    return found


def _exists(program: int) -> bool:
    """Whether there is a program of that id. Raises KernelError EPERM without CAP_SYS_ADMIN."""
    try:
        os.close(bpf.prog_get_fd_by_id(program))
    except KernelError as error:
        if error.errno == errno.EPERM:
            raise
        return error.errno != errno.ENOENT
    return True


def holders(programs: Collection[int]) -> list[Holder]:
    """Return the pins, links, processes and maps of programs that hold any of these programs, by id."""
    wanted = set(programs)
    pinned = list(pins())
    found = [Holder(pin.id, "pin", name=pin.path) for pin in pinned if pin.kind == "program" and pin.id in wanted]
    paths = {pin.id: pin.path for pin in pinned if pin.kind == "link"}
    found += [Holder(program, "link", link, paths.get(link, "")) for link, program in _links() if program in wanted]
    found += _processes(wanted)
    found += _program_maps(wanted)
    return found


def _links() -> Iterator[tuple[int, int]]:
    """Yield (link id, program id) of every link."""
    for fd in _each(bpf.link_get_next_id, bpf.link_get_fd_by_id):
        info = bytearray(16)
        bpf.obj_get_info_by_fd(fd, info)
        link, program = unpack_from("=II", info, 4)
        yield link, program


def _each(next_id: Callable[[int], int | None], get_fd: Callable[[int], int]) -> Iterator[int]:
    """Yield an fd of every object of one kind, closed again after its turn; nothing where that isn't allowed."""
    ident = 0
    while True:
        try:
            following = next_id(ident)
        except KernelError:
            return
        if following is None:
            return
        ident = following
        try:
            fd = get_fd(ident)
        except KernelError:
            continue
        try:
            yield fd
        finally:
            os.close(fd)


def _processes(wanted: Collection[int]) -> list[Holder]:
    """Find processes with an fd of one of the programs, or of a link to it."""
    found: dict[tuple[int, int], Holder] = {}
    for pid in processes.pids():
        for fd, target in processes.open_files(pid):
            if target in _OF_PROGRAMS:
                program = processes.fdinfo_number(processes.fdinfo(fd, pid), "prog_id")
                if program is not None and program in wanted:
                    found[pid, program] = Holder(program, "process", pid, processes.command_name(pid))
    return list(found.values())


def _program_maps(wanted: Collection[int]) -> list[Holder]:
    """Find maps of programs (tail calls) with one of these programs in them."""
    found = []
    for fd in _each(bpf.map_get_next_id, bpf.map_get_fd_by_id):
        info = bytearray(24)
        bpf.obj_get_info_by_fd(fd, info)
        kind, ident, key_size, value_size, entries = unpack_from("=5I", info)
        if kind != consts.BPF_MAP_TYPE_PROG_ARRAY or (key_size, value_size) != (4, 4):
            continue
        found += [Holder(program, "map", ident) for program in _slots(fd, entries) if program in wanted]
    return found


def _slots(fd: int, entries: int) -> set[int]:
    from sys import byteorder

    found = set()
    for index in range(entries):
        try:
            value = bpf.map_lookup_elem(fd, index.to_bytes(4, byteorder), 4)
        except KernelError:
            continue
        found.add(int.from_bytes(value, byteorder))
    return found


def _by_netlink(programs: Iterable[int]) -> Iterator[Holder]:
    """Find devices that run one of these programs as XDP without a link."""
    wanted = set(programs)
    try:
        from bpfload.syscall import netlink

        for attachment in netlink.xdp_attachments():
            for _, program in attachment.programs:
                if program is not None and program in wanted:
                    yield Holder(program, "device", attachment.ifindex, attachment.name)
    except (ImportError, BpfError, OSError):
        return
