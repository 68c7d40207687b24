"""Network devices by netlink: what XDP and tc programs they run, and attaching XDP without a link.

The only module that imports pyroute2, which takes longer than everything else that a command does.

Source: include/uapi/linux/if_link.h (IFLA_XDP_*), pkt_cls.h (TCA_BPF_*), tc_act/tc_bpf.h (TCA_ACT_BPF_*).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from bpfload.errors import KernelError

TC_H_ROOT = 0xFFFFFFFF
TC_H_CLSACT_INGRESS = 0xFFFFFFF2
TC_H_CLSACT_EGRESS = 0xFFFFFFF3

# The attribute that has the program's id, by the mode that it runs in; IFLA_XDP_PROG_ID stands for the only one.
_XDP_IDS = (
    ("generic", "IFLA_XDP_SKB_PROG_ID"),
    ("driver", "IFLA_XDP_DRV_PROG_ID"),
    ("offload", "IFLA_XDP_HW_PROG_ID"),
)
# IFLA_XDP_ATTACHED, as pyroute2 spells XDP_ATTACHED_*.
_XDP_MODES = {"xdpgeneric": "generic", "xdp": "driver", "xdpoffload": "offload"}
_XDP_MULTI = "xdpmulti"

# Attributes that pyroute2 may not have names for: their numbers.
_TCA_BPF_ACT, _TCA_BPF_NAME, _TCA_BPF_ID = 1, 7, 11
_TCA_ACT_BPF_NAME, _TCA_ACT_BPF_ID = 6, 9


@dataclass(frozen=True, slots=True)
class XdpAttachment:
    """What XDP programs a device runs: `programs` (mode, program id); `multi`: the kernel says that there may be several."""

    ifindex: int
    name: str
    multi: bool
    programs: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class NetDevice:
    """A network device. `xdp`: None where it runs no XDP program."""

    ifindex: int
    name: str
    xdp: XdpAttachment | None


@dataclass(frozen=True, slots=True)
class TcNode:
    """A qdisc or class that filters may hang on."""

    handle: int
    kind: str


@dataclass(frozen=True, slots=True)
class TcFilter:
    """A BPF filter of tc.

    `program`: its id, None on kernels that don't tell. `actions`: (name, program id) of its BPF actions.
    """

    name: str | None
    program: int | None
    actions: tuple[tuple[str | None, int | None], ...] | None


@contextmanager
def _netlink(call: str) -> Iterator[IPRoute]:
    """Open a netlink socket; what the kernel refuses is raised as KernelError, with its own words where it has any."""
    try:
        with IPRoute(ext_ack=True) as socket:
            yield socket
    except NetlinkError as error:
        said = error.args[1] if len(error.args) > 1 and isinstance(error.args[1], str) else ""
        raise KernelError(call, abs(error.code), f"{call}: {said}" if said else "") from None
    except OSError as error:
        raise KernelError(call, error.errno or 0) from None


# --- XDP ------------------------------------------------------------------------------------------------------------


def devices() -> list[NetDevice]:
    """Return the network devices of this network namespace, in the kernel's order. Raises KernelError."""
    with _netlink("RTM_GETLINK") as socket:
        return [_device(message) for message in socket.link("dump")]


def _device(message: Any) -> NetDevice:
    ifindex, name = message["index"], message.get_attr("IFLA_IFNAME") or ""
    xdp = message.get_attr("IFLA_XDP")
    mode = xdp.get_attr("IFLA_XDP_ATTACHED") if xdp else None
    if not mode:
        return NetDevice(ifindex, name, None)
    if mode == _XDP_MULTI:
        found = [(label, xdp.get_attr(attribute)) for label, attribute in _XDP_IDS]
    else:
        found = [(_XDP_MODES.get(mode, str(mode)), xdp.get_attr("IFLA_XDP_PROG_ID"))]
    programs = tuple((label, program) for label, program in found if program is not None)
    return NetDevice(ifindex, name, XdpAttachment(ifindex, name, mode == _XDP_MULTI, programs))


def xdp_attachments(ifindex: int | None = None) -> list[XdpAttachment]:
    """Return what XDP programs run, on one device or on all. Raises KernelError."""
    wanted = [device for device in devices() if ifindex in (None, device.ifindex)]
    return [device.xdp for device in wanted if device.xdp is not None]


def xdp_set(ifindex: int, prog_fd: int, flags: int) -> None:
    """Attach an XDP program to a device without a link; `prog_fd` -1 detaches. `flags`: XDP_FLAGS_*. Raises KernelError."""
    attributes = [("IFLA_XDP_FD", prog_fd), ("IFLA_XDP_FLAGS", {"value": flags})]
    with _netlink("RTM_SETLINK") as socket:
        socket.link("set", index=ifindex, xdp={"attrs": attributes})


# --- tc -------------------------------------------------------------------------------------------------------------


def tc_classes(ifindex: int) -> list[TcNode]:
    """Return the classes of a device's qdiscs. Raises KernelError."""
    with _netlink("RTM_GETTCLASS") as socket:
        return _nodes(socket.get_classes(index=ifindex), ifindex)


def tc_qdiscs(ifindex: int) -> list[TcNode]:
    """Return a device's qdiscs. Raises KernelError."""
    with _netlink("RTM_GETQDISC") as socket:
        return _nodes(socket.get_qdiscs(index=ifindex), ifindex)


def _nodes(messages: Iterable[Any], ifindex: int) -> list[TcNode]:
    return [
        TcNode(message["handle"], message.get_attr("TCA_KIND") or "unknown")
        for message in messages
        if message["index"] == ifindex
    ]


def tc_bpf_filters(ifindex: int, parent: int) -> list[TcFilter]:
    """Return the BPF filters below a handle of a device. Raises KernelError."""
    with _netlink("RTM_GETTFILTER") as socket:
        found = []
        for message in socket.get_filters(index=ifindex, parent=parent):
            options = message.get_attr("TCA_OPTIONS")
            if message.get_attr("TCA_KIND") == "bpf" and options is not None:
                name, program = _attribute(options, "TCA_BPF_NAME", _TCA_BPF_NAME), _number(options, "TCA_BPF_ID", _TCA_BPF_ID)
                found.append(TcFilter(name, program, _actions(_attribute(options, "TCA_BPF_ACT", _TCA_BPF_ACT))))
        return found


def _actions(actions: Any) -> tuple[tuple[str | None, int | None], ...] | None:
    """Return the (name, program id) of a filter's BPF actions; None where it has no actions at all."""
    if actions is None:
        return None
    found = []
    for action in actions.get("attrs", ()):
        options = action[1].get_attr("TCA_ACT_OPTIONS")
        if action[1].get_attr("TCA_ACT_KIND") == "bpf" and options is not None:
            name = _attribute(options, "TCA_ACT_BPF_NAME", _TCA_ACT_BPF_NAME)
            found.append((name, _number(options, "TCA_ACT_BPF_ID", _TCA_ACT_BPF_ID)))
    return tuple(found)


def _attribute(message: Any, name: str, number: int) -> Any:
    """Return an attribute; where pyroute2 has no name for it, its bytes."""
    value = message.get_attr(name)
    if value is not None:
        return value
    for attribute in message.get("attrs", ()):
        if attribute[0] == "UNKNOWN" and attribute[1]["header"]["type"] == number:
            raw = attribute[1]
            return bytes(raw.data[raw.offset + 4 : raw.offset + raw.length])
    return None


def _number(message: Any, name: str, number: int) -> int | None:
    """Return an attribute that is a 32-bit number."""
    import sys

    value = _attribute(message, name, number)
    return int.from_bytes(value, sys.byteorder) if isinstance(value, bytes) else value
