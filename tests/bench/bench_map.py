"""`map dump` of a hash map with very many elements: beside bpftool and beside the kernel's own time."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from struct import pack

from bench.measure import Times, alternately, peak, process_times, row, section
from bpfload.abi import consts
from bpfload.btf.writer import BtfBuilder
from bpfload.objects import Map
from bpfload.syscall import bpf
from support import system
from support.process import bpfload_command, bpftool_command

_STEP = 1 << 16


def main(*, quick: bool) -> None:
    if system.why_no_kernel():
        return
    count = 100_000 if quick else 1_000_000
    with ExitStack() as stack:
        maps = {
            "no BTF": stack.enter_context(_plain(count)),
            "BTF, two numbers": stack.enter_context(_typed(count)),
        }
        for item in maps.values():
            _fill(item, count)
        _kernel(maps["no BTF"], count)
        for name, item in maps.items():
            for flags, form in ((("-j",), "JSON"), ((), "text"), (("-p",), "pretty JSON")):
                _dump(
                    f"map dump of {count} elements, key 4, value 8 bytes, {name}, {form}",
                    item,
                    flags,
                    3 if form == "JSON" and not quick else 1,
                )


def _plain(count: int) -> Map:
    return Map(bpf.map_create(consts.BPF_MAP_TYPE_HASH, 4, 8, count, name="bench_plain"))


def _typed(count: int) -> Map:
    builder = BtfBuilder()
    u32 = builder.add_int("unsigned int", 4)
    value = builder.add_struct("counts", 8, [("packets", u32, 0), ("bytes", u32, 32)])
    btf = bpf.btf_load(builder.bytes())
    try:
        kind = consts.BPF_MAP_TYPE_HASH
        return Map(
            bpf.map_create(kind, 4, 8, count, name="bench_typed", btf_fd=btf, btf_key_type_id=u32, btf_value_type_id=value)
        )
    finally:
        os.close(btf)


def _fill(item: Map, count: int) -> None:
    for start in range(0, count, _STEP):
        numbers = range(start, min(start + _STEP, count))
        keys = pack(f"={len(numbers)}I", *numbers)
        values = pack(f"={len(numbers)}Q", *(number * 2654435761 for number in numbers))
        bpf.map_update_batch(item.fd, keys, values, len(numbers))


def _kernel(item: Map, count: int) -> None:
    """What the kernel alone needs, and what Python needs with it to have all elements as bytes."""

    def batches() -> Times:
        start, before = time.perf_counter(), time.process_time()
        read = sum(batch.count for batch in item.batches())
        assert read == count
        return Times(time.perf_counter() - start, time.process_time() - before)

    with section(f"BPF_MAP_LOOKUP_BATCH of {count} elements, in batches of a dump"):
        row("Map.batches()", alternately(3, batches)[0])


def _dump(heading: str, item: Map, flags: Sequence[str], times: int) -> None:
    ours, peer = bpfload_command(), bpftool_command()
    words = [*flags, "map", "dump", "id", str(item.info().id)]
    with section(heading):
        sides = [lambda: process_times([*ours, *words])]
        if peer:
            sides.append(lambda: process_times([peer, *words]))
        found = alternately(times, *sides)
        if peer:
            row("bpftool", found[1])
        row("bpfload", found[0], found[1] if peer else None, "of bpftool; wanted: at most 0.5" if peer else "")
        print(f"  {'peak memory':<44}{peak([*ours, *words]) / 1024:9.1f} MiB", end="")
        print(f"  (bpftool {peak([peer, *words]) / 1024:.1f} MiB)" if peer else "", flush=True)
