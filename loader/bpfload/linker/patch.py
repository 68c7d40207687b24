"""Patch the references whose targets only a live kernel gives: maps, global variables, kconfig values, ksyms, kfuncs.

What can't be resolved but may never be reached is poisoned, with libbpf's numbers, so that the verifier's complaint can be
traced back. Source: bpf_object__relocate_data() and poison_*() in tools/lib/bpf/libbpf.c.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from struct import pack_into, unpack_from

from bpfload.abi import consts
from bpfload.errors import LinkError
from bpfload.linker.layout import LinkedProgram
from bpfload.spec import (
    RELOC_DATA,
    RELOC_EXTERN_CALL,
    RELOC_EXTERN_LD64,
    RELOC_INSN_ARRAY,
    RELOC_MAP,
    Record,
    Relocation,
)

POISON_MAP = 2001000000
POISON_KFUNC = 2002000000
_CALL = 0x85


@dataclass(slots=True, eq=False, repr=False)
class ExternValue(Record):
    """What an extern turned out to be.

    `kind`: "kconfig" (`offset` in the .kconfig map's value), "address" (a typeless ksym: `address`; also every unresolved
    weak ksym, with address 0), "btf" (typed ksym or kfunc: `btf_id`, and `btf_fd` of a module's BTF, 0 for vmlinux; `fd_index`:
    the index of that fd in fd_array, for calls of a kfunc), or "missing" (an unresolved weak kfunc).
    """

    kind: str
    offset: int = 0
    address: int = 0
    btf_id: int = 0
    btf_fd: int = 0
    fd_index: int = 0


@dataclass(slots=True, eq=False, repr=False)
class References(Record):
    """What references are patched with.

    `map_fds`: by map name; a map that wasn't created is absent. `map_order`: all names. `jump_tables`: fds by a table's offset.
    """

    map_fds: Mapping[str, int]
    map_order: list[str]
    externs: Mapping[str, ExternValue] = field(default_factory=dict)
    kconfig_map: str = ".kconfig"
    jump_tables: Mapping[int, int] = field(default_factory=dict)


def patch_references(linked: LinkedProgram, references: References) -> bytearray:
    """Return the instructions of a linked program with every remaining reference patched."""
    insns = bytearray(linked.insns)
    for offset, relocation in linked.relocations:
        if relocation.kind == RELOC_INSN_ARRAY:
            _set_source(insns, offset, consts.BPF_PSEUDO_MAP_VALUE)
            pack_into("<i", insns, offset + 4, references.jump_tables[relocation.value])
        elif relocation.kind in (RELOC_MAP, RELOC_DATA):
            _patch_map(insns, offset, relocation, references)
        elif relocation.kind == RELOC_EXTERN_LD64:
            _patch_extern_load(insns, offset, relocation, references)
        elif relocation.kind == RELOC_EXTERN_CALL:
            _patch_extern_call(insns, offset, relocation, references)
        else:
            raise LinkError(f"unknown kind of relocation {relocation.kind!r}", program=linked.name, symbol=relocation.symbol)
    return insns


def _set_source(insns: bytearray, offset: int, register: int) -> None:
    insns[offset + 1] = (insns[offset + 1] & 0x0F) | register << 4


def _patch_map(insns: bytearray, offset: int, relocation: Relocation, references: References) -> None:
    fd = references.map_fds.get(relocation.target)
    if fd is None:
        number = POISON_MAP + references.map_order.index(relocation.target)
        for slot in (offset, offset + 8):
            pack_into("<BBhi", insns, slot, _CALL, 0, 0, number)
        return
    if relocation.kind == RELOC_MAP:
        _set_source(insns, offset, consts.BPF_PSEUDO_MAP_FD)
    else:
        (addend,) = unpack_from("<i", insns, offset + 4)
        _set_source(insns, offset, consts.BPF_PSEUDO_MAP_VALUE)
        pack_into("<I", insns, offset + 12, (addend + relocation.value) & 0xFFFFFFFF)
    pack_into("<i", insns, offset + 4, fd)


def _patch_extern_load(insns: bytearray, offset: int, relocation: Relocation, references: References) -> None:
    value = references.externs[relocation.target]
    if value.kind == "kconfig":
        fd = references.map_fds[references.kconfig_map]
        _set_source(insns, offset, consts.BPF_PSEUDO_MAP_VALUE)
        pack_into("<i4xi", insns, offset + 4, fd, value.offset)
    elif value.kind == "btf":
        _set_source(insns, offset, consts.BPF_PSEUDO_BTF_ID)
        pack_into("<i4xi", insns, offset + 4, value.btf_id, value.btf_fd)
    else:
        pack_into("<I4xI", insns, offset + 4, value.address & 0xFFFFFFFF, value.address >> 32)


def _patch_extern_call(insns: bytearray, offset: int, relocation: Relocation, references: References) -> None:
    value = references.externs[relocation.target]
    if value.kind == "btf":
        _set_source(insns, offset, consts.BPF_PSEUDO_KFUNC_CALL)
        pack_into("<hi", insns, offset + 2, value.fd_index, value.btf_id)
        return
    names = list(references.externs)
    pack_into("<BBhi", insns, offset, _CALL, 0, 0, POISON_KFUNC + names.index(relocation.target))
