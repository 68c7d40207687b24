"""C's types as Python source: dataclasses for structs and unions, IntEnums for enums, annotations for the rest.

What values look like is what `bpfload.btf.values` makes of bytes; `bpfload.skeleton.values` turns that into these classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bpfload.btf import types as t
from bpfload.gen.identifiers import Scope, class_name, harmless, identifier, quoted

if TYPE_CHECKING:
    from bpfload.btf import Btf, Type
    from bpfload.btf.types import Member

_MAX_DEPTH = 32
_WIDTH = 88
#: Names that mean something else in a class whose fields are annotated, or that its base has.
_TAKEN_FIELDS = frozenset(
    ("int", "bool", "float", "str", "bytes", "list", "field", "dataclass", "skeleton", "to_plain", "from_plain", "_was", "range")
)
_TAKEN_CLASSES = frozenset(("IntEnum", "None", "True", "False"))


@dataclass(frozen=True, slots=True)
class Spelled:
    """A type in Python: its annotation, its shape (see `bpfload.skeleton.values`) and an expression for its zero value."""

    annotation: str
    shape: str = "None"
    zero: str = "0"

    @property
    def default(self) -> str:
        """What stands behind "=" for a field of a dataclass."""
        if self.zero[0] in "[(" or self.zero.endswith(")"):
            made = self.zero.removesuffix("()") if self.zero.endswith("()") and "[" not in self.zero else f"lambda: {self.zero}"
            return f"field(default_factory={made})"
        return self.zero


@dataclass(slots=True)
class _Field:
    """A field of a dataclass: a member, those of anonymous structs and unions among them. `shared`: in a union."""

    member: str
    type: Spelled
    shared: bool


class PythonTypes:
    """The classes that some types need. `blocks`: their source, each before those that use it."""

    def __init__(self, btf: Btf) -> None:
        self.btf = btf
        self.names = Scope(_TAKEN_CLASSES)
        self.blocks: list[str] = []
        self.classes: list[str] = []
        self.uses_enums = self.uses_dataclasses = self.uses_factories = False
        self._spelled: dict[int, Spelled] = {}
        self._depth = 0

    def spell(self, type_id: int, hint: str) -> Spelled:
        """Return a type in Python, its classes being defined. `hint`: what to call one that has no name."""
        found = self.btf.type(self.btf.resolve(type_id))
        hint = self._typedef(type_id) or hint
        if found.kind == t.KIND_VAR:
            return self.spell(found.type_id, hint)
        if found.kind in (t.KIND_STRUCT, t.KIND_UNION):
            return self._known(found, hint, self._struct)
        if found.kind in (t.KIND_ENUM, t.KIND_ENUM64):
            return self._known(found, hint, self._enum) if found.vlen else Spelled("int")
        if found.kind == t.KIND_ARRAY:
            return self._array(found, hint)
        if found.kind == t.KIND_INT and found.encoding & t.INT_BOOL:
            return Spelled("bool", zero="False")
        if found.kind == t.KIND_FLOAT:
            return Spelled("float", zero="0.0")
        return Spelled("int")

    def _typedef(self, type_id: int) -> str:
        """Return the name of the first typedef on the way to what a type is, "" if there is none."""
        found = self.btf.type(self.btf.skip_modifiers(type_id))
        return found.name if found.kind == t.KIND_TYPEDEF else ""

    def _known(self, found: Type, hint: str, define: Callable[[Type, str], Spelled]) -> Spelled:
        """Return a class that was defined before, or define it."""
        known = self._spelled.get(found.id)
        if known is None:
            if self._depth > _MAX_DEPTH:
                return Spelled("int")
            self._depth += 1
            known = self._spelled[found.id] = define(found, hint)
            self._depth -= 1
        return known

    def _array(self, found: Type, hint: str) -> Spelled:
        elem = self.btf.type(self.btf.skip_modifiers(found.elem))
        # As `Decoder.is_char`: a typedef of char is a number.
        if elem.kind == t.KIND_INT and elem.size == 1 and (elem.encoding == t.INT_CHAR or elem.name == "char") and found.nelems:
            return Spelled("str | bytes", zero='""')
        inner = self.spell(found.elem, hint)
        shape = "None" if inner.shape == "None" else f"({inner.shape},)"
        if inner.zero[0] == "[" or inner.zero.endswith(")"):
            zero = f"[{inner.zero} for _ in range({found.nelems})]"
        else:
            zero = f"[{inner.zero}] * {found.nelems}"
        if not found.nelems:
            zero = "[]"
        return Spelled(f"list[{inner.annotation}]", shape, zero)

    # Enums

    def _enum(self, found: Type, hint: str) -> Spelled:
        name = self._class(found.name or hint)
        self.uses_enums = True
        scope = Scope()
        lines = [f"class {name}(IntEnum):", f'    """enum {harmless(found.name or hint)}"""', ""]
        lines += [f"    {scope.add(identifier(value.name))} = {value.value}" for value in found.values]
        self.blocks.append("\n".join(lines))
        return Spelled(f"{name} | int", name, "0")

    def _class(self, name: str) -> str:
        made = self.names.add(class_name(name))
        self.classes.append(made)
        return made

    # Structs

    def _struct(self, found: Type, hint: str) -> Spelled:
        fields: list[_Field] = []
        unions: list[list[list[str]]] = []
        is_union = found.kind == t.KIND_UNION
        alternatives = self._members(found, found.name or hint, fields, unions, shared=is_union)
        if is_union:
            unions.append(alternatives)
        name = self._class(found.name or hint)
        self.uses_dataclasses = True
        scope = Scope(_TAKEN_FIELDS | frozenset(self.classes))
        word = "union" if is_union else "struct"
        lines = [
            "@dataclass(slots=True)",
            f"class {name}(skeleton.Struct):",
            f'    """{word} {harmless(found.name or hint)}"""',
            "",
        ]
        rows = []
        for each in fields:
            field = scope.add(identifier(each.member))
            if each.shared:
                lines.append(f"    {field}: {each.type.annotation} | None = None")
            else:
                self.uses_factories |= each.type.default.startswith("field(")
                lines += wrapped(f"    {field}: {each.type.annotation} = {each.type.default}")
            rows.append(f'("{field}", {quoted(each.member)}, {each.type.shape})')
        lines += ["", f"    __bpf_name__ = {quoted(found.name)}"]
        lines += _assigned("__bpf_members__", rows)
        lines += _assigned("__bpf_unions__", [_tuple(_tuple(map(quoted, each)) for each in union) for union in unions])
        lines.append("    __hash__ = skeleton.Struct.__hash__")
        self.blocks.append("\n".join(lines))
        return Spelled(name, name, f"{name}()")

    def _members(
        self, found: Type, hint: str, fields: list[_Field], unions: list[list[list[str]]], *, shared: bool
    ) -> list[list[str]]:
        """Add a struct's members to `fields`, anonymous ones' among them, and the unions in it; return them one by one."""
        parts: list[list[str]] = []
        for member in found.members:
            if member.name:
                fields.append(_Field(member.name, self._member(member, hint), shared))
                parts.append([member.name])
                continue
            inner = self.btf.type(self.btf.resolve(member.type_id))
            if inner.kind not in (t.KIND_STRUCT, t.KIND_UNION):
                continue  # a bit field that only takes room
            is_union = inner.kind == t.KIND_UNION
            alternatives = self._members(inner, hint, fields, unions, shared=shared or is_union)
            if is_union:
                unions.append(alternatives)
            parts.append([name for names in alternatives for name in names])
        return [names for names in parts if names]

    def _member(self, member: Member, hint: str) -> Spelled:
        if member.bitfield_size:
            found = self.btf.type(self.btf.resolve(member.type_id))
            if found.kind == t.KIND_INT and found.encoding & t.INT_BOOL:
                return Spelled("bool", zero="False")
        return self.spell(member.type_id, f"{hint}_{member.name}")


def wrapped(line: str) -> list[str]:
    """Return a line of a class that ends with a call, with the arguments on lines of their own if it is too long."""
    head, bracket, arguments = line.partition("(")
    if len(line) <= _WIDTH or not bracket:
        return [line]
    return [f"{head}(", f"        {arguments.removesuffix(')')}", "    )"]


def _assigned(attribute: str, rows: list[str]) -> list[str]:
    """Return the lines that set an attribute of a class to a tuple; none for an empty one."""
    line = f"    {attribute} = ({''.join(rows)},)"
    if not rows or (len(rows) == 1 and len(line) <= _WIDTH):
        return [line] if rows else []
    return [f"    {attribute} = (", *(f"        {row}," for row in rows), "    )"]


def _tuple(parts: Iterable[str]) -> str:
    texts = list(parts)
    return f"({', '.join(texts)}{',' if len(texts) == 1 else ''})"
