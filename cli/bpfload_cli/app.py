"""Commands, found by prefix and imported when they are run.

typer brings the commands, their context and their typed options; what is added here is bpftool's grammar: any unambiguous
beginning of a command's name will do (the first in the table wins), no command means the table's first, and most commands read
the words that follow by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup

from bpfload_cli.grammar import CommandLineError, Words, is_prefix

if TYPE_CHECKING:
    from bpfload_cli.session import Session

#: What a command that reads its words itself looks like.
Action = Callable[["Session", Words], None]

# rich, which typer would use for help and errors, takes longer to import than a whole load; help has its own texts.
_PLAIN: dict[str, Any] = {"rich_markup_mode": None, "add_help_option": False}


class WordCommand(TyperCommand):
    """A command that reads its words itself, in bpftool's grammar. `action`: what it does."""

    def __init__(self, name: str, action: Action) -> None:
        super().__init__(name, **_PLAIN)
        self._action = action

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keep all words for `invoke`."""
        ctx.args = list(args)
        return []

    def invoke(self, ctx: Any) -> None:
        """Do what it does."""
        self._action(ctx.obj, Words(ctx.args, ctx.command_path))


class CommandTable(TyperGroup):
    """Commands by name.

    `rows`: (name, target) in the order in which a prefix is looked for; a target is an action, or "module:attribute" of a
    `WordCommand`, a `CommandTable`, or a function for `typed`, imported when the command is run.
    """

    def __init__(self, name: str, rows: Sequence[tuple[str, str | Action]]) -> None:
        super().__init__(name=name, **_PLAIN)
        self._rows = dict(rows)

    @property
    def names(self) -> list[str]:
        """The commands' names, in order."""
        return list(self._rows)

    def find(self, word: str) -> str | None:
        """Return the name of the command that a word means, or None."""
        return next((name for name in self._rows if is_prefix(word, name)), None)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keep all words for `invoke`."""
        ctx.args = list(args) or [next(iter(self._rows))]
        return []

    def invoke(self, ctx: Any) -> Any:
        """Run the command that the first word means."""
        word, *rest = ctx.args
        name = self.find(word)
        if name is None:
            raise self._unknown(word, ctx.command_path)
        command = self.get_command(ctx, name)
        assert command is not None
        with command.make_context(name, rest, parent=ctx) as inner:
            return command.invoke(inner)

    def _unknown(self, word: str, path: str) -> CommandLineError:
        """Return the error about a first word that is none of the commands; `path`: the words before it."""
        if word.startswith("-"):
            return CommandLineError(f"{path} has no option {word!r}", command=path)
        from difflib import get_close_matches

        near = "".join(f"; did you mean {name!r}?" for name in get_close_matches(word, self.names, n=1))
        return CommandLineError(f"{path} has no command {word!r}{near}", command=path, known=self.names)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of that name, imported by now; None if there is none."""
        target = self._rows.get(cmd_name)
        if not isinstance(target, str):
            return WordCommand(cmd_name, target) if target else None
        module, _, attribute = target.partition(":")
        found = getattr(import_module(module), attribute)
        return found if isinstance(found, (TyperCommand, TyperGroup)) else typed(found)

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the commands' names, in order."""
        return self.names


def typed(function: Callable[..., Any], kind: type[TyperCommand] = TyperCommand) -> Any:
    """Return the command of a function whose parameters are typer's: options with types, defaults and help.

    The function may take a `typer.Context`, whose `obj` is the `Session`. `kind`: the command's class.
    """
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(cls=kind, context_settings={"help_option_names": []}, add_help_option=False)(function)
    return typer.main.get_command(app)
