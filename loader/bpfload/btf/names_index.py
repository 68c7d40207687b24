"""From names to types, for one BTF without its base.

Two ways, with the same answers, also where a string is repeated or a name is the tail of another string. The first few names
are searched in the string bytes: under a millisecond in the kernel's 2 MB, with little to prepare. Who asks for more gets tables
of all names, which take about twice as long to make as parsing the kernel's BTF and answer in microseconds.
"""

from __future__ import annotations

import struct
from array import array
from operator import itemgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bpfload.btf.index import Btf

SEARCHES_BEFORE_TABLES = 16
MAX_TAILS = 6  # of other strings that are looked up as names, before it is found out whether any tail is a name


def essential_name(name: str) -> str:
    """Return a type's name without its flavour: ``task_struct`` of ``task_struct___old``.

    Source: bpf_core_essential_name_len() in tools/lib/bpf/relo_core.c.
    """
    at = name.rfind("___")
    while at > 0:
        if name[at - 1] != "_" and name[at + 3 : at + 4] not in ("_", ""):
            return name[:at]
        at = name.rfind("___", 0, at + 2)
    return name


def _items(sequence: bytes, indexes: list[int]) -> tuple[int, ...]:
    """Return sequence[index] for each index: twice as fast as a loop for the kernel's hundred thousand."""
    if len(indexes) < 2:
        return tuple(sequence[index] for index in indexes)
    items: tuple[int, ...] = itemgetter(*indexes)(sequence)
    return items


class NameIndex:
    """Names of the own types of a BTF."""

    __slots__ = (
        "_btf",
        "_flavours",
        "_found",
        "_last",
        "_name_offsets",
        "_named_by_base",
        "_searches",
        "_string_offsets",
        "_whole",
    )

    def __init__(self, btf: Btf) -> None:
        self._btf = btf
        offsets = btf.name_offsets()
        self._name_offsets = array("I", offsets).tobytes()
        self._found: dict[str, list[int]] = {}
        self._flavours: dict[str, list[str]] | None = None
        self._searches = 0
        self._whole: bool | None = None
        self._named_by_base = self._find_named_by_base(offsets) if btf.base is not None else {}
        # The tables, empty until they are made.
        self._string_offsets: dict[bytes, int] = {}
        self._last: dict[int, int] = {}

    def ids(self, name: str) -> list[int]:
        """Return the ids of the own types with that name, in order. The empty name finds nothing."""
        found = self._found.get(name)
        if found is None:
            found = self._found[name] = self._look_up(name.encode("utf-8", "surrogateescape")) if name else []
        return found[:]

    def candidates(self, essential: str) -> list[int]:
        """Return the ids of the own types with that name or that name and a flavour, in order."""
        if self._flavours is None:
            self._flavours = self._find_flavours()
        flavours = self._flavours.get(essential)
        found = self.ids(essential) if essential_name(essential) == essential else []
        if flavours:
            for flavour in flavours:
                found += self.ids(flavour)
            found.sort()
        return found

    def make_tables(self) -> None:
        """Make the tables of all names now."""
        if self._string_offsets:
            return
        from itertools import accumulate, count
        from operator import add

        strings = self._btf.own_strings.split(b"\0")
        strings.pop()
        starts = map(add, accumulate(map(len, strings), initial=self._btf.string_start), count())
        offsets = dict(zip(strings, starts, strict=False))
        names = memoryview(self._name_offsets).cast("I").tolist()
        ids = range(self._btf.start_id, self._btf.start_id + len(names))
        if len(offsets) != len(strings) or not self._names_are_whole:
            self._searches = -1 << 62  # tables would miss some: search every name
            return
        self._last = dict(zip(names, ids, strict=True))
        self._string_offsets = offsets

    @property
    def _names_are_whole(self) -> bool:
        """Whether each own name starts where a string starts, and so is no other string's tail."""
        if self._whole is None:
            start, end = self._btf.string_start, self._btf.string_end
            offsets = memoryview(self._name_offsets).cast("I").tolist()
            if start:
                offsets = [offset - start for offset in offsets if offset >= start]
            before = b"\0" + self._btf.own_strings
            self._whole = max(offsets, default=0) < end - start and not any(_items(before, offsets))
        return self._whole

    def _find_named_by_base(self, offsets: tuple[int, ...]) -> dict[bytes, list[int]]:
        """Return the own types whose name stands in the base's strings."""
        btf = self._btf
        found: dict[bytes, list[int]] = {}
        for type_id, offset in enumerate(offsets, btf.start_id):
            if 0 < offset < btf.string_start:
                found.setdefault(btf.string_bytes(offset), []).append(type_id)
        return found

    def _look_up(self, name: bytes) -> list[int]:
        if b"\0" in name:
            return []
        self._searches += 1
        if self._searches > SEARCHES_BEFORE_TABLES:
            self.make_tables()
        btf = self._btf
        found: list[int] = []
        if self._string_offsets:
            offset = self._string_offsets.get(name)
            if offset is not None:
                last = self._last.get(offset)
                if last is not None:
                    found += self._types_named(offset, last - btf.start_id + 1)
        else:
            for offset in self._find_strings(name):
                found += self._types_named(offset)
        if btf.base is not None:
            found += self._named_by_base.get(name, ())
            found.sort()
        return found

    def _find_strings(self, name: bytes) -> list[int]:
        """Return the offsets of own strings equal to `name`, and of tails of strings where a type may be named by a tail."""
        strings = self._btf.own_strings
        wanted = name + b"\0"
        found = []
        tails = 0
        at = strings.find(wanted)
        while at >= 0:
            found.append(at)
            tails += bool(at and strings[at - 1])
            if tails > MAX_TAILS and self._names_are_whole:
                found = [at for at in found if not at or not strings[at - 1]]
                at = strings.find(b"\0" + wanted, at) + 1 or -1
            else:
                at = strings.find(wanted, at + 1)
        start = self._btf.string_start
        return [start + at for at in found]

    def _types_named(self, offset: int, end: int | None = None) -> list[int]:
        """Return the ids of the types whose name is at an offset, among those up to index `end`."""
        table = self._name_offsets
        wanted = struct.pack("=I", offset)
        limit = len(table) if end is None else end * 4
        found = []
        at = table.find(wanted, 0, limit)
        while at >= 0:
            if at % 4:
                at = table.find(wanted, at + 1, limit)
                continue
            found.append(self._btf.start_id + at // 4)
            at = table.find(wanted, at + 4, limit)
        return found

    def _find_flavours(self) -> dict[str, list[str]]:
        """Return the names with a flavour that own types may have, by essential name."""
        strings = self._btf.own_strings
        flavours: dict[str, list[str]] = {}
        names = []
        at = strings.find(b"___")
        while at >= 0:
            start = strings.rfind(b"\0", 0, at) + 1
            end = strings.index(b"\0", at)
            name = strings[start:end].decode("utf-8", "backslashreplace")
            names.append(name)
            at = strings.find(b"___", end)
        names += [name.decode("utf-8", "backslashreplace") for name in self._named_by_base if b"___" in name]
        for name in dict.fromkeys(names):
            essential = essential_name(name)
            if essential != name:
                flavours.setdefault(essential, []).append(name)
        return flavours
