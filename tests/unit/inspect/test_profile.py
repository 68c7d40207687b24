"""The metrics' numbers, and the programs that read them, without a kernel."""

from __future__ import annotations

from struct import unpack_from

import pytest

from bpfload.insn.codec import BPF_JEQ, BPF_JMP, BPF_JNE
from bpfload.inspect.profile import METRICS, Code

# perf_event_open(2): type; config, for caches cache | operation << 8 | result << 16.
_NUMBERS = {
    "cycles": (0, 0),
    "instructions": (0, 1),
    "l1d_loads": (3, 0),
    "llc_misses": (3, 0x10002),
    "itlb_misses": (3, 0x10004),
    "dtlb_misses": (3, 0x10003),
}
_WIDE, _CALL = 0x18, 0x85
_JUMPS = (BPF_JMP | BPF_JEQ, BPF_JMP | BPF_JNE)


def test_metrics() -> None:
    assert {metric.name: (metric.kind, metric.config) for metric in METRICS} == _NUMBERS
    assert list(_NUMBERS) == [metric.name for metric in METRICS]
    assert {metric.ratio_to for metric in METRICS} <= {"", *_NUMBERS}


@pytest.mark.parametrize("metrics", [1, 2, 3, 4])
@pytest.mark.parametrize("where", ["at_entry", "at_exit"])
def test_every_jump_leads_to_an_instruction(where: str, metrics: int) -> None:
    code = getattr(Code(metrics, 8, 11, 12, 13), where)()
    starts, at, jumps, calls = set(), 0, [], []
    while at < len(code) // 8:
        opcode, _, offset, number = unpack_from("<BBhi", code, at * 8)
        starts.add(at)
        if opcode in _JUMPS:
            jumps.append(at + 1 + offset)
        if opcode == _CALL:
            calls.append(number)
        at += 2 if opcode == _WIDE else 1
    assert jumps
    assert set(jumps) <= starts
    assert max(jumps) == at - 2  # the end, where it returns 0
    # bpf_get_smp_processor_id, bpf_map_lookup_elem, bpf_perf_event_read_value
    lookup, read = [1], [55] * metrics
    assert calls == [8, *lookup, *read] if where == "at_entry" else [8, *read, *lookup, *lookup]
