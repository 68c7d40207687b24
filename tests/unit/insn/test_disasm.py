"""The kernel's words for every form of instruction, and bpftool's for references."""

import pytest

from bpfload.insn import assemble as asm
from bpfload.insn import codec
from bpfload.insn.codec import (
    BIG,
    BPF_ADD,
    BPF_AND,
    BPF_ARSH,
    BPF_B,
    BPF_CMPXCHG,
    BPF_DIV,
    BPF_DW,
    BPF_FETCH,
    BPF_H,
    BPF_JEQ,
    BPF_JLE,
    BPF_JSET,
    BPF_JSGT,
    BPF_LOAD_ACQ,
    BPF_MOD,
    BPF_MUL,
    BPF_OR,
    BPF_STORE_REL,
    BPF_W,
    BPF_XCHG,
    BPF_XOR,
    HOST,
)
from bpfload.insn.disasm import Line, Symbols, called_addresses, disassemble


def text(insns: bytes, symbols: Symbols | None = None) -> str:
    (line,) = disassemble(insns, symbols=symbols)
    return line.text


def raw(code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    return HOST.encode(code, dst, src, off, imm)


@pytest.mark.parametrize(
    ("insn", "expected"),
    [
        # moves
        (asm.mov64_imm(0, -1), "(b7) r0 = -1"),
        (asm.mov32_imm(3, 7), "(b4) w3 = 7"),
        (asm.mov64_reg(6, 1), "(bf) r6 = r1"),
        (asm.mov32_reg(6, 1), "(bc) w6 = w1"),
        (asm.mov64_reg(6, 1, sign_bits=8), "(bf) r6 = (s8)r1"),
        (asm.mov64_reg(6, 1, sign_bits=16), "(bf) r6 = (s16)r1"),
        (asm.mov64_reg(6, 1, sign_bits=32), "(bf) r6 = (s32)r1"),
        (asm.mov32_reg(6, 1, sign_bits=8), "(bc) w6 = (s8)w1"),
        (asm.addr_space_cast(2, 3, 0, 1), "(bf) r2 = addr_space_cast(r3, 0, 1)"),
        (asm.addr_space_cast(2, 3, 1, 0), "(bf) r2 = addr_space_cast(r3, 1, 0)"),
        (raw(0xBF, 0, 0, -1), "(bf) r0 = &(void __percpu *)(r0)"),
        # arithmetic
        (asm.alu64_imm(BPF_ADD, 2, -20), "(07) r2 += -20"),
        (asm.alu64_reg(BPF_MUL, 2, 3), "(2f) r2 *= r3"),
        (asm.alu32_reg(BPF_ARSH, 2, 3), "(cc) w2 s>>= w3"),
        (asm.alu64_imm(BPF_DIV, 2, 3), "(37) r2 /= 3"),
        (asm.alu64_imm(BPF_DIV, 2, 3, off=1), "(37) r2 s/= 3"),
        (asm.alu32_reg(BPF_MOD, 2, 3, off=1), "(9c) w2 s%= w3"),
        (asm.neg64(4), "(87) r4 = -r4"),
        (raw(0x84, 4), "(84) w4 = -w4"),
        (asm.to_le(1, 16), "(d4) r1 = le16 r1"),
        (asm.to_be(1, 64), "(dc) r1 = be64 r1"),
        (asm.bswap(1, 32), "(d7) r1 = bswap32 r1"),
        # loads and stores
        (asm.load(BPF_B, 1, 2, 0), "(71) r1 = *(u8 *)(r2 +0)"),
        (asm.load(BPF_DW, 1, 10, -8), "(79) r1 = *(u64 *)(r10 -8)"),
        (asm.load(BPF_W, 1, 2, 4, signed=True), "(81) r1 = *(s32 *)(r2 +4)"),
        (asm.load(BPF_H, 1, 2, 4, signed=True), "(89) r1 = *(s16 *)(r2 +4)"),
        (asm.load(BPF_B, 1, 2, 4, signed=True), "(91) r1 = *(s8 *)(r2 +4)"),
        (asm.store(BPF_H, 10, 3, -2), "(6b) *(u16 *)(r10 -2) = r3"),
        (asm.store_imm(BPF_W, 10, -3, -4), "(62) *(u32 *)(r10 -4) = -3"),
        (raw(0xC2), "(c2) nospec"),
        (raw(0x30, imm=12), "(30) r0 = *(u8 *)skb[12]"),
        (raw(0x28, imm=-4), "(28) r0 = *(u16 *)skb[-4]"),
        (raw(0x40, 0, 7, 0, 2), "(40) r0 = *(u32 *)skb[r7 + 2]"),
        # atomics
        (asm.atomic(BPF_ADD, 1, 2), "(db) lock *(u64 *)(r1 +0) += r2"),
        (asm.atomic(BPF_XOR, 1, 2, -8, size=BPF_W), "(c3) lock *(u32 *)(r1 -8) ^= r2"),
        (asm.atomic(BPF_ADD | BPF_FETCH, 1, 2, 4), "(db) r2 = atomic64_fetch_add((u64 *)(r1 +4), r2)"),
        (asm.atomic(BPF_OR | BPF_FETCH, 1, 2, size=BPF_W), "(c3) r2 = atomic_fetch_or((u32 *)(r1 +0), r2)"),
        (asm.atomic(BPF_AND | BPF_FETCH, 1, 2, size=BPF_W), "(c3) r2 = atomic_fetch_and((u32 *)(r1 +0), r2)"),
        (asm.atomic(BPF_XCHG, 1, 2), "(db) r2 = atomic64_xchg((u64 *)(r1 +0), r2)"),
        (asm.atomic(BPF_CMPXCHG, 1, 2, size=BPF_W), "(c3) r0 = atomic_cmpxchg((u32 *)(r1 +0), r0, r2)"),
        (asm.atomic(BPF_LOAD_ACQ, 1, 2, 8), "(db) r1 = load_acquire((u64 *)(r2 +8))"),
        (asm.atomic(BPF_LOAD_ACQ, 1, 2, size=BPF_B), "(d3) r1 = load_acquire((u8 *)(r2 +0))"),
        (asm.atomic(BPF_STORE_REL, 1, 2, -4, size=BPF_H), "(cb) store_release((u16 *)(r1 -4), r2)"),
        (asm.atomic(0x7F, 1, 2), "BUG_db"),
        # jumps
        (asm.goto(-3), "(05) goto pc-3"),
        (asm.gotol(70000), "(06) gotol pc+70000"),
        (asm.gotox(3), "(0d) gotox r3"),
        (asm.may_goto(5), "(e5) may_goto pc+5"),
        (asm.jump_imm(BPF_JEQ, 1, 0, 2), "(15) if r1 == 0x0 goto pc+2"),
        (asm.jump_imm(BPF_JSGT, 1, -1, 2), "(65) if r1 s> 0xffffffff goto pc+2"),
        (asm.jump_reg(BPF_JSET, 1, 2, -4), "(4d) if r1 & r2 goto pc-4"),
        (asm.jump32_imm(BPF_JLE, 1, 16, 0), "(b6) if w1 <= 0x10 goto pc+0"),
        (asm.jump32_reg(BPF_JEQ, 1, 2, 1), "(1e) if w1 == w2 goto pc+1"),
        (asm.exit_(), "(95) exit"),
        # references, before the kernel has resolved them
        (asm.call(6), "(85) call bpf_trace_printk#6"),
        (asm.call(99999), "(85) call unknown#99999"),
        (asm.call_subprog(-9), "(85) call pc-9"),
        (asm.call_kfunc(1234), "(85) call kernel-function#1234"),
        (asm.ld_imm64(1, 0x1_0000_0002), "(18) r1 = 0x100000002"),
        (asm.ld_imm64(1, -1), "(18) r1 = 0xffffffffffffffff"),
        (asm.ld_map_fd(1, 5), "(18) r1 = 0x5"),
        # what the kernel itself has no words for
        (raw(0x63 | 0x80), "BUG_e3"),
        (raw(0x22), "BUG_st_22"),
        (raw(0x01), "BUG_ldx_01"),
        (raw(0x00), "BUG_ld_00"),
        (raw(0xE7, 1), "(e7) r1 (null) 0"),
    ],
)
def test_words_of_the_kernel(insn: bytes, expected: str) -> None:
    assert text(insn) == expected


def test_maps_are_named_by_id() -> None:
    symbols = Symbols()
    assert text(asm.ld_map_fd(1, 5), symbols) == "(18) r1 = map[id:5]"
    assert text(asm.ld_map_value(1, 5, 4), symbols) == "(18) r1 = map[id:5][0]+4"
    assert text(HOST.encode_wide(1, 6, 2, 8), symbols) == "(18) r1 = map[idx:2]+8"
    assert text(asm.ld_func(1, 7), symbols) == "(18) r1 = subprog[+7]"
    assert text(asm.ld_imm64(1, 7), symbols) == "(18) r1 = 0x7"


BASE = 0xFFFFFFFF81200000


def test_calls_of_the_kernel_are_named_by_address() -> None:
    symbols = Symbols(BASE, {BASE - 61344: "bpf_trace_printk", BASE + 4096: "bpf_rcu_read_lock"})
    assert text(asm.call(-61344), symbols) == "(85) call bpf_trace_printk#-61344"
    assert text(asm.call_kfunc(4096), symbols) == "(85) call bpf_rcu_read_lock#4096"
    assert text(asm.call(8192), symbols) == "(85) call 0xffffffff81202000#8192"
    assert text(asm.call(12), symbols) == "(85) call bpf_tail_call#12"


def test_calls_of_hidden_addresses() -> None:
    symbols = Symbols()
    assert text(asm.call(0), symbols) == "(85) call bpf_unspec#0"
    assert text(asm.call(-16), symbols) == "(85) call 0xfffffffffffffff0#-16"


def test_subprograms_of_jited_and_interpreted_programs() -> None:
    call = raw(codec.CALL, 0, 1, 7, 1)
    entry = 0xFFFFFFFFC0001000
    symbols = Symbols(BASE, {entry: "bpf_prog_cc1a6_get_opcode"}, (entry - 256, entry))
    assert text(call, symbols) == "(85) call pc+7#bpf_prog_cc1a6_get_opcode"
    assert text(call, Symbols(BASE, {}, (entry - 256, entry))) == "(85) call pc+7#0xffffffffc0001000"
    assert text(call, Symbols(BASE, {}, (entry,))) == f"(85) call pc+7#{BASE + 1:#x}"
    assert text(call, Symbols(BASE, {})) == "(85) call pc+7"


def test_addresses_wanted() -> None:
    entry = 0xFFFFFFFFC0001000
    symbols = Symbols(BASE, {}, (entry - 256, entry))
    insns = asm.call(6) + asm.call(-61344) + raw(codec.CALL, 0, 1, 7, 1) + asm.ld_imm64(1, 0x85 << 32) + asm.exit_()
    assert called_addresses(insns, symbols) == {BASE - 61344, entry}


def test_positions() -> None:
    insns = asm.mov64_imm(0, 1) + asm.ld_imm64(1, 2) + asm.exit_()
    assert disassemble(insns) == [Line(0, "(b7) r0 = 1"), Line(1, "(18) r1 = 0x2", 2), Line(3, "(95) exit")]


def test_foreign_byte_order() -> None:
    (line,) = disassemble(bytes.fromhex("61a1fff800000000"), codec=BIG)
    assert line.text == "(61) r10 = *(u32 *)(r1 -8)"
