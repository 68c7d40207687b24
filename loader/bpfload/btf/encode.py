"""Python values to bytes by BTF type: the way back of `bpfload.btf.values` in its Python style."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from bpfload.btf import types as t
from bpfload.errors import FormatError, UsageError

if TYPE_CHECKING:
    from typing import Any, NoReturn

    from bpfload.btf.index import Btf
    from bpfload.btf.network import Network

MAX_NESTING = 64
MAX_MEMBERS = 1 << 16  # of a struct with all its anonymous members
_FLOAT_FORMATS = {2: "e", 4: "f", 8: "d"}
_TRUTH = {"true": 1, "false": 0, "y": 1, "n": 0, "yes": 1, "no": 0}


def encode(
    btf: Btf,
    type_id: int,
    value: Any,
    *,
    initial: bytes | None = None,
    name: str = "value",
    network: Network | None = None,
) -> bytes:
    """Return the bytes of a value.

    `value`: int (or text of one, in any base Python reads), bool, float, the name or number of an enum, str or bytes for an
    array of characters, list, dict by member (members of anonymous structs and unions stand among their parent's), or bytes of
    exactly the type's size for any type. What a list or dict leaves out keeps its bytes in `initial`, which are zero if not
    given. The text of an IPv4, IPv6 or MAC address does for an integer or array of 4, 16 or 6 bytes, in network order. `name`: of
    the variable, for messages. `network`: numbers for what is in network byte order are those that it means, as a `Decoder` with
    the same reads them. Raises UsageError, naming the member, if a value doesn't fit.
    """
    size = btf.size_of(type_id)
    buffer = bytearray(size) if initial is None else bytearray(initial)
    if len(buffer) != size:
        raise UsageError(f"{name}: the type has {size} bytes, the initial value {len(buffer)}")
    _Encoder(btf, buffer, network).put(type_id, value, 0, name, name)
    return bytes(buffer)


class _Encoder:
    def __init__(self, btf: Btf, buffer: bytearray, network: Network | None = None) -> None:
        self.btf = btf
        self.network = network
        self.buffer = buffer
        self.order: Any = "little" if btf.little_endian else "big"
        self.depth = 0

    def fail(self, path: str, message: str) -> NoReturn:
        raise UsageError(f"{path}: {message}")

    def wrong(self, path: str, wanted: str, value: Any) -> NoReturn:
        self.fail(path, f"{wanted} is needed, not {_shorten(value)}")

    def put(self, type_id: int, value: Any, offset: int, path: str, name: str = "") -> None:
        """Write a value at an offset of the buffer. `name`: of the member, which may say that it is an address."""
        if isinstance(value, (str, int)) and self._network_order(type_id, value, offset, path, name):
            return
        found = self.btf.type(self.btf.resolve(type_id))
        kind = found.kind
        if kind == t.KIND_VAR:
            self.put(found.type_id, value, offset, path)
        elif kind == t.KIND_ARRAY:
            self._array(found, value, offset, path)
        elif isinstance(value, (bytes, bytearray, memoryview)):
            self._raw(bytes(value), self.btf.size_of(found.id), offset, path)
        elif kind in (t.KIND_STRUCT, t.KIND_UNION):
            self._struct(found, value, offset, path)
        elif kind == t.KIND_DATASEC:
            self._datasec(found, value, offset, path)
        elif kind == t.KIND_FLOAT:
            self._float(found, value, offset, path)
        else:
            number, bits = self._scalar(found, value, path)
            size = self.btf.size_of(found.id)
            if kind == t.KIND_INT and (found.bit_offset or bits != size * 8):
                self._bits(offset, found.bit_offset, bits, number)
            else:
                self._raw((number % (1 << size * 8)).to_bytes(size, self.order), size, offset, path)

    def _network_order(self, type_id: int, value: Any, offset: int, path: str, name: str) -> bool:
        """Write a value in network byte order, if it is one: the text of an address, or a number for what is kept so."""
        raw = None
        if isinstance(value, str) and ("." in value or ":" in value or "-" in value):
            raw = self._address(self.btf.type(self.btf.resolve(type_id)), value)
        elif self.network and not isinstance(value, bool) and self.network.kind(self.btf, type_id, name):
            found = self.btf.type(self.btf.resolve(type_id))
            if found.kind == t.KIND_INT:
                number = self._number(value, "a number or an address", path)
                raw = self._in_range(number, 0, (1 << found.size * 8) - 1, path).to_bytes(found.size, "big")
        if raw is not None:
            self._raw(raw, len(raw), offset, path)
        return raw is not None

    def _address(self, found: t.Type, text: str) -> bytes | None:
        """Return the bytes of an address's text, None where the type can hold none or the text is none."""
        from bpfload.btf.network import address_bytes, is_text

        known = found.kind == t.KIND_INT or (found.kind == t.KIND_STRUCT and found.name in ("in_addr", "in6_addr"))
        if known or (found.kind == t.KIND_ARRAY and not is_text(self.btf, found.elem)):
            return address_bytes(text, self.btf.size_of(found.id))
        return None

    def _raw(self, raw: bytes, size: int, offset: int, path: str) -> None:
        if len(raw) != size:
            self.fail(path, f"{size} bytes are needed, not {len(raw)}")
        if offset + size > len(self.buffer):
            raise FormatError(f"{path}: it lies outside the value", file=self.btf.name)
        self.buffer[offset : offset + size] = raw

    def _bits(self, offset: int, bit_offset: int, bits: int, number: int) -> None:
        """Write a bit field, and leave the bits around it as they are."""
        skip, bit_offset = divmod(bit_offset, 8)
        offset += skip
        size = (bit_offset + bits + 7) // 8
        shift = bit_offset if self.order == "little" else size * 8 - bit_offset - bits
        mask = (1 << bits) - 1 << shift
        old = int.from_bytes(self.buffer[offset : offset + size], self.order)
        if offset + size > len(self.buffer):
            raise FormatError("a bit field lies outside the value", file=self.btf.name)
        self.buffer[offset : offset + size] = (old & ~mask | number << shift & mask).to_bytes(size, self.order)

    # Numbers

    def _scalar(self, found: t.Type, value: Any, path: str, bits: int = 0) -> tuple[int, int]:
        """Return the number for a value of a type, checked against its range, and how many bits hold it."""
        if found.kind == t.KIND_INT:
            bits = bits or found.bits
            return self._int(found, value, path, bits), bits
        if found.kind in (t.KIND_ENUM, t.KIND_ENUM64):
            bits = bits or found.size * 8
            return self._enum(found, value, path, bits), bits
        if found.kind == t.KIND_PTR:
            bits = bits or self.btf.pointer_size * 8
            number = 0 if value is None else self._number(value, "an address", path)
            return self._in_range(number, 0, (1 << bits) - 1, path), bits
        raise UsageError(f"{path}: {t.KIND_NAMES[found.kind]} {found.name!r} can't be set")

    def _number(self, value: Any, wanted: str, path: str) -> int:
        if isinstance(value, int):
            return int(value)
        if isinstance(value, str):
            try:
                return int(value, 0)
            except ValueError:
                pass
        return self.wrong(path, wanted, value)

    def _in_range(self, number: int, low: int, high: int, path: str) -> int:
        if not low <= number <= high:
            self.fail(path, f"{number} is out of range, {low} to {high}")
        return number

    def _int(self, found: t.Type, value: Any, path: str, bits: int) -> int:
        encoding = found.encoding
        if encoding & t.INT_BOOL:
            if isinstance(value, str) and value.lower() in _TRUTH:
                return _TRUTH[value.lower()]
            return self._in_range(self._number(value, "true or false", path), 0, 1, path)
        is_char = found.size == 1 and (encoding & t.INT_CHAR or found.name == "char")
        if is_char and isinstance(value, str) and len(value) == 1 and value.isascii() and not value.isdigit():
            return ord(value)
        number = self._number(value, f"a number ({found.name or 'an integer'})", path)
        half = 1 << max(bits - 1, 0)
        low = -half if encoding & t.INT_SIGNED or is_char else 0
        high = half - 1 if encoding & t.INT_SIGNED and not is_char else 2 * half - 1
        return self._in_range(number, low, high, path)

    def _enum(self, found: t.Type, value: Any, path: str, bits: int) -> int:
        if isinstance(value, str):
            for known in found.values:
                if known.name == value:
                    return known.value
            names = ", ".join(known.name for known in found.values[:8])
            dots = ", …" if found.vlen > 8 else ""
            wanted = f"a number or a name of enum {found.name} ({names}{dots})"
        else:
            wanted = f"a number or a name of enum {found.name}"
        return self._in_range(self._number(value, wanted, path), -1 << bits - 1, (1 << bits) - 1, path)

    def _float(self, found: t.Type, value: Any, offset: int, path: str) -> None:
        code = _FLOAT_FORMATS.get(found.size)
        if code is None:
            self.fail(path, f"a {found.name} of {found.size} bytes can only be set from bytes")
        try:
            raw = struct.pack(("<" if self.order == "little" else ">") + code, float(value))
        except (TypeError, ValueError, OverflowError):
            self.wrong(path, f"a number ({found.name})", value)
        self._raw(raw, found.size, offset, path)

    # Aggregates

    def _array(self, found: t.Type, value: Any, offset: int, path: str) -> None:
        count = found.nelems
        elem_size = self.btf.size_of(found.elem)
        if isinstance(value, str):
            self._text(found, value, offset, path)
        elif isinstance(value, (bytes, bytearray, memoryview)):
            raw = bytes(value)
            if elem_size == 1 and len(raw) < count:
                raw = raw.ljust(count, b"\0")
            self._raw(raw, count * elem_size, offset, path)
        elif isinstance(value, (list, tuple)):
            if len(value) > count:
                self.fail(path, f"at most {count} elements fit, not {len(value)}")
            self._enter(path)
            for index, element in enumerate(value):
                self.put(found.elem, element, offset + index * elem_size, f"{path}[{index}]")
            self.depth -= 1
        else:
            self.wrong(path, f"a list of up to {count} elements", value)

    def _text(self, found: t.Type, value: str, offset: int, path: str) -> None:
        elem = self.btf.type(self.btf.resolve(found.elem))
        if elem.kind != t.KIND_INT or elem.size != 1:
            self.wrong(path, f"a list of up to {found.nelems} elements", value)
        raw = value.encode("utf-8", "surrogateescape")
        if len(raw) >= found.nelems:
            self.fail(path, f"text of up to {max(found.nelems - 1, 0)} bytes fits, not {len(raw)}")
        self._raw(raw.ljust(found.nelems, b"\0"), found.nelems, offset, path)

    def _enter(self, path: str) -> None:
        self.depth += 1
        if self.depth > MAX_NESTING:
            self.fail(path, "the value is nested too deeply")

    def _struct(self, found: t.Type, value: Any, offset: int, path: str) -> None:
        keyword = "struct" if found.kind == t.KIND_STRUCT else "union"
        if not isinstance(value, dict):
            self.wrong(path, f"a mapping of members (of {keyword} {found.name or '{...}'})", value)
        members = members_by_name(self.btf, found)
        self._enter(path)
        for name, part in value.items():
            member = members.get(name)
            if member is None:
                self._no_such(path, f"{keyword} {found.name or '{...}'} has no member", name, members)
            self._member(member, part, offset, f"{path}.{name}")
        self.depth -= 1

    def _no_such(self, path: str, message: str, name: Any, known: dict[str, Any]) -> NoReturn:
        from difflib import get_close_matches

        near = get_close_matches(str(name), known, 3)
        hint = f"Did you mean {', '.join(near)}?" if near else ""
        raise UsageError(f"{path}: {message} {name!r}", hint=hint)

    def _member(self, member: t.Member, value: Any, offset: int, path: str) -> None:
        at, bit = divmod(member.offset_bits, 8)
        found = self.btf.type(self.btf.resolve(member.type_id))
        bits = member.bitfield_size or (found.bits if bit and found.kind == t.KIND_INT else 0)
        if not bits:
            self.put(member.type_id, value, offset + at, path, member.name)
            return
        number, _ = self._scalar(found, value, path, bits)
        self._bits(offset + at, bit + found.bit_offset, bits, number)

    def _datasec(self, found: t.Type, value: Any, offset: int, path: str) -> None:
        if not isinstance(value, dict):
            self.wrong(path, f"a mapping of variables (of section {found.name})", value)
        variables = {self.btf.type(row.type_id).name: row for row in found.variables}
        for name, part in value.items():
            row = variables.get(name)
            if row is None:
                self._no_such(path, f"section {found.name} has no variable", name, variables)
            self.put(row.type_id, part, offset + row.offset, f"{path}.{name}")


def members_by_name(btf: Btf, found: t.Type) -> dict[str, t.Member]:
    """Return the members of a struct or union by name, those of anonymous members included, with offsets in the outermost."""
    members: dict[str, t.Member] = {}
    pending = [(member, 0, 0) for member in reversed(found.members)]
    for _ in range(MAX_MEMBERS):
        if not pending:
            return members
        member, start, depth = pending.pop()
        offset_bits = start + member.offset_bits
        if member.name:
            members.setdefault(member.name, t.Member(member.name, member.type_id, offset_bits, member.bitfield_size))
            continue
        inner = btf.type(btf.resolve(member.type_id))
        if depth < MAX_NESTING and inner.kind in (t.KIND_STRUCT, t.KIND_UNION):
            pending += [(part, offset_bits, depth + 1) for part in reversed(inner.members)]
    raise FormatError(f"BTF type {found.id} has too many members", file=btf.name)


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
