"""What a program says of itself: its .rodata variables whose names start with bpf_metadata_.

Source: find_metadata(), show_prog_metadata() in tools/bpf/bpftool/prog.c.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from bpfload.abi import consts
from bpfload.errors import BpfError
from bpfload.objects.btf import BtfObject
from bpfload.objects.map import Map

if TYPE_CHECKING:
    from bpfload.inspect.typed import TypedValue
    from bpfload.objects.info import MapInfo

PREFIX = "bpf_metadata_"


def of_maps(map_ids: Iterable[int]) -> dict[str, TypedValue] | None:
    """Return the metadata of the program that uses these maps, by name without the prefix; None if it has none."""
    try:
        found = _rodata(map_ids)
        if found is None or not _mentions_any(found[0].btf_id):
            return None
        return _variables(*found) or None
    except BpfError:
        # A map that is gone by now, or types that can't be read: the rest of the program is shown all the same.
        return None


def _rodata(map_ids: Iterable[int]) -> tuple[MapInfo, bytes] | None:
    """Return the first map that looks like a .rodata section with types, and its value."""
    for ident in map_ids:
        with Map.from_id(ident) as item:
            info = item.info()
            if (
                info.type == consts.BPF_MAP_TYPE_ARRAY
                and info.key_size == 4
                and info.max_entries == 1
                and info.btf_value_type_id
                and ".rodata" in info.name
            ):
                return info, item.lookup(bytes(4))
    return None


def _mentions_any(btf_id: int) -> bool:
    """Whether BTF has such a name anywhere: few programs have, and types needn't be read to see it."""
    with BtfObject.from_id(btf_id) as item:
        return PREFIX.encode() in item.info(data=True).data


def _variables(info: MapInfo, data: bytes) -> dict[str, TypedValue]:
    from bpfload.btf.types import KIND_DATASEC
    from bpfload.inspect.btf import types
    from bpfload.inspect.typed import Decoders, TypedValue

    btf = types(info.btf_id)
    section = btf.type(info.btf_value_type_id)
    if section.kind != KIND_DATASEC:
        return {}
    decoders = Decoders(btf)
    found = {}
    for row in section.variables:
        variable = btf.type(row.type_id)
        if variable.name.startswith(PREFIX):
            found[variable.name.removeprefix(PREFIX)] = TypedValue(decoders, variable.type_id, data[row.offset :])
    return found
