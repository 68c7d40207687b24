"""CO-RE relocations and their failures in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpfload.btf import types as t
from bpfload.btf.core import spec as s
from bpfload.btf.core.match import Mismatch, match
from bpfload.btf.names_index import essential_name

if TYPE_CHECKING:
    from bpfload.btf.core.resolver import CoreResult
    from bpfload.btf.core.spec import Accessor, Spec
    from bpfload.btf.index import Btf


def describe(local: Btf, type_id: int, access: str, kind: int) -> str:
    """Return what a relocation refers to, for example ``struct task_struct.pid (byte_off)``. Raises LinkError."""
    return describe_spec(s.parse(local, type_id, access, kind))


def describe_spec(spec: Spec) -> str:
    """Return what a spec refers to, for example ``struct task_struct.pid (byte_off)``."""
    return f"{type_text(spec.btf, spec.type_id)}{_path(spec)} ({s.kind_name(spec.kind)})"


def type_text(btf: Btf, type_id: int) -> str:
    """Return a type's kind and name: ``struct task_struct``."""
    found = btf.type(type_id)
    kind = "enum" if found.kind in s.ENUM_KINDS else t.KIND_NAMES[found.kind].lower()
    return f"{kind} {found.name or '<anonymous>'}" if type_id else "void"


def _path(spec: Spec) -> str:
    if spec.kind in s.ENUMVAL_KINDS:
        return f"::{spec.accessors[0].name}"
    return _steps(spec.accessors)


def _steps(accessors: list[Accessor]) -> str:
    text = ""
    for number, accessor in enumerate(accessors):
        if accessor.name is not None:
            text += f".{accessor.name}"
        elif number or accessor.index:
            text += f"[{accessor.index}]"
    return text


def describe_failure(result: CoreResult) -> str:
    """Return why a relocation has no counterpart in the target, or why a load can't be fitted to it; "" if all is well."""
    local = result.local
    if result.fail_memsz_adjust and result.target is not None:
        here, there = _size_text(result.orig_sz), _size_text(result.new_sz)
        return (
            f"{type_text(local.btf, local.type_id)}{_path(local)} is {here} in the object and {there} in "
            f"{_name(result.target.btf)}; only pointers and unsigned integers can be read in another size"
        )
    if result.target is not None or local.kind == s.TYPE_ID_LOCAL:
        return ""
    if not result.candidates:
        return f"there is no {essential_name(type_text(local.btf, local.type_id))} in the kernel's BTF"
    btf, type_id = result.candidates[0]
    found = match(local, btf, type_id)
    return _mismatch(local, btf, type_id, found) if isinstance(found, Mismatch) else ""


def _size_text(size: int) -> str:
    return f"{size} bytes" if size else "a bit field"


def _name(btf: Btf) -> str:
    return btf.name or "the kernel's BTF"


def _mismatch(local: Spec, btf: Btf, type_id: int, mismatch: Mismatch) -> str:
    root = type_text(btf, type_id)
    where = _name(btf)
    if mismatch.step < 0:
        return f"{root} in {where} isn't like the one of the object"
    accessor = local.accessors[mismatch.step]
    before = f"{root}{_steps(local.accessors[: mismatch.step])}"
    if local.kind in s.ENUMVAL_KINDS:
        return f"{root} has no value {accessor.name} in {where}"
    if mismatch.reason == "missing":
        owner = btf.type(mismatch.type_id)
        holder = type_text(btf, mismatch.type_id) if owner.name else before
        return f"{holder} has no member {accessor.name} in {where}"
    if mismatch.reason == "type":
        return f"{before}.{accessor.name} has an incompatible type in {where}"
    if mismatch.reason == "bounds":
        return f"{before} has no element {accessor.index} in {where}"
    return f"{before} is {type_text(btf, mismatch.type_id)} in {where}"
