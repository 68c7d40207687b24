"""bpfload.streams.perf_buffer on the real kernel: each CPU's records in order, and those that were lost counted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from struct import unpack_from

import pytest

from bpfload.abi import consts
from bpfload.errors import UsageError
from bpfload.insn import assemble as asm
from bpfload.kernel import cpus
from bpfload.objects import Map, Program
from bpfload.streams.perf_buffer import Lost, PerfBuffer, Sample
from bpfload.syscall import bpf
from support.programs import small_map

pytestmark = pytest.mark.usefixtures("nothing_left_behind", "no_fd_leak")

PACKET = bytes(64)
OUTPUT, CURRENT_CPU = 25, 0xFFFFFFFF


@pytest.fixture
def events() -> Iterator[Map]:
    entries = cpus.possible()
    with Map(bpf.map_create(consts.BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, entries, name="events")) as events:
        yield events


@pytest.fixture
def writes(events: Map) -> Iterator[Program]:
    """A program that writes a number, counted up for each run, and returns what the helper said, negated."""
    with Map(bpf.map_create(consts.BPF_MAP_TYPE_ARRAY, 4, 8, 1)) as counter:
        code = asm.assemble(
            asm.mov64_reg(6, 1),
            asm.ld_map_value(7, counter.fd),
            asm.load(asm.BPF_DW, 8, 7),
            asm.store(asm.BPF_DW, 10, 8, -8),
            asm.alu64_imm(0x00, 8, 1),
            asm.store(asm.BPF_DW, 7, 8),
            asm.mov64_reg(1, 6),
            asm.ld_map_fd(2, events.fd),
            asm.mov32_imm(3, -1),
            asm.mov64_reg(4, 10),
            asm.alu64_imm(0x00, 4, -8),
            asm.mov64_imm(5, 8),
            asm.call(OUTPUT),
            asm.neg64(0),
            asm.exit_(),
        )
        with Program(bpf.prog_load(consts.BPF_PROG_TYPE_XDP, code, b"GPL", name="writes")) as program:
            yield program


def numbers(records: list[object]) -> list[int]:
    return [unpack_from("=Q", record.data)[0] for record in records if isinstance(record, Sample)]


def test_every_record_once_and_in_order(events: Map, writes: Program) -> None:
    (cpu, *_) = os.sched_getaffinity(0)
    whole = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        with PerfBuffer(events) as buffer:
            assert not buffer.wait(0)
            seen: list[int] = []
            for _ in range(40):  # several times round the ring
                bpf.prog_test_run(writes.fd, PACKET, repeat=300)
                assert buffer.wait(5)
                records = buffer.read()
                assert {record.cpu for record in records} == {cpu}
                seen += numbers(records)
            assert seen == list(range(12_000))
            assert buffer.lost == 0
    finally:
        os.sched_setaffinity(0, whole)


def test_times_grow_and_data_is_padded(events: Map, writes: Program) -> None:
    with PerfBuffer(events) as buffer:
        for _ in range(3):
            bpf.prog_test_run(writes.fd, PACKET, repeat=1)
        samples = [record for record in buffer.read() if isinstance(record, Sample)]
        times = [sample.time for sample in samples]
        assert len(times) == 3
        assert all(times)
        assert all(8 <= len(sample.data) < 16 for sample in samples)


def test_what_is_lost_is_counted(events: Map, writes: Program) -> None:
    with PerfBuffer(events, pages=1) as buffer:
        bpf.prog_test_run(writes.fd, PACKET, repeat=1000)
        first = numbers(buffer.read())
        # The kernel says how many were lost together with the next one that fits.
        bpf.prog_test_run(writes.fd, PACKET, repeat=1)
        rest = buffer.read()
        lost = sum(record.count for record in rest if isinstance(record, Lost))
        assert lost == buffer.lost > 0
        assert len(first) + lost + len(numbers(rest)) == 1001


def test_the_map_is_empty_again(events: Map, writes: Program) -> None:
    with PerfBuffer(events):
        assert bpf.prog_test_run(writes.fd, PACKET, repeat=1)[0] == 0
    assert bpf.prog_test_run(writes.fd, PACKET, repeat=1)[0] == 2  # ENOENT


def test_one_ring_at_a_place_of_its_own(events: Map, writes: Program) -> None:
    (cpu, *_) = cpus.online()
    with PerfBuffer(events, places=[(cpu, 0)]) as buffer:
        whole = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {cpu})
        try:
            bpf.prog_test_run(writes.fd, PACKET, repeat=1)
        finally:
            os.sched_setaffinity(0, whole)
        (record,) = buffer.read()
        assert isinstance(record, Sample)
        assert (record.cpu, record.index) == (cpu, 0)


def test_what_makes_no_sense(events: Map) -> None:
    with small_map("other") as other, pytest.raises(UsageError, match=r"map \d+ \(other\) is no perf event array"):
        PerfBuffer(other)
    with pytest.raises(UsageError, match="a perf buffer of 3 pages"):
        PerfBuffer(events, pages=3)
