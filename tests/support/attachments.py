"""Links of every kind that a kernel without kprobes can have, made by bare system calls: something to look at."""

from __future__ import annotations

import ctypes
import os
import platform
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from struct import pack

from bpfload.abi import consts
from bpfload.btf.types import KIND_FUNC
from bpfload.kernel import btf
from bpfload.objects import Link, Map, Program
from bpfload.syscall import bpf
from support.programs import load_spec, program_spec

_PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}
_PERF_TYPE_SOFTWARE, _PERF_TYPE_TRACEPOINT, _PERF_TYPE_HW_CACHE = 1, 2, 3


@dataclass
class Place:
    """Where links may go: a network device and a cgroup of the test's own."""

    ifindex: int
    cgroup: Path


def perf_event_open(kind: int, config: int) -> int:
    attributes = pack("=IIQQQQQII", kind, 112, config, 0, 0, 0, 0, 0, 0).ljust(112, b"\0")
    number = _PERF_EVENT_OPEN[platform.machine()]
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(number, attributes, -1, 0, -1, 8)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "perf_event_open")
    return int(fd)


def _program(stack: ExitStack, type_: int, attach_type: int = 0, *, btf_name: str = "", flags: int = 0) -> Program:
    spec = program_spec("lookable", type_, attach_type=attach_type)
    spec.flags = flags
    ident = btf.vmlinux().find(btf_name, KIND_FUNC) if btf_name else 0
    return stack.enter_context(load_spec(spec, attach_btf_id=ident))


def _raw_tracepoint(stack: ExitStack, place: Place) -> int:
    return bpf.raw_tracepoint_open(_program(stack, consts.BPF_PROG_TYPE_RAW_TRACEPOINT).fd, "task_rename")


def _cgroup(stack: ExitStack, place: Place) -> int:
    program = _program(stack, consts.BPF_PROG_TYPE_CGROUP_SKB, consts.BPF_CGROUP_INET_EGRESS)
    return _at_path(program, str(place.cgroup), consts.BPF_CGROUP_INET_EGRESS)


def _at_path(program: Program, path: str, attach_type: int) -> int:
    target = os.open(path, os.O_RDONLY)
    try:
        return bpf.link_create(program.fd, target, attach_type)
    finally:
        os.close(target)


def _sk_lookup(stack: ExitStack, place: Place) -> int:
    program = _program(stack, consts.BPF_PROG_TYPE_SK_LOOKUP, consts.BPF_SK_LOOKUP)
    return _at_path(program, "/proc/thread-self/ns/net", consts.BPF_SK_LOOKUP)


def _flow_dissector(stack: ExitStack, place: Place) -> int:
    program = _program(stack, consts.BPF_PROG_TYPE_FLOW_DISSECTOR, consts.BPF_FLOW_DISSECTOR)
    return _at_path(program, "/proc/thread-self/ns/net", consts.BPF_FLOW_DISSECTOR)


def _xdp(stack: ExitStack, place: Place) -> int:
    return bpf.link_create(_program(stack, consts.BPF_PROG_TYPE_XDP).fd, place.ifindex, consts.BPF_XDP)


def _tcx_ingress(stack: ExitStack, place: Place) -> int:
    return bpf.link_create(_program(stack, consts.BPF_PROG_TYPE_SCHED_CLS).fd, place.ifindex, consts.BPF_TCX_INGRESS)


def _tcx_egress(stack: ExitStack, place: Place) -> int:
    return bpf.link_create(_program(stack, consts.BPF_PROG_TYPE_SCHED_CLS).fd, place.ifindex, consts.BPF_TCX_EGRESS)


def _netfilter(stack: ExitStack, place: Place, family: int = 2, hook: int = 1, priority: int = -128) -> int:
    program = _program(stack, consts.BPF_PROG_TYPE_NETFILTER, consts.BPF_NETFILTER)
    extra = pack("=IIiI", family, hook, priority, 0)
    return bpf.link_create(program.fd, 0, consts.BPF_NETFILTER, extra=extra)


def _netfilter_ip6(stack: ExitStack, place: Place) -> int:
    return _netfilter(stack, place, 10, 4, 300)


def _iterator(stack: ExitStack, target: str, info: bytes = b"") -> int:
    program = _program(stack, consts.BPF_PROG_TYPE_TRACING, consts.BPF_TRACE_ITER, btf_name=f"bpf_iter_{target}")
    extra = pack("=QI", bpf.address(info), len(info)) if info else b""
    return bpf.link_create(program.fd, 0, consts.BPF_TRACE_ITER, extra=extra)


def _iter_bpf_prog(stack: ExitStack, place: Place) -> int:
    return _iterator(stack, "bpf_prog")


def _iter_task(stack: ExitStack, place: Place) -> int:
    return _iterator(stack, "task", pack("=III", os.getpid(), 0, 0))


def _iter_task_process(stack: ExitStack, place: Place) -> int:
    return _iterator(stack, "task_file", pack("=III", 0, os.getpid(), 0))


def _iter_cgroup(stack: ExitStack, place: Place) -> int:
    folder = os.open(place.cgroup, os.O_RDONLY)
    stack.callback(os.close, folder)
    return _iterator(stack, "cgroup", pack("=IIQ", consts.BPF_CGROUP_ITER_DESCENDANTS_PRE, folder, 0))


def _iter_map(stack: ExitStack, place: Place) -> int:
    item = stack.enter_context(Map(bpf.map_create(consts.BPF_MAP_TYPE_ARRAY, 4, 4, 1)))
    return _iterator(stack, "bpf_map_elem", pack("=I", item.fd))


def _sockmap(stack: ExitStack, place: Place) -> int:
    item = stack.enter_context(Map(bpf.map_create(consts.BPF_MAP_TYPE_SOCKMAP, 4, 4, 1, name="lookable")))
    program = _program(stack, consts.BPF_PROG_TYPE_SK_SKB, consts.BPF_SK_SKB_VERDICT)
    return bpf.link_create(program.fd, item.fd, consts.BPF_SK_SKB_VERDICT)


def _perf(stack: ExitStack, kind: int, config: int, prog_type: int, cookie: int = 0) -> int:
    event = perf_event_open(kind, config)
    stack.callback(os.close, event)
    program = _program(stack, prog_type)
    return bpf.link_create(program.fd, event, consts.BPF_PERF_EVENT, extra=pack("=Q", cookie))


def _perf_software(stack: ExitStack, place: Place) -> int:
    return _perf(stack, _PERF_TYPE_SOFTWARE, 0, consts.BPF_PROG_TYPE_PERF_EVENT, 17)


def _perf_tracepoint(stack: ExitStack, place: Place) -> int:
    ident = int(Path("/sys/kernel/tracing/events/sched/sched_switch/id").read_text())
    return _perf(stack, _PERF_TYPE_TRACEPOINT, ident, consts.BPF_PROG_TYPE_TRACEPOINT)


def _perf_tracepoint_cookie(stack: ExitStack, place: Place) -> int:
    ident = int(Path("/sys/kernel/tracing/events/sched/sched_switch/id").read_text())
    return _perf(stack, _PERF_TYPE_TRACEPOINT, ident, consts.BPF_PROG_TYPE_TRACEPOINT, 3)


def _uprobe(stack: ExitStack, place: Place, flags: int = 0) -> int:
    kind = int(Path("/sys/bus/event_source/devices/uprobe/type").read_text())
    path = ctypes.create_string_buffer(b"/bin/true")
    attributes = pack("=IIQQQQQIIQQ", kind, 112, flags, 0, 0, 0, 0, 0, 0, ctypes.addressof(path), 0x40).ljust(112, b"\0")
    libc = ctypes.CDLL(None, use_errno=True)
    event = libc.syscall(_PERF_EVENT_OPEN[platform.machine()], attributes, -1, 0, -1, 8)
    if event < 0:
        raise OSError(ctypes.get_errno(), "perf_event_open")
    stack.callback(os.close, event)
    program = _program(stack, consts.BPF_PROG_TYPE_KPROBE)
    return bpf.link_create(program.fd, event, consts.BPF_PERF_EVENT, extra=pack("=Q", 9))


def _uretprobe(stack: ExitStack, place: Place) -> int:
    return _uprobe(stack, place, 1)


def _uprobe_multi(stack: ExitStack, place: Place, flags: int = 0) -> int:
    program = _program(stack, consts.BPF_PROG_TYPE_KPROBE, consts.BPF_TRACE_UPROBE_MULTI)
    path, offsets, cookies = b"/bin/true\0", pack("=QQ", 0x40, 0x80), pack("=QQ", 5, 0)
    arrays = (bpf.address(path), bpf.address(offsets), 0, bpf.address(cookies))
    return bpf.link_create(program.fd, 0, consts.BPF_TRACE_UPROBE_MULTI, extra=pack("=QQQQIII", *arrays, 2, flags, 0))


def _uretprobe_multi(stack: ExitStack, place: Place) -> int:
    return _uprobe_multi(stack, place, consts.BPF_F_UPROBE_MULTI_RETURN)


#: What makes each link, by a name of ours; the features that it needs of the kernel.
KINDS = {
    "raw_tracepoint": (_raw_tracepoint, ("raw_tracepoint_link",)),
    "cgroup": (_cgroup, ("cgroup_link",)),
    "sk_lookup": (_sk_lookup, ("sk_lookup",)),
    "flow_dissector": (_flow_dissector, ("flow_dissector", "link_info")),
    "xdp": (_xdp, ("xdp_link",)),
    "tcx_ingress": (_tcx_ingress, ("tcx",)),
    "tcx_egress": (_tcx_egress, ("tcx",)),
    "netfilter": (_netfilter, ("netfilter_link",)),
    "netfilter_ip6": (_netfilter_ip6, ("netfilter_link",)),
    "iter": (_iter_bpf_prog, ("iter",)),
    "iter_task": (_iter_task, ("iter",)),
    "iter_process": (_iter_task_process, ("iter",)),
    "iter_cgroup": (_iter_cgroup, ("iter", "cgroup_bpf")),
    "iter_map": (_iter_map, ("iter",)),
    "sockmap": (_sockmap, ("sockmap_link",)),
    "perf_software": (_perf_software, ("perf_link",)),
    "perf_tracepoint": (_perf_tracepoint, ("perf_link",)),
    "perf_tracepoint_cookie": (_perf_tracepoint_cookie, ("perf_link",)),
    "uprobe": (_uprobe, ("uprobe", "perf_link")),
    "uretprobe": (_uretprobe, ("uprobe", "perf_link")),
    "uprobe_multi": (_uprobe_multi, ("uprobe_multi",)),
    "uretprobe_multi": (_uretprobe_multi, ("uprobe_multi",)),
}


@contextmanager
def link_of(kind: str, place: Place) -> Iterator[Link]:
    """Make a link of that kind, and hold it by one fd."""
    with ExitStack() as stack:
        yield stack.enter_context(Link(KINDS[kind][0](stack, place)))


@contextmanager
def listening_socket() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(1)
        yield listening
