"""The programs in the kernel."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from struct import unpack_from
from typing import TYPE_CHECKING

from bpfload.abi import consts
from bpfload.abi.names import PROG_TYPE_NAMES, name_of
from bpfload.errors import BpfError, NotFoundError, UsageError, near
from bpfload.inspect import devices, ids
from bpfload.inspect.owners import Holders, Owner
from bpfload.kernel.processes import fdinfo, fdinfo_number
from bpfload.objects import opening
from bpfload.objects.prog_listing import ListedProgram, ProgramReader
from bpfload.objects.program import Program
from bpfload.syscall import bpf

if TYPE_CHECKING:
    from bpfload.inspect.typed import TypedValue
    from bpfload.objects.info import ProgInfo

# The kernel keeps names of at most 15 characters; the whole name of a longer one is in BTF.
_CUT_NAME = consts.BPF_OBJ_NAME_LEN - 1
_SECOND = 1_000_000_000
_TAG_DIGITS = 2 * consts.BPF_TAG_SIZE


@dataclass(frozen=True, slots=True)
class ProgramView:
    """One program, as `prog show` shows it.

    `type`: its name, or the number of a type that is newer than this library. `loaded_at`: seconds since 1970. `jited`: turned
    into machine code. `metadata`: its variables called bpf_metadata_*, by name without that prefix.
    """

    id: int
    type: str | int
    name: str | None
    tag: str
    gpl_compatible: bool
    run_time_ns: int | None
    run_cnt: int | None
    recursion_misses: int | None
    dev: devices.Device | None
    loaded_at: int | None
    uid: int | None
    orphaned: bool
    bytes_xlated: int
    jited: bool
    bytes_jited: int | None
    bytes_memlock: int | None
    map_ids: tuple[int, ...] | None
    btf_id: int | None
    pinned: tuple[str, ...] | None
    pids: tuple[Owner, ...] | None
    metadata: dict[str, TypedValue] | None


def type_name(number: int) -> str | int:
    """Return the name of a program type, or its number where it has none here."""
    name = name_of(PROG_TYPE_NAMES, number)
    return number if name is None else name


def view(program: Program, holders: Holders) -> ProgramView:
    """Return the view of a program. Raises KernelError."""
    return Views(holders).of(program.fd)


def every_view(holders: Holders) -> Iterator[ProgramView]:
    """Yield the view of every program. Raises KernelError, naming the missing capability."""
    views = Views(holders)
    for ident in ids.every_id("program"):
        try:
            fd = opening.by_id(bpf.prog_get_fd_by_id, "program", ident)
        except NotFoundError:  # it has gone meanwhile
            continue
        try:
            yield views.of(fd)
        finally:
            os.close(fd)


class Views:
    """Makes the views of many programs. `holders`: who holds them, and where they are pinned."""

    def __init__(self, holders: Holders) -> None:
        self._holders = holders
        self._reader = ProgramReader()
        self._booted = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def of(self, fd: int) -> ProgramView:
        """Return the view of the program behind an fd. Raises KernelError."""
        info = self._reader.read(fd)
        ran = info.run_time_ns > 0
        jited = info.jited_prog_len > 0
        return ProgramView(
            info.id,
            type_name(info.type),
            _full_name(fd, info) or None,
            info.tag,
            info.gpl_compatible,
            info.run_time_ns if ran else None,
            info.run_cnt if ran else None,
            info.recursion_misses or None,
            devices.offload_device(info.ifindex, info.netns_dev, info.netns_ino) if info.ifindex else None,
            (self._booted + info.load_time) // _SECOND if info.load_time else None,
            info.created_by_uid if info.load_time else None,
            info.orphaned,
            info.xlated_prog_len,
            jited,
            info.jited_prog_len if jited else None,
            fdinfo_number(fdinfo(fd), "memlock"),
            info.map_ids or None,
            info.btf_id or None,
            self._holders.pinned(info.id),
            self._holders.owners(info.id),
            _metadata(info.map_ids) if info.map_ids else None,
        )


def _metadata(map_ids: tuple[int, ...]) -> dict[str, TypedValue] | None:
    from bpfload.inspect import metadata

    return metadata.of_maps(map_ids)


def full_name(program: Program, info: ProgInfo) -> str:
    """Return a program's name: the function's name of BTF where the kernel has cut it."""
    return _full_name(program.fd, info)


def _full_name(fd: int, info: ProgInfo | ListedProgram) -> str:
    if len(info.name) < _CUT_NAME or not info.btf_id or not info.nr_func_info:
        return info.name
    from bpfload.inspect.btf import type_name_in
    from bpfload.objects.info import prog_info

    records = prog_info(fd, ("func_info",)).func_info
    if len(records) < 8:
        return info.name
    return type_name_in(info.btf_id, unpack_from("=I", records, 4)[0]) or info.name


# --- finding --------------------------------------------------------------------------------------------------------


def every() -> Iterator[Program]:
    """Yield every program, each closed when the next is asked for. Raises KernelError, naming the missing capability."""
    return ids.every(Program.from_id, "program")


def find(kind: str, value: str) -> list[Program]:
    """Open the programs that a selector means: `kind` is "id", "tag", "name" or "pinned".

    Several programs may share a tag or a name. The caller closes them. Raises NotFoundError, UsageError, PinError.
    """
    if kind == "id":
        return [Program.from_id(ids.number(value))]
    if kind == "pinned":
        return [Program.from_pin(value)]
    if kind == "tag":
        if len(value) != _TAG_DIGITS or any(digit not in "0123456789abcdef" for digit in value.lower()):
            raise UsageError(f"a program's tag is {_TAG_DIGITS} hexadecimal digits, not {value!r}")
        found = ids.matching(every(), lambda program: program.info().tag == value.lower())
    else:
        found = ids.matching(every(), lambda program: _is_called(program, value))
    if not found:
        raise NotFoundError(f"no program has the {kind} {value!r}", candidates=() if kind == "tag" else _near(value))
    return found


def _is_called(program: Program, name: str) -> bool:
    info = program.info()
    return name[:_CUT_NAME] == info.name and full_name(program, info) == name


def _near(name: str) -> tuple[str, ...]:
    try:
        return near(name, {program.info().name for program in every()})
    except BpfError:
        return ()
