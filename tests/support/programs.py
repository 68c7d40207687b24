"""Small programs and maps, loaded without an object file: something to attach and to pin."""

from __future__ import annotations

from bpfload.abi import consts
from bpfload.insn.assemble import assemble, exit_, mov64_imm
from bpfload.objects import Map, Program
from bpfload.spec import ProgramSpec
from bpfload.syscall import bpf

_RETURNS = {consts.BPF_PROG_TYPE_XDP: 2, consts.BPF_PROG_TYPE_CGROUP_SKB: 1, consts.BPF_PROG_TYPE_SK_LOOKUP: 1}


def program_spec(
    name: str = "small", type_: int = consts.BPF_PROG_TYPE_XDP, *, section: str = "xdp", target: str = "", attach_type: int = 0
) -> ProgramSpec:
    """Return the spec of a program that only returns (XDP: passes the packet)."""
    if type_ == consts.BPF_PROG_TYPE_XDP and not attach_type:
        attach_type = consts.BPF_XDP
    insns = assemble(mov64_imm(0, _RETURNS.get(type_, 0)), exit_())
    return ProgramSpec(name, section, 0, insns, type=type_, attach_type=attach_type, attach_target=target)


def load_spec(spec: ProgramSpec, *, attach_btf_id: int = 0) -> Program:
    """Load the program of a spec that refers to nothing."""
    return Program(
        bpf.prog_load(
            spec.type,
            spec.insns,
            b"GPL",
            name=spec.name,
            expected_attach_type=spec.attach_type,
            flags=spec.flags,
            attach_btf_id=attach_btf_id,
        )
    )


def small_program(name: str = "small", type_: int = consts.BPF_PROG_TYPE_XDP) -> Program:
    return load_spec(program_spec(name, type_))


def small_map(name: str = "small") -> Map:
    return Map(bpf.map_create(consts.BPF_MAP_TYPE_ARRAY, 4, 4, 1, name=name))


def raw_tracepoint_spec(name: str = "small", target: str = "sys_enter") -> ProgramSpec:
    section = f"raw_tp/{target}"
    return program_spec(name, consts.BPF_PROG_TYPE_RAW_TRACEPOINT, section=section, target=target)
