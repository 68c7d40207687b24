"""What a program says of itself: its .rodata variables whose names start with bpf_metadata_.

Source: find_metadata(), show_prog_metadata() in tools/bpf/bpftool/prog.c.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from struct import Struct
from typing import TYPE_CHECKING

from bpfload.abi import consts
from bpfload.errors import BpfError, KernelError
from bpfload.objects.btf import BtfObject
from bpfload.objects.map import Map
from bpfload.syscall import bpf

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
        fd = bpf.map_get_fd_by_id(ident)
        if not _may_be_rodata(fd):
            os.close(fd)
            continue
        with Map(fd) as item:
            info = item.info()
            if info.btf_value_type_id:
                return info, item.lookup(bytes(4))
    return None


# The first fields of struct bpf_map_info: type, id, key_size, value_size, max_entries, map_flags, name. Listings ask thousands
# of maps, and the kernel fills as much as there is room for.
_BEGINNING = Struct("=6I16s")
_beginning = bytearray(_BEGINNING.size)


def _may_be_rodata(fd: int) -> bool:
    """Whether a map has the form and the name of a .rodata section."""
    try:
        bpf.obj_get_info_by_fd(fd, _beginning)
    except KernelError:
        return False
    kind, _, key_size, _, max_entries, _, name = _BEGINNING.unpack(_beginning)
    return max_entries == 1 and kind == consts.BPF_MAP_TYPE_ARRAY and key_size == 4 and b".rodata" in name


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
