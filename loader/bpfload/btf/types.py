"""The kinds of BTF types, and one decoded type.

Source: include/uapi/linux/btf.h.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bpfload.btf.index import Btf

KIND_VOID = 0
KIND_INT = 1
KIND_PTR = 2
KIND_ARRAY = 3
KIND_STRUCT = 4
KIND_UNION = 5
KIND_ENUM = 6
KIND_FWD = 7
KIND_TYPEDEF = 8
KIND_VOLATILE = 9
KIND_CONST = 10
KIND_RESTRICT = 11
KIND_FUNC = 12
KIND_FUNC_PROTO = 13
KIND_VAR = 14
KIND_DATASEC = 15
KIND_FLOAT = 16
KIND_DECL_TAG = 17
KIND_TYPE_TAG = 18
KIND_ENUM64 = 19

#: Index: kind. As `bpftool btf dump` spells them.
KIND_NAMES = (
    "UNKNOWN", "INT", "PTR", "ARRAY", "STRUCT", "UNION", "ENUM", "FWD", "TYPEDEF", "VOLATILE", "CONST", "RESTRICT",
    "FUNC", "FUNC_PROTO", "VAR", "DATASEC", "FLOAT", "DECL_TAG", "TYPE_TAG", "ENUM64",
)  # fmt: skip

INT_SIGNED = 1
INT_CHAR = 2
INT_BOOL = 4

LINKAGE_STATIC = 0
LINKAGE_GLOBAL = 1
LINKAGE_EXTERN = 2

#: Kinds whose third word is a size; of all others it is a type id.
SIZED_KINDS = frozenset((KIND_INT, KIND_STRUCT, KIND_UNION, KIND_ENUM, KIND_ENUM64, KIND_FLOAT, KIND_DATASEC))
#: Qualifiers: they change nothing of a value's layout.
MODIFIER_KINDS = frozenset((KIND_VOLATILE, KIND_CONST, KIND_RESTRICT, KIND_TYPE_TAG))


class Member:
    """A member of a struct or union.

    `offset_bits`: from the start of the struct. `bitfield_size`: bits, or 0 if it isn't a bit field (or one in the old form,
    where the INT type itself holds fewer bits than its size).
    """

    __slots__ = ("bitfield_size", "name", "offset_bits", "type_id")

    def __init__(self, name: str, type_id: int, offset_bits: int, bitfield_size: int) -> None:
        self.name = name
        self.type_id = type_id
        self.offset_bits = offset_bits
        self.bitfield_size = bitfield_size

    def __repr__(self) -> str:
        return f"Member({self.name!r}, {self.type_id}, {self.offset_bits}, {self.bitfield_size})"


class EnumValue:
    """A name of an enum, and its `value`: signed only where the enum says that it is (`Type.kind_flag`)."""

    __slots__ = ("name", "value")

    def __init__(self, name: str, value: int) -> None:
        self.name = name
        self.value = value

    def __repr__(self) -> str:
        return f"EnumValue({self.name!r}, {self.value})"


class Param:
    """A parameter of a function prototype. A last one with `type_id` 0 and no name stands for "..."."""

    __slots__ = ("name", "type_id")

    def __init__(self, name: str, type_id: int) -> None:
        self.name = name
        self.type_id = type_id

    def __repr__(self) -> str:
        return f"Param({self.name!r}, {self.type_id})"


class SectionVariable:
    """A variable (or function) of a DATASEC. `type_id`: of the VAR or FUNC. `offset`, `size`: bytes in the section."""

    __slots__ = ("offset", "size", "type_id")

    def __init__(self, type_id: int, offset: int, size: int) -> None:
        self.type_id = type_id
        self.offset = offset
        self.size = size

    def __repr__(self) -> str:
        return f"SectionVariable({self.type_id}, {self.offset}, {self.size})"


class Type:
    """One BTF type, decoded. What depends on the kind is 0 or empty for other kinds.

    `id`: in the BTF it was asked of. `kind`: a KIND_* constant. `size`: bytes (INT, STRUCT, UNION, ENUM, ENUM64, FLOAT, DATASEC).
    `type_id`: what PTR, TYPEDEF, a qualifier, FUNC, VAR, DECL_TAG refer to, or what FUNC_PROTO returns. `kind_flag`: bit fields
    (STRUCT, UNION), signed (ENUM, ENUM64), union (FWD). Name tables are decoded when first asked for.
    """

    __slots__ = ("_at", "_parts", "btf", "id", "kind", "kind_flag", "name", "size", "type_id", "vlen")

    def __init__(self, btf: Btf, type_id: int, at: int) -> None:
        """`at`: index of the type's info word in the words of `btf`; -1 for void."""
        self.btf = btf
        self.id = type_id
        self._at = at
        self._parts: tuple[object, ...] | None = None
        if at < 0:
            self.kind = self.size = self.type_id = self.vlen = 0
            self.kind_flag = False
            self.name = "void"
            return
        words = btf.words
        info = words[at]
        self.kind = info >> 24 & 31
        self.kind_flag = info >= 0x80000000
        self.vlen = info & 0xFFFF
        name_offset = words[at - 1]
        self.name = btf.string(name_offset) if name_offset else ""
        if self.kind in SIZED_KINDS:
            self.size = words[at + 1]
            self.type_id = 0
        else:
            self.size = 0
            self.type_id = words[at + 1]

    def __repr__(self) -> str:
        return f"<BTF type {self.id} {KIND_NAMES[self.kind]} {self.name!r}>"

    def _extra(self, kind: int) -> int:
        """Return the word after the three common ones, 0 if the type is of another kind."""
        return self.btf.words[self._at + 2] if self.kind == kind else 0

    @property
    def encoding(self) -> int:
        """INT: INT_SIGNED, INT_CHAR, INT_BOOL or'ed."""
        return self._extra(KIND_INT) >> 24 & 15

    @property
    def bits(self) -> int:
        """INT: number of bits that hold the value."""
        return self._extra(KIND_INT) & 0xFF

    @property
    def bit_offset(self) -> int:
        """INT: where the value starts in the storage, in bits."""
        return self._extra(KIND_INT) >> 16 & 0xFF

    @property
    def elem(self) -> int:
        """ARRAY: type id of the elements."""
        return self._extra(KIND_ARRAY)

    @property
    def index(self) -> int:
        """ARRAY: type id of the index."""
        return self.btf.words[self._at + 3] if self.kind == KIND_ARRAY else 0

    @property
    def nelems(self) -> int:
        """ARRAY: number of elements."""
        return self.btf.words[self._at + 4] if self.kind == KIND_ARRAY else 0

    @property
    def linkage(self) -> int:
        """FUNC, VAR: LINKAGE_STATIC, LINKAGE_GLOBAL or LINKAGE_EXTERN."""
        return self.vlen if self.kind == KIND_FUNC else self._extra(KIND_VAR)

    @property
    def component_idx(self) -> int:
        """DECL_TAG: index of the tagged member or parameter, -1 for the type itself."""
        word = self._extra(KIND_DECL_TAG)
        return word - (1 << 32) if word >= 1 << 31 else word

    @property
    def members(self) -> tuple[Member, ...]:
        """STRUCT, UNION: the members in order."""
        parts = self._parts
        if parts is None and self.kind in (KIND_STRUCT, KIND_UNION):
            parts = self._parts = self._decode_members()
        return parts if self.kind in (KIND_STRUCT, KIND_UNION) else ()  # type: ignore[return-value]  # the kind says which

    @property
    def values(self) -> tuple[EnumValue, ...]:
        """ENUM, ENUM64: names and values in order."""
        parts = self._parts
        if parts is None and self.kind in (KIND_ENUM, KIND_ENUM64):
            parts = self._parts = self._decode_values()
        return parts if self.kind in (KIND_ENUM, KIND_ENUM64) else ()  # type: ignore[return-value]  # the kind says which

    @property
    def params(self) -> tuple[Param, ...]:
        """FUNC_PROTO: the parameters in order."""
        parts = self._parts
        if parts is None and self.kind == KIND_FUNC_PROTO:
            string = self.btf.string
            words = self._table(KIND_FUNC_PROTO, 2)
            parts = self._parts = tuple([Param(string(words[i]), words[i + 1]) for i in range(0, len(words), 2)])
        return parts if self.kind == KIND_FUNC_PROTO else ()  # type: ignore[return-value]  # the kind says which

    @property
    def variables(self) -> tuple[SectionVariable, ...]:
        """DATASEC: the variables in order."""
        parts = self._parts
        if parts is None and self.kind == KIND_DATASEC:
            words = self._table(KIND_DATASEC, 3)
            parts = self._parts = tuple([SectionVariable(*words[i : i + 3]) for i in range(0, len(words), 3)])
        return parts if self.kind == KIND_DATASEC else ()  # type: ignore[return-value]  # the kind says which

    def _table(self, kind: int, width: int) -> list[int]:
        """Return the words of the table that follows the type, `vlen` rows of `width` words; nothing for another kind."""
        if self.kind != kind:
            return []
        start = self._at + 2
        return self.btf.words[start : start + width * self.vlen].tolist()

    def _decode_members(self) -> tuple[Member, ...]:
        if self.kind != KIND_STRUCT and self.kind != KIND_UNION:
            return ()
        string = self.btf.string
        words = self._table(self.kind, 3)
        rows = range(0, len(words), 3)
        if self.kind_flag:
            return tuple([Member(string(words[i]), words[i + 1], words[i + 2] & 0xFFFFFF, words[i + 2] >> 24) for i in rows])
        return tuple([Member(string(words[i]), words[i + 1], words[i + 2], 0) for i in rows])

    def _decode_values(self) -> tuple[EnumValue, ...]:
        string = self.btf.string
        limit = 1 << 31
        if self.kind == KIND_ENUM:
            words = self._table(KIND_ENUM, 2)
            pairs = [(words[i], words[i + 1]) for i in range(0, len(words), 2)]
        elif self.kind == KIND_ENUM64:
            words = self._table(KIND_ENUM64, 3)
            pairs = [(words[i], words[i + 1] | words[i + 2] << 32) for i in range(0, len(words), 3)]
            limit = 1 << 63
        else:
            return ()
        if not self.kind_flag:
            limit = 1 << 64
        return tuple([EnumValue(string(name), value if value < limit else value - 2 * limit) for name, value in pairs])
