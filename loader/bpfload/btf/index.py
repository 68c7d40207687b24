"""A blob of BTF: where each type starts, strings, and the way from a name to types.

Parsing finds the types and decodes none; a type is decoded when it is asked for. The kernel's own BTF has over 100,000.

Source: Documentation/bpf/btf.rst; what is accepted and refused is what btf_parse_hdr(), btf_parse_str_sec(),
btf_parse_type_sec() and btf_sanity_check() in tools/lib/bpf/btf.c accept and refuse.
"""

from __future__ import annotations

import struct
import sys
from typing import TYPE_CHECKING

from bpfload.btf import types as t
from bpfload.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NoReturn

    from bpfload.btf.names_index import NameIndex

MAGIC = 0xEB9F
HEADER_SIZE = 24
MAX_CHAIN = 1024  # of qualifiers and typedefs; the kernel allows 32

#: Words of a type of each kind: without its table, and of each row of the table.
_FIXED_WORDS = (0, 4, 3, 6, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4, 3, 3, 4, 3, 3)
_ROW_WORDS = (0, 0, 0, 0, 3, 3, 2, 0, 0, 0, 0, 0, 0, 2, 0, 3, 0, 0, 0, 3)

#: Spellings of C's long, whose size tells the size of a pointer.
_LONG_NAMES = frozenset((
    "long", "long int", "int long", "unsigned long", "long unsigned", "unsigned long int", "unsigned int long",
    "long unsigned int", "long int unsigned", "int unsigned long", "int long unsigned",
))  # fmt: skip


class _TypeWords(dict[int, int]):
    """Number of words of a type, by its info word; KeyError for a kind that doesn't exist."""

    def __missing__(self, info: int) -> int:
        kind = info >> 24 & 31
        if not 0 < kind < len(_FIXED_WORDS):
            raise KeyError(info)
        count = self[info] = _FIXED_WORDS[kind] + _ROW_WORDS[kind] * (info & 0xFFFF)
        return count


class Btf:
    """BTF of an object, of a module or of the kernel.

    `raw`: the bytes as they were given. `base`: the BTF that a split one continues, or None: ids below `start_id` and string
    offsets below the base's end are the base's. `name`: for messages. `little_endian`: of `raw`. `len()` is one more than the
    highest id, void included. `words`: the words of the type section, in this machine's byte order; `starts`: for each own type
    the index of its second word, the one with the kind.
    """

    __slots__ = (
        "__weakref__", "_aligns", "_names", "_string_base", "_string_end", "_strings", "_types", "base", "little_endian", "name",
        "pointer_size_override", "raw", "start_id", "starts", "words",
    )  # fmt: skip

    def __init__(self, data: bytes, base: Btf | None, name: str) -> None:
        self.raw = data
        self.base = base
        self.words: memoryview[int]
        self.starts: list[int]
        self._string_end: int
        self.name = name
        self.pointer_size_override = 0
        self._types: dict[int, t.Type] = {}
        self._aligns: dict[int, int] = {}
        self._names: NameIndex | None = None
        type_start, type_len, string_start, string_len = self._parse_header(data)
        self._string_base = base._string_end if base else 0
        self._string_end = self._string_base + string_len
        self._strings = bytes(data[string_start : string_start + string_len])
        self._check_strings()
        self.words = self._type_words(memoryview(data)[type_start : type_start + type_len])
        self.start_id = len(base) if base else 1
        self.starts = self._find_types()

    @classmethod
    def parse(cls, data: bytes, *, base: Btf | None = None, name: str = "") -> Btf:
        """Read BTF, in either byte order.

        `data`: bytes, or anything like it that slices into bytes. It isn't copied, so it must not change. Raises FormatError.
        The types' contents are checked when they are used; `validate` checks all of them.
        """
        return cls(data, base, name)

    # Parsing

    def _fail(self, message: str, offset: int | None = None, *, type_id: int | None = None) -> NoReturn:
        if type_id is not None:
            message = f"BTF type {type_id}: {message}"
        raise FormatError(message, file=self.name, section=".BTF", offset=offset)

    def _parse_header(self, data: bytes) -> tuple[int, int, int, int]:
        """Check the header and return where the types and the strings start, in bytes, and their lengths."""
        size = len(data)
        if size < HEADER_SIZE:
            self._fail(f"BTF needs a header of {HEADER_SIZE} bytes, there are only {size}")
        magic = bytes(data[:2])
        if magic not in (b"\x9f\xeb", b"\xeb\x9f"):
            self._fail(f"not BTF: magic {magic.hex()}")
        self.little_endian = magic == b"\x9f\xeb"
        order = "<" if self.little_endian else ">"
        header_len, type_off, type_len, string_off, string_len = struct.unpack_from(order + "4x5I", data)
        foreign = self.little_endian != (sys.byteorder == "little")
        if header_len > size or (foreign and header_len != HEADER_SIZE):
            self._fail(f"BTF header length {header_len} is not supported", 4)
        if string_off + string_len > size - header_len:
            self._fail(f"the BTF strings end at {header_len + string_off + string_len}, the data at {size}", 16)
        if type_off + type_len > string_off:
            self._fail("the BTF types run into the strings", 12)
        if type_off % 4 or type_len % 4:
            self._fail("the BTF types are not aligned to 4 bytes", 8)
        return header_len + type_off, type_len, header_len + string_off, string_len

    def _check_strings(self) -> None:
        strings = self._strings
        if self.base is not None and not strings:
            return
        if not strings or len(strings) > 0x7FFFFFFF or strings[-1] or (self.base is None and strings[0]):
            self._fail("the BTF strings don't start and end with a zero byte")

    def _type_words(self, section: memoryview[int]) -> memoryview[int]:
        if self.little_endian == (sys.byteorder == "little"):
            return section.cast("I")
        from array import array

        words = array("I", section.tobytes())
        words.byteswap()
        return memoryview(words)

    def _find_types(self) -> list[int]:
        """Return for each type the index of its second word."""
        words = self.words
        count = len(words)
        sizes = _TypeWords()
        starts: list[int] = []
        append = starts.append
        at = 1
        try:
            while at < count:
                append(at)
                at += sizes[words[at]]
        except KeyError:
            kind = words[at] >> 24 & 31
            self._fail(f"unknown kind {kind}", (at - 1) * 4, type_id=self.start_id + len(starts) - 1)
        if at - 1 != count:
            self._fail("it runs over the end of the types", count * 4, type_id=self.start_id + max(0, len(starts) - 1))
        return starts

    # Types and strings

    def name_offsets(self) -> tuple[int, ...]:
        """Return the name of each own type, as the offset of its string."""
        if len(self.starts) < 2:
            return tuple(self.words[at - 1] for at in self.starts)
        from operator import itemgetter

        # A type's first word is its name; `starts` has the second ones, so one more word goes before them all.
        words = memoryview(b"\0\0\0\0" + self.words).cast("I")
        names: tuple[int, ...] = itemgetter(*self.starts)(words)
        return names

    def __len__(self) -> int:
        return self.start_id + len(self.starts)

    def __repr__(self) -> str:
        return f"<Btf {self.name!r} types {self.start_id}..{len(self) - 1}>"

    def string(self, offset: int) -> str:
        """Return the string at an offset. Raises FormatError if there is none."""
        return self.string_bytes(offset).decode("utf-8", "backslashreplace")

    def string_bytes(self, offset: int) -> bytes:
        """Return the string at an offset as it stands in the file, without its zero byte. Raises FormatError."""
        base = self.base
        if base is not None and offset < self._string_base:
            return base.string_bytes(offset)
        if not self._string_base <= offset < self._string_end:
            self._fail(f"string offset {offset} is outside the strings")
        offset -= self._string_base
        return self._strings[offset : self._strings.index(b"\0", offset)]

    @property
    def own_strings(self) -> bytes:
        """The string section, without the base's."""
        return self._strings

    @property
    def string_start(self) -> int:
        """Offset of the first own string: 0, or the end of the base's strings."""
        return self._string_base

    @property
    def string_end(self) -> int:
        """Offset after the last string."""
        return self._string_end

    def type(self, type_id: int) -> t.Type:
        """Return a type, decoded. The same object is returned every time. Raises FormatError for an id that doesn't exist."""
        found = self._types.get(type_id)
        if found is None:
            found = self._types[type_id] = self._decode(type_id)
        return found

    def _decode(self, type_id: int) -> t.Type:
        index = type_id - self.start_id
        if index < 0:
            if self.base is not None and type_id >= 0:
                return self.base.type(type_id)
            if type_id == 0:
                return t.Type(self, 0, -1)
        if not 0 <= index < len(self.starts):
            self._fail(f"type id {type_id} doesn't exist")
        return t.Type(self, type_id, self.starts[index])

    def kind(self, type_id: int) -> int:
        """Return the kind of a type without decoding it. Raises FormatError for an id that doesn't exist."""
        index = type_id - self.start_id
        if 0 <= index < len(self.starts):
            return self.words[self.starts[index]] >> 24 & 31
        return self.type(type_id).kind

    def types(self) -> Iterator[t.Type]:
        """Yield the own types in order, without the base's, and without keeping them."""
        cached = self._types.get
        for type_id, at in enumerate(self.starts, self.start_id):
            yield cached(type_id) or t.Type(self, type_id, at)

    # Names

    @property
    def names(self) -> NameIndex:
        """The index from names to the own types, made when first asked for."""
        index = self._names
        if index is None:
            from bpfload.btf.names_index import NameIndex

            index = self._names = NameIndex(self)
        return index

    def find(self, name: str, kind: int | None = None) -> int:
        """Return the lowest id of a type with that name (and kind), 0 if there is none."""
        for type_id in self.find_all(name):
            if kind is None or self.kind(type_id) == kind:
                return type_id
        return 0

    def find_all(self, name: str) -> list[int]:
        """Return the ids of all types with that name, the base's included, in order."""
        own = self.names.ids(name)
        return self.base.find_all(name) + own if self.base is not None else own

    def candidates(self, essential_name: str, *, own: bool = False) -> list[int]:
        """Return the ids of types whose name is `essential_name`, with or without a ``___flavour``, in order.

        `own`: without the base's types.
        """
        found = self.names.candidates(essential_name)
        return self.base.candidates(essential_name) + found if self.base is not None and not own else found

    # Following references

    def resolve(self, type_id: int) -> int:
        """Return what remains of a type without qualifiers, type tags and typedefs: its id. Raises FormatError for a cycle."""
        return self._follow(type_id, _ALIAS_KINDS)

    def skip_modifiers(self, type_id: int) -> int:
        """Return what remains of a type without qualifiers and type tags, but with typedefs: its id."""
        return self._follow(type_id, t.MODIFIER_KINDS)

    def _follow(self, type_id: int, kinds: frozenset[int]) -> int:
        get = self._types.get
        start = type_id
        for _ in range(MAX_CHAIN):
            found = get(type_id) or self.type(type_id)
            if found.kind not in kinds:
                return type_id
            type_id = found.type_id
        return self._fail("its chain of types is too long, or refers to itself", type_id=start)

    # Sizes

    @property
    def pointer_size(self) -> int:
        """Bytes of a pointer: `pointer_size_override`, or the size of C's long, or 8 if there is none."""
        if not self.pointer_size_override:
            from bpfload.btf import layout

            self.pointer_size_override = layout.pointer_size(self, _LONG_NAMES) or 8
        return self.pointer_size_override

    def size_of(self, type_id: int) -> int:
        """Return the size of a type in bytes. Raises FormatError if it has none, as void and functions have none."""
        from bpfload.btf import layout

        return layout.size_of(self, type_id)

    def align_of(self, type_id: int) -> int:
        """Return the alignment of a type in bytes; 1 for a packed struct. Raises FormatError if it has none."""
        from bpfload.btf import layout

        return layout.align_of(self, type_id, self._aligns)

    def validate(self) -> None:
        """Check every reference and name of the own types, as libbpf does before it uses BTF. Raises FormatError."""
        from bpfload.btf import validate

        validate.validate(self)


_ALIAS_KINDS = t.MODIFIER_KINDS | {t.KIND_TYPEDEF}
