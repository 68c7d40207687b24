"""Rewriting BTF for kernels that don't know all kinds: each unknown kind becomes an older one of the same length in the file.

Source: bpf_object__sanitize_btf() in tools/lib/bpf/libbpf.c, whose outcome this one's is equal to, byte for byte.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpfload.btf import types as t
from bpfload.btf.index import Btf
from bpfload.btf.writer import BtfEditor

if TYPE_CHECKING:
    from collections.abc import Callable

# What a kernel may lack.
FUNC = "func"
FUNC_GLOBAL = "func_global"
DATASEC = "datasec"
QMARK_DATASEC = "qmark_datasec"  # "?" at the start of a DATASEC's name
FLOAT = "float"
DECL_TAG = "decl_tag"
TYPE_TAG = "type_tag"
ENUM64 = "enum64"

#: All of them, with the first kernel that has it.
FEATURES = {
    FUNC: "5.0",
    DATASEC: "5.2",
    FUNC_GLOBAL: "5.6",
    FLOAT: "5.13",
    DECL_TAG: "5.16",
    TYPE_TAG: "5.17",
    ENUM64: "6.0",
    QMARK_DATASEC: "6.9",
}


def sanitize(btf: Btf | bytes, missing: frozenset[str]) -> bytes:
    """Return BTF without what the kernel lacks. `missing`: names of FEATURES. Raises FormatError."""
    if isinstance(btf, bytes):
        btf = Btf.parse(btf)
    unknown = missing - FEATURES.keys()
    if unknown:
        raise ValueError(f"not a feature of BTF: {', '.join(sorted(unknown))}")
    if not missing:
        return bytes(btf.raw)
    return _Sanitizer(btf, missing).run()


class _Sanitizer:
    def __init__(self, btf: Btf, missing: frozenset[str]) -> None:
        self.btf = btf
        self.editor = BtfEditor(btf)
        self.missing = missing
        self.placeholder = 0

    def run(self) -> bytes:
        rewrite = self._choose()
        for type_id in range(self.btf.start_id, len(self.btf)):
            method = rewrite.get(self.btf.kind(type_id))
            if method is not None:
                method(type_id)
        return self.editor.bytes()

    def _choose(self) -> dict[int, Callable[[int], None]]:
        """Return by kind what is to be done with it."""
        missing = self.missing
        chosen: dict[int, Callable[[int], None]] = {}
        if DATASEC in missing:
            chosen[t.KIND_VAR] = self._to_int
            chosen[t.KIND_DATASEC] = self._datasec_to_struct
        elif QMARK_DATASEC in missing:
            chosen[t.KIND_DATASEC] = self._rename_datasec
        if DECL_TAG in missing:
            chosen[t.KIND_DECL_TAG] = self._to_int
        if FUNC in missing:
            chosen[t.KIND_FUNC_PROTO] = self._func_proto_to_enum
            chosen[t.KIND_FUNC] = self._func_to_typedef
        elif FUNC_GLOBAL in missing:
            chosen[t.KIND_FUNC] = self._func_to_static
        if FLOAT in missing:
            chosen[t.KIND_FLOAT] = self._float_to_struct
        if TYPE_TAG in missing:
            chosen[t.KIND_TYPE_TAG] = self._type_tag_to_const
        if ENUM64 in missing:
            chosen[t.KIND_ENUM] = self._clear_enum_flag
            chosen[t.KIND_ENUM64] = self._enum64_to_union
        return chosen

    def _to_int(self, type_id: int) -> None:
        """VAR, DECL_TAG: an INT of one byte, for a larger one may be larger than the variable."""
        self.editor.set_header(type_id, t.KIND_INT, 1)
        words, at = self.editor.words_of(type_id)
        words[at + 2] = 8

    def _datasec_to_struct(self, type_id: int) -> None:
        words, at = self.editor.words_of(type_id)
        self.editor.patch_string(words[at - 1], b".?", b"_")
        rows = words[at] & 0xFFFF
        self.editor.set_header(type_id, t.KIND_STRUCT, words[at + 1], vlen=rows)
        for row in range(at + 2, at + 2 + 3 * rows, 3):
            variable = words[row]
            _, at_variable = self.editor.words_of(variable)
            words[row + 2] = words[row + 1] * 8 & 0xFFFFFFFF
            words[row + 1] = variable
            words[row] = words[at_variable - 1]

    def _rename_datasec(self, type_id: int) -> None:
        words, at = self.editor.words_of(type_id)
        self.editor.patch_string(words[at - 1], b"?", b"_", count=1)

    def _func_proto_to_enum(self, type_id: int) -> None:
        """A parameter's name and type become a name and a value of the ENUM."""
        words, at = self.editor.words_of(type_id)
        self.editor.set_header(type_id, t.KIND_ENUM, 4, vlen=words[at] & 0xFFFF)

    def _func_to_typedef(self, type_id: int) -> None:
        words, at = self.editor.words_of(type_id)
        self.editor.set_header(type_id, t.KIND_TYPEDEF, words[at + 1])

    def _func_to_static(self, type_id: int) -> None:
        self.editor.set_func_linkage(type_id, t.LINKAGE_STATIC)

    def _float_to_struct(self, type_id: int) -> None:
        """An empty STRUCT of the same size, without a name: "float" isn't allowed for a struct."""
        words, at = self.editor.words_of(type_id)
        words[at - 1] = 0
        self.editor.set_header(type_id, t.KIND_STRUCT, words[at + 1])

    def _type_tag_to_const(self, type_id: int) -> None:
        words, at = self.editor.words_of(type_id)
        words[at - 1] = 0
        self.editor.set_header(type_id, t.KIND_CONST, words[at + 1])

    def _clear_enum_flag(self, type_id: int) -> None:
        words, at = self.editor.words_of(type_id)
        words[at] &= 0x7FFFFFFF

    def _enum64_to_union(self, type_id: int) -> None:
        if not self.placeholder:
            self.placeholder = self.editor.add_int("enum64_placeholder", 1)
        words, at = self.editor.words_of(type_id)
        rows = words[at] & 0xFFFF
        self.editor.set_header(type_id, t.KIND_UNION, words[at + 1], vlen=rows)
        for row in range(at + 2, at + 2 + 3 * rows, 3):
            words[row + 1] = self.placeholder
            words[row + 2] = 0
