"""Externs: kconfig values, kernel variables and kernel functions, and what BTF is made to say of them.

The kernel's verifier of BTF knows no extern variables, so that those are turned into defined ones: kconfig values into what
the .kconfig map holds, kernel symbols into ints side by side.

Source: bpf_object__collect_externs(), find_kcfg_type(), add_dummy_ksym_var() in tools/lib/bpf/libbpf.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpfload.btf.names_index import essential_name
from bpfload.btf.types import (
    INT_BOOL,
    INT_SIGNED,
    KIND_ARRAY,
    KIND_DATASEC,
    KIND_ENUM,
    KIND_ENUM64,
    KIND_FUNC,
    KIND_INT,
    KIND_VAR,
    LINKAGE_EXTERN,
    LINKAGE_GLOBAL,
)
from bpfload.elf.btfext import MISSING_HINT
from bpfload.elf.file import STB_WEAK, Symbol
from bpfload.elf.fixup import edit
from bpfload.errors import LIBBPF_FORMAT
from bpfload.spec import ExternSpec

if TYPE_CHECKING:
    from bpfload.btf import Btf, Type
    from bpfload.elf.draft import Draft

EINVAL = 22
ENOENT = 2
ENOTSUP = 95
ESRCH = 3
KCONFIG = ".kconfig"
KSYMS = ".ksyms"
DUMMY = "dummy_ksym"
_SYMBOL_SIZE = 24
_INT_SIZE = 4


def collect_externs(draft: Draft) -> None:
    """Find the externs, lay out the kconfig values, and turn extern variables in BTF into defined ones."""
    table = draft.symbol_table
    if table is None or table.entry_size != _SYMBOL_SIZE:
        draft.fail("malformed symbol table", LIBBPF_FORMAT, section=table.label if table else "")
    symbols = [(index, symbol) for index, symbol in enumerate(draft.symbols) if symbol.is_extern]
    named = [(index, symbol, name) for index, symbol in symbols if (name := draft.elf.symbol_name(symbol))]
    if not named:
        return
    btf = draft.btf
    if btf is None:
        names = ", ".join(repr(name) for _, _, name in named[:4])
        draft.fail(f"extern {names}: described by BTF only, and there is none", ESRCH, hint=MISSING_HINT)
    finder = _Finder(draft, btf)
    externs = [(finder.make(name, symbol), index) for index, symbol, name in named]
    externs.sort(key=_order)
    for extern, index in externs:
        draft.spec.externs.setdefault(extern.name, extern)
        draft.externs_by_symbol[index] = extern
    if KSYMS in finder.sections:
        _define_ksyms(draft, btf, finder.sections[KSYMS])
    if KCONFIG in finder.sections:
        _define_kconfig(draft, btf, finder.sections[KCONFIG], [extern for extern, _ in externs if extern.kind == "kconfig"])


def _order(entry: tuple[ExternSpec, int]) -> tuple[int, int, int, bytes]:
    extern = entry[0]
    name = extern.name.encode("utf-8", "surrogateescape")
    return (0, -extern.align, extern.size, name) if extern.kind == "kconfig" else (1, 0, 0, name)


class _Finder:
    """Externs by what BTF says of them. `sections`: DATASEC of externs by name."""

    def __init__(self, draft: Draft, btf: Btf) -> None:
        self.draft = draft
        self.btf = btf
        self.sections: dict[str, Type] = {}
        ids = sorted(draft.types.get(KIND_VAR, []) + draft.types.get(KIND_FUNC, []))
        self.by_name: dict[str, Type] = {}
        for type_id in ids:
            found = btf.type(type_id)
            self.by_name.setdefault(found.name, found)
        self.section_of: dict[int, Type] = {}
        for type_id in draft.types.get(KIND_DATASEC, ()):
            section = btf.type(type_id)
            for row in section.variables:
                self.section_of.setdefault(row.type_id, section)

    def make(self, name: str, symbol: Symbol) -> ExternSpec:
        fail = self.draft.fail
        found = self.by_name.get(name)
        if found is None:
            fail(
                f"extern {name!r} is not in BTF",
                ENOENT,
                hint="A function of the C library, or a macro or function that is declared nowhere, can't be used in BPF code.",
            )
        if found.linkage != LINKAGE_EXTERN:
            fail(f"extern {name!r} is not extern in BTF", EINVAL)
        section = self.section_of.get(found.id)
        if section is None:
            fail(f"extern {name!r} is nowhere defined, and declared neither __ksym nor __kconfig", ENOENT, hint=_hint(found))
        self.sections.setdefault(section.name, section)
        extern = ExternSpec(name, "ksym", weak=symbol.bind == STB_WEAK, essential_name=essential_name(name))
        if section.name == KCONFIG:
            self._describe_kconfig(extern, found)
        elif section.name == KSYMS:
            is_function = found.kind == KIND_FUNC
            extern.kind = "kfunc" if is_function else "ksym"
            extern.type_id = found.id if is_function else self.draft.resolve(found.type_id)
        else:
            fail(f"extern {name!r} is in section {section.name!r}, which is none for externs", ENOTSUP)
        return extern

    def _describe_kconfig(self, extern: ExternSpec, found: Type) -> None:
        if found.kind == KIND_FUNC:
            self.draft.fail(f"extern function {extern.name!r} can't be in {KCONFIG}", ENOTSUP)
        extern.kind = "kconfig"
        extern.type_id = found.type_id
        extern.size = self.btf.size_of(found.type_id)
        if not extern.size:
            self.draft.fail(f"extern {extern.name!r} has no size", EINVAL)
        extern.value_kind, extern.is_signed = _kconfig_kind(self.draft, self.btf, found.type_id)
        if not extern.value_kind:
            self.draft.fail(
                f"extern {extern.name!r} has a type that no kconfig value has",
                ENOTSUP,
                hint="Use bool, enum libbpf_tristate, char, an integer of up to 8 bytes, or an array of char.",
            )
        extern.align = self.btf.align_of(found.type_id)


def _hint(found: Type) -> str:
    if found.kind == KIND_FUNC:
        return (
            "BPF code can't call the C library, nor functions that other files define: write it yourself, or use a helper. "
            "A function of the kernel (kfunc) is declared with __ksym."
        )
    return "Define it; or declare a variable of the kernel with __ksym, an option of its configuration with __kconfig."


def _kconfig_kind(draft: Draft, btf: Btf, type_id: int) -> tuple[str, bool]:
    """Return what a kconfig variable holds ("" if it can't), and whether it is signed."""
    found = btf.type(draft.resolve(type_id))
    kind = found.kind
    if kind == KIND_INT:
        if found.encoding & INT_BOOL:
            return ("bool" if found.size == 1 else ""), False
        signed = bool(found.encoding & INT_SIGNED)
        if found.size == 1:
            return "char", signed
        return ("int" if found.size in (2, 4, 8) else ""), signed
    if kind in (KIND_ENUM, KIND_ENUM64):
        fits = found.name == "libbpf_tristate" and (kind == KIND_ENUM64 or found.size == 4)
        return ("tristate" if fits else ""), False
    if kind == KIND_ARRAY and found.nelems:
        element = btf.type(draft.resolve(found.elem))
        if element.kind == KIND_INT and element.size == 1 and not element.encoding & INT_BOOL:
            return "string", False
    return "", False


def _define_ksyms(draft: Draft, btf: Btf, section: Type) -> None:
    editor = edit(draft)
    integer = next((type_id for type_id in draft.types.get(KIND_INT, ()) if btf.type(type_id).bits == 32), 0)
    dummy = 0
    for row, variable in enumerate(section.variables):
        found = btf.type(variable.type_id)
        _require_extern(draft, found)
        if found.kind == KIND_FUNC:
            dummy = dummy or editor.add_var(DUMMY, integer, LINKAGE_GLOBAL)
            for index, param in enumerate(btf.type(found.type_id).params):
                if param.type_id and not param.name:
                    editor.set_param_name(found.type_id, index, DUMMY)
            editor.set_func_linkage(found.id, LINKAGE_GLOBAL)
            variable_id = dummy
        else:
            editor.set_reference(found.id, integer)
            editor.set_var_linkage(found.id, LINKAGE_GLOBAL)
            variable_id = found.id
        editor.set_datasec_variable(section.id, row, variable=variable_id, offset=row * _INT_SIZE, size=_INT_SIZE)
    editor.set_datasec_size(section.id, len(section.variables) * _INT_SIZE)


def _define_kconfig(draft: Draft, btf: Btf, section: Type, externs: list[ExternSpec]) -> None:
    editor = edit(draft)
    end = 0
    for extern in externs:
        extern.offset = -(-end // extern.align) * extern.align
        end = extern.offset + extern.size
    by_name = draft.spec.externs
    for row, variable in enumerate(section.variables):
        found = btf.type(variable.type_id)
        _require_extern(draft, found)
        if found.kind == KIND_VAR:
            editor.set_var_linkage(found.id, LINKAGE_GLOBAL)
        editor.set_datasec_offset(section.id, row, by_name[found.name].offset)
    editor.set_datasec_size(section.id, end)


def _require_extern(draft: Draft, found: Type) -> None:
    if found.kind not in (KIND_VAR, KIND_FUNC) or found.name not in draft.spec.externs:
        draft.fail(f"extern {found.name!r} is in BTF and not among the symbols", ESRCH)
