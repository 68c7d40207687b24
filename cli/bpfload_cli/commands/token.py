"""`bpfload token`: what mounted bpffs delegate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpfload_cli.app import CommandTable
from bpfload_cli.grammar import Words
from bpfload_cli.session import Session

if TYPE_CHECKING:
    from bpfload.inspect.tokens import TokenView

_PER_LINE = 4


def show(session: Session, words: Words) -> None:
    """Show the rights of the tokens that can be made from each bpffs."""
    from bpfload.inspect import tokens

    words.end()
    found = tokens.every()
    if session.json:
        session.data(found)
    else:
        session.write("".join(map(_text, found)))


def _text(view: TokenView) -> str:
    """Return bpftool's lines: names in columns of 20, four to a line."""
    parts = [f"token_info  {view.token_info}"]
    for what in ("allowed_cmds", "allowed_maps", "allowed_progs", "allowed_attachs"):
        parts.append(f"\n\t{what}:")
        for position, word in enumerate(getattr(view, what)):
            parts.append(("\n\t  " if position % _PER_LINE == 0 else "") + f"{word:<20}")
    return "".join(parts) + "\n"


def usage(session: Session, words: Words) -> None:
    """Show the forms of these commands."""
    from bpfload_cli.usage import show_usage

    show_usage(session, "token")


command = CommandTable("token", (("show", show), ("list", show), ("help", usage)))
