"""`bpfload map`: the maps in the kernel."""

from __future__ import annotations

from contextlib import ExitStack

from bpfload.inspect import maps
from bpfload.inspect.owners import holders
from bpfload_cli.app import CommandTable
from bpfload_cli.grammar import Words
from bpfload_cli.selecting import find_maps, one_map
from bpfload_cli.session import Session


def show(session: Session, words: Words) -> None:
    """Show maps: those selected, or all."""
    from bpfload_cli.layouts import MAP

    if not words:
        held = holders("map", pins=session.bpffs)
        session.show((maps.view(item, held) for item in maps.every()), MAP)
        return
    with ExitStack() as stack:
        found = find_maps(words, stack, last=True)
        held = holders("map", pins=session.bpffs)
        session.show([maps.view(item, held) for item in found], MAP, as_list=False)


def dump(session: Session, words: Words) -> None:
    """Show what is in a map."""
    from bpfload_cli.commands import map_dump
    from bpfload_cli.commands.typed_values import take_options

    with ExitStack() as stack:
        words, view = take_options(words)
        found = find_maps(words, stack, last=True)
        if view.typed:
            from bpfload_cli.commands import map_typed

            map_typed.dump(session, found, view)
        else:
            map_dump.dump(session, found)


def pin(session: Session, words: Words) -> None:
    """Pin a map."""
    from bpfload_cli.commands.pinning import pin_object

    with ExitStack() as stack:
        item = one_map(words, stack)
        path = words.take("the path to pin to")
        words.end()
        pin_object(session, item, path)


def usage(session: Session, words: Words) -> None:
    """Show the forms of these commands."""
    from bpfload_cli.usage import show_usage

    show_usage(session, "map")


_HERE = "bpfload_cli.commands"

#: In bpftool's order, which prefixes are looked for in.
command = CommandTable(
    "map",
    (
        ("show", show),
        ("list", show),
        ("help", usage),
        ("dump", dump),
        ("update", f"{_HERE}.map_edit:update_command"),
        ("lookup", f"{_HERE}.map_edit:lookup_command"),
        ("getnext", f"{_HERE}.map_edit:getnext_command"),
        ("delete", f"{_HERE}.map_edit:delete_command"),
        ("pin", pin),
        ("event_pipe", f"{_HERE}.map_stream:event_pipe_command"),
        ("create", f"{_HERE}.map_create:command"),
        ("peek", f"{_HERE}.map_edit:lookup_command"),
        ("push", f"{_HERE}.map_edit:update_command"),
        ("enqueue", f"{_HERE}.map_edit:update_command"),
        ("pop", f"{_HERE}.map_edit:pop_command"),
        ("dequeue", f"{_HERE}.map_edit:pop_command"),
        ("freeze", f"{_HERE}.map_edit:freeze_command"),
        ("watch", f"{_HERE}.map_stream:watch_command"),
    ),
)
