"""The maps in the kernel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bpfload.abi import consts
from bpfload.abi.names import MAP_TYPE_NAMES, name_of
from bpfload.errors import BpfError, NotFoundError, near
from bpfload.inspect import devices, ids
from bpfload.inspect.owners import Holders, Owner
from bpfload.inspect.programs import type_name as program_type_name
from bpfload.kernel.processes import fdinfo, fdinfo_number
from bpfload.objects.map import Map


@dataclass(frozen=True, slots=True)
class MapHeader:
    """What heads a map's elements where several are dumped. `flags`: BPF_F_* as a signed 32-bit number."""

    id: int
    type: str | int
    name: str | None
    flags: int


@dataclass(frozen=True, slots=True)
class MapView:
    """One map, as `map show` shows it.

    `type`: its name, or the number of a type that is newer than this library. `owner_prog_type`, `owner_jited`: of the programs
    that a prog_array takes, once it has seen one. `frozen`: 1 once user space can't write to it any more.
    """

    id: int
    type: str | int
    name: str | None
    flags: int
    dev: devices.Device | None
    bytes_key: int
    bytes_value: int
    max_entries: int
    bytes_memlock: int | None
    owner_prog_type: str | int | None
    owner_jited: bool | None
    frozen: int
    btf_id: int | None
    pinned: tuple[str, ...] | None
    pids: tuple[Owner, ...] | None


def type_name(number: int) -> str | int:
    """Return the name of a map type, or its number where it has none here."""
    name = name_of(MAP_TYPE_NAMES, number)
    return number if name is None else name


def _signed(flags: int) -> int:
    return flags - (1 << 32) if flags >= 1 << 31 else flags


def header(item: Map) -> MapHeader:
    """Return the head of a map's dump. Raises KernelError."""
    info = item.info()
    return MapHeader(info.id, type_name(info.type), info.name or None, _signed(info.map_flags))


def view(item: Map, holders: Holders) -> MapView:
    """Return the view of a map. Raises KernelError."""
    info = item.info()
    text = fdinfo(item.fd)
    owner_type = owner_jited = None
    if info.type == consts.BPF_MAP_TYPE_PROG_ARRAY:
        owner_type, owner_jited = fdinfo_number(text, "owner_prog_type"), fdinfo_number(text, "owner_jited")
    return MapView(
        id=info.id,
        type=type_name(info.type),
        name=info.name or None,
        flags=_signed(info.map_flags),
        dev=devices.offload_device(info.ifindex, info.netns_dev, info.netns_ino),
        bytes_key=info.key_size,
        bytes_value=info.value_size,
        max_entries=info.max_entries,
        bytes_memlock=fdinfo_number(text, "memlock"),
        owner_prog_type=None if owner_type is None else program_type_name(owner_type),
        owner_jited=None if owner_jited is None else bool(owner_jited),
        frozen=fdinfo_number(text, "frozen") or 0,
        btf_id=info.btf_id or None,
        pinned=holders.pinned(info.id),
        pids=holders.owners(info.id),
    )


# --- finding --------------------------------------------------------------------------------------------------------


def every() -> Iterator[Map]:
    """Yield every map, each closed when the next is asked for. Raises KernelError, naming the missing capability."""
    return ids.every(Map.from_id, "map")


def find(kind: str, value: str) -> list[Map]:
    """Open the maps that a selector means: `kind` is "id", "name" or "pinned".

    Several maps may share a name. The caller closes them. Raises NotFoundError, UsageError, PinError.
    """
    if kind == "id":
        return [Map.from_id(ids.number(value))]
    if kind == "pinned":
        return [Map.from_pin(value)]
    found = ids.matching(every(), lambda item: item.info().name == value)
    if not found:
        raise NotFoundError(f"no map has the name {value!r}", candidates=_near(value))
    return found


def _near(name: str) -> tuple[str, ...]:
    try:
        return near(name, {item.info().name for item in every()})
    except BpfError:
        return ()
