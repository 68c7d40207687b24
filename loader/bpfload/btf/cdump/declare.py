"""Declarations: a name and its type as C spells them, ``int (*table[4])(void)``.

A type wraps what is declared from inside out, so what stands before and after the name depends on the type alone: it is put
together once for each type, out of what it refers to.

Source: btf_dump_emit_type_decl() and btf_dump_emit_type_chain() in tools/lib/bpf/btf_dump.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bpfload.btf import types as t
from bpfload.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bpfload.btf.cdump.names import CNames
    from bpfload.btf.flat import FlatTypes

MAX_CHAIN = 1024
_LINK_KINDS = t.MODIFIER_KINDS | {t.KIND_PTR, t.KIND_ARRAY, t.KIND_FUNC_PROTO}
_WORDS = {t.KIND_CONST: "const", t.KIND_VOLATILE: "volatile", t.KIND_RESTRICT: "restrict"}
_KEYWORDS = {t.KIND_STRUCT: "struct", t.KIND_UNION: "union", t.KIND_ENUM: "enum", t.KIND_ENUM64: "enum"}
#: What the outermost part of a declaration is: it says how the next one joins it.
_BASE, _POINTER, _ARRAY, _FUNCTION = range(4)


class _Parts(NamedTuple):
    """What stands around a name.

    `before`: with a name, `bare`: without one, both without `core`, the last word, which qualifiers go in front of. `after`:
    behind the name. `starred`: a name may follow directly. `form`: of the outermost part.
    """

    before: str
    bare: str
    core: str
    after: str
    starred: bool
    form: int


class Declarations:
    """Declares names by type.

    `define_inline`: returns the definition of a struct, union or enum without a tag, which stands where its name would; given its
    id and the level of indentation.
    """

    def __init__(self, flat: FlatTypes, names: CNames, define_inline: Callable[[int, int], str]) -> None:
        self._flat = flat
        self._names = names
        self._define_inline = define_inline
        self._inlined = 0  # definitions so far: what holds one differs each time
        self._parts: dict[int, _Parts] = {0: _Parts("", "", "void", "", False, _BASE)}
        #: By type id: what stands before and after a name that isn't empty. Filled as types are first declared.
        self.around: dict[int, tuple[str, str]] = {}
        self._nameless: dict[int, str] = {}

    def declare(self, type_id: int, name: str, level: int) -> str:
        """Return the declaration of a name. `level`: of indentation, for definitions within. Raises FormatError."""
        if name:
            around = self.around.get(type_id)
            if around is not None:
                return f"{around[0]}{name}{around[1]}"
        else:
            text = self._nameless.get(type_id)
            if text is not None:
                return text
        inlined = self._inlined
        parts = self._build(type_id, level)
        space = "" if parts.starred or parts.form == _ARRAY else " "
        before = f"{parts.before}{parts.core}{space}"
        text = f"{parts.bare}{parts.core}{parts.after}"
        if inlined == self._inlined:
            self.around[type_id] = before, parts.after
            self._nameless[type_id] = text
        return f"{before}{name}{parts.after}" if name else text

    def _build(self, type_id: int, level: int) -> _Parts:
        """Return the parts of a type, and keep those of all that it is made of."""
        flat, known, inlined = self._flat, self._parts, self._inlined
        links: list[int] = []
        while type_id not in known and flat.kinds[type_id] in _LINK_KINDS:
            if len(links) > MAX_CHAIN:
                raise FormatError(f"BTF type {type_id}: its chain of types refers to itself", file=flat.btf.name)
            links.append(type_id)
            type_id = flat.words[flat.at[type_id] + 2] if flat.kinds[type_id] == t.KIND_ARRAY else flat.target(type_id)
        parts = known.get(type_id)
        if parts is None:
            parts = _Parts("", "", self._base(type_id, level), "", False, _BASE)
            if inlined == self._inlined:
                known[type_id] = parts
        # The parameters of the outermost function stand first in the text, and so get their names first.
        params = {link: self._params(link, level) for link in links if flat.kinds[link] == t.KIND_FUNC_PROTO}
        for link in reversed(links):
            parts = self._wrap(parts, link, params)
            if inlined == self._inlined:
                known[link] = parts
        return parts

    def _base(self, type_id: int, level: int) -> str:
        flat = self._flat
        kind = flat.kinds[type_id]
        if kind == t.KIND_INT or kind == t.KIND_FLOAT:
            return flat.name(type_id)
        if kind == t.KIND_TYPEDEF:
            return self._names.identifier(type_id)
        if kind == t.KIND_FWD:
            return f"{'union' if flat.words[flat.at[type_id]] >> 31 else 'struct'} {self._names.tag(type_id)}"
        if kind not in _KEYWORDS:
            raise FormatError(f"BTF type {type_id}: a {t.KIND_NAMES[kind]} can't be part of a declaration", file=flat.btf.name)
        if flat.words[flat.at[type_id] - 1]:
            return f"{_KEYWORDS[kind]} {self._names.tag(type_id)}"
        self._inlined += 1
        return self._define_inline(type_id, level)

    def _wrap(self, inner: _Parts, type_id: int, params: dict[int, str]) -> _Parts:
        """Return the parts of a pointer to, qualifier of, array of or function returning something."""
        kind = self._flat.kinds[type_id]
        before, bare, core, after, starred, form = inner
        whole, bare_whole = before + core, bare + core
        if kind == t.KIND_PTR:
            if form == _ARRAY:
                return _Parts(f"{whole}(*", f"{bare_whole}(*", "", f"){after}", True, _POINTER)
            if form == _FUNCTION:
                return _Parts(f"{whole} (*", f"{bare_whole} (*", "", f"){after}", True, _POINTER)
            star = "*" if starred else " *"
            return _Parts(whole + star, bare_whole + star, "", after, True, _POINTER)
        if kind == t.KIND_ARRAY:
            count = f"[{self._flat.words[self._flat.at[type_id] + 4]}]"
            if form == _FUNCTION:
                return _Parts(f"{whole} (", f"{bare_whole} (", "", f"{count}){after}", True, _ARRAY)
            space = "" if starred else " "
            return _Parts(whole + space, bare_whole, "", count + after, True, _ARRAY)
        if kind == t.KIND_FUNC_PROTO:
            call = f"({params[type_id]})"
            if form == _ARRAY:
                return _Parts(f"{whole}(", f"{bare_whole}(", "", f"{call}){after}", True, _FUNCTION)
            if form == _FUNCTION:
                return _Parts(f"{whole} (", f"{bare_whole} (", "", f"{call}){after}", True, _FUNCTION)
            return _Parts(whole, bare_whole, "", call + after, starred, _FUNCTION)
        if form in (_ARRAY, _FUNCTION):
            return inner  # compilers disagree on qualifiers there, and they mean nothing
        if kind == t.KIND_TYPE_TAG:
            tag = f' __attribute__((btf_type_tag("{self._flat.name(type_id)}")))'
            return _Parts(whole, bare_whole, tag, after, False, _BASE)
        word = _WORDS[kind]
        if form == _BASE:
            return _Parts(f"{before}{word} ", f"{bare}{word} ", core, after, False, _BASE)
        return _Parts(f"{whole} {word}", f"{bare_whole} {word}", "", after, False, _POINTER)

    def _params(self, type_id: int, level: int) -> str:
        flat = self._flat
        rows = flat.rows(type_id, 2).tolist()
        if not rows or (len(rows) == 2 and not rows[1]):
            return "void"
        params = []
        if rows[-1] == 0:
            rows = rows[:-2]
            params = ["..."]
        names = flat.names
        declared = [self.declare(rows[i + 1], names[rows[i]] if rows[i] else "", level) for i in range(0, len(rows), 2)]
        return ", ".join(declared + params)
