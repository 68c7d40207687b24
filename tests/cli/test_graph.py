"""`bpfload graph`: who holds and uses what, in DOT, Mermaid and JSON."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bpfload.abi import consts
from bpfload.inspect.graph import Edge, Graph, Node
from bpfload.objects import Map
from bpfload.syscall import bpf
from bpfload_cli.graph_text import dot, mermaid
from support.namespaces import VethPair
from support.paths import HELLO
from support.process import Result
from support.programs import small_map, small_program

GRAPH = Graph(
    (
        Node("program:1", "program", 'a "b"', "xdp, id 1"),
        Node("map:2", "map", "m<1>#"),
        Node("process:3", "process", "cat", "pid 3"),
    ),
    (Edge("program:1", "map:2", "uses"), Edge("process:3", "program:1", "holds")),
)


def test_dot_and_mermaid_quote() -> None:
    lines = list(dot(GRAPH))
    assert '\t"program:1" [label="a \\"b\\"\\nxdp, id 1", shape=box, fillcolor="#cfe2f3"];' in lines
    assert '\t"program:1" -> "map:2" [label="uses"];' in lines
    lines = list(mermaid(GRAPH))
    assert '    n0["a #quot;b#quot;<br>xdp, id 1"]' in lines
    assert '    n1[("m#lt;1#gt;#35;")]' in lines
    assert '    n2 -->|"holds"| n0' in lines


def test_what_is_around_something() -> None:
    more = Graph((*GRAPH.nodes, Node("program:9", "program", "other")), (*GRAPH.edges, Edge("process:3", "program:9", "holds")))
    # A process that holds both doesn't make them belong together.
    assert [node.key for node in more.around(["map:2"]).nodes] == ["program:1", "map:2", "process:3"]
    assert len(more.around(["process:3"]).nodes) == 4
    assert more.around(["map:77"]) == Graph((), ())


@pytest.mark.needs_root
@pytest.mark.usefixtures("nothing_left_behind")
@pytest.mark.needs_feature("xdp_link")
def test_a_load_on_a_device(bpffs: Path, veth: VethPair, bpfload: Callable[..., Result]) -> None:
    bpfload(HELLO, bpffs / "hello", "--dev", veth.device)
    found = bpfload("-j", "graph", "prog", "pinned", bpffs / "hello").json()
    by_kind: dict[str, list[Any]] = {}
    for node in found["nodes"]:
        by_kind.setdefault(node["kind"], []).append(node)
    (program,) = by_kind["program"]
    (link,) = by_kind["link"]
    assert program["label"] == "hello"
    assert {node["label"] for node in by_kind["pin"]} == {str(bpffs / "hello"), str(bpffs / "hello_link")}
    assert {node["label"] for node in by_kind["map"]} == {"hello.bss", "hello.rodata"}
    assert [node["label"] for node in by_kind["device"]] == [veth.device]
    edges = {(edge["source"], edge["target"], edge["label"]) for edge in found["edges"]}
    assert (f"device:{veth.device}", link["key"], "xdp") in edges
    assert (link["key"], program["key"], "runs") in edges
    assert (f"pin:{bpffs / 'hello'}", program["key"], "pins") in edges
    text = bpfload("graph", "dev", veth.device).stdout
    assert f'"device:{veth.device}" -> "{link["key"]}" [label="xdp"];' in text.replace("\t", "")
    assert bpfload("graph", "mermaid", "prog", "pinned", bpffs / "hello").stdout.startswith("flowchart LR\n")


@pytest.mark.needs_root
@pytest.mark.usefixtures("nothing_left_behind")
def test_slots_and_processes(bpfload: Callable[..., Result]) -> None:
    with (
        small_program("called") as program,
        Map(bpf.map_create(consts.BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 2, name="calls")) as calls,
        small_map("inner") as inner,
        Map(bpf.map_create(consts.BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, 1, inner_map_fd=inner.fd, name="outer")) as outer,
    ):
        calls.update(bytes(4), program.fd.to_bytes(4, "little"))
        outer.update(bytes(4), inner.fd.to_bytes(4, "little"))
        found = bpfload("-j", "graph").json()
        edges = {(edge["source"], edge["target"], edge["label"]) for edge in found["edges"]}
        assert (f"map:{calls.info().id}", f"program:{program.info().id}", "calls") in edges
        assert (f"map:{outer.info().id}", f"map:{inner.info().id}", "contains") in edges
        assert (f"process:{os.getpid()}", f"program:{program.info().id}", "holds") in edges
        calls.delete(bytes(4))


def test_wrong_words(bpfload: Callable[..., Result]) -> None:
    failed = bpfload("graph", "png", check=False)
    assert failed.status == 2
    assert re.search("dot.*svg.*mermaid", failed.stderr)
