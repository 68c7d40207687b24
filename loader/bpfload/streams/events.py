"""Records of a ring or perf buffer as Python objects, by a BTF type.

::

    with RingBuffer(live.map("events")) as buffer:
        for event in typed(buffer, live.spec.btf, "event"):
            print(event.pid, event.comm)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import itemgetter
from struct import Struct
from typing import TYPE_CHECKING, Any

from bpfload.btf import types as t
from bpfload.btf.values import Decoder, char_array
from bpfload.errors import FormatError, NotFoundError, UsageError, near

if TYPE_CHECKING:
    from bpfload.btf import Btf
    from bpfload.streams.ring_buffer import Batch, RingBuffer

_HEADER = 8
_AT_ONCE = 256
_FORMATS = {1: "b", 2: "h", 4: "i", 8: "q"}
_KINDS = (t.KIND_STRUCT, t.KIND_UNION)


class Event(tuple[Any, ...]):
    """One record: a tuple of its members' values, each an attribute too. Made by an `EventType`."""

    __slots__ = ()
    names: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the values by the members' names."""
        return dict(zip(self.names, self, strict=True))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.as_dict().items())})"


class EventType:
    """Decodes records of one struct type.

    `size`: of the struct in bytes; a record may be longer, what follows is ignored. `names`: of the values of an event: the
    struct's members, those of anonymous ones among them. `flat`: for most events, how to unpack a record with its header at once
    (a format of the struct module), and the places of the values that are text; None where that isn't possible.
    """

    def __init__(self, btf: Btf, type_: int | str) -> None:
        """`type_`: a BTF type id, or a name ("event", "struct event"). Raises NotFoundError, UsageError where it is no struct."""
        type_id = type_ if isinstance(type_, int) else find_struct(btf, type_)
        found = btf.type(btf.resolve(type_id))
        if found.kind not in _KINDS:
            raise UsageError(f"BTF type {type_id} ({found.name or 'without a name'}) is no struct: its records have no members")
        self.size = found.size
        self.name = found.name
        _, self._decode = Decoder(btf).prepare(found.id)
        self.names = tuple(self._decode(bytes(found.size), 0))
        attributes: dict[str, Any] = {name: property(itemgetter(place)) for place, name in enumerate(self.names)}
        self._class: type[Event] = type(found.name or "Event", (Event,), {**attributes, "__slots__": (), "names": self.names})
        self.flat = _flat(btf, found)
        self._texts = Texts(char_array)
        self._structs: dict[tuple[int, int], Callable[[bytes, int], tuple[Any, ...]]] = {}

    def decode(self, record: bytes) -> Event:
        """Return a record as an Event. Raises FormatError for one that is too short."""
        if len(record) < self.size:
            raise FormatError(f"a record of {len(record)} bytes is too short for struct {self.name}, which has {self.size}")
        return self._class(self._decode(record, 0).values())

    def decode_batch(self, batch: Batch) -> list[Event]:
        """Return the records of a batch as Events, several times as fast as one by one. Raises FormatError."""
        if self.flat is None or batch.size < self.size:
            return [self.decode(record) for record in batch.records()]
        events: list[Event] = []
        for start in range(0, batch.count, _AT_ONCE):
            values = iter(self.columns(batch, start, min(_AT_ONCE, batch.count - start), self._texts))
            events += map(self._class, zip(*[values] * len(self.names), strict=True))
        return events

    def columns(self, batch: Batch, start: int, count: int, texts: Texts) -> list[Any]:
        """Return the values of `count` records from the `start`th on, one record behind the other, for a type that is `flat`.

        `texts`: what becomes of the values that are text.
        """
        assert self.flat is not None
        layout, places = self.flat
        step, width = batch.step, len(self.names)
        unpack = self._structs.get((count, step))
        if unpack is None:
            one = f"{layout[1:]}{step - _HEADER - self.size}x"
            unpack = self._structs[count, step] = Struct("<" + one * count).unpack_from
            if len(self._structs) > 64:
                self._structs.clear()
        values = list(unpack(batch.data, start * step))
        for place in places:
            values[place::width] = map(texts.__getitem__, values[place::width])
        return values


class Texts(dict[bytes, Any]):
    """Char arrays as what `make` makes of them; the same ones come again and again, so it remembers them."""

    def __init__(self, make: Callable[[bytes], Any]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, data: bytes) -> Any:
        if len(self) >= 10_000:
            self.clear()
        found = self[data] = self._make(data)
        return found


def typed(buffer: RingBuffer, btf: Btf, type_: int | str) -> Iterator[Event]:
    """Yield a ring buffer's records as Events, as they come, for ever. `type_`: as for `EventType`."""
    events = EventType(btf, type_)
    while True:
        for batch in buffer.batches():
            yield from events.decode_batch(batch)
        buffer.wait()


def find_struct(btf: Btf, name: str) -> int:
    """Return the id of a struct, union or typedef by its name ("struct" or "union" may stand before it). Raises NotFoundError."""
    bare = name.removeprefix("struct ").removeprefix("union ").strip()
    for kind in (*_KINDS, t.KIND_TYPEDEF):
        found = btf.find(bare, kind)
        if found:
            return found
    known = sorted({each.name for each in btf.types() if each.kind in _KINDS and each.name})
    close = near(bare, known)
    hint = "" if close else f"It has: {', '.join(known[:10])}{', …' if len(known) > 10 else ''}."
    raise NotFoundError(f"no struct {bare!r} in this BTF", candidates=close, hint=hint)


def _flat(btf: Btf, struct: t.Type) -> tuple[str, tuple[int, ...]] | None:
    """Return how to unpack a record with its header at once, and which values are text; None where that isn't possible.

    Possible are structs of whole numbers, enums excepted, and char arrays: what most events are.
    """
    if struct.kind != t.KIND_STRUCT or not btf.little_endian:
        return None
    layout, texts, at = f"<{_HEADER}x", [], 0
    for place, member in enumerate(struct.members):
        offset, odd = divmod(member.offset_bits, 8)
        found = btf.type(btf.resolve(member.type_id))
        one = _one(btf, found)
        if odd or member.bitfield_size or not member.name or one is None or offset < at:
            return None
        if one.endswith("s"):
            texts.append(place)
        layout += f"{offset - at}x{one}"
        at = offset + btf.size_of(found.id)
    return f"{layout}{struct.size - at}x", tuple(texts)


def _one(btf: Btf, found: t.Type) -> str | None:
    """Return the struct format of a number or a char array; None for anything else."""
    if found.kind == t.KIND_INT and found.bits == found.size * 8 and found.size in _FORMATS:
        if found.encoding & (t.INT_BOOL | t.INT_CHAR) or (found.size == 1 and found.name == "char"):
            return None
        return _FORMATS[found.size] if found.encoding & t.INT_SIGNED else _FORMATS[found.size].upper()
    if found.kind == t.KIND_PTR:
        return "Q" if btf.pointer_size == 8 else "I"
    if found.kind == t.KIND_ARRAY:
        element = btf.type(btf.skip_modifiers(found.elem))
        if element.kind == t.KIND_INT and element.size == 1 and (element.encoding == t.INT_CHAR or element.name == "char"):
            return f"{found.nelems}s"
    return None
