"""bpfload.streams.ring_buffer on the real kernel: nothing lost, nothing read twice, what was given up, what is full."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from struct import pack, unpack

import pytest

from bpfload.abi import consts
from bpfload.btf.types import INT_SIGNED, LINKAGE_STATIC
from bpfload.btf.writer import BtfBuilder
from bpfload.errors import UsageError
from bpfload.insn import assemble as asm
from bpfload.objects import Map, Program
from bpfload.streams.ring_buffer import RingBuffer, UserRingBuffer
from bpfload.syscall import bpf
from support.programs import small_map

pytestmark = [pytest.mark.usefixtures("nothing_left_behind", "no_fd_leak"), pytest.mark.needs_feature("ringbuf")]

SIZE = 1 << 16
RESERVE, SUBMIT, DISCARD, OUTPUT, DRAIN = 131, 132, 133, 130, 209
PACKET = bytes(64)


@pytest.fixture
def ring() -> Iterator[Map]:
    with Map(bpf.map_create(consts.BPF_MAP_TYPE_RINGBUF, 0, 0, SIZE)) as ring:
        yield ring


@pytest.fixture
def counter() -> Iterator[Map]:
    with Map(bpf.map_create(consts.BPF_MAP_TYPE_ARRAY, 4, 8, 1, flags=consts.BPF_F_MMAPABLE)) as counter:
        yield counter


def program(*instructions: bytes) -> Program:
    code = asm.assemble(*instructions, asm.mov64_imm(0, 2), asm.exit_())
    return Program(bpf.prog_load(consts.BPF_PROG_TYPE_XDP, code, b"GPL", name="writes"))


def writer(ring: Map, counter: Map, size: int = 16) -> Program:
    """Put in (its own number, 0) for each run; numbers count up only for records that fitted."""
    return program(
        asm.ld_map_value(6, counter.fd),
        asm.load(asm.BPF_DW, 7, 6),
        asm.store_imm(asm.BPF_DW, 10, 0, -8),
        asm.store_imm(asm.BPF_DW, 10, 0, -24),
        asm.store(asm.BPF_DW, 10, 7, -16),
        asm.ld_map_fd(1, ring.fd),
        asm.mov64_reg(2, 10),
        asm.alu64_imm(0x00, 2, -16),
        asm.mov64_imm(3, size),
        asm.mov64_imm(4, 0),
        asm.call(OUTPUT),
        asm.jump_imm(0x50, 0, 0, 2),  # JNE: it didn't fit
        asm.alu64_imm(0x00, 7, 1),
        asm.store(asm.BPF_DW, 6, 7),
    )


def reserving(ring: Map, end: int, size: int) -> Program:
    return program(
        asm.ld_map_fd(1, ring.fd),
        asm.mov64_imm(2, size),
        asm.mov64_imm(3, 0),
        asm.call(RESERVE),
        asm.jump_imm(0x10, 0, 0, 4),  # JEQ: no room
        asm.store_imm(asm.BPF_DW, 0, 77),
        asm.mov64_reg(1, 0),
        asm.mov64_imm(2, 0),
        asm.call(end),
    )


def draining(ring: Map) -> Program:
    """Load a program that returns how many records bpf_user_ringbuf_drain() handed to its callback, which takes BTF."""
    btf = BtfBuilder()
    number = btf.add_int("int", 4, INT_SIGNED)
    pointer = btf.add_pointer(0)
    main = btf.add_func("drains", btf.add_func_proto(number, [("ctx", pointer)]))
    callback = btf.add_func("callback", btf.add_func_proto(number, [("dynptr", pointer), ("ctx", pointer)]), LINKAGE_STATIC)
    code = asm.assemble(
        asm.ld_map_fd(1, ring.fd),
        asm.ld_func(2, 5),
        asm.mov64_imm(3, 0),
        asm.mov64_imm(4, 0),
        asm.call(DRAIN),
        asm.exit_(),
        asm.mov64_imm(0, 0),
        asm.exit_(),
    )
    func_info = pack("=IIII", 0, main, 8, callback)
    fd = bpf.btf_load(btf.bytes())
    try:
        return Program(
            bpf.prog_load(
                consts.BPF_PROG_TYPE_XDP, code, b"GPL", name="drains", btf_fd=fd, func_info=func_info, func_info_rec_size=8
            )
        )
    finally:
        os.close(fd)


def test_every_record_once_and_in_order(ring: Map, counter: Map) -> None:
    with writer(ring, counter) as writes, RingBuffer(ring) as buffer:
        seen: list[int] = []
        for _ in range(50):  # several times round the buffer
            bpf.prog_test_run(writes.fd, PACKET, repeat=500)
            seen += [unpack("=QQ", record)[0] for record in buffer.read()]
        assert seen == list(range(25_000))
        assert not buffer.wait(0)
        assert buffer.was_full == 0


def test_sizes_that_vary_and_records_given_up(ring: Map, counter: Map) -> None:
    with (
        writer(ring, counter) as small,
        writer(ring, counter, 9) as odd,
        reserving(ring, SUBMIT, 40) as large,
        reserving(ring, DISCARD, 24) as nothing,
        RingBuffer(ring) as buffer,
    ):
        for _ in range(20):
            for each in (small, odd, odd, nothing, large, nothing, nothing, small):
                bpf.prog_test_run(each.fd, PACKET, repeat=1)
        records = buffer.read()
        assert [len(record) for record in records] == [16, 9, 9, 40, 16] * 20
        numbers = [int.from_bytes(record[:8], "little") for record in records if len(record) != 40]
        assert numbers == list(range(80))
        assert buffer.discarded == 60


def test_a_buffer_that_is_full_is_noticed(ring: Map, counter: Map) -> None:
    with writer(ring, counter) as writes, RingBuffer(ring) as buffer:
        bpf.prog_test_run(writes.fd, PACKET, repeat=100)
        assert (len(buffer.read()), buffer.was_full) == (100, 0)
        bpf.prog_test_run(writes.fd, PACKET, repeat=SIZE)
        assert len(buffer.read()) == SIZE // 24
        assert buffer.was_full == 1


def test_waiting_ends_when_something_comes(ring: Map, counter: Map) -> None:
    with writer(ring, counter) as writes, RingBuffer(ring) as buffer:
        assert not buffer.wait(0.05)
        timer = threading.Timer(0.1, bpf.prog_test_run, (writes.fd, PACKET), {"repeat": 1})
        timer.start()
        assert buffer.wait(10)
        timer.join()
        assert len(buffer.read()) == 1


def test_two_readers_one_after_the_other(ring: Map, counter: Map) -> None:
    with writer(ring, counter) as writes:
        bpf.prog_test_run(writes.fd, PACKET, repeat=10)
        with RingBuffer(ring) as buffer:
            assert len(buffer.read()) == 10
        bpf.prog_test_run(writes.fd, PACKET, repeat=5)
        with RingBuffer(ring) as buffer:
            assert len(buffer.read()) == 5
            buffer.close()
            buffer.close()


def test_a_map_of_another_type() -> None:
    with small_map("other") as other:
        with pytest.raises(UsageError, match=r"map \d+ \(other\) is no ring buffer"):
            RingBuffer(other)
        with pytest.raises(UsageError, match="is no user ring buffer"):
            UserRingBuffer(other)


@pytest.mark.needs_feature("user_ringbuf")
def test_a_ring_buffer_that_user_space_writes() -> None:
    # The program passes over the records: bpf_user_ringbuf_drain() with a callback that only returns 0.
    with Map(bpf.map_create(consts.BPF_MAP_TYPE_USER_RINGBUF, 0, 0, 4096)) as ring, UserRingBuffer(ring) as buffer:
        assert buffer.room == 4096
        assert buffer.write(b"hello")
        assert buffer.room == 4096 - 16
        assert all(buffer.write(bytes(100)) for _ in range(36))
        assert not buffer.write(bytes(100))
        with pytest.raises(UsageError, match="a record of 4096 bytes doesn't fit"):
            buffer.write(bytes(4096))
        with draining(ring) as drains:
            assert bpf.prog_test_run(drains.fd, PACKET, repeat=1)[0] == 37
        assert buffer.room == 4096
        assert buffer.write(bytes(4000))
