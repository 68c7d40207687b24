"""The dump of loaded programs beside bpftool's, in the same run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bpfload.abi import consts
from bpfload.insn.assemble import (
    alu64_imm,
    assemble,
    atomic,
    call,
    exit_,
    goto,
    jump32_imm,
    jump_imm,
    ld_imm64,
    mov64_imm,
    mov64_reg,
    store,
    store_imm,
)
from bpfload.insn.assemble import load as load_insn
from bpfload.insn.codec import BPF_ADD, BPF_CMPXCHG, BPF_DW, BPF_FETCH, BPF_H, BPF_JEQ, BPF_JNE, BPF_JSLT, BPF_W
from bpfload.inspect import instructions, xlated
from bpfload.inspect.xlated_graph import dot_lines
from bpfload.load import load
from bpfload.objects import Program
from bpfload.spec import ObjectSpec, ProgramSpec
from support.process import Result

SAMPLES = Path(__file__).parents[2] / "samples"
KTIME_GET_NS, GET_PRANDOM_U32 = 5, 7

#: Verifier-proof, and with what the samples don't have: branches both ways, an atomic, wide numbers, a program without BTF.
MIXED = assemble(
    mov64_imm(7, 3),
    store_imm(BPF_DW, 10, -5, -8),
    call(KTIME_GET_NS),
    mov64_reg(6, 0),
    call(GET_PRANDOM_U32),
    jump32_imm(BPF_JSLT, 0, -2, 7),
    atomic(BPF_ADD, 10, 6, -8),
    ld_imm64(2, 0x1234_5678_9ABC_DEF0),
    jump_imm(BPF_JEQ, 6, 7, 2),
    store(BPF_H, 10, 2, -2),
    goto(0),
    load_insn(BPF_W, 1, 10, -8),
    alu64_imm(BPF_ADD, 7, -1),
    jump_imm(BPF_JNE, 7, 0, -2),
    mov64_imm(0, 2),
    exit_(),
)
#: Atomics that give something back.
FETCHING = assemble(
    store_imm(BPF_DW, 10, -5, -8),
    mov64_imm(6, 3),
    atomic(BPF_ADD | BPF_FETCH, 10, 6, -8),
    mov64_imm(0, 1),
    atomic(BPF_CMPXCHG, 10, 6, -8),
    mov64_imm(0, 2),
    exit_(),
)
MADE_HERE = {"mixed": MIXED, "fetching": FETCHING}

pytestmark = pytest.mark.usefixtures("no_fd_leak")


def made_here(name: str) -> ObjectSpec:
    spec = ProgramSpec(name, "xdp", 0, MADE_HERE[name], type=consts.BPF_PROG_TYPE_XDP, attach_type=consts.BPF_XDP)
    return ObjectSpec(name, license="GPL", programs=[spec])


@pytest.fixture(
    params=[
        "hello",
        "hello-func",
        "packet-counter",
        "sys-enter",
        "mixed",
        pytest.param("fetching", marks=pytest.mark.needs_feature("atomic_fetch")),
    ]
)
def program(request: pytest.FixtureRequest) -> Iterator[Program]:
    name = request.param
    with load(made_here(name) if name in MADE_HERE else SAMPLES / name / f"{name}.bpf.o") as live:
        yield live.program()


def dump(bpftool: Callable[..., Result], program: Program, *words: str) -> Result:
    return bpftool("prog", "dump", "xlated", "id", str(program.info().id), *words)


@pytest.mark.parametrize("words", [(), ("opcodes",), ("linum",)], ids="-".join)
def test_text_and_json_are_bpftools(bpftool: Callable[..., Result], program: Program, words: tuple[str, ...]) -> None:
    view = instructions.view(program)
    options = dict.fromkeys(words, True)
    assert list(xlated.plain_lines(view, **options)) == dump(bpftool, program, *words).lines
    assert xlated.json_value(view, **options) == dump(bpftool, program, *words, "-j").json()


def rows(lines: list[str]) -> list[str]:
    """The rows of a graph without source lines and prototypes, of which bpftool shows wrong ones or, before 7.2, none."""
    bare = [line.removeprefix("| ") for line in lines]
    return [line for line in bare if not line.startswith("; ")]


def test_graph_is_bpftools_but_for_the_source_lines(bpftool: Callable[..., Result], program: Program) -> None:
    peers = dump(bpftool, program, "visual").lines
    if any(" |    " in line for line in peers):
        pytest.skip("feature: this bpftool lays the graph out in the way of before 7.2")
    assert rows(list(dot_lines(instructions.view(program)))) == rows(peers)
