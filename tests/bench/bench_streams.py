"""Reading events: how many a second, raw, as objects, as lines, and through the command while a program keeps writing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from struct import pack

from bench.measure import section
from bpfload.abi import consts
from bpfload.insn import assemble as asm
from bpfload.kernel.btf import load_file
from bpfload.objects import Map, Program
from bpfload.streams.events import EventType
from bpfload.streams.ring_buffer import RingBuffer
from bpfload.syscall import bpf
from bpfload_cli.event_lines import EventLines
from support import system
from support.paths import EXEC_EVENTS
from support.process import bpfload_command

PACKET = bytes(64)
RATE = 500_000
OUTPUT = 130


@contextmanager
def writer(size: int) -> Iterator[tuple[Map, Program]]:
    """A ring buffer, and a program that puts a record of samples/exec-events into it: 32 bytes."""
    record = pack("=QII16s", 1, os.getpid(), 1000, b"somebody")
    fill = [asm.alu64_reg(0xA0, 6, 6), asm.call(5), asm.store(asm.BPF_DW, 10, 0, -32)]
    for place in range(8, 32, 8):
        word = int.from_bytes(record[place : place + 8], "little")
        fill += [asm.ld_imm64(7, word), asm.store(asm.BPF_DW, 10, 7, place - 32)]
    with Map(bpf.map_create(consts.BPF_MAP_TYPE_RINGBUF, 0, 0, size, name="events")) as ring:
        code = asm.assemble(
            *fill[1:],
            asm.ld_map_fd(1, ring.fd),
            asm.mov64_reg(2, 10),
            asm.alu64_imm(0, 2, -32),
            asm.mov64_imm(3, 32),
            asm.mov64_imm(4, 0),
            asm.call(OUTPUT),
            asm.exit_(),
        )
        with Program(bpf.prog_load(consts.BPF_PROG_TYPE_XDP, code, b"GPL", name="writes")) as program:
            yield ring, program


def rate_of(ring: Map, program: Program, take: Callable[[RingBuffer], int]) -> float:
    """Return how many events a second are taken, of 16 full buffers."""
    seconds, count = 0.0, 0
    with RingBuffer(ring) as buffer:
        for _ in range(16):
            bpf.prog_test_run(program.fd, PACKET, repeat=40_000)
            start = time.perf_counter()
            count += take(buffer)
            seconds += time.perf_counter() - start
    return count / seconds


def through_the_command(*flags: str) -> tuple[int, int, str]:
    """Write so many events a second for three seconds while the command prints them; return how many it printed, of how many."""
    with writer(1 << 23) as (ring, program):
        words = [*bpfload_command(), *flags, "map", "watch", "id", str(ring.info().id), "type", "event", "btf", str(EXEC_EVENTS)]
        reader = subprocess.Popen([*words, "seconds", "4.5"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        lines = 0

        def count() -> None:
            nonlocal lines
            assert reader.stdout
            while chunk := reader.stdout.read(1 << 20):
                lines += chunk.count("\n")

        counting = threading.Thread(target=count)
        counting.start()
        time.sleep(0.8)
        start, written = time.perf_counter(), 0
        while (elapsed := time.perf_counter() - start) < 3:
            due = int(elapsed * RATE) - written
            if due > 0:
                bpf.prog_test_run(program.fd, PACKET, repeat=due)
                written += due
            time.sleep(0.005)
        counting.join()
        assert reader.stderr
        return lines, written, reader.stderr.read()


def main(*, quick: bool) -> None:
    if system.why_no_kernel():
        return
    kind = EventType(load_file(EXEC_EVENTS), "event")
    text, data = EventLines(kind, as_json=False), EventLines(kind, as_json=True)
    with section("ring buffer events of 32 bytes with a name in them, in one process"), writer(1 << 21) as (ring, program):
        for name, take in (
            ("as bytes", lambda buffer: len(buffer.read())),
            ("as objects", lambda buffer: sum(len(kind.decode_batch(batch)) for batch in buffer.batches())),
            ("as lines of text", lambda buffer: sum(text.of_batch(batch).count("\n") for batch in buffer.batches())),
            ("as lines of JSON", lambda buffer: sum(data.of_batch(batch).count("\n") for batch in buffer.batches())),
        ):
            rate = rate_of(ring, program, take)
            print(f"  {name:<44}{rate / 1e6:9.2f} million a second  x {rate / RATE:5.2f} of the 500,000 wanted")
    if quick:
        return
    for flags in ([], ["-j"]):
        with section(f"bpfload {' '.join([*flags, 'map watch'])} while a program writes {RATE:,} events a second"):
            shown, written, words = through_the_command(*flags)
            lost = re.search(r"the buffer was full (\d+) times", words)
            print(f"  printed {shown:,} of {written:,}, {lost[0] if lost else 'none dropped'}")


if __name__ == "__main__":
    main(quick="--quick" in sys.argv)
