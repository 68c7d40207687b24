"""Everything as one picture: programs, maps, links, pins, hooks, devices, cgroups, processes, and what holds or uses what.

An edge goes from what needs or holds to what is needed or held; an object without an edge to it would be gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from bpfload.abi import consts
from bpfload.errors import BpfError
from bpfload.inspect import links, maps, perf, programs
from bpfload.inspect.owners import Holders, Owner, holders
from bpfload.kernel.mounts import cgroup2_root
from bpfload.objects.map import Map

PROGRAM, MAP, LINK, PIN, PROCESS, DEVICE, CGROUP, HOOK = "program", "map", "link", "pin", "process", "device", "cgroup", "hook"


@dataclass(frozen=True, slots=True)
class Node:
    """One thing. `key`: unique, such as "program:12", "device:eth0". `label`: its name; `detail`: its type, "" for none."""

    key: str
    kind: str
    label: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Edge:
    """`source` holds or uses `target`, both by key. `label`: how: "uses", "pins", "holds", "runs", or the name of a hook."""

    source: str
    target: str
    label: str


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes and edges, in the order in which they were met."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def around(self, keys: Iterable[str]) -> Graph:
        """Return the part that is connected with any of these nodes, whichever way; processes and hooks connect nothing."""
        neighbours: dict[str, set[str]] = {node.key: set() for node in self.nodes}
        for edge in self.edges:
            neighbours[edge.source].add(edge.target)
            neighbours[edge.target].add(edge.source)
        wanted: set[str] = set()
        open_ends = [key for key in keys if key in neighbours]
        start = set(open_ends)
        kinds = {node.key: node.kind for node in self.nodes}
        while open_ends:
            key = open_ends.pop()
            if key in wanted:
                continue
            wanted.add(key)
            if key in start or kinds[key] not in (PROCESS, HOOK, DEVICE, CGROUP):
                open_ends += neighbours[key]
        return Graph(
            tuple(node for node in self.nodes if node.key in wanted),
            tuple(edge for edge in self.edges if edge.source in wanted and edge.target in wanted),
        )


@dataclass(slots=True)
class _Drawing:
    nodes: dict[str, Node] = field(default_factory=dict)
    edges: dict[Edge, None] = field(default_factory=dict)

    def node(self, kind: str, ident: object, label: str, detail: str = "") -> str:
        key = f"{kind}:{ident}"
        self.nodes.setdefault(key, Node(key, kind, label, detail))
        return key

    def edge(self, source: str, target: str, label: str) -> None:
        self.edges.setdefault(Edge(source, target, label))

    def finished(self) -> Graph:
        """Return the graph. What was met as a target only, and has gone since, is left out."""
        edges = tuple(edge for edge in self.edges if edge.source in self.nodes and edge.target in self.nodes)
        return Graph(tuple(self.nodes.values()), edges)


def graph() -> Graph:
    """Look at everything. Raises KernelError where that isn't allowed."""
    drawing = _Drawing()
    _add_programs(drawing, holders("program", pins=True))
    _add_maps(drawing, holders("map", pins=True))
    _add_links(drawing, holders("link", pins=True))
    _add_network(drawing)
    _add_cgroups(drawing)
    return drawing.finished()


def _held(drawing: _Drawing, key: str, pinned: tuple[str, ...] | None, pids: tuple[Owner, ...] | None) -> None:
    """Draw what keeps an object alive."""
    for path in pinned or ():
        drawing.edge(drawing.node(PIN, path, path), key, "pins")
    for owner in pids or ():
        drawing.edge(drawing.node(PROCESS, owner.pid, owner.comm, f"pid {owner.pid}"), key, "holds")


def _add_programs(drawing: _Drawing, held: Holders) -> None:
    for program in programs.every():
        view = programs.view(program, held)
        key = drawing.node(PROGRAM, view.id, view.name or f"program {view.id}", f"{view.type}, id {view.id}")
        for ident in view.map_ids or ():
            drawing.edge(key, f"{MAP}:{ident}", "uses")
        _held(drawing, key, view.pinned, view.pids)


_SLOTS = {
    consts.BPF_MAP_TYPE_PROG_ARRAY: (PROGRAM, "calls"),
    consts.BPF_MAP_TYPE_ARRAY_OF_MAPS: (MAP, "contains"),
    consts.BPF_MAP_TYPE_HASH_OF_MAPS: (MAP, "contains"),
}


def _add_maps(drawing: _Drawing, held: Holders) -> None:
    for item in maps.every():
        view = maps.view(item, held)
        key = drawing.node(MAP, view.id, view.name or f"map {view.id}", f"{view.type}, id {view.id}")
        kind, label = _SLOTS.get(item.info().type, ("", ""))
        if kind:
            for ident in _slots(item):
                drawing.edge(key, f"{kind}:{ident}", label)
        _held(drawing, key, view.pinned, view.pids)


def _slots(item: Map) -> Iterator[int]:
    """Yield the ids of what is in the slots of a map of maps or programs."""
    from sys import byteorder

    try:
        for _, value in item.items():  # noqa: PERF102 - it is no dict
            ident = int.from_bytes(value[:4], byteorder)
            if ident:
                yield ident
    except BpfError:
        return


# --- links and what they are attached to ----------------------------------------------------------------------------


def _add_links(drawing: _Drawing, held: Holders) -> None:
    for link in links.every():
        try:
            view = links.view(link, held)
        except BpfError:
            continue  # its program went meanwhile
        key = drawing.node(LINK, view.id, f"link {view.id}", str(view.type))
        if view.prog_id:
            drawing.edge(key, f"{PROGRAM}:{view.prog_id}", "runs")
        _held(drawing, key, view.pinned, view.pids)
        _add_place(drawing, key, view)


def _add_place(drawing: _Drawing, key: str, view: links.LinkView) -> None:
    """Draw what a link is attached to: it is what runs the program, by way of the link."""
    details = view.details
    if isinstance(details, (links.Sockmap, links.StructOps)):
        drawing.edge(key, f"{MAP}:{details.map_id}", "attached to" if isinstance(details, links.Sockmap) else "registers")
    elif isinstance(details, links.DeviceHook):
        place = drawing.node(DEVICE, details.devname, details.devname, f"ifindex {details.ifindex}" if details.ifindex else "")
        drawing.edge(place, key, str(details.attach_type or view.type))
    elif isinstance(details, links.Cgroup):
        path = _cgroup_path(details.cgroup_id)
        drawing.edge(drawing.node(CGROUP, path, path), key, str(details.attach_type))
    elif details is not None:
        words = _PLACES[type(details)](details)
        drawing.edge(drawing.node(HOOK, words, words), key, "triggers")
        if isinstance(details, links.IteratorTarget) and details.map_id:
            drawing.edge(key, f"{MAP}:{details.map_id}", "walks")


def _tracing(details: links.Tracing) -> str:
    if not details.target_btf_id:
        return str(details.attach_type)
    from bpfload.inspect.btf import type_name_in

    try:
        name = type_name_in(details.target_obj_id, details.target_btf_id)
    except BpfError:
        name = ""
    return f"{details.attach_type} {name or f'BTF type {details.target_btf_id}'}"


def _probe(details: perf.Kprobe) -> str:
    where = details.func or hex(details.addr)
    return f"{'kretprobe' if details.retprobe else 'kprobe'} {where}{f'+{details.offset:#x}' if details.offset else ''}"


_PLACES: dict[type, Callable[[Any], str]] = {
    links.RawTracepoint: lambda details: f"raw tracepoint {details.tp_name}",
    links.Tracing: _tracing,
    links.IteratorTarget: lambda details: f"iterator {details.target_name}",
    links.NetworkNamespace: lambda details: f"{details.attach_type} of netns {details.netns_ino}",
    links.Netfilter: lambda details: f"netfilter pf {details.pf} hook {details.hook} priority {details.prio}",
    perf.KprobeMulti: lambda details: f"{'kretprobe' if details.retprobe else 'kprobe'} of {details.func_cnt} functions",
    perf.UprobeMulti: lambda details: f"{details.path}: {details.func_cnt} functions",
    perf.Kprobe: _probe,
    perf.Uprobe: lambda details: f"{'uretprobe' if details.retprobe else 'uprobe'} {details.file}+{details.offset:#x}",
    perf.Tracepoint: lambda details: f"tracepoint {details.tracepoint}",
    perf.Event: lambda details: f"perf event {details.event_type}:{details.event_config}",
}

_cgroup_paths: dict[int, str] = {}


def _cgroup_path(ident: int) -> str:
    """Return the path of the cgroup with that id, the inode number of its directory."""
    import os

    root = cgroup2_root()
    if root and ident not in _cgroup_paths:
        _cgroup_paths.clear()
        for place, _, _ in os.walk(root):
            try:
                _cgroup_paths[os.stat(place).st_ino] = place
            except OSError:
                continue
    return _cgroup_paths.get(ident, f"cgroup {ident}")


# --- what is attached without a link --------------------------------------------------------------------------------


def _add_network(drawing: _Drawing) -> None:
    from bpfload.inspect import net

    try:
        found = net.view()
    except (BpfError, ImportError):
        return
    linked = {edge.target for edge in drawing.edges if edge.label == "runs"}
    for xdp in found.xdp:
        modes = xdp.multi_attachments or ((net.XdpMode(xdp.mode or "", xdp.id),) if xdp.id else ())
        for mode in modes:
            _attached(drawing, linked, DEVICE, xdp.devname, mode.id, f"xdp {mode.mode}")
        for each in xdp.chain or ():
            if each.id:
                drawing.edge(f"{PROGRAM}:{xdp.id}", f"{PROGRAM}:{each.id}", f"calls, priority {each.priority}")
    for row in found.tc:
        ident = row.prog_id if isinstance(row, net.TcHook) else row.id
        if ident and not (isinstance(row, net.TcHook) and row.link_id):
            drawing.edge(drawing.node(DEVICE, row.devname, row.devname), f"{PROGRAM}:{ident}", row.kind)


def _add_cgroups(drawing: _Drawing) -> None:
    from bpfload.inspect import cgroups

    root = cgroup2_root()
    if not root:
        return
    linked = {edge.target for edge in drawing.edges if edge.label == "runs"}
    try:
        for _, view in cgroups.tree(root):
            for each in view.programs:
                _attached(drawing, linked, CGROUP, view.cgroup, each.id, str(each.attach_type))
    except BpfError:
        return


def _attached(drawing: _Drawing, linked: set[str], kind: str, name: str, program: int, label: str) -> None:
    """Draw a program at its place, unless a link that is drawn already leads there."""
    key = f"{PROGRAM}:{program}"
    if key not in linked:
        drawing.edge(drawing.node(kind, name, name), key, label)
