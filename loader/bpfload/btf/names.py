"""Names of types and prototypes: in bpftool's words, and in C's.

Source of bpftool's: btf_dumper_type_only() in tools/bpf/bpftool/btf_dumper.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpfload.btf import types as t

if TYPE_CHECKING:
    from bpfload.btf.index import Btf

MAX_NESTING = 200
MAX_TYPES = 4096  # in one declaration
_KEYWORDS = {t.KIND_STRUCT: "struct", t.KIND_UNION: "union", t.KIND_ENUM: "enum", t.KIND_ENUM64: "enum"}
_QUALIFIERS = {t.KIND_VOLATILE: "volatile", t.KIND_CONST: "const", t.KIND_RESTRICT: "restrict"}


class _TooLongError(Exception):
    """The text doesn't fit bpftool's buffer, or there are no words for the type."""


def prototype(btf: Btf, type_id: int, *, limit: int = 1024) -> str:
    """Return a type in the words of `bpftool prog dump`: ``int hello(struct xdp_md * ctx)`` for a FUNC.

    Empty, as there, where the text is as long as `limit` or longer, or where bpftool has no words for a kind.
    """
    writer = _Writer(btf, limit)
    try:
        writer.type(type_id, 0)
    except _TooLongError:
        return ""
    return "".join(writer.parts)


class _Writer:
    def __init__(self, btf: Btf, limit: int) -> None:
        self.btf = btf
        self.left = limit
        self.parts: list[str] = []

    def put(self, text: str) -> None:
        self.parts.append(text)
        self.left -= len(text)
        if self.left <= 0:
            raise _TooLongError

    def type(self, type_id: int, depth: int) -> None:
        if not type_id:
            self.put("void ")
            return
        if depth > MAX_NESTING:
            raise _TooLongError
        found = self.btf.type(type_id)
        kind = found.kind
        if kind in (t.KIND_INT, t.KIND_TYPEDEF, t.KIND_FLOAT):
            self.put(f"{found.name} ")
        elif kind in _KEYWORDS:
            self.put(f"{_KEYWORDS[kind]} {found.name} ")
        elif kind == t.KIND_FWD:
            self.put(f"{'union' if found.kind_flag else 'struct'} {found.name} ")
        elif kind == t.KIND_PTR:
            self.type(found.type_id, depth + 1)
            self.put("* ")
        elif kind in _QUALIFIERS:
            self.put(f"{_QUALIFIERS[kind]} ")
            self.type(found.type_id, depth + 1)
        else:
            self._other(found, depth)

    def _other(self, found: t.Type, depth: int) -> None:
        if found.kind == t.KIND_ARRAY:
            self.type(found.elem, depth + 1)
            nelems = found.nelems
            self.put(f"[{nelems - (1 << 32) if nelems >> 31 else nelems}]")
        elif found.kind == t.KIND_FUNC_PROTO:
            self._function(found, "", depth)
        elif found.kind == t.KIND_FUNC:
            self._function(self.btf.type(found.type_id), found.name, depth)
        elif found.kind == t.KIND_VAR:
            if found.linkage == t.LINKAGE_STATIC:
                self.put("static ")
            self.type(found.type_id, depth + 1)
            self.put(f" {found.name}")
        elif found.kind == t.KIND_DATASEC:
            self.put(f'section ("{found.name}") ')
        else:
            raise _TooLongError

    def _function(self, proto: t.Type, name: str, depth: int) -> None:
        self.type(proto.type_id, depth + 1)
        self.put(f"{name}(")
        for index, param in enumerate(proto.params):
            if index:
                self.put(", ")
            if not param.type_id:
                self.put("...")
                continue
            self.type(param.type_id, depth + 1)
            if param.name:
                self.put(param.name)
            elif self.parts[-1].endswith(" "):
                self.parts[-1] = self.parts[-1][:-1]
                self.left += 1
        self.put(")")


def c_type(btf: Btf, type_id: int) -> str:
    """Return a type as C spells it: ``const char *``, ``int (*)(struct foo *)``, ``u32[4]``; ``struct {...}`` without a name."""
    return declaration(btf, type_id, "")


def declaration(btf: Btf, type_id: int, name: str = "") -> str:
    """Return the declaration of a variable or member of that type in C: ``int (*hook)(void)``, ``char comm[16]``.

    A FUNC or VAR gives its own name where `name` is empty. What is nested without end ends in "...".
    """
    return _Declaration(btf).text(type_id, name, 0)


class _Declaration:
    def __init__(self, btf: Btf) -> None:
        self.btf = btf
        self.left = MAX_TYPES

    def text(self, current: int, inner: str, depth: int) -> str:
        """Wrap `inner`, a name or nothing, from inside out: brackets to its right, stars to its left."""
        starred = False  # brackets bind tighter than a star, which then needs parentheses
        qualifiers: list[str] = []
        while self.left and depth < MAX_NESTING // 8:
            self.left -= 1
            found = self.btf.type(current)
            kind = found.kind
            if kind in _QUALIFIERS:
                qualifiers.insert(0, _QUALIFIERS[kind])
            elif kind == t.KIND_PTR:
                inner = "*" + " ".join([*qualifiers, inner]).rstrip() if qualifiers else f"*{inner}"
                starred, qualifiers = True, []
            elif kind == t.KIND_ARRAY:
                inner = f"({inner})[{found.nelems}]" if starred else f"{inner}[{found.nelems}]"
                starred = False
                current = found.elem
                continue
            elif kind == t.KIND_FUNC_PROTO:
                params = self._params(found, depth)
                inner = f"({inner})({params})" if starred else f"{inner}({params})"
                starred, qualifiers = False, []
            elif kind == t.KIND_FUNC or kind == t.KIND_VAR:
                inner = inner or found.name
            elif kind not in (t.KIND_TYPE_TAG, t.KIND_DECL_TAG):
                return _join(" ".join([*qualifiers, _base_name(found)]), inner)
            current = found.type_id
        return _join("...", inner)

    def _params(self, proto: t.Type, depth: int) -> str:
        params = [self.text(param.type_id, param.name, depth + 1) if param.type_id else "..." for param in proto.params]
        return ", ".join(params) or "void"


def _base_name(found: t.Type) -> str:
    keyword = _KEYWORDS.get(found.kind, "")
    if found.kind == t.KIND_FWD:
        keyword = "union" if found.kind_flag else "struct"
    if keyword:
        return f"{keyword} {found.name or '{...}'}"
    return found.name


def _join(word: str, inner: str) -> str:
    return word + inner if not inner or inner.startswith("[") else f"{word} {inner}"
