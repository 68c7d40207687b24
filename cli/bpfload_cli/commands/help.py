"""`bpfload help [COMMAND]`: what can be said to it."""

from __future__ import annotations

from bpfload_cli.app import WordCommand
from bpfload_cli.grammar import CommandLineError, Words
from bpfload_cli.session import Session


def help_(session: Session, words: Words) -> None:
    """Show the forms of a command, or all commands."""
    from bpfload_cli.table import COMMANDS
    from bpfload_cli.usage import show_usage

    if not words:
        show_usage(session, "")
        return
    name = COMMANDS.find(words.peek())
    if name is not None:
        show_usage(session, name)
    elif session.help:  # -h behind a file to load
        show_usage(session, "load")
    else:
        raise CommandLineError(f"bpfload has no command {words.peek()!r}", command="bpfload", known=COMMANDS.names)


command = WordCommand("help", help_)
