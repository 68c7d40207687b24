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

    with ExitStack() as stack:
        found = find_maps(words, stack, last=True)
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


command = CommandTable(
    "map",
    (
        ("show", show),
        ("list", show),
        ("help", usage),
        ("dump", dump),
        ("pin", pin),
        ("event_pipe", "bpfload_cli.commands.map_stream:event_pipe_command"),
        ("watch", "bpfload_cli.commands.map_stream:watch_command"),
    ),
)
