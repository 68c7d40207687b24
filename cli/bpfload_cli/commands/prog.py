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
        session.show(programs.every_view(held), PROGRAM)
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


def load(session: Session, words: Words) -> None:
    """Load an object file and pin its first program."""
    from bpfload_cli.commands import prog_load

    prog_load.load(session, words, all_programs=False)


def loadall(session: Session, words: Words) -> None:
    """Load an object file and pin all of its programs in a directory."""
    from bpfload_cli.commands import prog_load

    prog_load.load(session, words, all_programs=True)


def attach(session: Session, words: Words) -> None:
    """Attach a program to a sockmap, or as flow dissector."""
    from bpfload_cli.commands import prog_attach

    prog_attach.attach(session, words)


def detach(session: Session, words: Words) -> None:
    """Detach it again."""
    from bpfload_cli.commands import prog_attach

    prog_attach.detach(session, words)


def run(session: Session, words: Words) -> None:
    """Run a program on data of one's own."""
    from bpfload_cli.commands import prog_run

    prog_run.run(session, words)


def profile(session: Session, words: Words) -> None:
    """Count what happens in the processor while a program runs."""
    from bpfload_cli.commands import prog_profile

    prog_profile.profile(session, words)


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
        ("load", load),
        ("loadall", loadall),
        ("attach", attach),
        ("detach", detach),
        ("tracelog", tracelog),
        ("run", run),
        ("profile", profile),
    ),
)
