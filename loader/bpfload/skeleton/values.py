"""Values as generated modules have them: dataclasses for structs and unions, IntEnums for enums; to and from plain ones.

Plain values are those of `bpfload.btf.values` in its Python style: dicts by member, lists, names of enums. A shape says what
plain values become: None for what stays as it is, a `Struct` or an IntEnum, or a tuple of one shape for a list of such.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, ClassVar, Self

from bpfload.gen.identifiers import identifier


class Struct:
    """Base of the dataclasses that are made of C's structs and unions.

    `__bpf_name__`: the struct's name in BTF. `__bpf_members__`: of each field its name, the member's, and its shape.
    `__bpf_unions__`: of each union inside, the members of each alternative. Only the alternatives with a changed member are
    written back; in a new object those that were given.
    """

    __slots__ = ("_was",)
    __bpf_name__: ClassVar[str] = ""
    __bpf_members__: ClassVar[tuple[tuple[str, str, Any], ...]] = ()
    __bpf_unions__: ClassVar[tuple[tuple[tuple[str, ...], ...], ...]] = ()

    _was: dict[str, Any]

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Self:
        """Return the object of a plain value."""
        made = cls()
        for field, member, shape in cls.__bpf_members__:
            setattr(made, field, from_plain(shape, plain[member]))
        if cls.__bpf_unions__:
            made._was = {member: to_plain(getattr(made, field)) for field, member, _ in cls.__bpf_members__}
        return made

    def to_plain(self) -> dict[str, Any]:
        """Return the plain value, without what unions have no use for."""
        plain = {member: to_plain(getattr(self, field)) for field, member, _ in self.__bpf_members__}
        was = getattr(self, "_was", {})
        for alternatives in self.__bpf_unions__:
            changed = [names for names in alternatives if any(plain.get(name) != was.get(name) for name in names)]
            kept = {name for names in changed or alternatives for name in names}
            for names in alternatives:
                for name in names:
                    if name not in kept:
                        plain.pop(name, None)
        return {member: value for member, value in plain.items() if value is not None}

    def __hash__(self) -> int:
        return hash(_frozen(self.to_plain()))


def _frozen(plain: Any) -> Any:
    """Return a plain value as one that can be hashed."""
    if isinstance(plain, dict):
        return tuple((name, _frozen(value)) for name, value in plain.items())
    return tuple(map(_frozen, plain)) if isinstance(plain, list) else plain


def from_plain(shape: Any, value: Any) -> Any:
    """Return what a shape makes of a plain value."""
    if shape is None or value is None:
        return value
    if isinstance(shape, tuple):
        return [from_plain(shape[0], each) for each in value]
    if issubclass(shape, Struct):
        return shape.from_plain(value)
    return _enum_value(shape, value)


def _enum_value(kind: type[IntEnum], value: str | int) -> IntEnum | int:
    """Return the member of an enum; a number that it has no name for stays one."""
    if isinstance(value, str):
        return kind[identifier(value)]
    try:
        return kind(value)
    except ValueError:
        return value


def to_plain(value: Any) -> Any:
    """Return the plain value of anything: the way back of `from_plain`."""
    if isinstance(value, Struct):
        return value.to_plain()
    if isinstance(value, IntEnum):
        return int(value)
    return [to_plain(each) for each in value] if isinstance(value, list | tuple) else value
