"""`bpfload graph`: everything that is in the kernel as one picture, or what is connected with one thing."""

from __future__ import annotations

from contextlib import ExitStack

from bpfload.errors import NotFoundError
from bpfload.inspect.graph import DEVICE, LINK, MAP, PROGRAM, graph
from bpfload_cli.app import WordCommand
from bpfload_cli.grammar import Words
from bpfload_cli.session import Session

_FORMS = ("dot", "svg", "mermaid")
_THINGS = ("prog", "map", "link", "dev")


def show(session: Session, words: Words) -> None:
    """Print the graph: as DOT, Mermaid, SVG, or with -j as nodes and edges."""
    form, keys, chosen = "dot", list[str](), False
    with ExitStack() as stack:
        while words:
            word = words.keyword((*_FORMS, *_THINGS), "a form of the picture, or what to show")
            if word in _FORMS:
                form = word
            else:
                keys += _keys(word, words, stack)
                chosen = True
        found = graph()
    if chosen:
        found = found.around(keys)
        if not found.nodes:
            raise NotFoundError("nothing of BPF is there")
    if session.json:
        session.data(found)
        return
    from bpfload_cli import graph_text

    if form == "mermaid":
        session.write("".join(f"{line}\n" for line in graph_text.mermaid(found)))
        return
    text = "".join(f"{line}\n" for line in graph_text.dot(found))
    if form == "svg":
        from bpfload_cli.pictures import svg

        text = svg(text)
    session.write(text)


def _keys(word: str, words: Words, stack: ExitStack) -> list[str]:
    """Read what is meant, in bpftool's words, and return the keys of its nodes."""
    from bpfload_cli import selecting

    if word == "dev":
        from bpfload.inspect.net import index_of

        name = words.take("the device")
        index_of(name)
        return [f"{DEVICE}:{name}"]
    if word == "prog":
        return [f"{PROGRAM}:{each.info().id}" for each in selecting.find_programs(words, stack)]
    if word == "map":
        return [f"{MAP}:{each.info().id}" for each in selecting.find_maps(words, stack)]
    return [f"{LINK}:{selecting.one_link(words, stack).info().id}"]


command = WordCommand("graph", show)
