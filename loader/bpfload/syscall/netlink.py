"""Network devices by netlink: what XDP and tc programs they run, and attaching XDP without a link.

The only module that imports pyroute2, which takes longer than everything else that a command does.

Source: include/uapi/linux/if_link.h (IFLA_XDP_*), pkt_cls.h (TCA_BPF_*), tc_act/tc_bpf.h (TCA_ACT_BPF_*).
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from socket import htons
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink import NLM_F_ACK, NLM_F_CREATE, NLM_F_ECHO, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import RTM_DELQDISC, RTM_DELTFILTER, RTM_NEWQDISC, RTM_NEWTFILTER
from pyroute2.netlink.rtnl.tcmsg import tcmsg

from bpfload.errors import KernelError

TC_H_ROOT = 0xFFFFFFFF
TC_H_CLSACT = 0xFFFFFFF1
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
_TCA_BPF_FLAG_ACT_DIRECT = 1
_ETH_P_ALL = 3


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

    `program`: its id, None on kernels that don't tell. `actions`: (name, program id) of its BPF actions. `priority`, `handle`:
    which of the filters below its parent it is.
    """

    name: str | None
    program: int | None
    actions: tuple[tuple[str | None, int | None], ...] | None
    priority: int = 0
    handle: int = 0


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


def xdp_set(ifindex: int, prog_fd: int, flags: int, *, expected_fd: int | None = None) -> None:
    """Attach an XDP program to a device without a link; `prog_fd` -1 detaches. `flags`: XDP_FLAGS_*. Raises KernelError.

    `expected_fd`, with XDP_FLAGS_REPLACE (Linux 5.7): only if that program is attached now, -1: only if none is; else EEXIST.
    """
    attributes: list[tuple[str, Any]] = [("IFLA_XDP_FD", prog_fd), ("IFLA_XDP_FLAGS", {"value": flags})]
    if expected_fd is not None:
        attributes.append(("IFLA_XDP_EXPECTED_FD", expected_fd))
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
                actions = _actions(_attribute(options, "TCA_BPF_ACT", _TCA_BPF_ACT))
                found.append(TcFilter(name, program, actions, message["info"] >> 16, message["handle"]))
        return found


def tc_has_filters(ifindex: int, parent: int) -> bool:
    """Whether any filter, of whatever kind, hangs below a handle of a device. Raises KernelError."""
    with _netlink("RTM_GETTFILTER") as socket:
        return any(message["index"] == ifindex for message in socket.get_filters(index=ifindex, parent=parent))


def clsact_create(ifindex: int) -> bool:
    """Give a device the qdisc that filters hang on; return False where it has one already. Raises KernelError."""
    try:
        with _netlink("RTM_NEWQDISC") as socket:
            _request(socket, _clsact(ifindex), RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL)
    except KernelError as error:
        if error.errno == errno.EEXIST:
            return False
        raise
    return True


def clsact_delete(ifindex: int) -> None:
    """Take that qdisc off again, with every filter that hangs on it. Raises KernelError."""
    with _netlink("RTM_DELQDISC") as socket:
        _request(socket, _clsact(ifindex), RTM_DELQDISC, 0)


def _clsact(ifindex: int) -> Any:
    message = tcmsg()
    message["index"], message["parent"], message["handle"] = ifindex, TC_H_CLSACT, TC_H_CLSACT & 0xFFFF0000
    message["attrs"] = [("TCA_KIND", "clsact")]
    return message


def tc_filter_add(
    ifindex: int, parent: int, prog_fd: int, name: str, *, priority: int = 0, handle: int = 0, replace: bool = False
) -> tuple[int, int]:
    """Hang a BPF program on a qdisc as a direct-action filter for all protocols; return (priority, handle).

    `priority`, `handle`: 0: the kernel chooses. `replace`: instead of the filter that is there, at once; otherwise one that is
    there is EEXIST. Raises KernelError.
    """
    message = _filter(ifindex, parent, priority, handle)
    options = [("TCA_BPF_FD", prog_fd), ("TCA_BPF_NAME", name), ("TCA_BPF_FLAGS", _TCA_BPF_FLAG_ACT_DIRECT)]
    message["attrs"].append(("TCA_OPTIONS", {"attrs": options}))
    with _netlink("RTM_NEWTFILTER") as socket:
        # Echoed, the message has what the kernel chose.
        flags = NLM_F_REPLACE if replace else NLM_F_CREATE | NLM_F_EXCL
        for answer in _request(socket, message, RTM_NEWTFILTER, NLM_F_ECHO | flags):
            if answer["header"]["type"] == RTM_NEWTFILTER:
                return answer["info"] >> 16, answer["handle"]
    return priority, handle


def tc_filter_delete(ifindex: int, parent: int, priority: int, handle: int) -> None:
    """Take one BPF filter off. Raises KernelError, ENOENT where it isn't there."""
    with _netlink("RTM_DELTFILTER") as socket:
        _request(socket, _filter(ifindex, parent, priority, handle), RTM_DELTFILTER, 0)


def _filter(ifindex: int, parent: int, priority: int, handle: int) -> Any:
    message = tcmsg()
    message["index"], message["parent"], message["handle"] = ifindex, parent, handle
    message["info"] = priority << 16 | htons(_ETH_P_ALL)
    message["attrs"] = [("TCA_KIND", "bpf")]
    return message


def _request(socket: IPRoute, message: Any, kind: int, flags: int) -> list[Any]:
    """Send one message and return the answers, once the kernel has acknowledged it."""
    message["header"]["type"], message["header"]["flags"] = kind, NLM_F_REQUEST | NLM_F_ACK | flags
    return list(socket.nlm_request_batch([message]))


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
