"""Attachments without a link, found by the program: XDP by netlink and filters of tc, in the network namespace of this process.

Nothing holds them and nothing is pinned for them, so whoever replaces or unloads a program has to look for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpfload.abi import consts
from bpfload.errors import BpfError

if TYPE_CHECKING:
    from bpfload.links.fallback import Fallback
    from bpfload.objects.program import Program

#: Types of programs that may be attached so.
TYPES = (consts.BPF_PROG_TYPE_XDP, consts.BPF_PROG_TYPE_SCHED_CLS)


def attachments_of(program: Program) -> list[Fallback]:
    """Return where a program is attached without a link; closing one of them leaves it in place. Raises KernelError."""
    info = program.info()
    if info.type == consts.BPF_PROG_TYPE_XDP:
        found = _on_devices(program, info.id)
    elif info.type == consts.BPF_PROG_TYPE_SCHED_CLS:
        found = _filters(program, info.id)
    else:
        found = []
    for each in found:
        each.keep()
    return found


def detach_all(program: Program) -> None:
    """Take a program off wherever it is attached without a link. Raises KernelError."""
    for each in attachments_of(program):
        with each:
            each.detach()


def _on_devices(program: Program, ident: int) -> list[Fallback]:
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


def _filters(program: Program, ident: int) -> list[Fallback]:
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
