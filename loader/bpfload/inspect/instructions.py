"""Fetching a program's instructions and what names them: its BTF, the kernel's symbols."""

from __future__ import annotations

from bpfload.errors import BpfError
from bpfload.insn.disasm import Symbols, called_addresses
from bpfload.inspect import xlated
from bpfload.objects.program import Program

_NOTHING = "the kernel shows no instructions of this program"
_HINT = (
    "It hides them from those without CAP_SYS_ADMIN or CAP_PERFMON, and where kernel.kptr_restrict or kernel.bpf_jit_harden is 2."
)


def raw(program: Program) -> bytes:
    """Return a program's instructions as the kernel runs them, 8 bytes each. Raises BpfError where it hides them."""
    data = program.info("xlated_prog_insns").xlated_prog_insns
    if not any(data):
        raise BpfError(_NOTHING, hint=_HINT)
    return data


def view(program: Program) -> xlated.Xlated:
    """Return the view of a program's instructions. Raises BpfError where the kernel hides them, KernelError, FormatError."""
    info = program.info(*xlated.ARRAYS)
    if not any(info.xlated_prog_insns):
        raise BpfError(_NOTHING, hint=_HINT)
    types = None
    if info.btf_id:
        from bpfload.inspect.btf import types as btf_types

        types = btf_types(info.btf_id)
    return xlated.view(xlated.Pieces.of(info, types), symbols(info.xlated_prog_insns, info.jited_ksyms))


def symbols(insns: bytes, jited: tuple[int, ...]) -> Symbols:
    """Return the names of the kernel's functions that a program calls."""
    from bpfload.kernel import kallsyms

    table = kallsyms.read()
    base = table.address("__bpf_call_base")
    if not base:
        return Symbols(jited=jited)
    bare = Symbols(call_base=base, jited=jited)
    names = {}
    for address in called_addresses(insns, bare):
        found = table.find(address)
        if found is not None:
            names[address] = found[0]
    return Symbols(call_base=base, addresses=names, jited=jited)
