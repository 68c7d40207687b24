"""Attaching XDP to a veth and detaching it again: the library's call beside libbpf's, for the same system calls."""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from bench.bench_load import libbpf_program
from bench.measure import Times, alternately, row, section
from support import namespaces, system
from support.process import find_tool, run

_OURS = """
import sys, time
from bpfload import Program
from bpfload.abi import consts
from bpfload.insn.assemble import assemble, exit_, mov64_imm
from bpfload.spec import ProgramSpec
from bpfload.syscall import bpf

device, mode, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
spec = ProgramSpec("pass", "xdp", 0, assemble(mov64_imm(0, 2), exit_()), type=consts.BPF_PROG_TYPE_XDP)
program = Program(bpf.prog_load(spec.type, spec.insns, b"GPL", name="pass", expected_attach_type=consts.BPF_XDP), spec)
for _ in range(count + 1):
    start = time.perf_counter()
    program.attach_xdp(device, mode=mode{options}).close()
    print(time.perf_counter() - start)
"""


def _median(*command: str | int) -> Times:
    lines = run(*command).lines
    return Times(statistics.median(float(line) for line in lines[1:]))  # the first imports


def _compare(device: str, peer: list[str] | None, count: int) -> None:
    for mode in ("native", "generic"):
        ours = _OURS.replace("{options}", "")
        sides = [lambda mode=mode, ours=ours: _median(sys.executable, "-c", ours, device, mode, count)]
        if peer:
            sides.append(lambda mode=mode: _median(*peer, device, mode, count + 1))
        library, *others = alternately(5, *sides)
        row(f"bpfload, {mode}", library, others[0] if others else None, "of libbpf; wanted: at most 1.5" if others else "")
        if others:
            row(f"libbpf, {mode}", others[0])
    ours = _OURS.replace("{options}", ", link=False")
    row("bpfload, native, by netlink without link", _median(sys.executable, "-c", ours, device, "native", min(count, 20)))


def main(*, quick: bool) -> None:
    """Measure, and print."""
    if system.why_no_kernel():
        return
    with section("in one process: attach XDP to a veth by link, and detach it"):
        if not find_tool("ip"):
            raise RuntimeError("no ip(8)")
        with tempfile.TemporaryDirectory() as directory, namespaces.veth_pair() as pair, pair.here.entered():
            _compare(pair.device, libbpf_program(Path(directory), "libbpf_attach"), 20 if quick else 60)
