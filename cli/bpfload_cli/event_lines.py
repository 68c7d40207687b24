"""Records of a buffer as lines: text or JSON, by a BTF type or as bytes. Fast: a busy buffer is soon full."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from bpfload.btf.values import char_array
from bpfload.streams.events import Event, EventType, Texts
from bpfload.streams.ring_buffer import Batch

_AT_ONCE = 256


class EventLines:
    """Makes lines of records. `kind`: their type, None for bytes. `as_json`: one JSON object a line."""

    def __init__(self, kind: EventType | None, *, as_json: bool) -> None:
        self._kind = kind
        self._json = as_json
        self._texts = Texts(lambda data: self._value(char_array(data)))
        self._line = _template(kind, as_json) if kind and kind.flat else ""

    def of_batch(self, batch: Batch) -> str:
        """Return the lines of records that lie one behind the other, each with its newline."""
        kind = self._kind
        if kind is None or kind.flat is None or batch.size < kind.size:
            return "".join(self.of_record(record) for record in batch.records())
        parts = []
        for start in range(0, batch.count, _AT_ONCE):
            count = min(_AT_ONCE, batch.count - start)
            parts.append(self._line * count % tuple(kind.columns(batch, start, count, self._texts)))
        return "".join(parts)

    def of_record(self, record: bytes, prefix: Sequence[tuple[str, Any]] = ()) -> str:
        """Return the line of one record. `prefix`: what stands before its members: its time, its CPU."""
        kind = self._kind
        if kind is None or len(record) < kind.size:
            return self._line_of([*prefix, ("data", record)])
        event: Event = kind.decode(record)
        return self._line_of([*prefix, *zip(event.names, event, strict=True)])

    def _line_of(self, pairs: Sequence[tuple[str, Any]]) -> str:
        if self._json:
            return "{" + ",".join(f"{json.dumps(name)}:{self._value(value)}" for name, value in pairs) + "}\n"
        return " ".join(f"{name}={self._value(value)}" for name, value in pairs) + "\n"

    def _value(self, value: Any) -> str:
        return json_of(value) if self._json else text_of(value)


def text_of(value: Any) -> str:
    """Return a value as a line shows it: text bare where that is plain, bytes in hexadecimal."""
    if isinstance(value, bytes):
        return value.hex(" ")
    if isinstance(value, str):
        return value if value and value.isprintable() and " " not in value else json.dumps(value)
    if isinstance(value, dict):
        return "{" + " ".join(f"{name}={text_of(member)}" for name, member in value.items()) + "}"
    if isinstance(value, list):
        return "[" + " ".join(map(text_of, value)) + "]"
    return str(value)


def json_of(value: Any) -> str:
    """Return a value as JSON, bytes as bpftool shows them: a list of "0x…"."""
    return json.dumps(value, default=_plain, separators=(",", ":"))


def _plain(value: object) -> Any:
    return [f"0x{byte:02x}" for byte in value] if isinstance(value, bytes) else str(value)


def _template(kind: EventType, as_json: bool) -> str:
    """Return the line of a record with a place for each of its values."""
    assert kind.flat is not None
    places = ["%s" if place in kind.flat[1] else "%d" for place in range(len(kind.names))]
    pairs: Iterator[tuple[str, str]] = zip((name.replace("%", "%%") for name in kind.names), places, strict=True)
    if as_json:
        return "{" + ",".join(f"{json.dumps(name)}:{place}" for name, place in pairs) + "}\n"
    return " ".join(f"{name}={place}" for name, place in pairs) + "\n"
