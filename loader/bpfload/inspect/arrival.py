"""The order in which bpftool lists several things of one id."""

from __future__ import annotations


class ArrivalTable:
    """Values by id, those of one id in the order that bpftool shows them in.

    libbpf's hash map, which bpftool keeps them in, puts a new value before the older ones of its id, and turns each chain
    around whenever it grows. Peers' output can be compared value for value only if that order is kept.

    Source: hashmap_add_entry(), hashmap_grow() in tools/lib/bpf/hashmap.c.
    """

    def __init__(self) -> None:
        self._values: dict[int, list[object]] = {}
        self._count = 0
        self._capacity = 0

    def __len__(self) -> int:
        return self._count

    def add(self, ident: int, value: object) -> None:
        """Add a value."""
        if self._capacity == 0 or (self._count + 1) * 4 // 3 > self._capacity:
            self._capacity = max(4, self._capacity * 2)
            for values in self._values.values():
                values.reverse()
        self._values.setdefault(ident, []).insert(0, value)
        self._count += 1

    def numbers(self, ident: int) -> tuple[int, ...]:
        """Return the values of an id that are numbers."""
        return tuple(value for value in self._values.get(ident, ()) if isinstance(value, int))

    def texts(self, ident: int) -> tuple[str, ...]:
        """Return the values of an id that are text."""
        return tuple(value for value in self._values.get(ident, ()) if isinstance(value, str))
