"""Writing BTF: types appended to a new blob (`BtfBuilder`), or a copy of an existing one, patched and added to (`BtfEditor`).

Ids, offsets and values given here are written as they are: `Btf.validate` says whether the outcome makes sense.
"""

from __future__ import annotations

import struct
import sys
from array import array
from typing import TYPE_CHECKING

from bpfload.btf import types as t
from bpfload.btf.index import HEADER_SIZE, MAGIC, Btf
from bpfload.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_UINT32 = 0xFFFFFFFF
_MAX_ROWS = 0xFFFF
_Bytes = bytes  # in the classes, `bytes` is a method


class BtfBuilder:
    """BTF that grows: each `add_` method appends a type and returns its id. Names are written to the strings once.

    `base`: continue this BTF (split BTF). `little_endian`: byte order of the outcome.
    """

    def __init__(self, *, base: Btf | None = None, little_endian: bool | None = None) -> None:
        self.base = base
        if little_endian is None:
            little_endian = base.little_endian if base is not None else sys.byteorder == "little"
        self.little_endian = little_endian
        self.start_id = len(base) if base is not None else 1
        self._string_start = base.string_end if base is not None else 0
        self._words = array("I")
        self._starts: list[int] = []
        self._strings = bytearray(b"\0")
        self._given_strings = bytes(self._strings)
        self._added_strings: dict[_Bytes, int] = {}

    def __len__(self) -> int:
        return self.start_id + len(self._starts)

    def bytes(self) -> _Bytes:
        """Return the whole blob: header, types, strings."""
        words = self._words
        if self.little_endian != (sys.byteorder == "little"):
            words = words[:]
            words.byteswap()
        types = words.tobytes()
        order = "<" if self.little_endian else ">"
        header = struct.pack(
            order + "HBB5I", MAGIC, 1, 0, HEADER_SIZE, 0, len(types), len(types), len(self._strings)
        )  # type_off and string_off count from the header's end
        return header + types + self._strings

    def build(self, name: str = "") -> Btf:
        """Return the outcome, parsed."""
        return Btf.parse(self.bytes(), base=self.base, name=name)

    # Strings

    def add_string(self, text: str) -> int:
        """Return the offset of a string, which is added if it isn't there yet."""
        raw = text.encode("utf-8", "surrogateescape")
        if not raw:
            return 0
        if b"\0" in raw:
            raise FormatError(f"a BTF string can't hold a zero byte: {text!r}")
        offset = self._added_strings.get(raw)
        if offset is None:
            offset = self._find_string(raw)
            if offset is None:
                offset = self._string_start + len(self._strings)
                self._strings += raw + b"\0"
            self._added_strings[raw] = offset
        return offset

    def _find_string(self, raw: _Bytes) -> int | None:
        at = self._given_strings.find(b"\0" + raw + b"\0")
        if at >= 0:
            return self._string_start + at + 1
        if self.base is not None and self.base.base is None:
            at = self.base.own_strings.find(b"\0" + raw + b"\0")
            if at >= 0:
                return at + 1
        return None

    # Appending types

    def add_type(
        self,
        kind: int,
        name: str = "",
        word: int = 0,
        rest: Iterable[int] = (),
        *,
        vlen: int = 0,
        kind_flag: bool = False,
    ) -> int:
        """Append a type as it stands in the file: its third word (size or type id) and what follows it."""
        if not 0 <= vlen <= _MAX_ROWS:
            raise FormatError(f"a BTF type can't have {vlen} members")
        words = self._words
        name_offset = self.add_string(name)
        self._starts.append(len(words) + 1)
        words.append(name_offset)
        words.append(kind_flag << 31 | kind << 24 | vlen)
        words.append(word)
        words.extend([value & _UINT32 for value in rest])
        return len(self) - 1

    def add_int(self, name: str, size: int, encoding: int = 0, *, bits: int | None = None, bit_offset: int = 0) -> int:
        """Append an INT. `size`: bytes. `encoding`: INT_* flags. `bits`: all of them unless said otherwise."""
        bits = size * 8 if bits is None else bits
        return self.add_type(t.KIND_INT, name, size, [encoding << 24 | bit_offset << 16 | bits])

    def add_float(self, name: str, size: int) -> int:
        """Append a FLOAT."""
        return self.add_type(t.KIND_FLOAT, name, size)

    def add_pointer(self, type_id: int) -> int:
        """Append a PTR."""
        return self.add_type(t.KIND_PTR, "", type_id)

    def add_const(self, type_id: int) -> int:
        """Append a CONST."""
        return self.add_type(t.KIND_CONST, "", type_id)

    def add_volatile(self, type_id: int) -> int:
        """Append a VOLATILE."""
        return self.add_type(t.KIND_VOLATILE, "", type_id)

    def add_restrict(self, type_id: int) -> int:
        """Append a RESTRICT."""
        return self.add_type(t.KIND_RESTRICT, "", type_id)

    def add_type_tag(self, name: str, type_id: int) -> int:
        """Append a TYPE_TAG."""
        return self.add_type(t.KIND_TYPE_TAG, name, type_id)

    def add_decl_tag(self, name: str, type_id: int, component_idx: int = -1) -> int:
        """Append a DECL_TAG."""
        return self.add_type(t.KIND_DECL_TAG, name, type_id, [component_idx])

    def add_typedef(self, name: str, type_id: int) -> int:
        """Append a TYPEDEF."""
        return self.add_type(t.KIND_TYPEDEF, name, type_id)

    def add_fwd(self, name: str, *, union: bool = False) -> int:
        """Append a FWD, a struct or union that is declared and not defined."""
        return self.add_type(t.KIND_FWD, name, kind_flag=union)

    def add_array(self, elem: int, nelems: int, index: int) -> int:
        """Append an ARRAY of `nelems` times type `elem`; `index`: type of the index."""
        return self.add_type(t.KIND_ARRAY, "", 0, [elem, index, nelems])

    def add_struct(
        self,
        name: str,
        size: int,
        members: Sequence[tuple[str, int, int] | tuple[str, int, int, int]] = (),
        *,
        union: bool = False,
    ) -> int:
        """Append a STRUCT or UNION. `members`: (name, type id, offset in bits) or, for a bit field, (…, size in bits)."""
        flag = any(len(member) > 3 for member in members)
        rest: list[int] = []
        for member in members:
            bits = member[3] if len(member) > 3 else 0
            rest += [self.add_string(member[0]), member[1], member[2] | bits << 24]
        kind = t.KIND_UNION if union else t.KIND_STRUCT
        return self.add_type(kind, name, size, rest, vlen=len(members), kind_flag=flag)

    def add_union(self, name: str, size: int, members: Sequence[tuple[str, int, int] | tuple[str, int, int, int]] = ()) -> int:
        """Append a UNION, as `add_struct`."""
        return self.add_struct(name, size, members, union=True)

    def add_enum(self, name: str, values: Sequence[tuple[str, int]], *, size: int = 4, signed: bool | None = None) -> int:
        """Append an ENUM. `signed`: None for signed where a value is negative."""
        rest: list[int] = []
        for value_name, value in values:
            rest += [self.add_string(value_name), value]
        flag = any(value < 0 for _, value in values) if signed is None else signed
        return self.add_type(t.KIND_ENUM, name, size, rest, vlen=len(values), kind_flag=flag)

    def add_enum64(self, name: str, values: Sequence[tuple[str, int]], *, size: int = 8, signed: bool | None = None) -> int:
        """Append an ENUM64, as `add_enum`."""
        rest: list[int] = []
        for value_name, value in values:
            rest += [self.add_string(value_name), value, value >> 32]
        flag = any(value < 0 for _, value in values) if signed is None else signed
        return self.add_type(t.KIND_ENUM64, name, size, rest, vlen=len(values), kind_flag=flag)

    def add_func_proto(self, return_type: int, params: Sequence[tuple[str, int]] = ()) -> int:
        """Append a FUNC_PROTO. `params`: (name, type id); a last ("", 0) stands for "..."."""
        rest: list[int] = []
        for name, type_id in params:
            rest += [self.add_string(name), type_id]
        return self.add_type(t.KIND_FUNC_PROTO, "", return_type, rest, vlen=len(params))

    def add_func(self, name: str, proto: int, linkage: int = t.LINKAGE_GLOBAL) -> int:
        """Append a FUNC."""
        return self.add_type(t.KIND_FUNC, name, proto, vlen=linkage)

    def add_var(self, name: str, type_id: int, linkage: int = t.LINKAGE_GLOBAL) -> int:
        """Append a VAR."""
        return self.add_type(t.KIND_VAR, name, type_id, [linkage])

    def add_datasec(self, name: str, size: int, variables: Sequence[tuple[int, int, int]] = ()) -> int:
        """Append a DATASEC. `variables`: (type id, offset, size)."""
        return self.add_type(t.KIND_DATASEC, name, size, [word for row in variables for word in row], vlen=len(variables))


class BtfEditor(BtfBuilder):
    """A copy of a BTF, to be patched in place and added to. The original stays as it is.

    Ids are those of the original; only its own types can be changed, not its base's.
    """

    def __init__(self, btf: Btf) -> None:
        super().__init__(base=btf.base, little_endian=btf.little_endian)
        self._words = array("I")
        self._words.frombytes(btf.words.tobytes())
        self._starts = btf.starts[:]
        self._strings = bytearray(btf.own_strings)
        self._given_strings = btf.own_strings

    def _at(self, type_id: int, *kinds: int) -> int:
        """Return the index of a type's info word, after a check of its kind."""
        index = type_id - self.start_id
        if not 0 <= index < len(self._starts):
            raise FormatError(f"BTF type {type_id} can't be changed: it isn't one of {self.start_id}..{len(self) - 1}")
        at = self._starts[index]
        kind = self._words[at] >> 24 & 31
        if kinds and kind not in kinds:
            wanted = " or ".join(t.KIND_NAMES[kind] for kind in kinds)
            raise FormatError(f"BTF type {type_id} is {t.KIND_NAMES[kind]}, not {wanted}")
        return at

    def kind(self, type_id: int) -> int:
        """Return the kind of an own type as it stands now."""
        return self._words[self._at(type_id)] >> 24 & 31

    def set_name(self, type_id: int, name: str) -> None:
        """Rename a type."""
        offset = self.add_string(name)
        self._words[self._at(type_id) - 1] = offset

    def set_reference(self, type_id: int, target: int) -> None:
        """Let a pointer, typedef, qualifier, FUNC, VAR, DECL_TAG refer to another type, or a FUNC_PROTO return one."""
        at = self._at(type_id)
        if self._words[at] >> 24 & 31 in t.SIZED_KINDS:
            raise FormatError(f"BTF type {type_id} refers to no type")
        self._words[at + 1] = target

    def set_var_linkage(self, type_id: int, linkage: int) -> None:
        """Set the linkage of a VAR."""
        self._words[self._at(type_id, t.KIND_VAR) + 2] = linkage

    def set_func_linkage(self, type_id: int, linkage: int) -> None:
        """Set the linkage of a FUNC."""
        self._words[self._at(type_id, t.KIND_FUNC)] = t.KIND_FUNC << 24 | linkage

    def set_param_name(self, type_id: int, index: int, name: str) -> None:
        """Rename a parameter of a FUNC_PROTO."""
        row = self._row(type_id, index, 2, t.KIND_FUNC_PROTO)
        self._words[row] = self.add_string(name)

    def set_datasec_size(self, type_id: int, size: int) -> None:
        """Set the size of a DATASEC in bytes."""
        self._words[self._at(type_id, t.KIND_DATASEC) + 1] = size

    def set_datasec_offset(self, type_id: int, index: int, offset: int) -> None:
        """Set the offset of the `index`th variable of a DATASEC in bytes."""
        self._words[self._row(type_id, index, 3, t.KIND_DATASEC) + 1] = offset

    def set_datasec_variable(self, type_id: int, index: int, *, variable: int, offset: int, size: int) -> None:
        """Replace the `index`th variable of a DATASEC: type id of the VAR, offset and size in bytes."""
        row = self._row(type_id, index, 3, t.KIND_DATASEC)
        self._words[row : row + 3] = array("I", (variable, offset, size))

    def sort_datasec(self, type_id: int) -> None:
        """Sort the variables of a DATASEC by offset, as the kernel wants them."""
        at = self._at(type_id, t.KIND_DATASEC)
        start = at + 2
        end = start + 3 * (self._words[at] & 0xFFFF)
        words = self._words[start:end]
        rows = [words[i : i + 3] for i in range(0, len(words), 3)]
        rows.sort(key=lambda row: row[1])
        for row in rows:
            self._words[start : start + 3] = row
            start += 3

    def _row(self, type_id: int, index: int, width: int, kind: int) -> int:
        at = self._at(type_id, kind)
        if not 0 <= index < self._words[at] & 0xFFFF:
            raise FormatError(f"BTF type {type_id} has no member {index}")
        return at + 2 + index * width

    # For sanitising: the type stays as long as it is, and gets another meaning.

    def words_of(self, type_id: int) -> tuple[array[int], int]:
        """Return the words of all own types, to be changed in place, and the index of the type's info word among them."""
        return self._words, self._at(type_id)

    def set_header(self, type_id: int, kind: int, word: int, *, vlen: int = 0, kind_flag: bool = False) -> None:
        """Replace kind, number of rows, flag and third word (size or type id). What follows must have the same length."""
        at = self._at(type_id)
        self._words[at] = kind_flag << 31 | kind << 24 | vlen
        self._words[at + 1] = word

    def patch_string(self, offset: int, old: _Bytes, new: _Bytes, *, count: int | None = None) -> None:
        """Replace each byte of a string that is in `old` by `new`, for all who share the string.

        `count`: only among so many bytes at its start.
        """
        start = offset - self._string_start
        if not 0 <= start < len(self._strings):
            raise FormatError(f"the BTF string at {offset} can't be changed")
        end = self._strings.index(b"\0", start)
        if count is not None:
            end = min(end, start + count)
        table = bytes.maketrans(old, new * len(old))
        self._strings[start:end] = self._strings[start:end].translate(table)
