"""The links in the kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from bpfload.abi import consts
from bpfload.abi.names import ATTACH_TYPE_NAMES, LINK_TYPE_NAMES, name_of
from bpfload.inspect import devices, ids, perf
from bpfload.inspect.owners import Holders, Owner
from bpfload.inspect.programs import type_name as program_type_name
from bpfload.inspect.view import INLINE
from bpfload.objects.link import Link
from bpfload.objects.link_info import LinkInfo
from bpfload.objects.program import Program

_ITER_ORDERS = ("order_unspec", "self_only", "descendants_pre", "descendants_post", "ancestors_up")
_MAP_TARGETS = ("bpf_map_elem", "bpf_sk_storage_map")
_TASK_TARGETS = ("task", "task_file", "task_vma")


@dataclass(frozen=True, slots=True)
class RawTracepoint:
    """What a raw tracepoint's link is attached to. `cookie`: None for 0."""

    tp_name: str
    cookie: int | None


@dataclass(frozen=True, slots=True)
class Tracing:
    """A tracing link. `target_obj_id`: of the BTF object, or of the program that is replaced. `cookie`: None for 0."""

    prog_type: str | int
    attach_type: str | int
    target_obj_id: int
    target_btf_id: int
    cookie: int | None


@dataclass(frozen=True, slots=True)
class Cgroup:
    """A link to a cgroup."""

    cgroup_id: int
    attach_type: str | int


@dataclass(frozen=True, slots=True)
class IteratorTarget:
    """An iterator, and the map, thread, process or cgroup that it is bound to."""

    target_name: str
    map_id: int | None = None
    tid: int | None = None
    pid: int | None = None
    cgroup_id: int | None = None
    order: str | None = None


@dataclass(frozen=True, slots=True)
class NetworkNamespace:
    """A link to a network namespace."""

    netns_ino: int
    attach_type: str | int


@dataclass(frozen=True, slots=True)
class Netfilter:
    """A netfilter hook."""

    pf: int
    hook: int
    prio: int
    flags: int


@dataclass(frozen=True, slots=True)
class DeviceHook:
    """A hook of a network device (XDP, tcx, netkit). `devname`: "(detached)", "(unknown)" in another namespace."""

    devname: str
    ifindex: int
    attach_type: str | int | None = None


@dataclass(frozen=True, slots=True)
class Sockmap:
    """A link to a sockmap."""

    map_id: int
    attach_type: str | int


@dataclass(frozen=True, slots=True)
class StructOps:
    """A registered struct_ops map."""

    map_id: int


Details = (
    RawTracepoint
    | Tracing
    | Cgroup
    | IteratorTarget
    | NetworkNamespace
    | Netfilter
    | DeviceHook
    | Sockmap
    | StructOps
    | perf.KprobeMulti
    | perf.UprobeMulti
    | perf.Kprobe
    | perf.Uprobe
    | perf.Tracepoint
    | perf.Event
)


@dataclass(frozen=True, slots=True)
class LinkView:
    """One link, as `link show` shows it. `details`: what belongs to its type; None for types that this library doesn't know."""

    id: int
    type: str | int
    prog_id: int
    details: Details | None = field(default=None, metadata=INLINE)
    pinned: tuple[str, ...] | None = None
    bpf_cookie: int | None = None
    pids: tuple[Owner, ...] | None = None


def attach_type_name(number: int) -> str | int:
    """Return the name of an attach type, or its number where it has none here."""
    name = name_of(ATTACH_TYPE_NAMES, number)
    return number if name is None else name


def view(link: Link, holders: Holders) -> LinkView:
    """Return the view of a link. Raises KernelError."""
    info = link.info(arrays=True)
    make = _DETAILS.get(info.type)
    owners = holders.owners(info.id)
    # bpftool takes the cookie of a perf event from the iterator that finds the owners: it shows it along with them only.
    with_cookie = owners is not None and info.type == consts.BPF_LINK_TYPE_PERF_EVENT
    type_name = name_of(LINK_TYPE_NAMES, info.type)
    return LinkView(
        id=info.id,
        type=info.type if type_name is None else type_name,
        prog_id=info.prog_id,
        details=make(info) if make else None,
        pinned=holders.pinned(info.id),
        bpf_cookie=info.number("cookie") if with_cookie else None,
        pids=owners,
    )


def _attach_type(info: LinkInfo) -> str | int:
    return attach_type_name(info.number("attach_type"))


def _raw_tracepoint(info: LinkInfo) -> RawTracepoint:
    return RawTracepoint(info.text("tp_name"), info.number("cookie") or None)


def _tracing(info: LinkInfo) -> Tracing:
    with Program.from_id(info.prog_id) as program:
        prog_type = program_type_name(program.info().type)
    target, type_id = info.number("target_obj_id"), info.number("target_btf_id")
    return Tracing(prog_type, _attach_type(info), target, type_id, info.number("cookie") or None)


def _iterator(info: LinkInfo) -> IteratorTarget:
    target = info.text("target_name")
    if target in _MAP_TARGETS:
        return IteratorTarget(target, map_id=info.number("map_id"))
    if target in _TASK_TARGETS:
        tid = info.number("tid")
        return IteratorTarget(target, tid=tid or None, pid=None if tid else info.number("pid") or None)
    if target == "cgroup":
        order = name_of(_ITER_ORDERS, info.number("order")) or "unknown"
        return IteratorTarget(target, cgroup_id=info.number("cgroup_id"), order=order)
    return IteratorTarget(target)


def _netfilter(info: LinkInfo) -> Netfilter:
    return Netfilter(info.number("pf"), info.number("hooknum"), info.number("priority"), info.number("flags"))


def _device(info: LinkInfo) -> DeviceHook:
    ifindex = info.number("ifindex")
    name = devices.name_of(ifindex) or "(unknown)" if ifindex else "(detached)"
    return DeviceHook(name, ifindex, _attach_type(info) if "attach_type" in info.fields else None)


_DETAILS: dict[int, Callable[[LinkInfo], Details | None]] = {
    consts.BPF_LINK_TYPE_RAW_TRACEPOINT: _raw_tracepoint,
    consts.BPF_LINK_TYPE_TRACING: _tracing,
    consts.BPF_LINK_TYPE_CGROUP: lambda info: Cgroup(info.number("cgroup_id"), _attach_type(info)),
    consts.BPF_LINK_TYPE_ITER: _iterator,
    consts.BPF_LINK_TYPE_NETNS: lambda info: NetworkNamespace(info.number("netns_ino"), _attach_type(info)),
    consts.BPF_LINK_TYPE_NETFILTER: _netfilter,
    consts.BPF_LINK_TYPE_TCX: _device,
    consts.BPF_LINK_TYPE_NETKIT: _device,
    consts.BPF_LINK_TYPE_XDP: _device,
    consts.BPF_LINK_TYPE_SOCKMAP: lambda info: Sockmap(info.number("map_id"), _attach_type(info)),
    consts.BPF_LINK_TYPE_STRUCT_OPS: lambda info: StructOps(info.number("map_id")),
    consts.BPF_LINK_TYPE_KPROBE_MULTI: perf.kprobe_multi,
    consts.BPF_LINK_TYPE_UPROBE_MULTI: perf.uprobe_multi,
    consts.BPF_LINK_TYPE_PERF_EVENT: perf.perf_event,
}


# --- finding --------------------------------------------------------------------------------------------------------


def every() -> Iterator[Link]:
    """Yield every link, each closed when the next is asked for. Raises KernelError, naming the missing capability."""
    return ids.every(Link.from_id, "link")


def find(kind: str, value: str) -> list[Link]:
    """Open the link that a selector means: `kind` is "id" or "pinned". Raises NotFoundError, UsageError, PinError."""
    return [Link.from_id(ids.number(value)) if kind == "id" else Link.from_pin(value)]
