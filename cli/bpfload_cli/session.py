"""The flags that every command knows, and where its output goes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bpfload_cli.output import Layout

#: Flags by their letter and their long name: the attribute of `Session` that each sets.
FLAGS = {
    "j": "json",
    "p": "pretty",
    "f": "bpffs",
    "d": "debug",
    "n": "nomount",
    "m": "mapcompat",
    "V": "version",
    "h": "help",
}
LONG_FLAGS = {name: name for name in FLAGS.values()}
#: Flags that a value follows, likewise.
VALUE_FLAGS = {"B": "base_btf"}
LONG_VALUE_FLAGS = {"base-btf": "base_btf"}


@dataclass(slots=True, eq=False)
class Session:
    """One run of the command.

    `json`: print JSON; `pretty`: over several lines, implies `json`. `bpffs`: show where objects are pinned. `debug`: whole
    verifier logs, and tracebacks of our own mistakes. `nomount`: mount nothing. `mapcompat`: accepted for bpftool's sake.
    `base_btf`: file with the BTF that a module's builds on, "" for the running kernel's. `status`: what the process exits with
    unless an error says otherwise. `nested`: how deep inside of other JSON the output stands, which somebody else then ends.
    """

    json: bool = False
    pretty: bool = False
    bpffs: bool = False
    debug: bool = False
    nomount: bool = False
    mapcompat: bool = False
    version: bool = False
    help: bool = False
    base_btf: str = ""
    status: int = 0
    nested: int = 0
    _colour: bool | None = field(default=None)

    def set_flag(self, attribute: str) -> None:
        """Set a flag, and what it implies."""
        setattr(self, attribute, True)
        if attribute == "pretty":
            self.json = True

    # --- printing ---------------------------------------------------------------------------------------------------

    @property
    def colour(self) -> bool:
        """Whether text may be coloured: on a terminal, unless NO_COLOR is set."""
        if self._colour is None:
            self._colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        return self._colour

    def write(self, text: str) -> None:
        """Print text as it stands. What was no UTF-8 where it came from goes out as it came."""
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode(errors="surrogateescape"))

    def line(self, text: str = "") -> None:
        """Print a line of text."""
        self.write(f"{text}\n")

    def data(self, value: object) -> None:
        """Print a view, or plain data, as JSON."""
        from bpfload.inspect.view import to_data
        from bpfload_cli.output import json_text

        text = json_text(to_data(value), pretty=self.pretty, depth=self.nested)
        self.write(text if self.nested else f"{text}\n")

    def done(self) -> None:
        """Print what a command that only changes something prints: nothing, or null as JSON."""
        if self.json:
            self.data(None)

    def show(self, views: Iterable[object], layout: Layout, *, as_list: bool = True) -> None:
        """Print views: as text by `layout`, or as JSON: a list, or without `as_list` the bare view if there is only one."""
        if self.json:
            items = list(views)
            self.data(items[0] if len(items) == 1 and not as_list else items)
            return
        from bpfload_cli.output import render

        for view in views:
            self.write(render(view, layout, colour=self.colour))

    def warn(self, text: str) -> None:
        """Print a line to stderr."""
        sys.stdout.flush()
        print(text, file=sys.stderr)


Run = Callable[[Session], Any]
