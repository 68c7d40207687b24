"""A graph of what is in the kernel, in the languages that draw it: DOT of graphviz, and Mermaid."""

from __future__ import annotations

from collections.abc import Iterator

from bpfload.inspect.graph import CGROUP, DEVICE, HOOK, LINK, MAP, PIN, PROCESS, PROGRAM, Graph, Node

# By kind: shape and colour in DOT; brackets in Mermaid.
_SHAPES = {
    PROGRAM: ("box", "#cfe2f3", "[", "]"),
    MAP: ("cylinder", "#d9ead3", "[(", ")]"),
    LINK: ("cds", "#fff2cc", "([", "])"),
    PIN: ("note", "#eeeeee", "[/", "/]"),
    PROCESS: ("component", "#f4cccc", "[[", "]]"),
    DEVICE: ("house", "#d9d2e9", "{{", "}}"),
    CGROUP: ("folder", "#d9d2e9", "{{", "}}"),
    HOOK: ("hexagon", "#d9d2e9", "{{", "}}"),
}


def dot(graph: Graph) -> Iterator[str]:
    """Yield the lines of a graph in the DOT language."""
    yield "digraph bpf {"
    yield "\trankdir=LR;"
    yield '\tnode [style=filled, fontname="sans-serif", fontsize=10];'
    yield '\tedge [fontname="sans-serif", fontsize=8];'
    for node in graph.nodes:
        shape, colour, _, _ = _SHAPES[node.kind]
        label = _quoted(node.label) if not node.detail else f"{_quoted(node.label)[:-1]}\\n{_quoted(node.detail)[1:]}"
        yield f'\t{_quoted(node.key)} [label={label}, shape={shape}, fillcolor="{colour}"];'
    for edge in graph.edges:
        yield f"\t{_quoted(edge.source)} -> {_quoted(edge.target)} [label={_quoted(edge.label)}];"
    yield "}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def mermaid(graph: Graph) -> Iterator[str]:
    """Yield the lines of a graph in Mermaid's flowchart language."""
    yield "flowchart LR"
    names = {node.key: f"n{number}" for number, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        _, _, left, right = _SHAPES[node.kind]
        yield f"    {names[node.key]}{left}{_entities(node)}{right}"
    for edge in graph.edges:
        yield f'    {names[edge.source]} -->|"{_escaped(edge.label)}"| {names[edge.target]}'
    for kind, (_, colour, _, _) in _SHAPES.items():
        keys = [names[node.key] for node in graph.nodes if node.kind == kind]
        if keys:
            yield f"    classDef {kind} fill:{colour},color:#000"
            yield f"    class {','.join(keys)} {kind}"


def _entities(node: Node) -> str:
    text = _escaped(node.label) + (f"<br>{_escaped(node.detail)}" if node.detail else "")
    return f'"{text}"'


def _escaped(text: str) -> str:
    return text.replace("#", "#35;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")
