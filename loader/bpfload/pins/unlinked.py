"""Attachments without a link, found by the program.

XDP by netlink, filters of tc and the flow dissector in the network namespace of this process; programs of the cgroups that this
process sees, and of sockmaps (Linux 5.17; before, the kernel can't be asked for those). Nothing holds them and nothing is pinned
for them, so whoever replaces or unloads a program has to look for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpfload.abi import consts
from bpfload.errors import BpfError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bpfload.links.fallback import Fallback
    from bpfload.objects.link_info import LinkInfo
    from bpfload.objects.program import Program


def attachments_of(program: Program) -> list[Fallback]:
    """Return where a program is attached without a link; closing one of them leaves it in place. Raises KernelError."""
    info = program.info()
    find = _FINDERS.get(info.type)
    found = find(program, info.id, info.type) if find is not None else []
    for each in found:
        each.keep()
    return found


def detach_all(program: Program) -> None:
    """Take a program off wherever it is attached without a link. Raises KernelError."""
    for each in attachments_of(program):
        with each:
            each.detach()


def _on_devices(program: Program, ident: int, _kind: int) -> list[Fallback]:
    from bpfload.links import xdp
    from bpfload.links.xdp_netlink import XdpAttachment
    from bpfload.syscall import netlink

    modes = {"driver": "native", "generic": "generic", "offload": "offload"}
    found: list[Fallback] = []
    for device in netlink.xdp_attachments():
        linked = {number for _, number in xdp.links_on(device.ifindex)}
        found += [
            XdpAttachment(program, device.ifindex, xdp.MODES.get(modes.get(mode, ""), 0))
            for mode, number in device.programs
            if number == ident and number not in linked
        ]
    return found


def _filters(program: Program, ident: int, _kind: int) -> list[Fallback]:
    from bpfload.links.tc import TcFilter
    from bpfload.syscall import netlink

    found: list[Fallback] = []
    for device in netlink.devices():
        for parent in (netlink.TC_H_CLSACT_INGRESS, netlink.TC_H_CLSACT_EGRESS):
            try:
                filters = netlink.tc_bpf_filters(device.ifindex, parent)
            except BpfError:  # a device without clsact, on some kernels
                continue
            found += [
                TcFilter(program, device.ifindex, parent, each.priority, each.handle) for each in filters if each.program == ident
            ]
    return found


def _in_cgroups(program: Program, ident: int, kind: int) -> list[Fallback]:
    from bpfload.links import cgroup

    links = _links_of(ident)
    if links is None:
        return []
    linked = {(info.number("cgroup_id"), info.number("attach_type")) for info in links}
    return list(cgroup.find_everywhere(program, ident, kind, linked))


def _in_namespace(program: Program, ident: int, kind: int) -> list[Fallback]:
    from bpfload.links import netns

    found = netns.find_own(program, ident, kind) if _links_of(ident) == [] else None
    return [found] if found is not None else []


def _in_sockmaps(program: Program, ident: int, kind: int) -> list[Fallback]:
    from bpfload.links import sockmap

    links = _links_of(ident)
    if links is None:
        return []
    linked = {(info.number("map_id"), info.number("attach_type")) for info in links}
    return list(sockmap.find_everywhere(program, ident, kind, linked))


def _links_of(ident: int) -> list[LinkInfo] | None:
    """Return all links of a program; None for a process that may not look at links, and so can't tell what has none."""
    from bpfload.errors import NotFoundError
    from bpfload.objects.link import Link
    from bpfload.syscall import bpf

    found = []
    number: int | None = 0
    try:
        while (number := bpf.link_get_next_id(number or 0)) is not None:
            try:
                with Link.from_id(number) as link:
                    info = link.info()
            except NotFoundError:
                continue
            if info.prog_id == ident:
                found.append(info)
    except BpfError:
        return None
    return found


_FINDERS: dict[int, Callable[[Program, int, int], list[Fallback]]] = {
    consts.BPF_PROG_TYPE_XDP: _on_devices,
    consts.BPF_PROG_TYPE_SCHED_CLS: _filters,
    consts.BPF_PROG_TYPE_CGROUP_SKB: _in_cgroups,
    consts.BPF_PROG_TYPE_CGROUP_SOCK: _in_cgroups,
    consts.BPF_PROG_TYPE_CGROUP_DEVICE: _in_cgroups,
    consts.BPF_PROG_TYPE_CGROUP_SYSCTL: _in_cgroups,
    consts.BPF_PROG_TYPE_CGROUP_SOCKOPT: _in_cgroups,
    consts.BPF_PROG_TYPE_CGROUP_SOCK_ADDR: _in_cgroups,
    consts.BPF_PROG_TYPE_SOCK_OPS: _in_cgroups,
    consts.BPF_PROG_TYPE_FLOW_DISSECTOR: _in_namespace,
    consts.BPF_PROG_TYPE_SK_MSG: _in_sockmaps,
    consts.BPF_PROG_TYPE_SK_SKB: _in_sockmaps,
}

#: Types of programs that may be attached so.
TYPES = tuple(_FINDERS)
