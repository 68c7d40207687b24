"""How an object's CO-RE relocations come out against the BTF of other kernels: without root, without those kernels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bpfload.btf.core import CoreResolver, patch
from bpfload.errors import BpfError
from bpfload.kernel import btf as kernel_btf
from bpfload.spec import ObjectSpec, ProgramSpec

if TYPE_CHECKING:
    from bpfload.btf import Btf
    from bpfload.btf.core import CoreResult

_SLOT = 8

#: By (ELF section, offset of the instruction in it): an outcome for each kernel.
Outcomes = dict[tuple[str, int], tuple["CoreOutcome", ...]]


@dataclass(frozen=True, slots=True)
class CoreOutcome:
    """A relocation against one kernel.

    `kernel`: the name of its BTF file. `resolved`: the instruction can run there. `value`: the number that is put into it (a byte
    offset, a size, 0 or 1 for "exists", …), None if it isn't resolved. `target`: what it was found to be, `problem`: why not.
    """

    kernel: str
    resolved: bool
    value: int | None = None
    target: str | None = None
    problem: str | None = None


def outcomes(spec: ObjectSpec, kernels: Sequence[str | os.PathLike[str]]) -> Outcomes:
    """Resolve every relocation of an object against each BTF file. Raises FormatError, NotFoundError for a file."""
    if spec.btf is None or spec.btf_ext is None:
        return {}
    columns = [_column(spec, os.path.basename(os.fspath(path)), kernel_btf.load_file(path)) for path in kernels]
    return {place: tuple(column[place] for column in columns) for place in (columns[0] if columns else ())}


def _column(spec: ObjectSpec, name: str, target: Btf) -> dict[tuple[str, int], CoreOutcome]:
    """Resolve everything against one kernel, in file order, as a load would."""
    assert spec.btf is not None
    assert spec.btf_ext is not None
    resolver = CoreResolver(spec.btf, (target,))
    found = {}
    for section, info in spec.btf_ext.core_relos.items():
        functions = [function for function in spec.programs if function.section == section]
        for offset, type_id, access, kind in info.core_relocations():
            try:
                result = resolver.resolve(type_id, spec.btf.string(access), kind)
                found[section, offset] = _outcome(name, result, _fits(functions, offset, result))
            except BpfError as error:
                found[section, offset] = CoreOutcome(name, False, problem=error.message)
    return found


def _fits(functions: list[ProgramSpec], offset: int, result: CoreResult) -> bool:
    """Whether the instruction can take the result: a load of a field whose size differs may not."""
    for function in functions:
        if function.offset <= offset < function.offset + len(function.insns):
            return patch(bytearray(function.insns), (offset - function.offset) // _SLOT, result)
    return True


def _outcome(name: str, result: CoreResult, fits: bool) -> CoreOutcome:
    if not fits:
        return CoreOutcome(name, False, problem=result.failure or f"{result.text} isn't there")
    target = None
    if result.target is not None:
        from bpfload.btf.core.describe import describe_spec

        target = describe_spec(result.target).rpartition(" (")[0]
    return CoreOutcome(name, True, _signed(result.new_val), target)


def _signed(value: int) -> int:
    """A 64-bit number as C would show it: values of enums may be negative."""
    return value - (1 << 64) if value >> 63 else value
