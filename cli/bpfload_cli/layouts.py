"""What the text of each kind of view looks like: bpftool's lines, blanks at their ends included."""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING, Any

from bpfload_cli.output import Layout, json_text

if TYPE_CHECKING:
    from bpfload.inspect.btf import BtfView
    from bpfload.inspect.devices import Device
    from bpfload.inspect.links import LinkView
    from bpfload.inspect.maps import MapHeader, MapView
    from bpfload.inspect.programs import ProgramView


def type_text(view: Any) -> str:
    """The type's name, or its number."""
    return f"{view.type}  " if isinstance(view.type, str) else f"type {view.type}  "


def _device(view: ProgramView | MapView) -> str:
    device: Device | None = view.dev
    if device is None:
        return ""
    return f"  offloaded_to {device.ifname or f'ifindex {device.ifindex} ns_dev {device.ns_dev} ns_ino {device.ns_inode}'}"


def _pinned(view: ProgramView | MapView | LinkView) -> str:
    return "".join(f"\n\tpinned {path}" for path in view.pinned or ())


def _owners(view: ProgramView | MapView | LinkView | BtfView) -> str:
    if not view.pids:
        return ""
    return "\n\tpids " + ", ".join(f"{owner.comm}({owner.pid})" for owner in view.pids)


def _ids(numbers: tuple[int, ...]) -> str:
    return ",".join(str(number) for number in numbers)


def _end(view: object) -> str:
    return "\n"


# --- programs -------------------------------------------------------------------------------------------------------


def _loaded(view: ProgramView) -> str:
    if view.loaded_at is None:
        return ""
    return f"\tloaded_at {_local_time(view.loaded_at)}  uid {view.uid}\n"


@cache
def _local_time(seconds: int) -> str:
    """Return a moment as this machine's clock shows it; programs are loaded many in a second."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(seconds))


def _jited(view: ProgramView) -> str:
    return f"  jited {view.bytes_jited}B" if view.jited else "  not jited"


def _map_ids(view: ProgramView) -> str:
    return f"  map_ids {_ids(view.map_ids)}" if view.map_ids else ""


def _metadata(view: ProgramView) -> str:
    if not view.metadata:
        return ""
    from bpfload.btf.values import Raw

    def plain(value: Any) -> str:
        """Compact JSON, but with the bare hexadecimal numbers of bpftool's text."""
        if isinstance(value, Raw):
            return str(value)
        if isinstance(value, dict):
            return "{" + ",".join(f"{json_text(name)}:{plain(member)}" for name, member in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ",".join(plain(element) for element in value) + "]"
        return json_text(value)

    return "\tmetadata:" + "".join(f"\n\t\t{name} = {plain(value.plain())}" for name, value in view.metadata.items()) + "\n"


PROGRAM_HEADER: Layout = (
    ("id", "{v}: ", "id"),
    type_text,
    ("name", "name {v}  ", "name"),
    ("tag", "tag {v}"),
    _device,
    ("gpl_compatible", "  gpl"),
    ("run_time_ns", " run_time_ns {v} run_cnt {view.run_cnt}"),
    ("recursion_misses", " recursion_misses {v}"),
    _end,
)

PROGRAM: Layout = (
    *PROGRAM_HEADER,
    _loaded,
    ("bytes_xlated", "\txlated {v}B"),
    _jited,
    ("bytes_memlock", "  memlock {v}B"),
    ("orphaned", "  orphaned"),
    _map_ids,
    _pinned,
    ("btf_id", "\n\tbtf_id {v}"),
    _owners,
    _end,
    _metadata,
)


# --- maps -----------------------------------------------------------------------------------------------------------


def _flags(view: MapHeader | MapView) -> str:
    return f"flags 0x{view.flags & 0xFFFFFFFF:x}"


def _owner_program(view: MapView) -> str:
    if view.owner_prog_type is None and view.owner_jited is None:
        return ""
    kind = "" if view.owner_prog_type is None else f"owner_prog_type {view.owner_prog_type}  "
    jited = "" if view.owner_jited is None else f"owner{'' if view.owner_jited else ' not'} jited"
    return f"\n\t{kind}{jited}"


def _btf_and_frozen(view: MapView) -> str:
    words = [f"btf_id {view.btf_id}"] if view.btf_id else []
    if view.frozen:
        words.append("frozen")
    return "\n\t" + "  ".join(words) if words else ""


MAP_HEADER: Layout = (("id", "{v}: ", "id"), type_text, ("name", "name {v}  ", "name"), _flags, _end)

MAP: Layout = (
    ("id", "{v}: ", "id"),
    type_text,
    ("name", "name {v}  ", "name"),
    _flags,
    _device,
    ("bytes_key", "\n\tkey {v}B  value {view.bytes_value}B  max_entries {view.max_entries}"),
    ("bytes_memlock", "  memlock {v}B"),
    _owner_program,
    _pinned,
    _btf_and_frozen,
    _owners,
    _end,
)


# --- BTF ------------------------------------------------------------------------------------------------------------


def _btf_name(view: BtfView) -> str:
    return f"name [{view.name or ''}]  " if view.kernel else f"name {view.name or '<anon>'}  "


def _btf_users(view: BtfView) -> str:
    programs = f"  prog_ids {_ids(view.prog_ids)}" if view.prog_ids else ""
    return f"{programs}  map_ids {_ids(view.map_ids)}" if view.map_ids else programs


BTF: Layout = (("id", "{v}: ", "id"), _btf_name, ("size", "size {v}B"), _btf_users, _owners, _end)


# --- links ----------------------------------------------------------------------------------------------------------


def _link_details(view: LinkView) -> str:
    from bpfload_cli.link_layouts import details_text

    return details_text(view.details)


def _link_object(view: LinkView) -> str:
    if view.type == "struct_ops" and view.details is not None:
        return f"map {getattr(view.details, 'map_id', 0)}  "
    return f"prog {view.prog_id}  "


LINK: Layout = (
    ("id", "{v}: ", "id"),
    type_text,
    _link_object,
    _link_details,
    _pinned,
    ("bpf_cookie", "\n\tbpf_cookie {v}"),
    _owners,
    _end,
)
