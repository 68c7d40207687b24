"""What the kernel says of a program or a map, decoded.

The fields have the kernel's own names (struct bpf_prog_info and its siblings in include/uapi/linux/bpf.h); a field that the
running kernel doesn't know is 0. Not imported until someone asks: loading needs none of it.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from struct import calcsize, iter_unpack, pack_into, unpack_from
from typing import Any

from bpfload.abi import layout
from bpfload.errors import KernelError
from bpfload.objects.text import text_of
from bpfload.syscall import bpf

#: Arrays of struct bpf_prog_info: the field with their number (or bytes), and one element's size (0: another field says it).
PROG_ARRAYS: dict[str, tuple[str, int]] = {
    "jited_prog_insns": ("jited_prog_len", 1),
    "xlated_prog_insns": ("xlated_prog_len", 1),
    "map_ids": ("nr_map_ids", 4),
    "jited_ksyms": ("nr_jited_ksyms", 8),
    "jited_func_lens": ("nr_jited_func_lens", 4),
    "func_info": ("nr_func_info", 0),
    "line_info": ("nr_line_info", 0),
    "jited_line_info": ("nr_jited_line_info", 0),
    "prog_tags": ("nr_prog_tags", 8),
}

# Most programs use few maps: with room for so many ids the first call brings them along.
_FIRST_MAP_IDS = 64


@dataclass(frozen=True, slots=True)
class ProgInfo:
    """struct bpf_prog_info. `tag`: hex. Arrays are empty unless they were asked for; records stay packed.

    `load_time`: nanoseconds since boot. `orphaned`: it was offloaded to a device that is gone; most fields are 0 then.
    """

    type: int
    id: int
    tag: str
    jited_prog_len: int
    xlated_prog_len: int
    jited_prog_insns: bytes
    xlated_prog_insns: bytes
    load_time: int
    created_by_uid: int
    nr_map_ids: int
    map_ids: tuple[int, ...]
    name: str
    ifindex: int
    gpl_compatible: bool
    netns_dev: int
    netns_ino: int
    nr_jited_ksyms: int
    nr_jited_func_lens: int
    jited_ksyms: tuple[int, ...]
    jited_func_lens: tuple[int, ...]
    btf_id: int
    func_info_rec_size: int
    func_info: bytes
    nr_func_info: int
    nr_line_info: int
    line_info: bytes
    jited_line_info: tuple[int, ...]
    nr_jited_line_info: int
    line_info_rec_size: int
    jited_line_info_rec_size: int
    nr_prog_tags: int
    prog_tags: bytes
    run_time_ns: int
    run_cnt: int
    recursion_misses: int
    verified_insns: int
    attach_btf_obj_id: int
    attach_btf_id: int
    orphaned: bool = False


@dataclass(frozen=True, slots=True)
class MapInfo:
    """struct bpf_map_info. Sizes in bytes."""

    type: int
    id: int
    key_size: int
    value_size: int
    max_entries: int
    map_flags: int
    name: str
    ifindex: int
    btf_vmlinux_value_type_id: int
    netns_dev: int
    netns_ino: int
    btf_id: int
    btf_key_type_id: int
    btf_value_type_id: int
    btf_vmlinux_id: int
    map_extra: int


# --- programs -------------------------------------------------------------------------------------------------------


def prog_info(fd: int, arrays: tuple[str, ...] = ()) -> ProgInfo:
    """Ask the kernel about a program. Raises KernelError."""
    only_maps = arrays == ("map_ids",)
    buffers: dict[str, bytearray] = {"map_ids": bytearray(4 * _FIRST_MAP_IDS)} if only_maps else {}
    raw, orphaned = _ask_prog(fd, {}, buffers)
    if arrays and not (only_maps and raw["nr_map_ids"] <= _FIRST_MAP_IDS):
        buffers = {name: bytearray(_array_size(raw, name)) for name in arrays}
        raw, orphaned = _ask_prog(fd, raw, buffers)
    return _decode_prog(raw, buffers, orphaned)


def _array_size(raw: dict[str, int], name: str) -> int:
    count, size = PROG_ARRAYS[name]
    return raw[count] * (size or raw[f"{name}_rec_size"])


def _ask_prog(fd: int, counts: dict[str, int], buffers: dict[str, bytearray]) -> tuple[dict[str, int], bool]:
    """Make the call with the given arrays' buffers; return the raw fields, and whether the program is orphaned."""
    values: list[int | bytes] = [b"" if name in ("tag", "name") else 0 for name in layout.PROG_INFO_FIELDS]
    for name, buffer in buffers.items():
        count, size = PROG_ARRAYS[name]
        values[_PROG_INDEX[count]] = counts.get(count) or len(buffer) // (size or 1)
        values[_PROG_INDEX[name]] = bpf.address(buffer)
        if not size:
            values[_PROG_INDEX[f"{name}_rec_size"]] = counts[f"{name}_rec_size"]
    info = bytearray(calcsize(layout.PROG_INFO_FORMAT))
    pack_into(layout.PROG_INFO_FORMAT, info, 0, *values)
    orphaned = False
    try:
        bpf.obj_get_info_by_fd(fd, info)
    except KernelError as error:
        if error.errno != errno.ENODEV:
            raise
        orphaned = True
    return dict(zip(layout.PROG_INFO_FIELDS, unpack_from(layout.PROG_INFO_FORMAT, info), strict=True)), orphaned


_PROG_INDEX = {name: index for index, name in enumerate(layout.PROG_INFO_FIELDS)}


def _decode_prog(raw: dict[str, int], buffers: dict[str, bytearray], orphaned: bool) -> ProgInfo:
    fields: dict[str, Any] = dict(raw)
    for name, (count, size) in PROG_ARRAYS.items():
        data = bytes(buffers.get(name, b""))[: raw[count] * (size or raw.get(f"{name}_rec_size", 1))]
        if name in ("map_ids", "jited_func_lens"):
            fields[name] = tuple(number for (number,) in iter_unpack("=I", data))
        elif name in ("jited_ksyms", "jited_line_info"):
            fields[name] = tuple(number for (number,) in iter_unpack("=Q", data))
        else:
            fields[name] = data
    tag, name_bytes = fields["tag"], fields["name"]
    fields |= {"tag": tag.hex(), "name": text_of(name_bytes), "gpl_compatible": bool(raw["gpl_compatible"] & 1)}
    return ProgInfo(**fields, orphaned=orphaned)


# --- maps ------------------------------------------------------------------------------------------------------------


def map_info(fd: int) -> MapInfo:
    """Ask the kernel about a map. Raises KernelError."""
    info = bytearray(calcsize(layout.MAP_INFO_FORMAT))
    bpf.obj_get_info_by_fd(fd, info)
    raw = dict(zip(layout.MAP_INFO_FIELDS, unpack_from(layout.MAP_INFO_FORMAT, info), strict=True))
    raw["name"] = text_of(raw["name"])
    return MapInfo(**{name: raw[name] for name in MapInfo.__slots__})
