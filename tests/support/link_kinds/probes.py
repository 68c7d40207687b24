"""Rows of the table of attachments: probes, tracepoints and perf events."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import bpfload
from bpfload.abi import consts
from bpfload.elf.userbinary import UserBinary
from bpfload.kernel import syscalls
from bpfload.links import Target
from bpfload.objects import Program
from bpfload.spec import ProgramSpec
from support import traced
from support.features import why_missing
from support.link_kinds.kind import Kind, Place
from support.programs import program_spec, raw_tracepoint_spec

_PERF = consts.BPF_LINK_TYPE_PERF_EVENT
_KPROBE_MULTI, _UPROBE_MULTI = consts.BPF_LINK_TYPE_KPROBE_MULTI, consts.BPF_LINK_TYPE_UPROBE_MULTI


def _spec(section: str, type_: int, target: str = "", attach_type: int = 0) -> Callable[[str], ProgramSpec]:
    from bpfload.elf.sections import find_definition

    def make(name: str) -> ProgramSpec:
        whole = f"{section}/{target}" if target else section
        spec = program_spec(name, type_, section=whole, target=target, attach_type=attach_type)
        spec.sec = find_definition(whole)
        return spec

    return make


def _probe(section: str, target: str = "", attach_type: int = 0) -> Callable[[str], ProgramSpec]:
    return _spec(section, consts.BPF_PROG_TYPE_KPROBE, target, attach_type)


def _binary() -> str:
    path = traced.compiled()
    if path is None:
        pytest.skip("feature: no C compiler (make peers)")
    return str(path)


def _offset(name: str) -> int:
    with UserBinary(_binary()) as binary:
        return binary.function(name).offset


def _event(event_type: int, fields: Callable[[], dict[str, object]]) -> Callable[[Place, Target], dict[str, object]]:
    """What info() says of a perf event, where the kernel tells (Linux 6.6)."""

    def told(place: Place, target: Target) -> dict[str, object]:
        if why_missing("perf_event_info", since="6.6"):
            return {}
        return {"event_type": event_type, **fields()}

    return told


def _cookie_of_events() -> dict[str, object]:
    """Links tell their cookies since Linux 6.9."""
    return {} if why_missing("perf_event_cookie", since="6.9") else {"cookie": 7}


def _load_usdt(place: Place, spec: ProgramSpec) -> Program:
    """Load the program whose object has the maps."""
    from bpfload.load import LoadOptions

    path = Path(traced.DATA / "probes.bpf.o")
    live = place.hold(bpfload.load(bpfload.read(path), LoadOptions(programs=("on_usdt",))))
    return live.program()


_KINDS = (
    Kind(
        "raw_tracepoint",
        raw_tracepoint_spec,
        lambda place: Target(),
        consts.BPF_LINK_TYPE_RAW_TRACEPOINT,
        ("raw_tracepoint_link",),
        fields=lambda place, target: {"tp_name": "sys_enter"},
        update=False,
        detach=False,
    ),
    Kind(
        "tracepoint",
        _spec("tp", consts.BPF_PROG_TYPE_TRACEPOINT, "sched/sched_switch"),
        lambda place: Target(cookie=7),
        _PERF,
        ("perf_link",),
        fields=_event(consts.BPF_PERF_EVENT_TRACEPOINT, lambda: {"tp_name": "sched_switch"} | _cookie_of_events()),
        update=False,
        detach=False,
    ),
    Kind(
        "perf_event",
        _spec("perf_event", consts.BPF_PROG_TYPE_PERF_EVENT),
        lambda place: Target(event_type="software", event_config="context-switches", sample_period=1, cpu=0),
        _PERF,
        ("perf_link",),
        fields=_event(consts.BPF_PERF_EVENT_EVENT, lambda: {"type": 1, "config": 3}),
        update=False,
        detach=False,
    ),
    Kind(
        "uprobe",
        _probe("uprobe"),
        lambda place: Target(binary=_binary(), name="traced_add", cookie=7),
        _PERF,
        ("uprobe", "perf_link"),
        fields=_event(
            consts.BPF_PERF_EVENT_UPROBE,
            lambda: {"file_name": _binary(), "offset": _offset("traced_add")} | _cookie_of_events(),
        ),
        update=False,
        detach=False,
    ),
    Kind(
        "uretprobe",
        _probe("uretprobe"),
        lambda place: Target(binary=_binary(), name="traced_add"),
        _PERF,
        ("uprobe", "perf_link"),
        fields=_event(consts.BPF_PERF_EVENT_URETPROBE, lambda: {"file_name": _binary()}),
        update=False,
        detach=False,
    ),
    Kind(
        "uprobe_multi",
        _probe("uprobe.multi", attach_type=consts.BPF_TRACE_UPROBE_MULTI),
        lambda place: Target(binary=_binary(), symbols=("traced_add", "traced_hidden"), cookies=(1, 2)),
        _UPROBE_MULTI,
        ("uprobe_multi",),
        fields=lambda place, target: {"count": 2, "path": _binary()} if _tells_of_multi() else {},
        update=False,
        detach=False,
    ),
    Kind(
        "uretprobe_multi",
        _probe("uretprobe.multi", attach_type=consts.BPF_TRACE_UPROBE_MULTI),
        lambda place: Target(binary=_binary(), pattern="traced_*"),
        _UPROBE_MULTI,
        ("uprobe_multi",),
        fields=lambda place, target: {"count": 3, "flags": consts.BPF_F_UPROBE_MULTI_RETURN} if _tells_of_multi() else {},
        update=False,
        detach=False,
    ),
    Kind(
        "uprobe_session",
        _probe("uprobe.session", attach_type=consts.BPF_TRACE_UPROBE_SESSION),
        lambda place: Target(binary=_binary(), offsets=(_offset("traced_add"),)),
        _UPROBE_MULTI,
        ("uprobe_session",),
        fields=lambda place, target: {"offsets": (_offset("traced_add"),)},
        update=False,
        detach=False,
    ),
    Kind(
        "usdt",
        _probe("usdt"),
        lambda place: Target(binary=_binary(), name="traced:many"),
        _UPROBE_MULTI,
        ("uprobe_multi",),
        hook="usdt",
        load=_load_usdt,
        fields=lambda place, target: {"count": 3} if _tells_of_multi() else {},
        update=False,
        detach=False,
    ),
    Kind(
        "kprobe",
        _probe("kprobe", "vfs_read"),
        lambda place: Target(cookie=7),
        _PERF,
        ("kprobe", "perf_link"),
        fields=_event(consts.BPF_PERF_EVENT_KPROBE, lambda: {"func_name": "vfs_read"} | _cookie_of_events()),
        update=False,
        detach=False,
    ),
    Kind(
        "kretprobe",
        _probe("kretprobe", "vfs_read"),
        lambda place: Target(),
        _PERF,
        ("kprobe", "perf_link"),
        fields=_event(consts.BPF_PERF_EVENT_KRETPROBE, lambda: {"func_name": "vfs_read"}),
        update=False,
        detach=False,
    ),
    Kind(
        "ksyscall",
        _probe("ksyscall", "getpgid"),
        lambda place: Target(),
        _PERF,
        ("kprobe", "perf_link"),
        fields=_event(consts.BPF_PERF_EVENT_KPROBE, lambda: {"func_name": syscalls.function("getpgid")}),
        update=False,
        detach=False,
    ),
    Kind(
        "kprobe_multi",
        _probe("kprobe.multi", "vfs_rea*", consts.BPF_TRACE_KPROBE_MULTI),
        lambda place: Target(),
        _KPROBE_MULTI,
        ("kprobe_multi",),
        update=False,
        detach=False,
    ),
    Kind(
        "kretprobe_multi",
        _probe("kretprobe.multi", attach_type=consts.BPF_TRACE_KPROBE_MULTI),
        lambda place: Target(symbols=("vfs_read", "vfs_write"), cookies=(1, 2)),
        _KPROBE_MULTI,
        ("kprobe_multi",),
        fields=lambda place, target: {} if why_missing("kprobe_multi_info", since="6.6") else {"count": 2, "flags": 1},
        update=False,
        detach=False,
    ),
    Kind(
        "kprobe_session",
        _probe("kprobe.session", "vfs_rea*", consts.BPF_TRACE_KPROBE_SESSION),
        lambda place: Target(),
        _KPROBE_MULTI,
        ("kprobe_session",),
        update=False,
        detach=False,
    ),
)


def _told_by_query(name: str, value: Callable[[], object]) -> Callable[[Place, Target], dict[str, object]]:
    return lambda place, target: {name: value()}


def _by_ioctl(
    name: str,
    spec: Callable[[str], ProgramSpec],
    *needs: str,
    target: Callable[[Place], Target] = lambda place: Target(link=False),
    fields: Callable[[Place, Target], dict[str, object]] = lambda place, target: {},
) -> Kind:
    """Return the row of a program at a perf event as kernels before 5.15 have it: without a link, for as long as it is held."""
    return Kind(f"{name} by ioctl", spec, target, needs=needs, fields=fields, update=False, keep=False)


_BY_IOCTL = (
    _by_ioctl(
        "tracepoint",
        _spec("tp", consts.BPF_PROG_TYPE_TRACEPOINT, "sched/sched_switch"),
        "tracepoint",
        fields=_told_by_query("tp_name", lambda: "sched_switch"),
    ),
    # The kernel tells of probes and tracepoints only.
    _by_ioctl(
        "perf_event",
        _spec("perf_event", consts.BPF_PROG_TYPE_PERF_EVENT),
        "perf_event",
        target=lambda place: Target(link=False, event_type="software", event_config="context-switches", sample_period=1, cpu=0),
    ),
    *(
        _by_ioctl(
            name,
            _probe(name),
            "uprobe",
            target=lambda place: Target(link=False, binary=_binary(), name="traced_add"),
            fields=_told_by_query("file_name", _binary),
        )
        for name in ("uprobe", "uretprobe")
    ),
    *(
        _by_ioctl(name, _probe(name, "vfs_read"), "kprobe", fields=_told_by_query("func_name", lambda: "vfs_read"))
        for name in ("kprobe", "kretprobe")
    ),
    _by_ioctl(
        "ksyscall",
        _probe("ksyscall", "getpgid"),
        "kprobe",
        fields=_told_by_query("func_name", lambda: syscalls.function("getpgid")),
    ),
)

KINDS: tuple[Kind, ...] = (*_KINDS, *_BY_IOCTL)


def _tells_of_multi() -> bool:
    """Links of many uprobes tell what they are since Linux 6.8."""
    return not why_missing("uprobe_multi_info", since="6.8")
