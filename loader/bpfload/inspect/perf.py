"""Links of perf events and of multi-probes: what they are attached to."""

from __future__ import annotations

from dataclasses import dataclass

from bpfload.abi import consts
from bpfload.abi import perf as names
from bpfload.abi.names import name_of
from bpfload.objects.link_info import LinkInfo


@dataclass(frozen=True, slots=True)
class KprobeFunction:
    """One function of a kprobe.multi link. `module`: "" for the kernel proper."""

    addr: int
    func: str
    module: str
    cookie: int


@dataclass(frozen=True, slots=True)
class KprobeMulti:
    """A kprobe.multi link. `func_cnt`: the number of functions, which `funcs` has unless their addresses are hidden."""

    retprobe: bool
    func_cnt: int
    missed: int
    funcs: tuple[KprobeFunction, ...]


@dataclass(frozen=True, slots=True)
class UprobeLocation:
    """One place of a uprobe.multi link: offsets in the file."""

    offset: int
    ref_ctr_offset: int
    cookie: int


@dataclass(frozen=True, slots=True)
class UprobeMulti:
    """A uprobe.multi link. `pid`: 0 for every process."""

    retprobe: bool
    path: str
    func_cnt: int
    pid: int
    funcs: tuple[UprobeLocation, ...]


@dataclass(frozen=True, slots=True)
class Kprobe:
    """A perf event on a kernel function."""

    retprobe: bool
    addr: int
    func: str
    offset: int
    missed: int
    cookie: int


@dataclass(frozen=True, slots=True)
class Uprobe:
    """A perf event on a place in a file."""

    retprobe: bool
    file: str
    offset: int
    cookie: int


@dataclass(frozen=True, slots=True)
class Tracepoint:
    """A perf event on a tracepoint."""

    tracepoint: str
    cookie: int


@dataclass(frozen=True, slots=True)
class Event:
    """Any other perf event, in perf's words."""

    event_type: str | int
    event_config: str | int
    cookie: int


def kprobe_multi(info: LinkInfo) -> KprobeMulti:
    """Return what a kprobe.multi link is attached to, in the order of addresses."""
    from bpfload.kernel import kallsyms

    symbols = kallsyms.load()
    functions = []
    for address, cookie in sorted(zip(info.numbers("addrs"), info.numbers("cookies"), strict=True)):
        found = symbols.find(address)
        if found is not None:
            functions.append(KprobeFunction(address, found[0], found[1], cookie))
    returns = bool(info.number("flags") & consts.BPF_F_KPROBE_MULTI_RETURN)
    return KprobeMulti(returns, info.number("count"), info.number("missed"), tuple(functions))


def uprobe_multi(info: LinkInfo) -> UprobeMulti:
    """Return what a uprobe.multi link is attached to."""
    rows = zip(info.numbers("offsets"), info.numbers("ref_ctr_offsets"), info.numbers("cookies"), strict=True)
    returns = bool(info.number("flags") & consts.BPF_F_UPROBE_MULTI_RETURN)
    places = tuple(UprobeLocation(*row) for row in rows)
    return UprobeMulti(returns, info.text("path"), info.number("count"), info.number("pid"), places)


def perf_event(info: LinkInfo) -> Kprobe | Uprobe | Tracepoint | Event | None:
    """Return what a perf event's link is attached to; None for a kind that this library doesn't know."""
    kind, cookie = info.number("event_type"), info.number("cookie")
    if kind in (consts.BPF_PERF_EVENT_KPROBE, consts.BPF_PERF_EVENT_KRETPROBE):
        returns = kind == consts.BPF_PERF_EVENT_KRETPROBE
        function, missed = info.text("func_name"), info.number("missed")
        return Kprobe(returns, info.number("addr"), function, info.number("offset"), missed, cookie)
    if kind in (consts.BPF_PERF_EVENT_UPROBE, consts.BPF_PERF_EVENT_URETPROBE):
        return Uprobe(kind == consts.BPF_PERF_EVENT_URETPROBE, info.text("file_name"), info.number("offset"), cookie)
    if kind == consts.BPF_PERF_EVENT_TRACEPOINT:
        return Tracepoint(info.text("tp_name"), cookie)
    if kind == consts.BPF_PERF_EVENT_EVENT:
        event_type, config = info.number("type"), info.number("config")
        type_name = name_of(names.TYPES, event_type)
        return Event(event_type if type_name is None else type_name, _config(event_type, config), cookie)
    return None


def _config(event_type: int, config: int) -> str | int:
    """Say what a perf event counts."""
    if event_type == names.TYPE_CACHE:
        parts = (
            (names.CACHES, config & 0xFF),
            (names.CACHE_OPERATIONS, config >> 8 & 0xFF),
            (names.CACHE_RESULTS, config >> 16),
        )
        return "-".join(name_of(words, number) or str(number) for words, number in parts)
    table = {names.TYPE_HARDWARE: names.HARDWARE, names.TYPE_SOFTWARE: names.SOFTWARE}.get(event_type, ())
    name = name_of(table, config)
    return config if name is None else name
