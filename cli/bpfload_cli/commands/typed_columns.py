"""Values of one BTF type as text, very many at once: a format for one value, and columns of what goes into it.

The text is what `json_text` and `bpfload.btf.values.pretty` make of the decoded value. Numbers, truth values and enums have
columns of their own, read from the bytes of all values at once; whatever else there is (bit fields, texts, pointers) is decoded
and made text one by one.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from json.encoder import encode_basestring
from typing import NamedTuple

from bpfload.btf import types as t
from bpfload.btf.values import PLAIN, Decoder, pretty
from bpfload_cli.output import json_text

_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
# More leaves are no columns but one text: the format would outgrow the values.
_MAX_LEAVES = 64
# Texts of values that aren't numbers are kept for the next value with the same bytes: so many, of so many bytes.
_MAX_KNOWN, _MAX_SIZE_KNOWN = 1 << 14, 64
_TRUTH = ("false", "true")


class _Leaf(NamedTuple):
    """One argument of the format. `offset`, `size`: in bytes. `code`: of struct, for a number; `text`: of what is no number."""

    offset: int
    size: int
    code: str
    names: dict[int, str] | None
    text: Callable[[bytes, int], str] | None


class TypedColumns:
    """The text of many values of one type.

    `decoder`: of style JSON or PLAIN. `lines`: over several lines. `depth`: of the value's own braces.
    """

    def __init__(self, decoder: Decoder, type_id: int, *, lines: bool, depth: int) -> None:
        btf = decoder.btf
        self._btf = btf
        self._decoder = decoder
        self._lines = lines
        self._leaves: list[_Leaf] = []
        self._native = btf.little_endian == (sys.byteorder == "little")
        self._order = "<" if btf.little_endian else ">"
        decoder.prepare(type_id)  # refuses types that are made to take time
        self.format = self._part(type_id, 0, depth)
        if len(self._leaves) > _MAX_LEAVES:
            self._leaves = []
            self.format = self._decoded(decoder.prepare(type_id)[1], 0, depth)

    def columns(self, data: bytes, offset: int, width: int) -> list[list[object]]:
        """Return for each argument of the format those of all values. `width`: bytes from one value to the next."""
        return [self._column(leaf, data, offset + leaf.offset, width) for leaf in self._leaves]

    def _column(self, leaf: _Leaf, data: bytes, offset: int, width: int) -> list[object]:
        if leaf.text is not None:
            text = leaf.text
            return [text(data, at) for at in range(offset, len(data), width)]
        numbers = self._numbers(leaf, data, offset, width)
        if leaf.names is None:
            return numbers  # type: ignore[return-value] # a list of numbers is one of objects that nobody adds to
        named = leaf.names
        return [named.get(number) or str(number) for number in numbers]

    def _numbers(self, leaf: _Leaf, data: bytes, offset: int, width: int) -> list[int]:
        size = leaf.size
        if self._native and not width % size:
            view = memoryview(data)[offset:]
            usable = view[: len(view) // size * size]
            return usable.cast(leaf.code)[:: width // size].tolist()  # type: ignore[call-overload, no-any-return] # any code
        unpack = struct.Struct(self._order + leaf.code).unpack_from
        return [unpack(data, at)[0] for at in range(offset, len(data), width)]

    # --- the format ---------------------------------------------------------------------------------------------------

    def _part(self, type_id: int, offset: int, depth: int) -> str:
        """Return the format of a value, and note its leaves."""
        if len(self._leaves) > _MAX_LEAVES:
            return ""
        found = self._btf.type(self._btf.resolve(type_id))
        if found.kind in (t.KIND_STRUCT, t.KIND_UNION):
            return self._struct(found, offset, depth)
        if found.kind == t.KIND_ARRAY and found.nelems <= _MAX_LEAVES and not self._decoder.is_char(found.elem):
            return self._array(found, offset, depth)
        if found.kind == t.KIND_INT and self._plain_int(found):
            if found.encoding & t.INT_BOOL:
                return self._leaf(offset, found.size, "B", {number: _TRUTH[number > 0] for number in range(256)})
            code = _CODES[found.size]
            return self._leaf(offset, found.size, code.lower() if found.encoding & t.INT_SIGNED else code)
        if found.kind in (t.KIND_ENUM, t.KIND_ENUM64) and found.size in _CODES:
            return self._enum(found, type_id, offset)
        size, decode = self._decoder.prepare(type_id)
        return self._decoded(decode, offset, depth, size if size <= _MAX_SIZE_KNOWN else 0)

    def _plain_int(self, found: t.Type) -> bool:
        if found.bit_offset or found.bits != found.size * 8 or found.size not in _CODES:
            return False
        return found.size == 1 if found.encoding & t.INT_BOOL else found.encoding != t.INT_CHAR

    def _leaf(self, offset: int, size: int, code: str, names: dict[int, str] | None = None) -> str:
        self._leaves.append(_Leaf(offset, size, code, names, None))
        return "%d" if names is None else "%s"

    def _enum(self, found: t.Type, type_id: int, offset: int) -> str:
        """A name in quotes, or the number: what the decoder makes of each number that has a name."""
        size = found.size
        order = "little" if self._btf.little_endian else "big"
        decode = self._decoder.prepare(type_id)[1]
        names: dict[int, str] = {}
        for value in found.values:
            raw = (value.value % (1 << size * 8)).to_bytes(size, order)  # type: ignore[arg-type] # one of two literals
            names[int.from_bytes(raw, order, signed=True)] = self._text(decode(raw, 0), 0)  # type: ignore[arg-type] # as above
        return self._leaf(offset, size, _CODES[size].lower(), names)

    def _decoded(self, decode: Callable[[bytes, int], object], offset: int, depth: int, size: int = 0) -> str:
        """Note a leaf that is decoded one by one. `size`: in bytes, if its bytes tell its text, which is then made once."""
        known: dict[bytes, str] = {}

        def text(data: bytes, at: int) -> str:
            raw = data[at : at + size]
            found = known.get(raw)
            if found is None:
                if len(known) >= _MAX_KNOWN:
                    known.clear()
                found = known[raw] = self._text(decode(data, at), depth)
            return found

        self._leaves.append(_Leaf(offset, 0, "", None, text if size else lambda data, at: self._text(decode(data, at), depth)))
        return "%s"

    def _text(self, value: object, depth: int) -> str:
        if type(value) is int:
            return str(value)
        if isinstance(value, list) and value:
            parts = [self._text(part, depth + 1) for part in value]
            end = "\n" + "    " * depth if self._lines else ""
            return f"[{','.join(parts)}{end}]"
        if self._decoder.style == PLAIN:
            return pretty(value, depth)
        return encode_basestring(value) if isinstance(value, str) else json_text(value, pretty=self._lines, depth=depth)

    def _struct(self, found: t.Type, offset: int, depth: int) -> str:
        line, space = ("\n" + "    " * (depth + 1), " ") if self._lines else ("", "")
        parts = []
        for member in found.members:
            at, bit = divmod(member.offset_bits, 8)
            name = self._text(member.name, 0).replace("%", "%%")
            if member.bitfield_size or bit:
                start, decode = self._decoder.member(member)
                text = self._decoded(decode, offset + start, depth + 1)
            else:
                text = self._part(member.type_id, offset + at, depth + 1)
            parts.append(f"{line}{name}:{space}{text}")
        return f"{{{','.join(parts)}{line[:-4]}}}" if parts else "{}"

    def _array(self, found: t.Type, offset: int, depth: int) -> str:
        size = self._btf.size_of(found.elem)
        parts = [self._part(found.elem, offset + number * size, depth + 1) for number in range(found.nelems)]
        end = "\n" + "    " * depth if self._lines else ""
        return f"[{','.join(parts)}{end}]" if parts else "[]"


def interleave(form: str, columns: list[list[object]], count: int) -> str:
    """Return the format filled in `count` times, each time with the next element of every column."""
    if not columns:
        return (form % ()) * count
    if len(columns) == 1:
        return (form * count) % tuple(columns[0])
    arguments: list[object] = [None] * (count * len(columns))
    for number, column in enumerate(columns):
        arguments[number :: len(columns)] = column
    return (form * count) % tuple(arguments)
