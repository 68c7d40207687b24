"""The few types of a kernel's BTF that the CO-RE relocations of some objects need: what a program brings along for kernels
without BTF of their own.

Fields keep the structs on their way, with only the members that are used; types that are asked for as types keep no members;
enums stay whole.

Source: minimize_btf() and what it calls in tools/bpf/bpftool/gen.c ("BTFGen").
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from bpfload.btf import Btf
from bpfload.btf import types as t
from bpfload.btf.core import CoreResolver
from bpfload.btf.core import spec as s
from bpfload.btf.writer import BtfBuilder
from bpfload.elf.btfext import parse_btf_ext
from bpfload.errors import BpfError, NotFoundError

if TYPE_CHECKING:
    from bpfload.btf.core.spec import Spec

_COMPOSITE_KINDS = (t.KIND_STRUCT, t.KIND_UNION)
_ALIAS_KINDS = t.MODIFIER_KINDS | {t.KIND_TYPEDEF}


def min_core_btf(kernel: Btf, objects: Iterable[str | os.PathLike[str]]) -> Btf:
    """Return BTF with the types of `kernel` that the objects' relocations refer to.

    `kernel`: of the kernel that they shall run on. Relocations that find nothing there add nothing. Raises FormatError,
    LinkError, NotFoundError.
    """
    needed = _Needed(kernel)
    for path in objects:
        name = os.fspath(path)
        try:
            _add_object(needed, name)
        except BpfError as error:
            raise error.within(name) if name not in str(error) else error from None
    return _build(kernel, needed)


def _add_object(needed: _Needed, path: str) -> None:
    """Add what one object needs, in the order of its records: each may narrow what the next ones find."""
    from bpfload.kernel.image import read_section

    try:
        local = Btf.parse(read_section(path, ".BTF"), name=os.path.basename(path))
        local.validate()
        extension = parse_btf_ext(read_section(path, ".BTF.ext"), local, path)
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {path}") from None
    except OSError as error:
        raise BpfError(f"{path} can't be read: {error.strerror}", errno_code=error.errno or 5) from None
    resolver = CoreResolver(local, (needed.kernel,))
    for info in extension.core_relos.values():
        for _, type_id, access, kind in info.core_relocations():
            target = resolver.resolve(type_id, local.string(access), kind).target
            if target is not None:
                needed.add(target)


class _Needed:
    """What is needed of a kernel's types. `types`: ids. `members`: by the id of a struct or union, indexes."""

    def __init__(self, kernel: Btf) -> None:
        self.kernel = kernel
        self.types: set[int] = set()
        self.members: dict[int, set[int]] = {}
        self._followed: set[tuple[int, bool]] = set()
        self._matched: set[tuple[int, bool]] = set()

    def add(self, target: Spec) -> None:
        """Add what a relocation was resolved to."""
        if target.kind in s.FIELD_KINDS:
            self._add_path(target)
        elif target.kind == s.TYPE_MATCHES:
            self._add_shape(target.type_id)
        else:
            self._add_type(target.type_id, through_pointers=target.kind in s.TYPE_KINDS)

    def _add_path(self, target: Spec) -> None:
        """Add the types along a path of members and elements, and those members."""
        type_id = target.type_id
        self._add_type(type_id)
        for step in target.steps[1:]:
            type_id = self.kernel.resolve(type_id)
            found = self.kernel.type(type_id)
            if found.kind in _COMPOSITE_KINDS:
                self.members.setdefault(type_id, set()).add(step)
                type_id = found.members[step].type_id
                self._add_type(type_id)
            else:
                type_id = found.elem  # came in with the array

    def _add_type(self, type_id: int, *, through_pointers: bool = False) -> None:
        """Add a type, and what it can't be written without: not what a pointer leads to, unless that is asked for."""
        pending = [type_id]
        while pending:
            type_id = pending.pop()
            if not type_id or (type_id, through_pointers) in self._followed:
                continue
            self._followed.add((type_id, through_pointers))
            self.types.add(type_id)
            found = self.kernel.type(type_id)
            if found.kind in _ALIAS_KINDS or (found.kind == t.KIND_PTR and through_pointers):
                pending.append(found.type_id)
            elif found.kind == t.KIND_ARRAY:
                pending += [found.elem, found.index]
            elif found.kind == t.KIND_FUNC_PROTO:
                pending += [found.type_id, *(param.type_id for param in found.params)]

    def _add_shape(self, type_id: int) -> None:
        """Add a type with all that "matches" compares: the members too, but not those of structs behind pointers."""
        pending = [(type_id, False)]
        while pending:
            type_id, behind_pointer = pending.pop()
            if not type_id or (type_id, behind_pointer) in self._matched:
                continue
            self._matched.add((type_id, behind_pointer))
            self.types.add(type_id)
            found = self.kernel.type(type_id)
            if found.kind in _COMPOSITE_KINDS and not behind_pointer:
                self.members.setdefault(type_id, set()).update(range(found.vlen))
                pending += [(member.type_id, False) for member in found.members]
            elif found.kind in _ALIAS_KINDS:
                pending.append((found.type_id, behind_pointer))
            elif found.kind == t.KIND_PTR:
                pending.append((found.type_id, True))
            elif found.kind == t.KIND_ARRAY:
                pending += [(found.elem, False), (found.index, False)]
            elif found.kind == t.KIND_FUNC_PROTO:
                pending += [(part, False) for part in (found.type_id, *(param.type_id for param in found.params))]


def _build(kernel: Btf, needed: _Needed) -> Btf:
    """Return the needed types, in their old order; what isn't needed of what they refer to becomes void."""
    builder = BtfBuilder(little_endian=kernel.little_endian)
    ids = {old: new for new, old in enumerate(sorted(needed.types), 1)}
    for old in ids:
        _add(builder, kernel.type(old), ids, needed.members.get(old, set()))
    return builder.build("minimal")


def _add(builder: BtfBuilder, found: t.Type, ids: dict[int, int], members: set[int]) -> None:
    """Append a type as it is, with new ids. `members`: indexes of those that stay."""
    kind = found.kind
    if kind in _COMPOSITE_KINDS:
        kept = [found.members[index] for index in sorted(members)]
        rows: list[tuple[str, int, int] | tuple[str, int, int, int]] = []
        for member in kept:
            row = (member.name, ids.get(member.type_id, 0), member.offset_bits)
            rows.append((*row, member.bitfield_size) if member.bitfield_size or member.offset_bits % 8 else row)
        builder.add_struct(found.name, found.size, rows, union=kind == t.KIND_UNION)
    elif kind == t.KIND_ARRAY:
        builder.add_array(ids.get(found.elem, 0), found.nelems, ids.get(found.index, 0))
    elif kind == t.KIND_FUNC_PROTO:
        builder.add_func_proto(ids.get(found.type_id, 0), [(param.name, ids.get(param.type_id, 0)) for param in found.params])
    elif kind == t.KIND_ENUM or kind == t.KIND_ENUM64:
        add_enum = builder.add_enum if kind == t.KIND_ENUM else builder.add_enum64
        values = [(value.name, value.value) for value in found.values]
        add_enum(found.name, values, size=found.size, signed=found.kind_flag)
    elif kind == t.KIND_INT:
        builder.add_int(found.name, found.size, found.encoding, bits=found.bits, bit_offset=found.bit_offset)
    elif kind in t.SIZED_KINDS:
        builder.add_type(kind, found.name, found.size)
    else:
        builder.add_type(kind, found.name, ids.get(found.type_id, 0), kind_flag=found.kind_flag)
