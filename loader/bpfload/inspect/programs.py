"""The programs in the kernel."""

from __future__ import annotations

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
from bpfload.objects.program import Program

if TYPE_CHECKING:
    from bpfload.inspect.typed import TypedValue
    from bpfload.objects.info import ProgInfo

# The kernel keeps names of at most 15 characters; the whole name of a longer one is in BTF.
_CUT_NAME = consts.BPF_OBJ_NAME_LEN - 1
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
    info = program.info("map_ids")
    ran = info.run_time_ns > 0
    jited = info.jited_prog_len > 0
    return ProgramView(
        id=info.id,
        type=type_name(info.type),
        name=full_name(program, info) or None,
        tag=info.tag,
        gpl_compatible=info.gpl_compatible,
        run_time_ns=info.run_time_ns if ran else None,
        run_cnt=info.run_cnt if ran else None,
        recursion_misses=info.recursion_misses or None,
        dev=devices.offload_device(info.ifindex, info.netns_dev, info.netns_ino),
        loaded_at=_wall_clock(info.load_time) if info.load_time else None,
        uid=info.created_by_uid if info.load_time else None,
        orphaned=info.orphaned,
        bytes_xlated=info.xlated_prog_len,
        jited=jited,
        bytes_jited=info.jited_prog_len if jited else None,
        bytes_memlock=fdinfo_number(fdinfo(program.fd), "memlock"),
        map_ids=info.map_ids or None,
        btf_id=info.btf_id or None,
        pinned=holders.pinned(info.id),
        pids=holders.owners(info.id),
        metadata=_metadata(info),
    )


def _wall_clock(since_boot: int) -> int:
    """Return the seconds since 1970 of a moment given in nanoseconds since boot."""
    return (time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME) + since_boot) // 1_000_000_000


def _metadata(info: ProgInfo) -> dict[str, TypedValue] | None:
    if not info.map_ids:
        return None
    from bpfload.inspect import metadata

    return metadata.of_maps(info.map_ids)


def full_name(program: Program, info: ProgInfo) -> str:
    """Return a program's name: the function's name of BTF where the kernel has cut it."""
    if len(info.name) < _CUT_NAME or not info.btf_id or not info.nr_func_info:
        return info.name
    from bpfload.inspect.btf import type_name_in

    records = program.info("func_info").func_info
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
