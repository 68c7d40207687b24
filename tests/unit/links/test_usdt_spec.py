"""bpfload.links.usdt_spec: where the arguments of static probes are, on each machine."""

from __future__ import annotations

import struct

import pytest

from bpfload.errors import FormatError, NotSupportedError
from bpfload.links.usdt_spec import SIZE, SIZE_OLD, Argument, encode, parse

_CONSTANT, _REGISTER, _MEMORY, _INDEXED = range(4)


@pytest.mark.parametrize(
    ("machine", "text", "wanted"),
    [
        ("x86_64", "", ()),
        ("x86_64", "-4@$-9", (Argument(_CONSTANT, 4, True, -9),)),
        ("x86_64", "8@%rax", (Argument(_REGISTER, 8, False, 0, 80),)),
        ("x86_64", "-1@%sil 2@%r8w", (Argument(_REGISTER, 1, True, 0, 104), Argument(_REGISTER, 2, False, 0, 72))),
        ("x86_64", "-4@-20(%rbp)", (Argument(_MEMORY, 4, True, -20, 32),)),
        ("x86_64", "8@(%rsp)", (Argument(_MEMORY, 8, False, 0, 152),)),
        ("x86_64", "1@-96(%rbp,%rax,8)", (Argument(_INDEXED, 1, False, -96, 32, 80, 3),)),
        ("x86_64", "1@(%rbp, %rax)", (Argument(_INDEXED, 1, False, 0, 32, 80, 0),)),
        ("x86_64", " -4 @ %edi\t8@%rip ", (Argument(_REGISTER, 4, True, 0, 112), Argument(_REGISTER, 8, False, 0, 128))),
        ("aarch64", "-4@[sp, 96] 8@[x1]", (Argument(_MEMORY, 4, True, 96, 248), Argument(_MEMORY, 8, False, 0, 8))),
        ("aarch64", "4@5 -8@x4 4@w30", (Argument(0, 4, False, 5), Argument(1, 8, True, 0, 32), Argument(1, 4, False, 0, 240))),
        (
            "riscv64",
            "-8@-88(s0) 4@5 -8@a1",
            (Argument(2, 8, True, -88, 64), Argument(0, 4, False, 5), Argument(1, 8, True, 0, 88)),
        ),
        (
            "s390x",
            "-2@-28(%r15) 8@%r0 4@71",
            (Argument(2, 2, True, -28, 144), Argument(1, 8, False, 0, 24), Argument(0, 4, False, 71)),
        ),
    ],
)
def test_arguments(machine: str, text: str, wanted: tuple[Argument, ...]) -> None:
    assert parse(text, machine) == wanted


@pytest.mark.parametrize(
    ("machine", "text", "words"),
    [
        ("x86_64", "8f@%xmm0", "argument 0 is of a kind that BPF can't fetch: 8f@%xmm0"),
        ("x86_64", "4@$1 8@%xmm0", "in a register that BPF can't read: 8@%xmm0"),
        ("x86_64", "8@counter(%rip)", "can't fetch: 8@counter"),
        ("x86_64", "3@%rax", "an argument of 3 bytes"),
        ("x86_64", "4@(%rax,%rbx,3)", "an index times 3"),
        ("x86_64", "4@%raxx", "in a register"),
        ("x86_64", "4@$1x", "can't fetch"),
        ("x86_64", "nonsense", "can't fetch: nonsense"),
        ("x86_64", " ".join(["4@$1"] * 13), "more than 12 arguments"),
        ("aarch64", "8@x31", "in a register"),
        ("s390x", "8@%r16", "in a register"),
    ],
)
def test_arguments_that_are_not_understood(machine: str, text: str, words: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse(text, machine)
    assert words in str(caught.value)


def test_a_machine_that_is_not_known() -> None:
    with pytest.raises(NotSupportedError, match="static probes on vax"):
        parse("4@r0", "vax")


def test_the_layout_before_libbpf_1_7() -> None:
    """struct __bpf_usdt_arg_spec { __u64 val_off; enum arg_type; short reg_off; bool arg_signed; char arg_bitshift; }"""
    arguments = parse("-4@-20(%rbp) 8@$-1", "x86_64")
    data = encode(arguments, 77, SIZE_OLD)
    assert len(data) == 12 * 16 + 16
    assert struct.unpack_from("=qIhBb", data, 0) == (-20, 2, 32, 1, 32)
    assert struct.unpack_from("=qIhBb", data, 16) == (-1, 0, 0, 0, 0)
    assert not any(data[32:192])
    assert struct.unpack_from("=Qh", data, 192) == (77, 2)
    with pytest.raises(FormatError, match="a register plus an index"):
        encode(parse("4@(%rax,%rbx,8)", "x86_64"), 0, SIZE_OLD)


def test_the_layout_since_libbpf_1_7() -> None:
    data = encode(parse("-4@8(%rax,%rbx,8)", "x86_64"), -1, SIZE)
    assert len(data) == 12 * 24 + 16
    value, kind, index, register, signed, shift = struct.unpack_from("=qBxHxxhBb", data, 0)
    assert (value, kind, index & 0xFFF, index >> 12, register, signed, shift) == (8, 3, 40, 3, 80, 1, 32)
    assert struct.unpack_from("=Qh", data, 288) == ((1 << 64) - 1, 1)


def test_a_map_of_another_size() -> None:
    with pytest.raises(FormatError, match="have 64 bytes"):
        encode((), 0, 64)
