"""CO-RE relocations applied to every function that may be loaded.

Source: bpf_object__relocate_core() in tools/lib/bpf/libbpf.c: records in file order, subprograms included; programs that are
not loaded are left alone.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from bpfload.btf.core import CoreResolver, patch
from bpfload.errors import BpfError, LinkError
from bpfload.spec import BtfExt, ObjectSpec, ProgramSpec, SectionInfo

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bpfload.load.session import Session

_SLOT = 8


def relocate(session: Session) -> None:
    """Relocate; `session.code` gets the patched instructions, `session.core_notes` what was poisoned and why."""
    ext = session.spec.btf_ext
    assert ext is not None
    cache = session.options.cache
    resolver = cache.resolver if cache is not None else None
    if resolver is None:
        resolver = make_resolver(session)
        if cache is not None:
            cache.resolver = resolver
    else:
        resolver.restart()
    loaded = {id(program) for program in session.selected}
    functions = (program for program in session.spec.programs if program.is_subprog or id(program) in loaded)
    relocate_functions(session.spec, ext, functions, resolver, session.code, session.core_notes)


def make_resolver(session: Session) -> CoreResolver:
    """Return a resolver against the BTF file that was named, or against the running kernel and its modules."""
    from bpfload.kernel import btf as kernel_btf

    assert session.spec.btf is not None
    path = session.options.kernel_btf
    if path:
        return CoreResolver(session.spec.btf, (kernel_btf.load_file(path),))
    return CoreResolver(
        session.spec.btf, (kernel_btf.vmlinux(),), modules=lambda: [module.btf for module in kernel_btf.modules()]
    )


def relocate_functions(
    spec: ObjectSpec,
    ext: BtfExt,
    functions: Iterable[ProgramSpec],
    resolver: CoreResolver,
    code: dict[int, bytes],
    notes: dict[int, dict[int, str]],
) -> None:
    """Apply the relocations of `functions`.

    `code`: by id() of a ProgramSpec, gets its patched instructions. `notes`: likewise, by slot, what a poisoned one failed to
    find. Raises LinkError, FormatError.
    """
    by_section: dict[str, list[ProgramSpec]] = {}
    for function in functions:
        by_section.setdefault(function.section, []).append(function)
    for section, info in ext.core_relos.items():
        candidates = sorted(by_section.get(section, ()), key=lambda function: function.offset)
        if candidates:
            _relocate_section(spec, info, candidates, resolver, code, notes)


def _relocate_section(
    spec: ObjectSpec,
    info: SectionInfo,
    functions: list[ProgramSpec],
    resolver: CoreResolver,
    code: dict[int, bytes],
    notes: dict[int, dict[int, str]],
) -> None:
    starts = [function.offset for function in functions]
    patched: dict[int, bytearray] = {}
    assert spec.btf is not None
    for number, (offset, type_id, access, kind) in enumerate(info.core_relocations()):
        if offset % _SLOT:
            raise LinkError(f"CO-RE relocation {number} of section {info.section} is at the odd offset {offset}")
        place = bisect_right(starts, offset) - 1
        if place < 0:
            continue
        function = functions[place]
        if offset >= function.offset + len(function.insns):
            continue  # belongs to a weak function that static linking dropped, or to a program that isn't loaded
        slot = (offset - function.offset) // _SLOT
        insns = patched.get(place)
        if insns is None:
            insns = patched[place] = bytearray(function.insns)
        try:
            result = resolver.resolve(type_id, spec.btf.string(access), kind)
            if not patch(insns, slot, result):
                notes.setdefault(id(function), {})[slot] = _failure(result.text, result.failure)
        except BpfError as error:
            error.within(f"program {function.name!r}").within(f"CO-RE relocation {number}")
            raise
    for place, insns in patched.items():
        code[id(functions[place])] = bytes(insns)


def _failure(text: str, failure: str) -> str:
    return f"{text}: {failure}" if failure else text
