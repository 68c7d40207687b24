"""Seeded damage to object files: blind, and with an eye for what a reader trusts.

Half of the mutations hit a field that means something (a count, an offset, a type id), since flipped bytes alone mostly land in
instructions and debug text.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

ABSURD = (
    0, 1, 2, 3, 7, 8, 15, 16, 24, 255, 0x7F, 0x80, 0xFFFF, 0x7FFF, 0xFF00, 0xFFF1, 0xFFF2, 0x10000, 0xFFFFFF,
    0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFF0, 0x100000000, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 8, (1 << 64) - 1,
)  # fmt: skip

_EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
_SHDR = struct.Struct("<IIQQQQIIQQ")
_SHDR_FIELDS = ((0, 4), (4, 4), (8, 8), (24, 8), (32, 8), (40, 4), (44, 4), (56, 8))
_SYM_FIELDS = ((0, 4), (4, 1), (5, 1), (6, 2), (8, 8), (16, 8))
_REL_FIELDS = ((0, 8), (8, 4), (12, 4))
SYMTAB, REL = 2, 9


class Mutator:
    """Makes damaged copies of one object. The same seed gives the same copies."""

    def __init__(self, original: bytes, rng: random.Random) -> None:
        self.original = original
        self.rng = rng
        self.sections = _sections(original)
        self.ways: tuple[Callable[[bytearray], None], ...] = (
            self.flip_bytes, self.flip_bytes, self.overwrite_word, self.overwrite_word, self.cut, self.move, self.elf_header,
            self.section_header, self.section_header, self.section_header, self.swap_sections, self.symbol, self.symbol,
            self.relocation, self.relocation, self.btf_header, self.btf_type, self.btf_type, self.btf_type, self.btf_type,
            self.btf_cycle, self.btf_ext, self.btf_ext,
        )  # fmt: skip

    def mutate(self) -> bytes:
        """Return a copy with one to four kinds of damage."""
        data = bytearray(self.original)
        for _ in range(self.rng.choice((1, 1, 1, 2, 2, 3, 4))):
            if len(data) < 64:
                break
            self.rng.choice(self.ways)(data)
        return bytes(data)

    # Blind

    def flip_bytes(self, data: bytearray) -> None:
        for _ in range(self.rng.choice((1, 1, 2, 4, 16))):
            data[self.rng.randrange(len(data))] ^= 1 << self.rng.randrange(8)

    def overwrite_word(self, data: bytearray) -> None:
        size = self.rng.choice((1, 2, 4, 8))
        self._put(data, self.rng.randrange(0, len(data), size), size)

    def cut(self, data: bytearray) -> None:
        del data[self.rng.randrange(len(data)) :]

    def move(self, data: bytearray) -> None:
        length = self.rng.choice((1, 4, 8, 16, 64, 256))
        start = self.rng.randrange(len(data))
        piece = data[start : start + length]
        if self.rng.random() < 0.5:
            del data[start : start + length]
        target = self.rng.randrange(len(data) + 1)
        if self.rng.random() < 0.5:
            data[target : target + len(piece)] = piece
        else:
            data[target:target] = piece

    # Aimed at the container

    def elf_header(self, data: bytearray) -> None:
        at, size = self.rng.choice(((4, 1), (5, 1), (16, 2), (18, 2), (40, 8), (58, 2), (60, 2), (62, 2)))
        self._put(data, at, size)

    def section_header(self, data: bytearray) -> None:
        row = self._row(self.sections)
        if row is None:
            return
        at, size = self.rng.choice(_SHDR_FIELDS)
        if self.rng.random() < 0.4 and self.sections:
            other = self.rng.choice(self.sections)[0]
            data[row[0] + at : row[0] + at + size] = self.original[other + at : other + at + size]
        else:
            self._put(data, row[0] + at, size, near=len(data))

    def swap_sections(self, data: bytearray) -> None:
        if len(self.sections) > 2:
            a, b = (row[0] for row in self.rng.sample(self.sections, 2))
            data[a : a + 64], data[b : b + 64] = self.original[b : b + 64], self.original[a : a + 64]

    def symbol(self, data: bytearray) -> None:
        self._entry(data, SYMTAB, 24, _SYM_FIELDS)

    def relocation(self, data: bytearray) -> None:
        self._entry(data, REL, 16, _REL_FIELDS)

    # Aimed at BTF

    def btf_header(self, data: bytearray) -> None:
        row = self._named(".BTF")
        if row is not None:
            self._put(data, row[1] + self.rng.choice((0, 4, 8, 12, 16, 20)), 4, near=row[2])

    def btf_type(self, data: bytearray) -> None:
        at = self._btf_type()
        if at is None:
            return
        field = self.rng.choice((0, 4, 8, 12, 16, 20))
        if field == 4 and self.rng.random() < 0.7:
            info = self.rng.randrange(24) << 24 | self.rng.choice((0, 1, 2, 200, 0xFFFF)) | self.rng.choice((0, 1 << 31))
            data[at + 4 : at + 8] = struct.pack("<I", info)
        else:
            self._put(data, at + field, 4, near=self.rng.randrange(1, 64))

    def btf_cycle(self, data: bytearray) -> None:
        row = self._named(".BTF")
        starts = _btf_types(self.original, row)
        for _ in range(self.rng.choice((1, 2, 3, 8))):
            if len(starts) > 2:
                at = starts[self.rng.randrange(len(starts))]
                number = self.rng.choice((self.rng.randrange(len(starts)) + 1, starts.index(at) + 1, 0))
                field = self.rng.choice((8, 8, 12, 16))
                data[at + field : at + field + 4] = struct.pack("<I", number)

    def btf_ext(self, data: bytearray) -> None:
        row = self._named(".BTF.ext")
        if row is None:
            return
        first = self.rng.randrange(0, 40, 4) if self.rng.random() < 0.6 else self.rng.randrange(0, max(4, row[2]), 4)
        self._put(data, row[1] + first, 4, near=row[2])

    # Helpers

    def _put(self, data: bytearray, at: int, size: int, near: int = 0) -> None:
        if at + size > len(data):
            return
        old = int.from_bytes(data[at : at + size], "little")
        choice = self.rng.random()
        if choice < 0.4:
            new = self.rng.choice(ABSURD)
        elif choice < 0.6:
            new = old + self.rng.choice((-8, -4, -1, 1, 4, 8))
        elif choice < 0.8 and near:
            new = near + self.rng.choice((-9, -8, -1, 0, 1, 8))
        else:
            new = self.rng.getrandbits(self.rng.choice((4, 8, 16, 8 * size)))
        data[at : at + size] = (new % (1 << 8 * size)).to_bytes(size, "little")

    def _row(self, rows: list[tuple[int, int, int, int, str]]) -> tuple[int, int, int, int, str] | None:
        return self.rng.choice(rows) if rows else None

    def _named(self, name: str) -> tuple[int, int, int, int, str] | None:
        return next((row for row in self.sections if row[4] == name), None)

    def _entry(self, data: bytearray, kind: int, width: int, fields: tuple[tuple[int, int], ...]) -> None:
        row = self._row([row for row in self.sections if row[3] == kind and row[2] >= width])
        if row is None:
            return
        entry = row[1] + width * self.rng.randrange(row[2] // width)
        at, size = self.rng.choice(fields)
        self._put(data, entry + at, size, near=self.rng.choice(self.sections)[2])

    def _btf_type(self) -> int | None:
        starts = _btf_types(self.original, self._named(".BTF"))
        return self.rng.choice(starts) if starts else None


def _sections(data: bytes) -> list[tuple[int, int, int, int, str]]:
    """Return for each section where its header is, its offset, size, type and name."""
    header = _EHDR.unpack_from(data)
    start, count, names_index = header[6], header[12], header[13]
    rows = [_SHDR.unpack_from(data, start + 64 * index) for index in range(count)]
    names = data[rows[names_index][4] :]
    return [
        (start + 64 * index, row[4], row[5], row[1], names[row[0] : names.index(b"\0", row[0])].decode())
        for index, row in enumerate(rows)
        if index
    ]


def _btf_types(data: bytes, row: tuple[int, int, int, int, str] | None) -> list[int]:
    """Return the file offset of each BTF type."""
    if row is None:
        return []
    header_size, type_off, type_len = struct.unpack_from("<III", data, row[1] + 4)
    at = row[1] + header_size + type_off
    end = at + type_len
    fixed = {1: 16, 3: 24, 14: 16, 17: 16}
    rows = {4: 12, 5: 12, 6: 8, 13: 8, 15: 12, 19: 12}
    starts = []
    while at < end:
        starts.append(at)
        info = struct.unpack_from("<I", data, at + 4)[0]
        kind = info >> 24 & 31
        at += fixed.get(kind, 12) + rows.get(kind, 0) * (info & 0xFFFF)
    return starts
