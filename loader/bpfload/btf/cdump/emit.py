"""Definitions in C, each after the forward declarations that it needs.

Source: btf_dump_emit_type() and what it calls in tools/lib/bpf/btf_dump.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpfload.btf import types as t
from bpfload.btf.cdump.declare import Declarations
from bpfload.btf.cdump.layout import CLayout
from bpfload.btf.cdump.names import CNames
from bpfload.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bpfload.btf.flat import FlatTypes

MAX_LINES = 20_000_000  # of members and values, in definitions within definitions too
_NEW, _AT_WORK, _DONE = 0, 1, 2
#: Line breaks by level of indentation, which ends at 13 as libbpf has it.
_TABS = ["\n" + "\t" * level for level in range(14)]
_PASSING_KINDS = t.MODIFIER_KINDS | {t.KIND_PTR}
#: Types of gcc's for Arm's vectors, which clang doesn't have.
_ALIASES = {
    "__Poly8_t": "unsigned char",
    "__Poly16_t": "unsigned short",
    "__Poly64_t": "unsigned long long",
    "__Poly128_t": "unsigned __int128",
}
#: A type of the compiler's own: gcc's is in the kernel's BTF, clang knows its own.
_BUILTIN = "__builtin_va_list"


class Definitions:
    """Writes definitions, one after another, into `parts`."""

    def __init__(self, flat: FlatTypes) -> None:
        self.parts: list[str] = []
        self._flat = flat
        self._names = CNames(flat)
        self._layout = CLayout(flat)
        self._declarations = Declarations(flat, self._names, self._define_inline)
        self._states = bytearray(len(flat))
        self._states[0] = _DONE
        self._forwarded = bytearray(len(flat))  # a declaration went ahead of the definition
        #: What needs nothing more before members of this type can be declared.
        self._ready = bytearray(len(flat))
        self._ready[0] = 1
        #: By type id: what stands before and after the name of a member, and the size in bits.
        self._known_members: dict[int, tuple[str, str, int]] = {}
        self._left = MAX_LINES

    def declare(self, type_id: int, name: str) -> str:
        """Return the declaration of a name with that type."""
        return self._declarations.declare(type_id, name, 0)

    def define(self, type_ids: Iterable[int]) -> None:
        """Write the definitions of structs, unions, enums, typedefs, and forward declarations. Raises FormatError."""
        states, kinds = self._states, self._flat.kinds
        for type_id in type_ids:
            if states[type_id] == _DONE:
                continue
            kind = kinds[type_id]
            if kind == t.KIND_STRUCT or kind == t.KIND_UNION:
                states[type_id] = _AT_WORK
                self._prepare_members(type_id, type_id)
                self._write(self._struct(type_id, 0))
            elif kind == t.KIND_ENUM or kind == t.KIND_ENUM64:
                self._write(self._enum(type_id, 0))
            else:
                self._prepare(type_id, 0)
            states[type_id] = _DONE

    def _write(self, text: str) -> None:
        self.parts.append(f"{text};\n\n")

    # --- what must be declared before ---------------------------------------------------------------------------------

    def _prepare_members(self, type_id: int, within: int) -> bool:
        """Prepare all members of a struct; return whether they are ready for good."""
        ready, result = self._ready, True
        for member in self._flat.rows(type_id, 3)[1::3]:
            if not ready[member] and not self._prepare(member, within):
                result = False
        return result

    def _prepare(self, type_id: int, within: int) -> bool:
        """Write what must stand before a member of this type, or a parameter.

        `within`: the struct or typedef that is being defined, which needs no declaration in itself. Returns whether nothing more
        will be needed for the type, whatever it is used for.
        """
        if self._ready[type_id]:
            return True
        flat = self._flat
        kind = flat.kinds[type_id]
        if kind in _PASSING_KINDS:
            ready = self._prepare(flat.target(type_id), within)
        elif kind == t.KIND_ARRAY:
            ready = self._prepare(flat.words[flat.at[type_id] + 2], within)
        elif kind == t.KIND_FUNC_PROTO:
            ready = self._prepare(flat.target(type_id), within)
            for param in flat.rows(type_id, 2)[1::2]:
                ready = self._prepare(param, within) and ready
        elif self._states[type_id] == _DONE:
            ready = True
        elif kind == t.KIND_STRUCT or kind == t.KIND_UNION:
            ready = self._prepare_struct(type_id, within)
        elif kind == t.KIND_TYPEDEF:
            ready = self._prepare_typedef(type_id)
        else:
            self._prepare_plain(type_id, kind)
            ready = True
        self._ready[type_id] = ready
        return ready

    def _prepare_struct(self, type_id: int, within: int) -> bool:
        named = self._flat.words[self._flat.at[type_id] - 1]
        if named:
            if not self._forwarded[type_id]:
                if type_id == within:
                    return False
                self._write(self._tag(type_id))
                self._forwarded[type_id] = 1
            return True
        if self._states[type_id] == _AT_WORK:
            return False  # a struct without a name that contains itself can't be written anyway
        self._states[type_id] = _AT_WORK
        ready = self._prepare_members(type_id, within)
        self._states[type_id] = _NEW
        return ready

    def _prepare_typedef(self, type_id: int) -> bool:
        if self._states[type_id] == _NEW:
            self._states[type_id] = _AT_WORK
            self._prepare(self._flat.target(type_id), type_id)
            self._define_typedef(type_id)
            self._states[type_id] = _DONE
        else:
            self._define_typedef(type_id)  # needed in its own definition: it stands before what it is a name for
        return True

    def _define_typedef(self, type_id: int) -> None:
        if self._forwarded[type_id]:
            return
        self._forwarded[type_id] = 1
        original = self._flat.name(type_id)
        if original == _BUILTIN:
            return
        name = self._names.identifier(type_id)
        target = self._flat.target(type_id)
        if not target and name == "__gnuc_va_list":
            declared = f"{_BUILTIN} {name}"  # old versions of gcc say that it is void
        else:
            declared = self._declarations.declare(target, name, 0)
        self._write(f"typedef {declared}")

    def _prepare_plain(self, type_id: int, kind: int) -> None:
        if kind == t.KIND_INT:
            name = self._names.tag(type_id)
            if name in _ALIASES:
                self._write(f"typedef {_ALIASES[name]} {name}")
        elif kind == t.KIND_FWD:
            self._write(self._tag(type_id))
        elif kind not in (t.KIND_ENUM, t.KIND_ENUM64):
            return
        self._states[type_id] = _DONE

    # --- definitions --------------------------------------------------------------------------------------------------

    def _tag(self, type_id: int) -> str:
        """Return ``struct name`` or ``union name``."""
        kind = self._flat.kinds[type_id]
        union = self._flat.words[self._flat.at[type_id]] >> 31 if kind == t.KIND_FWD else kind == t.KIND_UNION
        name = self._names.tag(type_id)
        return f"{'union' if union else 'struct'}{' ' if name else ''}{name}"

    def _define_inline(self, type_id: int, level: int) -> str:
        """Return the definition of a struct, union or enum without a tag."""
        enum = self._flat.kinds[type_id] in (t.KIND_ENUM, t.KIND_ENUM64)
        return self._enum(type_id, level) if enum else self._struct(type_id, level)

    def _count(self, type_id: int, lines: int) -> None:
        self._left -= lines + 1
        if self._left < 0:
            raise FormatError(f"BTF type {type_id}: structs are nested too often", file=self._flat.btf.name)

    def _struct(self, type_id: int, level: int) -> str:
        flat, layout = self._flat, self._layout
        at = flat.at[type_id]
        info, size = flat.words[at], flat.words[at + 1]
        is_struct = info >> 24 & 31 == t.KIND_STRUCT
        self._count(type_id, info & 0xFFFF)
        align, packed = layout.struct(type_id) if is_struct else (0, False)
        parts = [f"{self._tag(type_id)} {{"]
        write_members = self._members_with_bits if info >> 31 else self._members
        end = write_members(type_id, level + 1, packed, parts)
        if is_struct:
            whole = size * 8 + (1 << 31) & 0xFFFFFFFF  # an int of C's, as in libbpf
            parts.append(layout.padding(end, whole - (1 << 31), align, False, _TABS[min(level + 1, 13)][1:]))
        if info & 0xFFFF or size:
            parts.append(_TABS[min(level, 13)])
        parts.append("} __attribute__((packed))" if packed else "}")
        return "".join(parts)

    def _members(self, type_id: int, level: int, packed: bool, parts: list[str]) -> int:
        """Add the members of a struct without bit fields to `parts`; return where the last one ends, in bits."""
        flat, layout, known_members, names = self._flat, self._layout, self._known_members, self._flat.names
        append = parts.append
        tab = _TABS[min(level, 13)]
        rows = flat.rows(type_id, 3).tolist()
        end = 0
        for name_offset, member, offset in zip(rows[::3], rows[1::3], rows[2::3], strict=True):
            if end < offset:
                append(layout.padding(end, offset, 1 if packed else layout.align(member), False, tab[1:]))
            name = names[name_offset]
            known = known_members.get(member)
            if known is not None and name:
                before, after, size = known
                append(f"{tab}{before}{name}{after}")
                end = offset + size
            else:
                append(f"{tab}{self._member(member, name, level)};")
                end = offset + layout.size(member)
        return end

    def _member(self, type_id: int, name: str, level: int) -> str:
        """Return the declaration of a member, and note what stands around its name for the next one of the type."""
        text = self._declarations.declare(type_id, name, level)
        around = self._declarations.around.get(type_id)
        if around is not None:
            self._known_members[type_id] = around[0], f"{around[1]};", self._layout.size(type_id)
        return text

    def _members_with_bits(self, type_id: int, level: int, packed: bool, parts: list[str]) -> int:
        """Do what `_members` does for a struct that has bit fields."""
        flat, layout = self._flat, self._layout
        tab = _TABS[min(level, 13)]
        rows = flat.rows(type_id, 3).tolist()
        end, was_bits = 0, False
        for name_offset, member, offset in zip(rows[::3], rows[1::3], rows[2::3], strict=True):
            bits, offset = offset >> 24, offset & 0xFFFFFF
            if end < offset:
                align = 1 if packed else layout.align(member)
                parts.append(layout.padding(end, offset, align, was_bits and bits != 0, tab[1:]))
            declared = self._declarations.declare(member, flat.names[name_offset], level)
            parts.append(f"{tab}{declared}: {bits};" if bits else f"{tab}{declared};")
            end = offset + (bits or layout.size(member))
            was_bits = bits != 0
        return end

    def _enum(self, type_id: int, level: int) -> str:
        flat = self._flat
        at = flat.at[type_id]
        info, size = flat.words[at], flat.words[at + 1]
        name = self._names.tag(type_id)
        head = f"enum {name}" if name else "enum"
        if not info & 0xFFFF:
            return head
        self._count(type_id, info & 0xFFFF)
        wide = info >> 24 & 31 == t.KIND_ENUM64
        rows = flat.rows(type_id, 3 if wide else 2).tolist()
        values = [low | high << 32 for low, high in zip(rows[1::3], rows[2::3], strict=True)] if wide else rows[1::2]
        if info >> 31:
            limit = 1 << (63 if wide else 31)
            values = [value - 2 * limit if value >= limit else value for value in values]
        suffix = ("LL" if info >> 31 else "ULL") if wide else ""
        lines = self._values(rows[:: 3 if wide else 2], values, _TABS[min(level + 1, 13)], suffix)
        # A size that C wouldn't choose by itself.
        mode = ""
        if size == 1:
            mode = " __attribute__((mode(byte)))"
        elif size == 8 and self._layout.pointer_size == 8 and not (wide and any(rows[2::3])):
            mode = " __attribute__((mode(word)))"
        return f"{head} {{{lines}{_TABS[min(level, 13)]}}}{mode}"

    def _values(self, names: list[int], values: list[int], tab: str, suffix: str) -> str:
        """Return the lines of an enum's values."""
        used = self._names.identifiers
        strings = list(map(self._flat.names.__getitem__, names))
        if used.keys().isdisjoint(strings) and len(set(strings)) == len(strings):
            used.update(dict.fromkeys(strings, 1))
            return "".join([f"{tab}{name} = {value}{suffix}," for name, value in zip(strings, values, strict=True)])
        lines = []
        for name, value in zip(strings, values, strict=True):
            count = used[name] = used.get(name, 0) + 1
            lines.append(f"{tab}{name} = {value}{suffix}," if count == 1 else f"{tab}{name}___{count} = {value}{suffix},")
        return "".join(lines)
