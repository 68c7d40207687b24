"""bpfload.inspect.machine_code: code of four kinds of machine, x86 in LLVM's words."""

from __future__ import annotations

import sys

import pytest

from bpfload.errors import BpfError, UsageError
from bpfload.inspect.machine_code import Disassembler

ADDRESS = 0xFFFFFFFFC0000000


def words(machine: str, code: str) -> list[str]:
    found = Disassembler(machine).instructions(bytes.fromhex(code), ADDRESS)
    return [f"{each.operation} {each.operands}".strip() for each in found]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("0f1f440000", ["nopl (%rax,%rax)"]),
        ("55 4889e5 c9", ["pushq %rbp", "movq %rsp, %rbp", "leave"]),
        ("48bf38b1b9098188ffff", ["movabsq $-131387181387464, %rdi"]),
        ("be0c000000", ["movl $12, %esi"]),
        ("488b4708", ["movq 8(%rdi), %rax"]),
        ("f0480138", ["lock", "addq %rdi, (%rax)"]),
        ("d1e0", ["shll %eax"]),
        ("83e0fa", ["andl $-6, %eax"]),
        ("e8fb0f0000", ["callq 0xffffffffc0001000"]),
        ("7402 31c0", ["je 0xffffffffc0000004", "xorl %eax, %eax"]),
        ("ffd0", ["callq *%rax"]),
    ],
)
def test_x86(code: str, expected: list[str]) -> None:
    assert words("x86_64", code) == expected


@pytest.mark.skipif(sys.byteorder != "little", reason="the code is little-endian")
@pytest.mark.parametrize(
    ("machine", "code", "expected"),
    [
        ("arm64", "fd7bbfa9 fd030091 c0035fd6", ["stp x29, x30, [sp, #-0x10]!", "mov x29, sp", "ret"]),
        ("riscv64", "13050000 67800000", ["mv a0, zero", "ret"]),
        ("riscv", "0145 8280", ["c.li a0, 0", "c.jr ra"]),
    ],
)
def test_others(machine: str, code: str, expected: list[str]) -> None:
    assert words(machine, code) == expected


def test_s390() -> None:
    assert words("s390x", "ebaff0780024 07fe") == ["stmg %r10, %r15, 0x78(%r15)", "br %r14"]


def test_offsets_bytes_and_targets() -> None:
    first, second = Disassembler("amd64").instructions(bytes.fromhex("55e8f90f0000"), ADDRESS)
    assert (first.offset, first.raw, first.target) == (0, b"\x55", 0)
    assert (second.offset, second.raw.hex(), second.target) == (1, "e8f90f0000", 0xFFFFFFFFC0000FFF)


def test_bytes_that_are_no_instruction() -> None:
    found = words("x86_64", "06 55")
    assert found[-1] == "pushq %rbp"


def test_a_machine_that_is_not_known() -> None:
    with pytest.raises(UsageError, match="machine code of vax can't be shown"):
        Disassembler("vax")


def test_without_capstone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "capstone", None)
    with pytest.raises(BpfError, match="the capstone package isn't installed") as caught:
        Disassembler("x86_64")
    assert "bpfload[jit]" in str(caught.value)
