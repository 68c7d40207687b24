"""What the kernel says of an object, decoded.

The fields have the kernel's own names (struct bpf_prog_info and its siblings in include/uapi/linux/bpf.h); a field that the
running kernel doesn't know is 0. Not imported until someone asks: loading needs none of it.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from struct import calcsize, iter_unpack, pack_into, unpack_from

from bpfload.abi import consts, layout
from bpfload.errors import KernelError
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


@dataclass(frozen=True, slots=True)
class BtfInfo:
    """struct bpf_btf_info. `data`: the BTF, b"" unless asked for. `kernel_btf`: vmlinux's or a module's."""

    id: int
    btf_size: int
    name: str
    kernel_btf: bool
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class LinkInfo:
    """struct bpf_link_info: `fields` holds the part of the union that belongs to the type, by the kernel's names.

    Names and paths are text, arrays are tuples; they are there only if they were asked for.
    """

    type: int
    id: int
    prog_id: int
    fields: dict[str, int | str | tuple[int, ...]]

    def number(self, field: str) -> int:
        """Return a numeric field; 0 where this kernel has none of that name."""
        value = self.fields.get(field, 0)
        return value if isinstance(value, int) else 0

    def text(self, field: str) -> str:
        """Return a field of text; "" where there is none."""
        value = self.fields.get(field, "")
        return value if isinstance(value, str) else ""

    def numbers(self, field: str) -> tuple[int, ...]:
        """Return an array; empty where there is none."""
        value = self.fields.get(field, ())
        return value if isinstance(value, tuple) else ()


def text_of(raw: bytes | bytearray) -> str:
    """Return a C string's text: up to the NUL, what isn't UTF-8 kept as surrogates."""
    return bytes(raw).split(b"\0", 1)[0].decode(errors="surrogateescape")


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
    fields: dict[str, object] = dict(raw)
    for name, (count, size) in PROG_ARRAYS.items():
        data = bytes(buffers.get(name, b""))[: raw[count] * (size or raw.get(f"{name}_rec_size", 1))]
        if name in ("map_ids", "jited_func_lens"):
            fields[name] = tuple(number for (number,) in iter_unpack("=I", data))
        elif name in ("jited_ksyms", "jited_line_info"):
            fields[name] = tuple(number for (number,) in iter_unpack("=Q", data))
        else:
            fields[name] = data
    tag, name_bytes = fields["tag"], fields["name"]
    assert isinstance(tag, bytes)
    assert isinstance(name_bytes, bytes)
    fields |= {"tag": tag.hex(), "name": text_of(name_bytes), "gpl_compatible": bool(raw["gpl_compatible"] & 1)}
    return ProgInfo(**fields, orphaned=orphaned)  # type: ignore[arg-type]


# --- maps and BTF ---------------------------------------------------------------------------------------------------


def map_info(fd: int) -> MapInfo:
    """Ask the kernel about a map. Raises KernelError."""
    info = bytearray(calcsize(layout.MAP_INFO_FORMAT))
    bpf.obj_get_info_by_fd(fd, info)
    raw = dict(zip(layout.MAP_INFO_FIELDS, unpack_from(layout.MAP_INFO_FORMAT, info), strict=True))
    raw["name"] = text_of(raw["name"])
    return MapInfo(**{name: raw[name] for name in MapInfo.__slots__})


def btf_info(fd: int, *, data: bool = False) -> BtfInfo:
    """Ask the kernel about a BTF object. Raises KernelError."""
    size = 0
    if data:
        info = bytearray(calcsize(layout.BTF_INFO_FORMAT))
        bpf.obj_get_info_by_fd(fd, info)
        (size,) = unpack_from("=I", info, 8)
    name, blob = bytearray(64), bytearray(size)
    info = bytearray(calcsize(layout.BTF_INFO_FORMAT))
    pack_into(layout.BTF_INFO_FORMAT, info, 0, bpf.address(blob), size, 0, bpf.address(name), len(name), 0)
    bpf.obj_get_info_by_fd(fd, info)
    _, btf_size, ident, _, _, kernel_btf = unpack_from(layout.BTF_INFO_FORMAT, info)
    return BtfInfo(ident, btf_size, text_of(name), bool(kernel_btf), bytes(blob))


# --- links ----------------------------------------------------------------------------------------------------------

# The union of struct bpf_link_info by link type: (offset from the struct's start, format, names). A pointer and its length
# are not listed here but in _LINK_TEXTS and _LINK_ARRAYS.
_LINK_FIELDS: dict[int, tuple[tuple[int, str, str], ...]] = {
    consts.BPF_LINK_TYPE_RAW_TRACEPOINT: ((32, "=Q", "cookie"),),
    consts.BPF_LINK_TYPE_TRACING: (
        (16, "=I", "attach_type"),
        (20, "=I", "target_obj_id"),
        (24, "=I", "target_btf_id"),
        (32, "=Q", "cookie"),
    ),
    consts.BPF_LINK_TYPE_CGROUP: ((16, "=Q", "cgroup_id"), (24, "=I", "attach_type")),
    consts.BPF_LINK_TYPE_ITER: (
        (28, "=I", "map_id"),
        (32, "=Q", "cgroup_id"),
        (40, "=I", "order"),
        (32, "=I", "tid"),
        (36, "=I", "pid"),
    ),
    consts.BPF_LINK_TYPE_NETNS: ((16, "=I", "netns_ino"), (20, "=I", "attach_type")),
    consts.BPF_LINK_TYPE_XDP: ((16, "=I", "ifindex"),),
    consts.BPF_LINK_TYPE_STRUCT_OPS: ((16, "=I", "map_id"),),
    consts.BPF_LINK_TYPE_NETFILTER: (
        (16, "=I", "pf"),
        (20, "=I", "hooknum"),
        (24, "=i", "priority"),
        (28, "=I", "flags"),
    ),
    consts.BPF_LINK_TYPE_KPROBE_MULTI: ((24, "=I", "count"), (28, "=I", "flags"), (32, "=Q", "missed")),
    consts.BPF_LINK_TYPE_UPROBE_MULTI: ((52, "=I", "count"), (56, "=I", "flags"), (60, "=I", "pid")),
    consts.BPF_LINK_TYPE_TCX: ((16, "=I", "ifindex"), (20, "=I", "attach_type")),
    consts.BPF_LINK_TYPE_NETKIT: ((16, "=I", "ifindex"), (20, "=I", "attach_type")),
    consts.BPF_LINK_TYPE_SOCKMAP: ((16, "=I", "map_id"), (20, "=I", "attach_type")),
    consts.BPF_LINK_TYPE_PERF_EVENT: ((16, "=I", "event_type"),),
}

# The same for a perf event's link, by its kind (enum bpf_perf_event_type).
_UPROBE_FIELDS = ((36, "=I", "offset"), (40, "=Q", "cookie"), (48, "=Q", "ref_ctr_offset"))
_KPROBE_FIELDS = ((36, "=I", "offset"), (40, "=Q", "addr"), (48, "=Q", "missed"), (56, "=Q", "cookie"))
_PERF_EVENT_FIELDS: dict[int, tuple[tuple[int, str, str], ...]] = {
    consts.BPF_PERF_EVENT_UPROBE: _UPROBE_FIELDS,
    consts.BPF_PERF_EVENT_URETPROBE: _UPROBE_FIELDS,
    consts.BPF_PERF_EVENT_KPROBE: _KPROBE_FIELDS,
    consts.BPF_PERF_EVENT_KRETPROBE: _KPROBE_FIELDS,
    consts.BPF_PERF_EVENT_TRACEPOINT: ((40, "=Q", "cookie"),),
    consts.BPF_PERF_EVENT_EVENT: ((24, "=Q", "config"), (32, "=I", "type"), (40, "=Q", "cookie")),
}

# Text that the kernel copies out: (offset of the pointer, of the length, name).
_LINK_TEXTS: dict[int, tuple[int, int, str]] = {
    consts.BPF_LINK_TYPE_RAW_TRACEPOINT: (16, 24, "tp_name"),
    consts.BPF_LINK_TYPE_ITER: (16, 24, "target_name"),
    consts.BPF_LINK_TYPE_UPROBE_MULTI: (16, 48, "path"),
}
_PERF_EVENT_TEXTS: dict[int, tuple[int, int, str]] = {
    consts.BPF_PERF_EVENT_UPROBE: (24, 32, "file_name"),
    consts.BPF_PERF_EVENT_URETPROBE: (24, 32, "file_name"),
    consts.BPF_PERF_EVENT_KPROBE: (24, 32, "func_name"),
    consts.BPF_PERF_EVENT_KRETPROBE: (24, 32, "func_name"),
    consts.BPF_PERF_EVENT_TRACEPOINT: (24, 32, "tp_name"),
}

# Arrays of 64-bit numbers, `count` long: (offset of the pointer, name).
_LINK_ARRAYS: dict[int, tuple[tuple[int, str], ...]] = {
    consts.BPF_LINK_TYPE_KPROBE_MULTI: ((16, "addrs"), (40, "cookies")),
    consts.BPF_LINK_TYPE_UPROBE_MULTI: ((24, "offsets"), (32, "ref_ctr_offsets"), (40, "cookies")),
}

_PATH_MAX = 4096


def link_info(fd: int, *, arrays: bool = False) -> LinkInfo:
    """Ask the kernel about a link. Raises KernelError."""
    info = bytearray(layout.LINK_INFO_SIZE)
    bpf.obj_get_info_by_fd(fd, info)
    kind, ident, prog_id = unpack_from("=III", info)
    fields = _link_fields(kind, info)
    if arrays:
        fields |= _link_arrays(fd, kind, fields)
    return LinkInfo(kind, ident, prog_id, fields)


def _link_fields(kind: int, info: bytearray) -> dict[str, int | str | tuple[int, ...]]:
    rows = _LINK_FIELDS.get(kind, ())
    if kind == consts.BPF_LINK_TYPE_PERF_EVENT:
        rows += _PERF_EVENT_FIELDS.get(unpack_from("=I", info, 16)[0], ())
    return {name: unpack_from(form, info, offset)[0] for offset, form, name in rows}


def _link_arrays(fd: int, kind: int, fields: dict[str, int | str | tuple[int, ...]]) -> dict[str, int | str | tuple[int, ...]]:
    """Ask again, with buffers for the names and arrays that this type of link has."""
    event_type, count = fields.get("event_type", 0), fields.get("count", 0)
    assert isinstance(event_type, int)
    assert isinstance(count, int)
    text = _PERF_EVENT_TEXTS.get(event_type) if kind == consts.BPF_LINK_TYPE_PERF_EVENT else _LINK_TEXTS.get(kind)
    array_rows = _LINK_ARRAYS.get(kind, ()) if count else ()
    if kind == consts.BPF_LINK_TYPE_UPROBE_MULTI and not count:
        text = None
    if not text and not array_rows:
        return {}
    info = bytearray(layout.LINK_INFO_SIZE)
    buffers = [(name, bytearray(8 * count)) for _, name in array_rows]
    for (offset, _), (_, buffer) in zip(array_rows, buffers, strict=True):
        pack_into("=Q", info, offset, bpf.address(buffer))
    if array_rows:
        count_offset = next(offset for offset, _, name in _LINK_FIELDS[kind] if name == "count")
        pack_into("=I", info, count_offset, count)
    name_buffer = bytearray(_PATH_MAX)
    if text:
        pack_into("=Q", info, text[0], bpf.address(name_buffer))
        pack_into("=I", info, text[1], len(name_buffer))
    bpf.obj_get_info_by_fd(fd, info)
    found = _link_fields(kind, info)
    if text:
        found[text[2]] = text_of(name_buffer)
    for name, buffer in buffers:
        found[name] = tuple(number for (number,) in iter_unpack("=Q", buffer))
    return found
