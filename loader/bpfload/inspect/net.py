"""What is attached to network devices: XDP, tc, and the hooks of the network namespace that have no device."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass

from bpfload.abi import consts
from bpfload.abi.consts import CAP_NET_ADMIN
from bpfload.dispatcher.chain import read_chain
from bpfload.errors import BpfError, KernelError, NotFoundError, near
from bpfload.inspect import links, programs
from bpfload.kernel.capabilities import permission_hint
from bpfload.objects.program import Program
from bpfload.syscall import bpf, netlink

_TC_HOOKS = (
    (consts.BPF_TCX_INGRESS, "tcx/ingress"),
    (consts.BPF_TCX_EGRESS, "tcx/egress"),
    (consts.BPF_NETKIT_PRIMARY, "netkit/primary"),
    (consts.BPF_NETKIT_PEER, "netkit/peer"),
)
_TC_ROOTS = (
    (netlink.TC_H_ROOT, "root"),
    (netlink.TC_H_CLSACT_INGRESS, "clsact/ingress"),
    (netlink.TC_H_CLSACT_EGRESS, "clsact/egress"),
)


@dataclass(frozen=True, slots=True)
class XdpMode:
    """A program and the mode that it runs in: "generic", "driver" or "offload"."""

    mode: str
    id: int


@dataclass(frozen=True, slots=True)
class ChainProgram:
    """One of several XDP programs on a device, in their order. `id`: None where it isn't pinned where libxdp pins it.

    `priority`: the lowest runs first. `actions`: what it returns for the next one to run as well.
    """

    id: int | None
    name: str | None
    tag: str | None
    priority: int
    actions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Xdp:
    """The XDP program of a device; `multi_attachments` where it runs several, in different modes.

    `chain`: what the program runs, where it is a dispatcher for several; bpftool doesn't show that.
    """

    devname: str
    ifindex: int
    multi_attachments: tuple[XdpMode, ...] | None
    mode: str | None
    id: int | None
    chain: tuple[ChainProgram, ...] | None = None


@dataclass(frozen=True, slots=True)
class TcHook:
    """A program at a tcx or netkit hook, one of several in a row. Flags: one number for each that is set.

    `link_id`: 0 where it was attached without a link.
    """

    devname: str
    ifindex: int
    kind: str
    name: str | None
    prog_id: int
    prog_flags: tuple[int, ...]
    link_id: int
    link_flags: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TcAction:
    """A BPF action of a filter."""

    name: str | None
    id: int | None


@dataclass(frozen=True, slots=True)
class TcFilter:
    """A classic BPF filter. `kind`: of the qdisc or class that it hangs on, or "root", "clsact/ingress", "clsact/egress"."""

    devname: str
    ifindex: int
    kind: str
    name: str | None
    id: int | None
    act: tuple[TcAction, ...] | None


@dataclass(frozen=True, slots=True)
class FlowDissector:
    """The flow dissector of the network namespace."""

    id: int


@dataclass(frozen=True, slots=True)
class NetfilterHook:
    """A netfilter link."""

    pf: int
    hook: int
    prio: int
    flags: int
    id: int


@dataclass(frozen=True, slots=True)
class NetView:
    """Everything that is attached in this network namespace, as `net show` shows it."""

    xdp: tuple[Xdp, ...]
    tc: tuple[TcHook | TcFilter, ...]
    flow_dissector: tuple[FlowDissector, ...]
    netfilter: tuple[NetfilterHook, ...]


def view(ifindex: int | None = None) -> NetView:
    """Return the view of this network namespace, of XDP and tc only one device's if `ifindex` is given. Raises KernelError."""
    dissector = tuple(_flow_dissector())
    devices = [device for device in netlink.devices() if ifindex in (None, device.ifindex)]
    return NetView(
        tuple(_xdp(device.xdp) for device in devices if device.xdp),
        tuple(row for device in devices for row in _tc(device)),
        dissector,
        tuple(sorted(_netfilter(), key=lambda hook: (hook.pf, hook.hook, hook.prio, hook.flags))),
    )


def index_of(name: str) -> int:
    """Return the number of the device of that name. Raises NotFoundError with near matches."""
    import socket

    try:
        return socket.if_nametoindex(name)
    except OSError:
        known = [found for _, found in socket.if_nameindex()]
        raise NotFoundError(
            f"no network device is called {name!r} here", candidates=near(name, known), errno_code=errno.ENODEV
        ) from None


def _xdp(found: netlink.XdpAttachment) -> Xdp:
    if found.multi:
        return Xdp(found.name, found.ifindex, tuple(XdpMode(mode, ident) for mode, ident in found.programs), None, None)
    mode, ident = found.programs[0] if found.programs else (None, None)
    chain = _chain(found.ifindex, mode, ident) if mode is not None and ident is not None else None
    return Xdp(found.name, found.ifindex, None, mode, ident, chain)


def _chain(ifindex: int, mode: str, ident: int) -> tuple[ChainProgram, ...] | None:
    """Return the programs that a dispatcher runs; None for a program that is none."""
    found = read_chain(ifindex, mode, ident)
    if found is None:
        return None
    return tuple(ChainProgram(one.id, one.name or None, one.tag or None, one.priority, one.actions) for one in found.programs)


# --- tc -------------------------------------------------------------------------------------------------------------


def _tc(device: netlink.NetDevice) -> Iterator[TcHook | TcFilter]:
    for attach_type, kind in _TC_HOOKS:
        yield from _tc_hook(device, attach_type, kind)
    try:
        yield from _tc_filters(device)
    except KernelError:
        # A device, or a qdisc of it, went meanwhile; or tc isn't built into this kernel.
        return


def _tc_hook(device: netlink.NetDevice, attach_type: int, kind: str) -> Iterator[TcHook]:
    try:
        found, _, flags, link_ids, link_flags = bpf.prog_query(device.ifindex, attach_type)
    except KernelError:
        return
    for prog_id, its_flags, link_id, its_link_flags in zip(found, flags, link_ids, link_flags, strict=True):
        name = _program_name(prog_id)
        yield TcHook(device.name, device.ifindex, kind, name, prog_id, _bits(its_flags), link_id, _bits(its_link_flags))


def _bits(flags: int) -> tuple[int, ...]:
    return tuple(1 << bit for bit in range(32) if flags >> bit & 1)


def _program_name(ident: int) -> str | None:
    try:
        with Program.from_id(ident) as program:
            return programs.full_name(program, program.info()) or None
    except BpfError:
        return None


def _tc_filters(device: netlink.NetDevice) -> Iterator[TcFilter]:
    nodes = [(node.handle, node.kind) for node in netlink.tc_classes(device.ifindex)]
    nodes += [(node.handle, node.kind) for node in netlink.tc_qdiscs(device.ifindex) if node.handle and node.kind != "clsact"]
    for handle, kind in (*nodes, *_TC_ROOTS):
        for found in netlink.tc_bpf_filters(device.ifindex, handle):
            actions = None if found.actions is None else tuple(TcAction(*action) for action in found.actions)
            yield TcFilter(device.name, device.ifindex, kind, found.name, found.program, actions)


# --- the network namespace ------------------------------------------------------------------------------------------


def _flow_dissector() -> Iterator[FlowDissector]:
    namespace = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        found = bpf.prog_query(namespace, consts.BPF_FLOW_DISSECTOR)[0]
    except KernelError as error:
        if error.errno == errno.EPERM:
            hint = permission_hint(CAP_NET_ADMIN)
            raise KernelError(error.call, errno.EPERM, "asking for the flow dissector was refused", hint=hint) from None
        # Linux before 5.3 can't be asked.
        if error.errno != errno.EINVAL:
            raise
        return
    finally:
        os.close(namespace)
    yield from (FlowDissector(ident) for ident in found[:1])


def _netfilter() -> Iterator[NetfilterHook]:
    for link in links.every():
        info = link.info()
        if info.type == consts.BPF_LINK_TYPE_NETFILTER:
            hook, priority = info.number("hooknum"), info.number("priority")
            yield NetfilterHook(info.number("pf"), hook, priority, info.number("flags"), info.prog_id)
