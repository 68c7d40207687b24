"""`bpfload help [COMMAND]`: what can be said to it."""

from __future__ import annotations

from bpfload_cli.app import WordCommand
from bpfload_cli.grammar import Words
from bpfload_cli.session import Session


def help_(session: Session, words: Words) -> None:
    """Show the forms of a command, or all commands."""
    from bpfload_cli.table import COMMANDS
    from bpfload_cli.usage import show_usage

    name = COMMANDS.find(words.peek()) if words else None
    show_usage(session, name or "")


command = WordCommand("help", help_)
