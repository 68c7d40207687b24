"""Maps as generated modules have them: keys and values are what BTF says, as dataclasses, enums and numbers."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from bpfload.errors import KernelError
from bpfload.objects.map import Map
from bpfload.objects.typed_map import TypedMap
from bpfload.skeleton.values import Struct, from_plain, to_plain

if TYPE_CHECKING:
    from bpfload.btf import Btf
    from bpfload.streams.perf_buffer import Lost

K = TypeVar("K")
V = TypeVar("V")
S = TypeVar("S", bound=Struct)


class MapOf(Generic[K, V]):
    """A map with keys and values. `map`: itself, for bytes. A per-CPU map has lists with a value for each CPU."""

    def __init__(self, typed: TypedMap, key: Any, value: Any) -> None:
        self.map: Map = typed.map
        self._typed = typed
        self._key = key
        self._value = value

    def get(self, key: K) -> V | None:
        """Return a key's value, None if there is no such key. Raises UsageError for one that doesn't fit, KernelError."""
        raw = self.map.get(self._raw_key(key))
        return None if raw is None else self._decoded(raw)

    def set(self, key: K, value: V, *, flags: int = 0) -> None:
        """Set a key's value. `flags`: 1 (BPF_NOEXIST): only a new key, 2 (BPF_EXIST): only a known one."""
        self.map.update(self._raw_key(key), self._typed.encode_value(to_plain(value)), flags)

    def delete(self, key: K) -> bool:
        """Delete a key; return whether it was there."""
        try:
            self.map.delete(self._raw_key(key))
        except KernelError as error:
            if error.errno == errno.ENOENT:
                return False
            raise
        return True

    def items(self) -> Iterator[tuple[K, V]]:
        """Yield all keys with their values, in batches where the kernel can."""
        for key, value in self.map.items():
            yield from_plain(self._key, self._typed.decode_key(key)), self._decoded(value)

    def keys(self) -> Iterator[K]:
        """Yield all keys."""
        for key in self.map.keys():  # noqa: SIM118 - it is no dict
            yield from_plain(self._key, self._typed.decode_key(key))

    def values(self) -> Iterator[V]:
        """Yield all values."""
        for _, value in self.map.items():  # noqa: PERF102 - it is no dict
            yield self._decoded(value)

    def __getitem__(self, key: K) -> V:
        found = self.get(key)
        if found is None:
            raise KeyError(key)
        return found

    def __setitem__(self, key: K, value: V) -> None:
        self.set(key, value)

    def __delitem__(self, key: K) -> None:
        if not self.delete(key):
            raise KeyError(key)

    def __contains__(self, key: K) -> bool:
        return self.map.get(self._raw_key(key)) is not None

    def __iter__(self) -> Iterator[K]:
        return self.keys()

    def __len__(self) -> int:
        return sum(1 for _ in self.map.keys())  # noqa: SIM118 - it is no dict

    def _raw_key(self, key: K) -> bytes:
        return self._typed.encode_key(to_plain(key)) or b""

    def _decoded(self, raw: bytes) -> V:
        found: V = from_plain(self._value, self._typed.decode_value(raw))
        return found


class QueueOf(Generic[V]):
    """A queue or stack. `map`: itself, for bytes."""

    def __init__(self, typed: TypedMap, value: Any) -> None:
        self.map: Map = typed.map
        self._typed = typed
        self._value = value

    def push(self, value: V, *, replace: bool = False) -> None:
        """Add a value; `replace`: in a full one, in the place of the oldest. Raises KernelError (E2BIG) where it is full."""
        self.map.update(None, self._typed.encode_value(to_plain(value)), 2 if replace else 0)

    def pop(self) -> V | None:
        """Take the next value, None where it is empty."""
        try:
            raw = self.map.pop()
        except KernelError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        return self._decoded(raw)

    def peek(self) -> V | None:
        """Return the next value and leave it there, None where it is empty."""
        raw = self.map.peek()
        return None if raw is None else self._decoded(raw)

    def _decoded(self, raw: bytes) -> V:
        found: V = from_plain(self._value, self._typed.decode_value(raw))
        return found


class EventsOf:
    """A ring buffer, or the perf buffers of an array. `map`: itself, for `bpfload.RingBuffer` or `bpfload.PerfBuffer`."""

    def __init__(self, item: Map, btf: Btf) -> None:
        self.map = item
        self._btf = btf

    def read(self, kind: type[S], *, timeout: float | None = None) -> Iterator[S]:
        """Yield records of a ring buffer as objects of a generated class, as they come.

        `timeout`: end when nothing came for so many seconds; None: go on for ever. Raises UsageError for another map, FormatError
        for a record that is too short.
        """
        from bpfload.streams.ring_buffer import RingBuffer

        decode = self._decoder(kind)
        with RingBuffer(self.map) as buffer:
            while True:
                for record in buffer.read():
                    yield decode(record)
                if not buffer.wait(timeout):
                    return

    def read_perf(self, kind: type[S], *, timeout: float | None = None, pages: int = 16) -> Iterator[S | Lost]:
        """Do as `read` for perf buffers, `pages` to a CPU; what was lost between is said by a `Lost` that has the number."""
        from bpfload.streams.perf_buffer import Lost, PerfBuffer, Sample

        decode = self._decoder(kind)
        with PerfBuffer(self.map, pages=pages) as buffer:
            while True:
                for record in buffer.read():
                    if isinstance(record, Sample):
                        yield decode(record.data)
                    elif isinstance(record, Lost):
                        yield record
                if not buffer.wait(timeout):
                    return

    def _decoder(self, kind: type[S]) -> Any:
        from bpfload.streams.events import EventType

        event = EventType(self._btf, kind.__bpf_name__)
        return lambda record: kind.from_plain(event.decode(record).as_dict())
