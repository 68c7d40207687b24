"""What the running kernel's verifier takes beyond the first eBPF: a small program with each is loaded.

Source: the probe_…() functions of section_misc() in tools/bpf/bpftool/feature.c.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass

from bpfload.abi import consts
from bpfload.insn.assemble import alu64_imm, assemble, exit_, gotol, jump32_imm, jump_imm, mov64_imm
from bpfload.insn.codec import BPF_JEQ, BPF_JLT, BPF_JNE, BPF_SUB
from bpfload.syscall.probing import Prober

_OLD_LIMIT = 4096  # BPF_MAXINSNS


@dataclass(frozen=True, slots=True)
class Ability:
    """What the verifier may take. `since`: the first kernel that does. `insns`: a program that needs it."""

    name: str
    description: str
    since: str
    insns: bytes


ABILITIES = (
    Ability("large_insn_limit", "Large program size limit", "5.3", mov64_imm(0, 1) * _OLD_LIMIT + exit_()),
    Ability(
        "bounded_loops",
        "Bounded loop support",
        "5.3",
        assemble(mov64_imm(0, 10), alu64_imm(BPF_SUB, 0, 1), jump_imm(BPF_JNE, 0, 0, -2), exit_()),
    ),
    Ability(
        "v2_isa_extension",
        "ISA extension v2",
        "4.14",
        assemble(mov64_imm(0, 0), jump_imm(BPF_JLT, 0, 0, 1), mov64_imm(0, 1), exit_()),
    ),
    Ability(
        "v3_isa_extension",
        "ISA extension v3",
        "5.1",
        assemble(mov64_imm(0, 0), jump32_imm(BPF_JLT, 0, 0, 1), mov64_imm(0, 1), exit_()),
    ),
    Ability(
        "v4_isa_extension",
        "ISA extension v4",
        "6.6",
        assemble(mov64_imm(0, 0), jump32_imm(BPF_JEQ, 0, 1, 1), gotol(1), mov64_imm(0, 1), exit_()),
    ),
)


def supported(ability: Ability, *, ifindex: int = 0) -> bool | None:
    """Return whether the verifier takes it (`ifindex`: for that network card); None if it won't tell."""
    code, _ = Prober(consts.BPF_PROG_TYPE_SOCKET_FILTER, ability.insns, ifindex=ifindex, log=False).try_load()
    return None if code in (errno.EPERM, errno.EACCES, errno.ENOMEM, errno.EMFILE, errno.ENFILE) else not code
