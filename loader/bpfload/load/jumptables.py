"""Jump tables: an INSN_ARRAY map for each table that a program jumps through (`gotox`).

LLVM puts the tables into section .jumptables as 8-byte offsets within the code's section; the map's value for each is a
struct bpf_insn_array_value whose first word is the slot in the linked program. The verifier fills in the rest.

Source: struct bpf_insn_array_value in include/uapi/linux/bpf.h (Linux 6.19); create_jt_map() in tools/lib/bpf/libbpf.c
(libbpf 1.7).
"""

from __future__ import annotations

import os
from struct import iter_unpack, pack
from typing import TYPE_CHECKING

from bpfload.abi import consts
from bpfload.errors import KernelError, LinkError, NotSupportedError
from bpfload.linker import LinkedProgram
from bpfload.spec import RELOC_INSN_ARRAY, Relocation
from bpfload.syscall import bpf

if TYPE_CHECKING:
    from bpfload.load.session import Session

_ENTRY_SIZE = 8
_VALUE = "=IIII"
_VALUE_SIZE = 16


def create(session: Session, linked: LinkedProgram) -> dict[int, int]:
    """Create the maps of a program's jump tables; return their fds by the offset of the table in .jumptables.

    The program keeps the maps alive; their fds are closed when the load ends. Raises LinkError, NotSupportedError.
    """
    fds: dict[int, int] = {}
    for offset, relocation in linked.relocations:
        if relocation.kind == RELOC_INSN_ARRAY and relocation.value not in fds:
            slots = table_slots(session.spec.jumptables, linked, offset, relocation)
            fds[relocation.value] = _create_map(session, slots)
    return fds


def table_slots(jumptables: bytes, linked: LinkedProgram, offset: int, relocation: Relocation) -> list[int]:
    """Return the slots in the linked program that a table leads to. `offset`: of the instruction that loads the table."""
    start, size = relocation.value, relocation.size
    if start % _ENTRY_SIZE or size % _ENTRY_SIZE or not size or start + size > len(jumptables):
        raise LinkError(
            f"jump table {relocation.symbol!r} ({size} bytes at {start}) doesn't fit section .jumptables",
            program=linked.name,
            instruction=offset // 8,
            symbol=relocation.symbol,
        )
    place, function = linked.function_at(offset)
    slots = []
    for (target,) in iter_unpack("<Q", jumptables[start : start + size]):
        inside = target - function.offset
        if not 0 <= inside < len(function.insns):
            raise LinkError(
                f"jump table {relocation.symbol!r} leads out of function {function.name!r}",
                program=linked.name,
                instruction=offset // 8,
                symbol=relocation.symbol,
            )
        slots.append((place + inside) // 8)
    return slots


def _create_map(session: Session, slots: list[int]) -> int:
    try:
        fd = bpf.map_create(consts.BPF_MAP_TYPE_INSN_ARRAY, 4, _VALUE_SIZE, len(slots), name=".jumptables")
    except KernelError as error:
        raise NotSupportedError("jump tables (INSN_ARRAY maps)", since="6.19", errno=error.errno or 0) from error
    session.stack.callback(os.close, fd)
    for index, slot in enumerate(slots):
        bpf.map_update_elem(fd, pack("=I", index), pack(_VALUE, slot, 0, 0, 0))
    bpf.map_freeze(fd)
    return fd
