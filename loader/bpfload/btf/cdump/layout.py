"""Where C would put members: sizes, alignments, and what padding brings them where the BTF says they are.

Source: btf__align_of() and btf__resolve_size() in tools/lib/bpf/btf.c; btf_is_struct_packed() and btf_dump_emit_bit_padding()
in tools/lib/bpf/btf_dump.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpfload.btf import types as t
from bpfload.errors import FormatError

if TYPE_CHECKING:
    from bpfload.btf.flat import FlatTypes

MAX_CHAIN = 32  # of types between a member and what has a size, as libbpf has it
MAX_PADDING = 1 << 20  # lines of padding in one place
_MAX_SIZE = 0xFFFFFFFF
_SCALARS = (t.KIND_INT, t.KIND_ENUM, t.KIND_ENUM64, t.KIND_FLOAT)
_NAMED_LINKS = t.MODIFIER_KINDS | {t.KIND_TYPEDEF}


class CLayout:
    """Sizes and alignments, each found once."""

    def __init__(self, flat: FlatTypes) -> None:
        self.flat = flat
        self.pointer_size = flat.btf.pointer_size
        #: By type id: size in bits, 0 for what has none.
        self.sizes: dict[int, int] = {}
        self._aligns: dict[int, int] = {}
        self._structs: dict[int, tuple[int, bool]] = {}
        #: Types to pad with, the largest first: name and bits.
        self._pads = (("long", self.pointer_size * 8), ("int", 32), ("short", 16), ("char", 8))

    def size(self, type_id: int) -> int:
        """Return the size of a type in bits, 0 if it has none or is over 4 GiB."""
        size = self.sizes.get(type_id)
        if size is None:
            size = self.sizes[type_id] = self._find_size(type_id) * 8
        return size

    def _find_size(self, type_id: int) -> int:
        flat = self.flat
        count = 1
        for _ in range(MAX_CHAIN):
            kind = flat.kinds[type_id]
            if kind in t.SIZED_KINDS:
                size = count * flat.target(type_id)
                return size if size <= _MAX_SIZE else 0
            if kind == t.KIND_PTR:
                return count * self.pointer_size
            if kind == t.KIND_ARRAY:
                at = flat.at[type_id]
                type_id = flat.words[at + 2]
                count *= flat.words[at + 4]
                if count > _MAX_SIZE:
                    return 0
            elif kind in _NAMED_LINKS or kind in (t.KIND_VAR, t.KIND_DECL_TAG):
                type_id = flat.target(type_id)
            else:
                return 0
        return 0

    def align(self, type_id: int) -> int:
        """Return the alignment of a type in bytes; 1 for a packed struct, 0 for what has none."""
        align = self._aligns.get(type_id)
        if align is None:
            align = self._aligns[type_id] = self._find_align(type_id)
        return align

    def _find_align(self, type_id: int) -> int:
        flat = self.flat
        kind = flat.kinds[type_id]
        if kind == t.KIND_PTR:
            return self.pointer_size
        if kind in _SCALARS:
            return min(self.pointer_size, flat.target(type_id))
        if kind == t.KIND_ARRAY:
            return self.align(flat.words[flat.at[type_id] + 2])
        if kind in _NAMED_LINKS:
            return self.align(flat.target(type_id))
        if kind == t.KIND_STRUCT or kind == t.KIND_UNION:
            return self.struct(type_id)[0]
        return 0

    def struct(self, type_id: int) -> tuple[int, bool]:
        """Return the alignment of a struct or union in bytes, and whether members lie where C puts them only if it is packed."""
        found = self._structs.get(type_id)
        if found is None:
            found = self._structs[type_id] = self._find_struct(type_id)
        return found

    def _find_struct(self, type_id: int) -> tuple[int, bool]:
        flat = self.flat
        rows = flat.rows(type_id, 3)
        at = flat.at[type_id]
        flagged = flat.words[at] >> 31
        aligns = self._aligns
        largest, packed, unknown = 1, False, False
        for member, offset in zip(rows[1::3], rows[2::3], strict=True):
            align = aligns.get(member)
            if align is None:
                align = self.align(member)
            if not align:
                unknown = unknown or not packed
            elif align > 1:
                if offset % (8 * align) and not (flagged and offset >> 24):
                    packed = True
                if align > largest:
                    largest = align
            elif offset & 7 and not (flagged and offset >> 24):
                packed = True
        packed = packed or bool(flat.words[at + 1] % largest)
        return 0 if unknown else 1 if packed else largest, packed

    def padding(self, start: int, end: int, align: int, in_bit_field: bool, indent: str) -> str:
        """Return the unnamed bit fields that take C from one offset to the next, in bits.

        `align`: of what follows, in bytes. `in_bit_field`: bit fields stand before and after. `indent`: what begins a line.
        """
        if start >= end:
            return ""
        name, bits = next(((name, bits) for name, bits in self._pads if -(-start // bits) * bits <= end), self._pads[-1])
        boundary = -(-start // bits) * bits
        lines = []
        if start < boundary <= end:
            # `long: 0` goes to the next boundary, where C doesn't go by itself: what follows is aligned to less, or fits the gap.
            natural = -(-start // (align * 8)) * align * 8 if align else start
            if in_bit_field or (natural != boundary if boundary == end else end - boundary <= boundary - start):
                lines.append(f"\n{indent}{name}: {boundary - start if in_bit_field else 0};")
            start = boundary
        whole, rest = divmod(end - start, bits)
        if whole > MAX_PADDING:
            raise FormatError(f"a gap of {end - start} bits is too large for C", file=self.flat.btf.name)
        lines.append(f"\n{indent}{name}: {bits};" * whole)
        if rest:
            name = next(name for name, bits in reversed(self._pads) if bits >= rest)
            lines.append(f"\n{indent}{name}: {rest};")
        return "".join(lines)
