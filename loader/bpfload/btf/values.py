"""Bytes to Python values by BTF type, in three styles.

- `PYTHON`, for programs: numbers are numbers, members of anonymous structs and unions stand among their parent's, char arrays
  are str where they hold text and bytes where not. `bpfload.btf.encode` takes these values back.
- `JSON`, as "formatted" in `bpftool -j map dump`: bit fields and 128-bit integers are hexadecimal strings.
- `PLAIN`, as `bpftool map dump` of a map with BTF: nearly JSON, but with bare hexadecimal numbers; `pretty` prints it.

The last two are equal to bpftool's value for value; where bpftool gives up (floating point), the value is decoded all the same.

Source: tools/bpf/bpftool/btf_dumper.c.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from bpfload.btf import types as t
from bpfload.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, NoReturn

    from bpfload.btf.index import Btf
    from bpfload.btf.network import Network

    Decode = Callable[[bytes, int], Any]

PYTHON = "python"
JSON = "json"
PLAIN = "plain"

MAX_NESTING = 64
MAX_EMPTY_ELEMENTS = 1 << 16  # of an array whose elements take no room
MAX_VALUES_PER_BYTE = 64  # above that, a type is made to take time: unions of unions of unions …

_PRINTABLE = bytes(range(0x20, 0x7F))
_INT_FORMATS = {1: "B", 2: "H", 4: "I", 8: "Q"}
_FLOAT_FORMATS = {2: "e", 4: "f", 8: "d"}
_ENUM_SIZES = (1, 2, 4, 8)


class Fields(dict[str, "Any"]):
    """Members of a struct of which several have the same name (none, for anonymous ones).

    As a dict it holds the last of them; `items` gives all, in order, and so does `json.dumps`.
    """

    def __init__(self, pairs: Iterable[tuple[str, Any]]) -> None:
        self.pairs = list(pairs)
        super().__init__(self.pairs)

    def items(self) -> Any:
        """Return all members as (name, value), in order."""
        return self.pairs


class Raw(str):
    """Text that is printed without quotes where the style is PLAIN."""

    __slots__ = ()


def decode(btf: Btf, type_id: int, data: bytes, *, style: str = PYTHON) -> Any:
    """Return the value of a type from its bytes. For many values of one type keep a `Decoder`.

    Raises FormatError if `data` is too short or the type holds no values.
    """
    return Decoder(btf, style=style).decode(type_id, data)


class Decoder:
    """Decodes values of the types of one BTF.

    `style`: PYTHON, JSON or PLAIN. `program_name`: for the function pointers of a struct_ops map, whose values are program ids:
    gives the program's name, "" if unknown. Without it pointers are addresses. `network`: reads what is in network byte order as
    the number or address that it means; without it, numbers are the machine's.
    """

    def __init__(
        self,
        btf: Btf,
        *,
        style: str = PYTHON,
        program_name: Callable[[int], str] | None = None,
        network: Network | None = None,
    ) -> None:
        self.btf = btf
        self.style = style
        self._program_name = program_name
        self._network = network
        self._order = "<" if btf.little_endian else ">"
        self._byte_order = "little" if btf.little_endian else "big"
        self._known: dict[int, tuple[int, Decode]] = {}
        self._counts: dict[int, int] = {}  # of single values in a value of a type, by its id
        self._open: list[int] = []

    def decode(self, type_id: int, data: bytes, offset: int = 0) -> Any:
        """Return the value of a type that starts at `offset` of `data`."""
        size, decode = self.prepare(type_id)
        if offset < 0 or offset + size > len(data):
            self._fail(type_id, f"a value takes {size} bytes, there are only {len(data) - offset}")
        try:
            return decode(data, offset)
        except struct.error:
            self._fail(type_id, "a part of it lies outside the value")

    def prepare(self, type_id: int) -> tuple[int, Decode]:
        """Return the size of a type, and a function that decodes it from bytes and an offset."""
        found = self._known.get(type_id)
        if found is None:
            if type_id in self._open or len(self._open) > MAX_NESTING:
                self._fail(type_id, "its parts are nested without end")
            self._open.append(type_id)
            try:
                found = self._make(self.btf.type(type_id))
            finally:
                self._open.pop()
            self._known[type_id] = found
            self._count(type_id, found[0])
        return found

    def _count(self, type_id: int, size: int) -> None:
        """Note how many single values a type has, and refuse one that has too many for its size."""
        found = self.btf.type(type_id)
        parts: list[int] = []
        factor = 1
        if found.kind in (t.KIND_STRUCT, t.KIND_UNION):
            parts = [member.type_id for member in found.members]
        elif found.kind == t.KIND_DATASEC:
            parts = [row.type_id for row in found.variables]
        elif found.kind == t.KIND_ARRAY:
            parts, factor = [found.elem], found.nelems
        elif found.type_id and found.kind != t.KIND_PTR:
            parts = [found.type_id]
        count = 1 + factor * sum([self._counts.get(part, 1) for part in parts])
        if count > MAX_EMPTY_ELEMENTS + MAX_VALUES_PER_BYTE * size:
            self._fail(type_id, f"it has {count} values in {size} bytes")
        self._counts[type_id] = count

    def _fail(self, type_id: int, message: str) -> NoReturn:
        raise FormatError(f"BTF type {type_id}: {message}", file=self.btf.name)

    def prepare_named(self, type_id: int, name: str) -> tuple[int, Decode]:
        """Do as `prepare`, for a value whose name may say that it is an address."""
        ordinary = self.prepare(type_id)
        kind = self._network.kind(self.btf, type_id, name) if self._network else ""
        return (ordinary[0], _decode_network(kind, ordinary[0])) if kind else ordinary

    def _make(self, found: t.Type) -> tuple[int, Decode]:
        kind = found.kind
        if self._network and found.kind == t.KIND_TYPEDEF:
            network = self._network.kind(self.btf, found.id)
            if network:
                size = self.btf.size_of(found.id)
                return size, _decode_network(network, size)
        if kind == t.KIND_TYPEDEF or kind in t.MODIFIER_KINDS:
            return self.prepare(found.type_id)
        make = _MAKERS.get(kind)
        if make is None:
            self._fail(found.id, f"{t.KIND_NAMES[kind]} {found.name!r} has no values")
        return make(self, found)

    # Numbers

    def _int(self, found: t.Type) -> tuple[int, Decode]:
        bits, size = found.bits, found.size
        if found.bit_offset or bits & 7 or bits not in (8, 16, 32, 64, 128):
            return size, self._bit_field(found.bit_offset, bits, found)
        if bits == 128:
            return max(size, 16), self._int128(found)
        encoding = found.encoding
        size = max(size, bits // 8)
        if encoding == t.INT_CHAR and self.style != PYTHON:
            return size, _decode_plain_char if self.style == PLAIN else _decode_json_char
        code = "?" if encoding & t.INT_BOOL else _INT_FORMATS[bits // 8]
        if encoding & t.INT_BOOL:
            size = max(found.size, 1)
        elif encoding & t.INT_SIGNED:
            code = code.lower()
        unpack = struct.Struct(self._order + code).unpack_from
        return size, lambda data, offset: unpack(data, offset)[0]

    def _int128(self, found: t.Type) -> Decode:
        if self.style == PYTHON:
            return self._number(16, bool(found.encoding & t.INT_SIGNED))
        number = self._number(16, signed=False)
        hexadecimal = Raw if self.style == PLAIN else str
        return lambda data, offset: hexadecimal(f"{number(data, offset):#x}")

    def _number(self, size: int, signed: bool) -> Callable[[bytes, int], int]:
        order: Any = self._byte_order
        return lambda data, offset: int.from_bytes(_cut(data, offset, size), order, signed=signed)

    def _bit_field(self, bit_offset: int, bits: int, found: t.Type) -> Decode:
        """Decode `bits` bits that start `bit_offset` bits behind the offset (from the top of the byte on big-endian machines)."""
        skip, bit_offset = divmod(bit_offset, 8)
        size = (bit_offset + bits + 7) // 8
        shift = bit_offset if self._byte_order == "little" else size * 8 - bit_offset - bits
        mask = (1 << bits) - 1
        number = self._number(size, signed=False)
        if self.style == PYTHON:
            convert = self._bits_to_python(found, bits)
        else:
            hexadecimal = Raw if self.style == PLAIN else str
            convert = lambda value: hexadecimal(f"{value:#x}")  # noqa: E731 - one of several forms of the same closure
        return lambda data, offset: convert(number(data, offset + skip) >> shift & mask)

    def _bits_to_python(self, found: t.Type, bits: int) -> Callable[[int], Any]:
        """Return what makes a Python value of the bits of a bit field."""
        found = self.btf.type(self.btf.resolve(found.id))
        if found.encoding & t.INT_BOOL:
            return bool
        half = 1 << bits - 1 if bits else 1
        signed = bool(found.encoding & t.INT_SIGNED)
        if found.kind in (t.KIND_ENUM, t.KIND_ENUM64):
            signed = found.kind_flag
            names = {value.value: value.name for value in reversed(found.values)}
            if signed:
                return lambda value: names.get(value - 2 * half if value >= half else value, value)
            return lambda value: names.get(value, value)
        if signed:
            return lambda value: value - 2 * half if value >= half else value
        return int

    def _float(self, found: t.Type) -> tuple[int, Decode]:
        code = _FLOAT_FORMATS.get(found.size)
        if code is None:
            hexadecimal = self._number(found.size, signed=False)
            return found.size, lambda data, offset: f"{hexadecimal(data, offset):#x}"
        unpack = struct.Struct(self._order + code).unpack_from
        return found.size, lambda data, offset: unpack(data, offset)[0]

    def _enum(self, found: t.Type) -> tuple[int, Decode]:
        """An enum's name, or the number: signed, as bpftool has it, whatever the enum says."""
        size = found.size
        if size not in _ENUM_SIZES:
            self._fail(found.id, f"an enum can't have {size} bytes")
        signed = self.style != PYTHON or found.kind_flag
        top = 1 << (64 if found.kind == t.KIND_ENUM64 else 32)
        names: dict[int, str] = {}
        for value in reversed(found.values):
            number = value.value % top
            names[number - top if signed and number >= top // 2 else number] = value.name
        code = _INT_FORMATS[size]
        unpack = struct.Struct(self._order + (code.lower() if signed else code)).unpack_from

        def decode(data: bytes, offset: int) -> Any:
            number = unpack(data, offset)[0]
            return names.get(number, number)

        return size, decode

    def _pointer(self, found: t.Type) -> tuple[int, Decode]:
        size = self.btf.pointer_size
        number = self._number(size, signed=False)
        address: Decode = _decode_address(number) if self.style == PLAIN else number
        if self._program_name is None:
            return size, address
        target = self.btf.resolve(found.type_id)
        if self.btf.kind(target) != t.KIND_FUNC_PROTO:
            return size, address
        return size, self._function_pointer(target, number, address)

    def _function_pointer(self, proto: int, number: Callable[[bytes, int], int], address: Decode) -> Decode:
        from bpfload.btf.names import prototype

        words = prototype(self.btf, proto)
        name_of = self._program_name
        assert name_of is not None

        def decode(data: bytes, offset: int) -> Any:
            program = number(data, offset)
            if not words or program > 0xFFFFFFFF:
                return address(data, offset)
            if not program:
                return f"{words} 0"
            return f"{words} {name_of(program) or '<unknown_prog_name>'}/prog_id:{program}"

        return decode

    # Aggregates

    def _array(self, found: t.Type) -> tuple[int, Decode]:
        count = found.nelems
        elem_size, elem = self.prepare(found.elem)
        if not elem_size and count > MAX_EMPTY_ELEMENTS:
            self._fail(found.id, f"an array of {count} elements without size")
        code = self._element_format(found.elem)
        if code:
            unpack = struct.Struct(f"{self._order}{count}{code}").unpack_from
            whole: Decode = lambda data, offset: list(unpack(data, offset))  # noqa: E731 - one of several forms of the same closure
        else:
            steps = (
                [i * elem_size for i in range(count)] if count <= MAX_EMPTY_ELEMENTS else range(0, count * elem_size, elem_size)
            )
            whole = lambda data, offset: [elem(data, offset + step) for step in steps]  # noqa: E731 - one of several forms of the same closure
        if count and self.is_char(found.elem):
            whole = self._text_or(whole, count)
        return count * elem_size, whole

    def _element_format(self, type_id: int) -> str:
        """Return the struct code of an ordinary integer, "" for another type."""
        found = self.btf.type(self.btf.resolve(type_id))
        if found.kind != t.KIND_INT or found.bit_offset or found.bits != found.size * 8 or found.size not in _INT_FORMATS:
            return ""
        if found.encoding == t.INT_SIGNED:
            return _INT_FORMATS[found.size].lower()
        return _INT_FORMATS[found.size] if found.encoding == 0 else ""

    def is_char(self, type_id: int) -> bool:
        """Return whether an array of these may be text. A typedef of char doesn't count, as in bpftool."""
        found = self.btf.type(self.btf.skip_modifiers(type_id))
        return found.kind == t.KIND_INT and found.size == 1 and (found.encoding == t.INT_CHAR or found.name == "char")

    def _text_or(self, whole: Decode, count: int) -> Decode:
        """Decode to text what is printable up to a zero byte, and anything else as `whole` does, or to bytes."""
        python = self.style == PYTHON

        def decode(data: bytes, offset: int) -> Any:
            found = char_array(_cut(data, offset, count))
            return found if python or isinstance(found, str) else whole(data, offset)

        return decode

    def _struct(self, found: t.Type) -> tuple[int, Decode]:
        fields = [(member.name, *self.member(member)) for member in found.members]
        names = [name for name, _, _ in fields]
        if self.style == PYTHON and "" in names:
            return found.size, _decode_flat(fields)
        if len(set(names)) == len(names):
            return found.size, lambda data, offset: {name: decode(data, offset + at) for name, at, decode in fields}
        return found.size, lambda data, offset: Fields([(name, decode(data, offset + at)) for name, at, decode in fields])

    def member(self, member: t.Member) -> tuple[int, Decode]:
        """Return the offset of a member in bytes, and what decodes it."""
        at, bit = divmod(member.offset_bits, 8)
        if member.bitfield_size:
            return at, self._bit_field(bit, member.bitfield_size, self.btf.type(member.type_id))
        if bit:
            resolved = self.btf.type(self.btf.resolve(member.type_id))
            if resolved.kind == t.KIND_INT:
                return at, self._bit_field(bit + resolved.bit_offset, resolved.bits, resolved)
        return at, self.prepare_named(member.type_id, member.name)[1]

    def _var(self, found: t.Type) -> tuple[int, Decode]:
        size, decode = self.prepare(found.type_id)
        if self.style == PYTHON:
            return size, decode
        name = found.name
        return size, lambda data, offset: {name: decode(data, offset)}

    def _datasec(self, found: t.Type) -> tuple[int, Decode]:
        parts = [(self.btf.type(row.type_id).name, row.offset, self.prepare(row.type_id)[1]) for row in found.variables]
        if self.style == PYTHON:
            return found.size, lambda data, offset: {name: decode(data, offset + at) for name, at, decode in parts}
        name = found.name
        return found.size, lambda data, offset: {name: [decode(data, offset + at) for _, at, decode in parts]}


_MAKERS: dict[int, Callable[[Decoder, t.Type], tuple[int, Decode]]] = {
    t.KIND_INT: Decoder._int,
    t.KIND_FLOAT: Decoder._float,
    t.KIND_ENUM: Decoder._enum,
    t.KIND_ENUM64: Decoder._enum,
    t.KIND_PTR: Decoder._pointer,
    t.KIND_ARRAY: Decoder._array,
    t.KIND_STRUCT: Decoder._struct,
    t.KIND_UNION: Decoder._struct,
    t.KIND_VAR: Decoder._var,
    t.KIND_DATASEC: Decoder._datasec,
}


def char_array(data: bytes) -> str | bytes:
    """Return an array of char as text, where it is printable up to a zero byte, and as it is where not."""
    text, zero, _ = data.partition(b"\0")
    return text.decode("ascii") if zero and not text.translate(None, _PRINTABLE) else data


def _cut(data: bytes, offset: int, size: int) -> bytes:
    part = data[offset : offset + size]
    if len(part) != size:
        raise struct.error("outside the value")
    return part


def _decode_network(kind: str, size: int) -> Decode:
    """Decode a number or address in network byte order."""
    if kind == "number":
        return lambda data, offset: int.from_bytes(_cut(data, offset, size), "big")
    from bpfload.btf.network import address_text

    return lambda data, offset: address_text(_cut(data, offset, size))


def _decode_json_char(data: bytes, offset: int) -> str:
    return chr(_cut(data, offset, 1)[0])


def _decode_plain_char(data: bytes, offset: int) -> str:
    byte = _cut(data, offset, 1)[0]
    return Raw(f'"{byte:c}"' if 0x20 <= byte < 0x7F else f"{byte:#x}")


def _decode_address(number: Callable[[bytes, int], int]) -> Decode:
    def decode(data: bytes, offset: int) -> str:
        value = number(data, offset)
        return f"{value:#x}" if value else "(nil)"

    return decode


def _decode_flat(fields: list[tuple[str, int, Decode]]) -> Decode:
    """Decode a struct, and put the members of its anonymous members in their place."""

    def decode(data: bytes, offset: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for name, at, decode_member in fields:
            value = decode_member(data, offset + at)
            if not name and isinstance(value, dict):
                result.update(value)
            else:
                result[name] = value
        return result

    return decode


def pretty(value: Any, depth: int = 0) -> str:
    """Return a value of style PLAIN as bpftool prints it: members one a line, elements of arrays side by side."""
    if isinstance(value, Raw):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value.translate(_ESCAPES)}"'
    if isinstance(value, dict):
        line = "\n" + "    " * (depth + 1)
        members = ",".join([f"{line}{pretty(name)}: {pretty(member, depth + 1)}" for name, member in value.items()])
        return f"{{{members}{line[:-4]}}}" if members else "{}"
    if isinstance(value, list):
        elements = ",".join([pretty(element, depth + 1) for element in value])
        return f"[{elements}\n{'    ' * depth}]" if value else "[]"
    return "null" if value is None else str(value)


_ESCAPES = {ord(char): f"\\{letter}" for char, letter in zip('\t\n\r\f\b\\"', 'tnrfb\\"', strict=True)}
