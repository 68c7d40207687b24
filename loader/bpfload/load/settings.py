"""Values of global variables, given as text: `--set NAME=VALUE`, typed by BTF.

A name may go on into the variable: ``limits.burst``, ``ports[2]``, ``rules[0].action``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bpfload.errors import NotFoundError, UsageError, near
from bpfload.spec import ObjectSpec, VariableSpec

if TYPE_CHECKING:
    from bpfload.btf import Btf, Type

_STEP = re.compile(r"\.([A-Za-z_]\w*)|\[(0[xX][0-9a-fA-F]+|\d+)\]")


def set_values(spec: ObjectSpec, values: Mapping[str, Any]) -> None:
    """Set global variables of `spec` before it is loaded.

    `values`: by name, or by a path into a variable. What is no text is set as `ObjectSpec.set_value` does. Text is read by the
    variable's type: a number in any base that Python reads, true or false, an enum's name, a character, a string for an array of
    characters, JSON for structs and other arrays. Raises NotFoundError for a name that isn't there, with those that come near,
    UsageError for what doesn't fit its type.
    """
    for name, value in values.items():
        variable, steps = find_variable(spec, name)
        if not steps and not isinstance(value, str):
            spec.set_value(variable.name, value)
            continue
        if spec.btf is None or not variable.type_id:
            raise UsageError(
                f"{name}: {variable.name!r} has no type, so nothing can be said of its value", hint="Compile with -g."
            )
        data = spec.maps[variable.map_name].data
        if data is None:
            raise NotFoundError(f"variable {variable.name!r} has no initial value")
        _Place(spec.btf, variable, name).walk(steps).write(data, value)


def find_variable(spec: ObjectSpec, name: str) -> tuple[VariableSpec, str]:
    """Return the variable that a name starts with, and the rest of the name. Raises NotFoundError with near matches."""
    known = {variable.name: variable for variable in spec.variables}
    if name in known:
        return known[name], ""
    for end in sorted((match.start() for match in re.finditer(r"[.\[]", name)), reverse=True):
        if name[:end] in known:
            return known[name[:end]], name[end:]
    bare = re.split(r"[.\[]", name)[0]
    if bare in spec.externs and spec.externs[bare].kind == "kconfig":
        raise NotFoundError(
            f"{name} is a value of the kernel's configuration, not a variable", hint="--kconfig FILE gives such values."
        )
    close = near(bare, known)
    names = ", ".join(known) or "none"
    raise NotFoundError(
        f"no global variable {bare!r} in {spec.name}", candidates=close, hint="" if close else f"There are: {names}."
    )


class _Place:
    """A place inside a variable: the type there, and where the bytes are that an encoder may write to.

    A member is written by way of its struct, which knows of bit fields.
    """

    def __init__(self, btf: Btf, variable: VariableSpec, path: str) -> None:
        self.btf = btf
        self.path = path
        self.type_id = variable.type_id
        self.offset = variable.offset
        self.member = ""

    def walk(self, steps: str) -> _Place:
        """Go along ``.member`` and ``[index]``."""
        at = 0
        while at < len(steps):
            match = _STEP.match(steps, at)
            if match is None:
                raise UsageError(f"{self.path}: {steps[at:]!r} is neither .MEMBER nor [INDEX]")
            self._leave_member()
            if match[1]:
                self._enter(match[1])
            else:
                self._index(int(match[2], 0))
            at = match.end()
        return self

    def _type(self, type_id: int) -> Type:
        """Return a type without typedefs and qualifiers, a variable's type for the variable."""
        from bpfload.btf.types import KIND_VAR

        found = self.btf.type(self.btf.resolve(type_id))
        return self.btf.type(self.btf.resolve(found.type_id)) if found.kind == KIND_VAR else found

    def _enter(self, name: str) -> None:
        from bpfload.btf.encode import members_by_name
        from bpfload.btf.types import KIND_STRUCT, KIND_UNION

        found = self._type(self.type_id)
        if found.kind not in (KIND_STRUCT, KIND_UNION):
            raise UsageError(f"{self.path}: only structs and unions have members such as {name!r}")
        members = members_by_name(self.btf, found)
        if name not in members:
            close = near(name, members)
            hint = "" if close else f"It has {', '.join(members)}."
            raise NotFoundError(f"{self.path}: struct {found.name or '{…}'} has no member {name!r}", candidates=close, hint=hint)
        self.member = name

    def _leave_member(self) -> None:
        """Make the member that was named the place itself."""
        if not self.member:
            return
        from bpfload.btf.encode import members_by_name

        member = members_by_name(self.btf, self._type(self.type_id))[self.member]
        if member.bitfield_size:
            raise UsageError(f"{self.path}: {self.member!r} is a bit field: nothing is inside of it")
        self.type_id, self.offset, self.member = member.type_id, self.offset + member.offset_bits // 8, ""

    def _index(self, index: int) -> None:
        from bpfload.btf.types import KIND_ARRAY

        found = self._type(self.type_id)
        if found.kind != KIND_ARRAY:
            raise UsageError(f"{self.path}: it is no array, which [{index}] would be an element of")
        if index >= found.nelems:
            raise UsageError(f"{self.path}: the array has {found.nelems} elements, counted from 0")
        self.offset += index * self.btf.size_of(found.elem)
        self.type_id = found.elem

    def write(self, data: bytearray, value: Any) -> None:
        """Write a value here; text is read by the type."""
        from bpfload.btf.encode import encode, members_by_name

        leaf = self._type(self.type_id)
        if self.member:
            leaf = self._type(members_by_name(self.btf, leaf)[self.member].type_id)
        if isinstance(value, str):
            value = self._read(leaf, value)
        name = self.path
        if self.member:
            value, name = {self.member: value}, self.path.rpartition(".")[0]
        end = self.offset + self.btf.size_of(self.type_id)
        data[self.offset : end] = encode(self.btf, self.type_id, value, initial=bytes(data[self.offset : end]), name=name)

    def _read(self, leaf: Type, text: str) -> Any:
        """Return what a text means for a type: itself for what the encoder reads from text, else JSON."""
        from bpfload.btf.types import KIND_ARRAY, KIND_INT, KIND_STRUCT, KIND_UNION

        if leaf.kind == KIND_ARRAY:
            elem = self._type(leaf.elem)
            if elem.kind == KIND_INT and elem.size == 1 and not text.startswith(("[", '"')):
                return text
            return self._json(text, "a JSON array, such as [1, 2]")
        if leaf.kind in (KIND_STRUCT, KIND_UNION):
            first = next((member.name for member in leaf.members if member.name), "member")
            return self._json(text, f'a JSON object, such as {{"{first}": 1}}')
        return text

    def _json(self, text: str, wanted: str) -> Any:
        import json

        try:
            return json.loads(text)
        except ValueError as error:
            raise UsageError(f"{self.path}: {wanted} is needed: {error}") from None
