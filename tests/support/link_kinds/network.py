"""Rows of the table of attachments: devices, control groups, namespaces, sockets."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

from bpfload.abi import consts
from bpfload.btf.types import KIND_FUNC
from bpfload.insn.assemble import assemble, exit_, mov64_imm
from bpfload.links import Target
from bpfload.objects import Map, Program
from bpfload.spec import ProgramSpec
from bpfload.syscall import bpf
from support.link_kinds.kind import Kind, Place, kernel_type, load_for
from support.process import run
from support.programs import program_spec

SpecMaker = Callable[[str], ProgramSpec]
TargetMaker = Callable[[Place], Target]
Fields = dict[str, object]


def _spec_of(type_: int, attach_type: int, section: str, returns: int = 1) -> SpecMaker:
    def make(name: str) -> ProgramSpec:
        spec = program_spec(name, type_, section=section, attach_type=attach_type)
        spec.insns = assemble(mov64_imm(0, returns), exit_())
        return spec

    return make


# XDP, tc, tcx, netkit


def _device(**options: object) -> TargetMaker:
    return lambda place: Target(device=place.veth.device, **options)  # type: ignore[arg-type]


def _ifindex(place: Place, target: Target) -> Fields:
    return {"ifindex": socket.if_nametoindex(target.device)}


def _seen_by_ip(place: Place, target: Target) -> list[int]:
    (device,) = run("ip", "-j", "-d", "link", "show", "dev", target.device).json()
    xdp = device.get("xdp", {})
    return [xdp["prog"]["id"]] if "prog" in xdp else []


def _seen_by_tc(place: Place, target: Target) -> list[int]:
    filters = run("tc", "-j", "filter", "show", "dev", target.device, target.parent).json()
    return [each["options"]["prog"]["id"] for each in filters if "prog" in each.get("options", {})]


def _seen_at_device(attach_type: int) -> Callable[[Place, Target], list[int]]:
    return lambda place, target: bpf.prog_query(socket.if_nametoindex(target.device), attach_type)[0]


def _netkit(place: Place) -> Target:
    """A pair of netkit devices in the namespace of the test; the kernel calls the other end nk0."""
    _ = place.veth
    if "kit0" not in {name for _, name in socket.if_nameindex()}:
        run("ip", "link", "add", "kit0", "type", "netkit")
    return Target(device="kit0")


def _classifier(attach_type: int, section: str) -> SpecMaker:
    return _spec_of(consts.BPF_PROG_TYPE_SCHED_CLS, attach_type, section, 0)


_DEVICES = (
    *(
        Kind(
            f"xdp {mode}",
            program_spec,
            _device(mode=mode),
            consts.BPF_LINK_TYPE_XDP,
            ("xdp_link",),
            fields=_ifindex,
            seen=_seen_by_ip,
        )
        for mode in ("auto", "native", "generic")
    ),
    *(
        Kind(f"xdp {mode} by netlink", program_spec, _device(mode=mode, link=False), fields=_ifindex, seen=_seen_by_ip)
        for mode in ("auto", "native", "generic")
    ),
    *(
        Kind(
            f"tc {end}",
            _classifier(0, "tc"),
            _device(parent=end),
            needs=("clsact",),
            fields=_ifindex,
            seen=_seen_by_tc,
        )
        for end in ("ingress", "egress")
    ),
    *(
        Kind(
            f"tcx {end}",
            _classifier(attach_type, f"tcx/{end}"),
            _device(),
            consts.BPF_LINK_TYPE_TCX,
            ("tcx",),
            fields=lambda place, target, attach_type=attach_type: {"attach_type": attach_type, **_ifindex(place, target)},
            seen=_seen_at_device(attach_type),
        )
        for end, attach_type in (("ingress", consts.BPF_TCX_INGRESS), ("egress", consts.BPF_TCX_EGRESS))
    ),
    Kind(
        "tcx without link",
        _classifier(consts.BPF_TCX_INGRESS, "tcx/ingress"),
        _device(link=False),
        needs=("tcx",),
        fields=_ifindex,
        seen=_seen_at_device(consts.BPF_TCX_INGRESS),
    ),
    *(
        Kind(
            f"netkit {end}",
            _classifier(attach_type, f"netkit/{end}"),
            _netkit,
            consts.BPF_LINK_TYPE_NETKIT,
            ("netkit",),
            # The device that is told is the end's own.
            fields=lambda place, target, attach_type=attach_type: {"attach_type": attach_type},
            seen=_seen_at_device(attach_type),
        )
        for end, attach_type in (("primary", consts.BPF_NETKIT_PRIMARY), ("peer", consts.BPF_NETKIT_PEER))
    ),
)


# Control groups


def _cgroup(**options: object) -> TargetMaker:
    return lambda place: Target(cgroup=str(place.cgroup), **options)  # type: ignore[arg-type]


def _cgroup_fields(place: Place, target: Target) -> Fields:
    return {"cgroup_id": os.stat(target.cgroup).st_ino}


def _seen_in_cgroup(attach_type: int) -> Callable[[Place, Target], list[int]]:
    def look(place: Place, target: Target) -> list[int]:
        directory = os.open(target.cgroup, os.O_RDONLY)
        try:
            return bpf.prog_query(directory, attach_type)[0]
        finally:
            os.close(directory)

    return look


_CGROUP_HOOKS = (
    ("cgroup_skb/ingress", consts.BPF_PROG_TYPE_CGROUP_SKB, consts.BPF_CGROUP_INET_INGRESS),
    ("cgroup_skb/egress", consts.BPF_PROG_TYPE_CGROUP_SKB, consts.BPF_CGROUP_INET_EGRESS),
    ("cgroup/sock_create", consts.BPF_PROG_TYPE_CGROUP_SOCK, consts.BPF_CGROUP_INET_SOCK_CREATE),
    ("cgroup/sock_release", consts.BPF_PROG_TYPE_CGROUP_SOCK, consts.BPF_CGROUP_INET_SOCK_RELEASE),
    ("cgroup/post_bind4", consts.BPF_PROG_TYPE_CGROUP_SOCK, consts.BPF_CGROUP_INET4_POST_BIND),
    ("cgroup/bind4", consts.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, consts.BPF_CGROUP_INET4_BIND),
    ("cgroup/connect4", consts.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, consts.BPF_CGROUP_INET4_CONNECT),
    ("cgroup/connect6", consts.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, consts.BPF_CGROUP_INET6_CONNECT),
    ("cgroup/sendmsg4", consts.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, consts.BPF_CGROUP_UDP4_SENDMSG),
    ("cgroup/getsockopt", consts.BPF_PROG_TYPE_CGROUP_SOCKOPT, consts.BPF_CGROUP_GETSOCKOPT),
    ("cgroup/setsockopt", consts.BPF_PROG_TYPE_CGROUP_SOCKOPT, consts.BPF_CGROUP_SETSOCKOPT),
    ("cgroup/dev", consts.BPF_PROG_TYPE_CGROUP_DEVICE, consts.BPF_CGROUP_DEVICE),
    ("cgroup/sysctl", consts.BPF_PROG_TYPE_CGROUP_SYSCTL, consts.BPF_CGROUP_SYSCTL),
    ("sockops", consts.BPF_PROG_TYPE_SOCK_OPS, consts.BPF_CGROUP_SOCK_OPS),
)


def _load_lsm_cgroup(place: Place, spec: ProgramSpec) -> Program:
    return load_for(place, spec, kernel_type("bpf_lsm_socket_post_create", KIND_FUNC))


_CGROUPS = (
    *(
        Kind(
            section,
            _spec_of(type_, attach_type, section),
            _cgroup(),
            consts.BPF_LINK_TYPE_CGROUP,
            ("cgroup_link",),
            fields=lambda place, target, attach_type=attach_type: {"attach_type": attach_type, **_cgroup_fields(place, target)},
            seen=_seen_in_cgroup(attach_type),
        )
        for section, type_, attach_type in _CGROUP_HOOKS
    ),
    Kind(
        "lsm_cgroup",
        _spec_of(consts.BPF_PROG_TYPE_LSM, consts.BPF_LSM_CGROUP, "lsm_cgroup/socket_post_create"),
        _cgroup(),
        consts.BPF_LINK_TYPE_CGROUP,
        ("lsm_cgroup",),
        load=_load_lsm_cgroup,
        fields=_cgroup_fields,
    ),
    *(
        Kind(
            f"cgroup {name} without link",
            _spec_of(consts.BPF_PROG_TYPE_CGROUP_SKB, consts.BPF_CGROUP_INET_EGRESS, "cgroup_skb/egress"),
            _cgroup(link=False, **options),
            needs=("cgroup_bpf",),
            fields=_cgroup_fields,
            seen=_seen_in_cgroup(consts.BPF_CGROUP_INET_EGRESS),
        )
        for name, options in (("alone", {}), ("override", {"override": True}), ("multi", {"multi": True}))
    ),
)


# Namespaces, netfilter


def _namespace(**options: object) -> TargetMaker:
    return lambda place: Target(netns=str(place.veth.here.path), **options)  # type: ignore[arg-type]


def _namespace_fields(place: Place, target: Target) -> Fields:
    return {"netns_ino": os.stat(target.netns).st_ino}


def _seen_in_namespace(attach_type: int) -> Callable[[Place, Target], list[int]]:
    def look(place: Place, target: Target) -> list[int]:
        namespace = os.open(target.netns, os.O_RDONLY)
        try:
            return bpf.prog_query(namespace, attach_type)[0]
        finally:
            os.close(namespace)

    return look


def _netfilter(family: str, hook: str, priority: int) -> TargetMaker:
    def make(place: Place) -> Target:
        _ = place.veth
        return Target(family=family, hook=hook, priority=priority)

    return make


_FLOW_DISSECTOR = _spec_of(consts.BPF_PROG_TYPE_FLOW_DISSECTOR, consts.BPF_FLOW_DISSECTOR, "flow_dissector", 0)

_NAMESPACES = (
    Kind(
        "sk_lookup",
        _spec_of(consts.BPF_PROG_TYPE_SK_LOOKUP, consts.BPF_SK_LOOKUP, "sk_lookup"),
        _namespace(),
        consts.BPF_LINK_TYPE_NETNS,
        ("sk_lookup",),
        fields=_namespace_fields,
        seen=_seen_in_namespace(consts.BPF_SK_LOOKUP),
    ),
    Kind(
        "flow_dissector",
        _FLOW_DISSECTOR,
        _namespace(),
        consts.BPF_LINK_TYPE_NETNS,
        ("flow_dissector",),
        fields=_namespace_fields,
        seen=_seen_in_namespace(consts.BPF_FLOW_DISSECTOR),
    ),
    Kind(
        "flow_dissector without link",
        _FLOW_DISSECTOR,
        _namespace(link=False),
        needs=("flow_dissector",),
        fields=_namespace_fields,
        seen=_seen_in_namespace(consts.BPF_FLOW_DISSECTOR),
    ),
    *(
        Kind(
            f"netfilter {family} {hook}",
            _spec_of(consts.BPF_PROG_TYPE_NETFILTER, consts.BPF_NETFILTER, "netfilter"),
            _netfilter(family, hook, priority),
            consts.BPF_LINK_TYPE_NETFILTER,
            ("netfilter_link",),
            fields=lambda place, target, numbers=(pf, number, priority): dict(
                zip(("pf", "hooknum", "priority"), numbers, strict=True)
            ),
            update=False,
        )
        for family, hook, priority, pf, number in (("ip", "input", -128, 2, 1), ("ip6", "postrouting", 300, 10, 4))
    ),
)


# Sockets


def _sockmap(link: bool = True) -> TargetMaker:
    return lambda place: Target(map_fd=place.once("sockmap", _make_sockmap).fd, link=link)


def _make_sockmap() -> Map:
    return Map(bpf.map_create(consts.BPF_MAP_TYPE_SOCKMAP, 4, 4, 1))


def _sockmap_fields(place: Place, target: Target) -> Fields:
    return {"map_id": place.once("sockmap", _make_sockmap).info().id}


def _seen_in_sockmap(attach_type: int) -> Callable[[Place, Target], list[int]]:
    return lambda place, target: bpf.prog_query(target.map_fd, attach_type)[0]


def _plain_socket() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def _reuseport_socket() -> socket.socket:
    made = _plain_socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(("127.0.0.1", 0))
    return made


def _socket(make: Callable[[], socket.socket]) -> TargetMaker:
    return lambda place: Target(socket_fd=place.once("socket", make).fileno())


_SOCKMAP_PROGRAMS = (
    ("sk_msg", consts.BPF_PROG_TYPE_SK_MSG, consts.BPF_SK_MSG_VERDICT),
    ("sk_skb/stream_parser", consts.BPF_PROG_TYPE_SK_SKB, consts.BPF_SK_SKB_STREAM_PARSER),
    ("sk_skb/stream_verdict", consts.BPF_PROG_TYPE_SK_SKB, consts.BPF_SK_SKB_STREAM_VERDICT),
    ("sk_skb/verdict", consts.BPF_PROG_TYPE_SK_SKB, consts.BPF_SK_SKB_VERDICT),
)

_SOCKETS = (
    *(
        Kind(
            section,
            _spec_of(type_, attach_type, section),
            _sockmap(),
            consts.BPF_LINK_TYPE_SOCKMAP,
            ("sockmap_link",),
            fields=_sockmap_fields,
            seen=_seen_in_sockmap(attach_type),
        )
        for section, type_, attach_type in _SOCKMAP_PROGRAMS
    ),
    *(
        Kind(
            f"{section} without link",
            _spec_of(type_, attach_type, section),
            _sockmap(link=False),
            needs=("sockmap",),
            fields=_sockmap_fields,
        )
        for section, type_, attach_type in _SOCKMAP_PROGRAMS[:3]
    ),
    Kind("socket filter", _spec_of(consts.BPF_PROG_TYPE_SOCKET_FILTER, 0, "socket", 0), _socket(_plain_socket)),
    Kind(
        "sk_reuseport",
        _spec_of(consts.BPF_PROG_TYPE_SK_REUSEPORT, consts.BPF_SK_REUSEPORT_SELECT, "sk_reuseport"),
        _socket(_reuseport_socket),
        needs=("sk_reuseport",),
    ),
)

KINDS: tuple[Kind, ...] = (*_DEVICES, *_CGROUPS, *_NAMESPACES, *_SOCKETS)
