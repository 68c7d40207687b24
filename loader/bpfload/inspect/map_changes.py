"""How a map's contents change from one look to the next, and how fast its numbers grow."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bpfload.inspect import elements
from bpfload.inspect.typed import TypedValue
from bpfload.objects.map import Map

ADDED, CHANGED, REMOVED = "added", "changed", "removed"


@dataclass(frozen=True, slots=True)
class Growth:
    """One number in a value. `path`: "packets", "by_cpu[2]", "" for the value itself. `per_second`: since the last look."""

    path: str
    value: int | float
    difference: int | float
    per_second: float


@dataclass(frozen=True, slots=True)
class Change:
    """What happened at a key between two looks. `value`: now, or the last one where it was removed.

    Key and value are Python values where the map has types, bytes where not. The values of a per-CPU map are added up, number by
    number; what is no number is that of the first CPU.
    """

    kind: str
    key: Any
    value: Any
    growth: tuple[Growth, ...]


class Watch:
    """Looks at a map again and again; each look tells what is different since the one before."""

    def __init__(self, item: Map) -> None:
        self._map = item
        self._seen: dict[bytes, bytes] = {}
        self._values: dict[bytes, tuple[Any, Any]] = {}
        self._when = 0.0

    def look(self) -> list[Change]:
        """Read the map and return what has changed; at first everything is added. Raises KernelError where it can't be read."""
        now = time.monotonic()
        seconds = now - self._when if self._when else 0.0
        self._when = now
        raw, shown = self._read()
        changes = [Change(REMOVED, *self._values[key], ()) for key in self._seen if key not in raw]
        for key, value in raw.items():
            old = self._seen.get(key)
            if old is None:
                changes.append(Change(ADDED, *shown[key], tuple(_growth(shown[key][1], None, seconds))))
            elif old != value:
                before = self._values[key][1]
                changes.append(Change(CHANGED, *shown[key], tuple(_growth(shown[key][1], before, seconds))))
        self._seen, self._values = raw, shown
        return changes

    def _read(self) -> tuple[dict[bytes, bytes], dict[bytes, tuple[Any, Any]]]:
        """Return all values as bytes and as they are shown, by key; a value that hasn't changed isn't decoded again."""
        raw: dict[bytes, bytes] = {}
        shown: dict[bytes, tuple[Any, Any]] = {}
        for element in elements.elements(self._map):
            if isinstance(element.value, elements.Unreadable):
                continue
            parts = [each.value for each in element.values or ()]
            data = element.value if element.values is None else b"".join(part for part in parts if isinstance(part, bytes))
            assert data is not None
            raw[element.key] = data
            if self._seen.get(element.key) == data:
                shown[element.key] = self._values[element.key]
            else:
                shown[element.key] = _shown(element)
        return raw, shown


def _shown(element: elements.Element) -> tuple[Any, Any]:
    """Return an element's key and value by their types, as far as there are any."""
    typed = element.formatted
    key: Any = typed.key.python() if typed and typed.key else element.key
    if element.values is None:
        return key, typed.value.python() if typed and typed.value else _number(element.value)
    if typed and typed.values:
        return key, _sum([each.value.python() for each in typed.values if isinstance(each.value, TypedValue)])
    return key, _sum([_number(each.value) for each in element.values])


def _number(value: object) -> Any:
    """Return bytes without a type as a number, where they have the size of one."""
    if isinstance(value, bytes) and len(value) in (4, 8):
        from sys import byteorder

        return int.from_bytes(value, byteorder)
    return value


def _sum(values: list[Any]) -> Any:
    """Add up the values of all CPUs."""
    first = values[0]
    if isinstance(first, bool) or not isinstance(first, (int, float, dict, list)):
        return first
    if isinstance(first, dict):
        return {name: _sum([value[name] for value in values]) for name in first}
    if isinstance(first, list):
        return [_sum(list(column)) for column in zip(*values, strict=True)]
    return sum(values)


def _growth(value: Any, before: Any, seconds: float) -> Iterator[Growth]:
    """Yield the numbers of a value that aren't what they were; `before` is None for a new one, whose numbers count from 0."""
    old = dict(_numbers(before)) if before is not None else {}
    for path, number in _numbers(value):
        difference = number - old.get(path, 0)
        if difference and seconds:
            yield Growth(path, number, difference, difference / seconds)


def _numbers(value: Any, path: str = "") -> Iterator[tuple[str, int | float]]:
    if isinstance(value, bool):
        return
    if isinstance(value, (int, float)):
        yield path, value
    elif isinstance(value, dict):
        for name, member in value.items():
            yield from _numbers(member, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for place, member in enumerate(value):
            yield from _numbers(member, f"{path}[{place}]")
