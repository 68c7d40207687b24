"""What each section of an object is.

Source: bpf_object__elf_collect(), ignore_elf_section() in tools/lib/bpf/libbpf.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpfload.elf import programs
from bpfload.elf.file import (
    SHF_EXECINSTR,
    SHT_LLVM_ADDRSIG,
    SHT_NOBITS,
    SHT_PROGBITS,
    SHT_REL,
    SHT_STRTAB,
    SHT_SYMTAB,
    STT_FUNC,
    ElfFile,
    Section,
)
from bpfload.errors import LIBBPF_FORMAT

if TYPE_CHECKING:
    from bpfload.elf.draft import Draft

ENOENT = 2
MAX_LICENSE = 63  # libbpf's buffer; a longer one can't be GPL-compatible

STRUCT_OPS_SECTIONS = frozenset((".struct_ops", ".struct_ops.link", "?.struct_ops", "?.struct_ops.link"))
_RELOCATED_DATA = frozenset(f".rel{name}" for name in (*STRUCT_OPS_SECTIONS, ".maps"))
_REL_ENTRY_SIZE = 16


def collect_sections(draft: Draft) -> None:
    """Find the symbols, give each section its role, and add the functions of program sections."""
    elf = draft.elf
    _read_symbols(draft)
    last = 0
    for section in elf.sections[1:]:
        name = section.name
        if name is None:
            elf.fail("the section has no valid name", section=section.label)
        last = section.index if not _is_ignored(section, name) else last
        if not _is_ignored(section, name):
            _collect(draft, elf, section, name)
    table = draft.symbol_table
    if table is None or not 0 < table.link < len(elf.sections):
        elf.fail("the symbols have no string table", section=table.label if table else "")


def is_family(name: str, base: str) -> bool:
    """Return whether a section is `base` or one of its suffixed forms: .data, .data.foo."""
    return name == base or name.startswith(base + ".")


def _read_symbols(draft: Draft) -> None:
    elf = draft.elf
    tables = [section for section in elf.sections[1:] if section.type == SHT_SYMTAB]
    if not tables:
        elf.fail(
            "no symbol table: a stripped object can't be loaded", hint="Strip no more than: llvm-strip -g", errno_code=ENOENT
        )
    if len(tables) > 1:
        elf.fail("more than one symbol table", section=tables[1].label)
    table = draft.symbol_table = tables[0]
    draft.symbols = elf.symbols(table)
    elf.set_symbol_names(elf.sections[table.link] if table.link < len(elf.sections) else None)
    functions = draft.functions
    for symbol in draft.symbols:
        if symbol.type == STT_FUNC:
            functions.setdefault(symbol.section, []).append(symbol)


def _is_ignored(section: Section, name: str) -> bool:
    if section.type in (SHT_STRTAB, SHT_LLVM_ADDRSIG):
        return True
    if section.type == SHT_PROGBITS and not section.size and name == ".text":
        return True
    if name.startswith(".rel"):
        name = name[4:]
        if name in (".BTF", ".BTF.ext"):
            return True
    return name.startswith(".debug_")


def _collect(draft: Draft, elf: ElfFile, section: Section, name: str) -> None:
    elf.check(section)
    if name == "license":
        content = elf.content(section)
        if not content:
            elf.fail("the licence has no content", section=name)
        draft.spec.license = content.partition(b"\0")[0][:MAX_LICENSE].decode("utf-8", "replace")
    elif name == "version":
        content = elf.content(section)
        if len(content) != 4:
            elf.fail(f"a version is 4 bytes, here are {len(content)}", section=name)
        draft.spec.version = int.from_bytes(content, "little")
    elif name == "maps" or name.startswith("maps/"):
        draft.legacy_maps.append(section)
    elif name == ".maps":
        draft.maps = section
    elif name in (".BTF", ".BTF.ext"):
        if section.type != SHT_PROGBITS:
            elf.fail(f"the section has type {section.type} instead of PROGBITS", section=name)
        if name == ".BTF":
            draft.btf_section = section
        else:
            draft.btf_ext_section = section
    elif section.type == SHT_PROGBITS and section.size:
        _collect_content(draft, section, name)
    elif section.type == SHT_REL:
        _collect_relocations(draft, section, name)
    elif section.type == SHT_NOBITS and section.size and is_family(name, ".bss"):
        draft.data_sections.append(section)


def _collect_content(draft: Draft, section: Section, name: str) -> None:
    if section.flags & SHF_EXECINSTR:
        if name == ".text":
            draft.text = section.index
        programs.add_programs(draft, section, name)
    elif is_family(name, ".data") or is_family(name, ".rodata"):
        draft.data_sections.append(section)
    elif name in STRUCT_OPS_SECTIONS:
        draft.struct_ops.append(section)
    elif name == ".addr_space.1":
        draft.arena = section
    elif name == ".jumptables":
        draft.jumptables = section
        draft.spec.jumptables = draft.elf.content(section)


def _collect_relocations(draft: Draft, section: Section, name: str) -> None:
    elf = draft.elf
    if section.entry_size != _REL_ENTRY_SIZE or section.info >= len(elf.sections):
        draft.fail("malformed relocation section", LIBBPF_FORMAT, section=name)
    target = elf.sections[section.info]
    if target.flags & SHF_EXECINSTR or name in _RELOCATED_DATA:
        draft.relocations.append(section)
