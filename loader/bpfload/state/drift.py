"""Whether what a record names is still there, and still attached where it was."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from bpfload.abi import consts
from bpfload.errors import BpfError
from bpfload.objects.bpffs import Pin, identify

if TYPE_CHECKING:
    from bpfload.objects.link_info import LinkInfo
    from bpfload.state.records import Record

# What a link says of where it is; the kernel makes it 0 when the device, cgroup or namespace goes, or the link is detached.
_PLACE = {
    consts.BPF_LINK_TYPE_XDP: ("ifindex", "device"),
    consts.BPF_LINK_TYPE_TCX: ("ifindex", "device"),
    consts.BPF_LINK_TYPE_NETKIT: ("ifindex", "device"),
    consts.BPF_LINK_TYPE_CGROUP: ("cgroup_id", "cgroup"),
    consts.BPF_LINK_TYPE_NETNS: ("netns_ino", "network namespace"),
    consts.BPF_LINK_TYPE_SOCKMAP: ("map_id", "map"),
}


def pins_of(path: str, pinned: Iterable[str]) -> dict[str, list[Any]]:
    """Return pins as a record keeps them: [kind, id, number of the place of a link], by path, "@" standing for PATH."""
    found: dict[str, list[Any]] = {}
    for place in pinned:
        pin = identify(place)
        if pin is not None:
            shown = f"@{place[len(path) :]}" if place.startswith((path + "_", path + "/")) or place == path else place
            found[shown] = [pin.kind[0], pin.id, *([_place(pin)[0]] if pin.kind == "link" else [])]
    return found


def paths_of(record: Record) -> dict[str, list[Any]]:
    """Return the pins of a record by their full paths."""
    return {record.path + name[1:] if name.startswith("@") else name: row for name, row in record.pins.items()}


def places_of(declared: Mapping[str, Any]) -> dict[str, int]:
    """Return what the devices, cgroups and namespaces that were declared are just now: numbers, 0 for none of that name."""
    found: dict[str, int] = {}
    for key, value in declared.items():
        kind = key.rpartition(".")[2]
        if kind in ("dev", "cgroup", "netns") and not key.startswith("set."):
            found[str(value)] = _index(value) if kind == "dev" else _inode(value)
    return found


def faults(record: Record, declared: Mapping[str, Any]) -> list[str]:
    """Say what isn't as the record has it; nothing if all is."""
    if record.pending:
        return ["an earlier apply was interrupted"]
    found: list[str] = []
    for path, (kind, ident, *place) in paths_of(record).items():
        pin = identify(path)
        if pin is None:
            found.append(f"{path} is gone" if not os.path.lexists(path) else f"{path} can't be opened")
        elif (pin.kind[0], pin.id) != (kind, ident):
            found.append(f"{path} is {pin.kind} {pin.id} by now, not {ident}")
        elif place and _place(pin)[0] != place[0]:
            what = _place(pin)[1]
            found.append(f"link {pin.id} at {path} is no longer attached{f': its {what} is gone' if what else ''}")
    now = places_of(declared)
    found += [f"{name} is another one by now" for name, number in record.places.items() if now.get(name, number) != number]
    if record.unlinked and not found:
        missing = record.unlinked - unlinked_attachments(paths_of(record))
        if missing > 0:
            found.append("what was attached without a link is attached no longer")
    return found


def unlinked_attachments(pinned: Iterable[str]) -> int:
    """Return how many attachments the programs among these pins have that are no links."""
    from bpfload.objects.program import Program
    from bpfload.pins import unlinked

    count = 0
    for path in pinned:
        pin = identify(path)
        if pin is not None and pin.kind == "program":
            with Program.from_pin(path) as program:
                if program.info().type in unlinked.TYPES:
                    for each in unlinked.attachments_of(program):
                        each.close()
                        count += 1
    return count


def _place(pin: Pin) -> tuple[int, str]:
    """Return the number of where a pinned link is attached, and what that is; 0 and "" for links that stay where they are."""
    from bpfload.objects.link import Link

    try:
        with Link.from_pin(pin.path) as link:
            info: LinkInfo = link.info()
    except BpfError:
        return 0, ""
    field, what = _PLACE.get(info.type, ("", ""))
    return (info.number(field), what) if field else (0, "")


def _index(device: str) -> int:
    try:
        return socket.if_nametoindex(device)
    except (OSError, ValueError):
        return 0


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except (OSError, ValueError):
        return 0
