"""`bpfload top`: which programs run how often and take how long, live."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bpfload.errors import BpfError, UsageError
from bpfload.inspect.activity import Activity, ProgramActivity
from bpfload_cli.app import WordCommand
from bpfload_cli.grammar import Words
from bpfload_cli.session import Session
from bpfload_cli.stopping import until_stopped

if TYPE_CHECKING:
    from rich.table import Table

# What to sort by: the key that chooses it, the attribute, whether the highest goes first.
_SORTS = {
    "cpu": ("c", "cpu", True),
    "rate": ("r", "calls_per_second", True),
    "each": ("e", "ns_per_call", True),
    "time": ("t", "seconds", True),
    "calls": ("a", "calls", True),
    "name": ("n", "name", False),
    "id": ("i", "id", False),
}
_COLUMNS = ("ID", "TYPE", "NAME", "CPU %", "CALLS/S", "NS/CALL", "CALLS", "SECONDS")
_RIGHT = (True, False, False, True, True, True, True, True)


@dataclass(slots=True)
class _Wishes:
    sort: str = "cpu"
    interval: float = 1.0
    count: int = 0
    rows: int = 0


def top(session: Session, words: Words) -> None:
    """Show programs by run time and calls, until q or an interrupt."""
    wishes = _wishes(words)
    with Activity() as activity, until_stopped():
        activity.look()
        if session.json:
            _lines(session, activity, wishes, as_json=True)
        elif sys.stdout.isatty() and sys.stdin.isatty():
            _screen(activity, wishes)
        else:
            _lines(session, activity, wishes, as_json=False)


def _wishes(words: Words) -> _Wishes:
    wishes = _Wishes()
    while words:
        name = words.keyword(("sort", "interval", "count", "rows"), "an option of top")
        if name == "sort":
            wishes.sort = words.keyword(tuple(_SORTS), "a column to sort by")
        elif name == "interval":
            text = words.take("seconds")
            try:
                wishes.interval = float(text)
            except ValueError:
                wishes.interval = 0.0
            if not 0.05 <= wishes.interval < 1e6:
                raise UsageError(f"interval {text}: that is no number of seconds, 0.05 or more")
        else:
            setattr(wishes, name, words.number("how many"))
    return wishes


def _sorted(found: list[ProgramActivity], wishes: _Wishes) -> list[ProgramActivity]:
    _, attribute, highest = _SORTS[wishes.sort]
    found = sorted(found, key=lambda each: getattr(each, attribute), reverse=highest)
    return found[: wishes.rows] if wishes.rows else found


def _cells(each: ProgramActivity) -> tuple[str, ...]:
    return (
        str(each.id),
        str(each.type),
        each.name or each.tag,
        f"{each.cpu:.2f}",
        f"{each.calls_per_second:.0f}",
        f"{each.ns_per_call:.0f}",
        str(each.calls),
        f"{each.seconds:.3f}",
    )


# --- not on a terminal ----------------------------------------------------------------------------------------------


def _lines(session: Session, activity: Activity, wishes: _Wishes, *, as_json: bool) -> None:
    """Print a list each interval: of text, or one JSON object a line."""
    shown = 0
    while not wishes.count or shown < wishes.count:
        time.sleep(wishes.interval)
        found = _sorted(activity.look(), wishes)
        if as_json:
            from bpfload.inspect.view import to_data
            from bpfload_cli.output import json_text

            session.write(json_text({"time": time.time(), "programs": to_data(found)}, pretty=session.pretty) + "\n")
        else:
            session.write(("\n" if shown else "") + _text(found))
        sys.stdout.flush()
        shown += 1


def _text(found: list[ProgramActivity]) -> str:
    rows = [_COLUMNS, *map(_cells, found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = []
    for row in rows:
        columns = zip(row, widths, _RIGHT, strict=True)
        cells = [cell.rjust(width) if right else cell.ljust(width) for cell, width, right in columns]
        lines.append("  ".join(cells).rstrip() + "\n")
    return "".join(lines)


# --- on a terminal --------------------------------------------------------------------------------------------------


def _screen(activity: Activity, wishes: _Wishes) -> None:
    """Show the list in place; keys choose what it is sorted by."""
    try:
        from rich.live import Live
    except ImportError:
        hint = "pip install 'bpfload[top]'; or send the output through a pipe (bpfload top | cat), which needs nothing."
        raise BpfError("showing it live takes the rich package, which isn't installed", hint=hint) from None
    keys = {key: name for name, (key, _, _) in _SORTS.items()}
    with _raw_keys() as read_key, Live(screen=True, auto_refresh=False) as live:
        found: list[ProgramActivity] = []
        due, shown = time.monotonic() + wishes.interval, 0
        while not wishes.count or shown < wishes.count:
            key = read_key(max(0.0, due - time.monotonic()))
            if key in ("q", "\x1b", "\x03"):
                return
            wishes.sort = keys.get(key, wishes.sort)
            if time.monotonic() >= due:
                found, due, shown = activity.look(), time.monotonic() + wishes.interval, shown + 1
            live.update(_table(_sorted(found, wishes), wishes, live.console.height), refresh=True)


def _table(found: list[ProgramActivity], wishes: _Wishes, height: int) -> Table:
    from rich import box
    from rich.table import Table

    keys = "  ".join(f"[b]{key}[/b] {name}" for name, (key, _, _) in _SORTS.items())
    table = Table(box=box.SIMPLE_HEAD, expand=True, caption=f"sort by: {keys}  [b]q[/b] quit", caption_justify="left")
    attributes = ("id", "type", "name", "cpu", "calls_per_second", "ns_per_call", "calls", "seconds")
    chosen = _SORTS[wishes.sort][1]
    for title, right, attribute in zip(_COLUMNS, _RIGHT, attributes, strict=True):
        style = "bold" if attribute == chosen else ""
        table.add_column(title, justify="right" if right else "left", style=style, no_wrap=True)
    for each in found[: max(1, height - 6)]:
        table.add_row(*(cell.replace("[", "\\[") for cell in _cells(each)), style="" if each.calls_per_second else "dim")
    return table


@contextmanager
def _raw_keys() -> Iterator[Callable[[float], str]]:
    """Give a function that waits for a key up to so many seconds and returns it, "" for none."""
    import os
    import select
    import termios
    import tty

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)

    def read_key(seconds: float) -> str:
        ready, _, _ = select.select([terminal], [], [], seconds)
        return os.read(terminal, 1).decode(errors="replace") if ready else ""

    tty.setcbreak(terminal)
    try:
        yield read_key
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


command = WordCommand("top", top)
