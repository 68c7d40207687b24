"""What the kernel says of a link, decoded."""

from __future__ import annotations

from dataclasses import dataclass
from struct import calcsize, iter_unpack, pack_into, unpack_from

from bpfload.abi import consts, layout
from bpfload.objects.text import text_of
from bpfload.syscall import bpf


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
    consts.BPF_LINK_TYPE_TRACING_MULTI: ((16, "=I", "attach_type"), (20, "=I", "count"), (24, "=I", "btf_obj_id")),
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

# Arrays, `count` long: (offset of the pointer, name, format of a number).
_LINK_ARRAYS: dict[int, tuple[tuple[int, str, str], ...]] = {
    consts.BPF_LINK_TYPE_KPROBE_MULTI: ((16, "addrs", "=Q"), (40, "cookies", "=Q")),
    consts.BPF_LINK_TYPE_UPROBE_MULTI: ((24, "offsets", "=Q"), (32, "ref_ctr_offsets", "=Q"), (40, "cookies", "=Q")),
    consts.BPF_LINK_TYPE_TRACING_MULTI: ((32, "ids", "=I"), (40, "addrs", "=Q"), (48, "cookies", "=Q")),
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
    buffers = [(name, form, bytearray(calcsize(form) * count)) for _, name, form in array_rows]
    for (offset, _, _), (_, _, buffer) in zip(array_rows, buffers, strict=True):
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
    for name, form, buffer in buffers:
        found[name] = tuple(number for (number,) in iter_unpack(form, buffer))
    return found
