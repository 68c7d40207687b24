"""`bpfload prog`: the programs in the kernel."""

from __future__ import annotations

from contextlib import ExitStack

from bpfload.inspect import programs
from bpfload.inspect.owners import holders
from bpfload_cli.app import CommandTable
from bpfload_cli.grammar import Words
from bpfload_cli.selecting import find_programs, one_program
from bpfload_cli.session import Session


def show(session: Session, words: Words) -> None:
    """Show programs: those selected, or all."""
    from bpfload_cli.layouts import PROGRAM

    if not words:
        held = holders("program", pins=session.bpffs)
        session.show((programs.view(program, held) for program in programs.every()), PROGRAM)
        return
    with ExitStack() as stack:
        found = find_programs(words, stack, last=True)
        held = holders("program", pins=session.bpffs)
        session.show([programs.view(program, held) for program in found], PROGRAM, as_list=False)


def dump(session: Session, words: Words) -> None:
    """Show a program's instructions."""
    from bpfload_cli.commands import prog_dump

    prog_dump.dump(session, words)


def pin(session: Session, words: Words) -> None:
    """Pin a program."""
    from bpfload_cli.commands.pinning import pin_object

    with ExitStack() as stack:
        program = one_program(words, stack)
        path = words.take("the path to pin to")
        words.end()
        pin_object(session, program, path)


def tracelog(session: Session, words: Words) -> None:
    """Print what programs print."""
    from bpfload_cli.commands import tracelog as module

    module.tracelog(session, words)


def usage(session: Session, words: Words) -> None:
    """Show the forms of these commands."""
    from bpfload_cli.usage import show_usage

    show_usage(session, "prog")


command = CommandTable(
    "prog",
    (
        ("show", show),
        ("list", show),
        ("help", usage),
        ("dump", dump),
        ("pin", pin),
        ("tracelog", tracelog),
    ),
)
