"""program_tag() against the tags that kernels gave to the samples."""

import pytest

from bpfload.insn.assemble import (
    alu64_imm,
    assemble,
    call,
    call_subprog,
    exit_,
    ld_imm64,
    ld_map_fd,
    ld_map_value,
    load,
    mov64_imm,
    mov64_reg,
    store,
)
from bpfload.insn.codec import BIG, BPF_ADD, BPF_DW, BPF_W, HOST, LITTLE
from bpfload.insn.tag import program_tag

TRACE_PRINTK = 6


def hello(bss: int = 0, rodata: int = 0) -> bytes:
    """samples/hello, its two maps at these file descriptors."""
    return assemble(
        ld_map_value(6, bss),
        load(BPF_W, 3, 6),
        ld_map_value(1, rodata),
        mov64_imm(2, 15),
        call(TRACE_PRINTK),
        load(BPF_W, 1, 6),
        alu64_imm(BPF_ADD, 1, 1),
        store(BPF_W, 6, 1),
        mov64_imm(0, 2),
        exit_(),
    )


def hello_func() -> bytes:
    """samples/hello-func, get_opcode() appended to hello()."""
    return assemble(
        call_subprog(7),
        ld_map_value(1, 5),
        mov64_imm(2, 12),
        mov64_reg(3, 0),
        call(TRACE_PRINTK),
        mov64_imm(0, 0),
        exit_(),
        load(BPF_DW, 0, 1, 8),
        exit_(),
    )


def swapped(insns: bytes) -> bytes:
    """The same program in the other byte order."""
    other = BIG if HOST is LITTLE else LITTLE
    slots = [HOST.decode(insns[place : place + 8], 0) for place in range(0, len(insns), 8)]
    return b"".join(other.encode(slot.code, slot.dst_reg, slot.src_reg, slot.off, slot.imm) for slot in slots)


@pytest.mark.skipif(HOST is BIG, reason="the tags below are those of little-endian kernels")
@pytest.mark.parametrize(
    ("insns", "algorithm", "tag"),
    [
        (hello(), "sha1", "d35b94b4c0c10efb"),
        (hello(), "sha256", "490c48c1179970a8"),
        (hello_func(), "sha1", "3d9eb0c23d4ab186"),
        (hello_func(), "sha256", "7c6e9a45a39e6854"),
    ],
)
def test_the_kernels_tags(insns: bytes, algorithm: str, tag: str) -> None:
    assert program_tag(insns, algorithm=algorithm) == tag
    assert program_tag(bytearray(insns), algorithm=algorithm) == tag


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_map_file_descriptors_leave_no_trace(algorithm: str) -> None:
    assert program_tag(hello(3, 4), algorithm=algorithm) == program_tag(hello(7, 12), algorithm=algorithm)
    by_fd = [program_tag(ld_map_fd(1, fd) + exit_(), algorithm=algorithm) for fd in (3, 9)]
    assert by_fd[0] == by_fd[1]


def test_an_offset_into_a_map_leaves_no_trace() -> None:
    tags = {program_tag(ld_map_value(1, 3, offset) + exit_(), algorithm="sha1") for offset in (0, 4, 8)}
    assert len(tags) == 1


def test_numbers_and_indices_into_fd_array_count() -> None:
    assert program_tag(ld_imm64(1, 3), algorithm="sha1") != program_tag(ld_imm64(1, 4), algorithm="sha1")
    by_index = [HOST.encode_wide(1, 5, index, 0) for index in (0, 1)]
    assert program_tag(by_index[0], algorithm="sha1") != program_tag(by_index[1], algorithm="sha1")


def test_a_second_slot_that_is_none_is_kept() -> None:
    first = ld_map_fd(1, 3)[:8]
    assert program_tag(first + mov64_imm(0, 1), algorithm="sha1") != program_tag(first + mov64_imm(0, 2), algorithm="sha1")
    assert program_tag(first, algorithm="sha1") == program_tag(ld_map_fd(1, 8)[:8], algorithm="sha1")


def test_the_argument_is_left_alone() -> None:
    insns = bytearray(hello(3, 4))
    program_tag(insns, algorithm="sha1")
    assert insns == hello(3, 4)


def test_foreign_byte_order() -> None:
    other = BIG if HOST is LITTLE else LITTLE
    tags = {program_tag(swapped(hello(fd, fd)), algorithm="sha1", codec=other) for fd in (1, 2)}
    assert len(tags) == 1
    assert tags != {program_tag(hello(), algorithm="sha1")}


def test_unknown_algorithm() -> None:
    with pytest.raises(ValueError, match="md5"):
        program_tag(b"", algorithm="md5")
