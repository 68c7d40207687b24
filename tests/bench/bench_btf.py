"""`btf dump` of the kernel's types, beside bpftool: as text, JSON and C."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bench.measure import Times, alternately, process_times, row, section
from support.process import bpfload_command, bpftool_command

VMLINUX = Path("/sys/kernel/btf/vmlinux")

_FORMS = (
    (["format", "c"], [], "wanted: at most 1 s, and 3 times bpftool's"),
    (["format", "c", "unsorted"], [], ""),
    (["format", "raw"], [], ""),
    (["format", "raw"], ["-j"], ""),
)


def main(*, quick: bool) -> None:
    bpftool = bpftool_command()
    for words, flags, wanted in _FORMS:
        name = " ".join([*flags, "btf dump file vmlinux", *words])
        with section(f"whole process: {name}"):
            arguments = [*flags, "btf", "dump", "file", str(VMLINUX), *words]
            sides = [_process([*bpfload_command(), *arguments])]
            if bpftool:
                sides.append(_process([bpftool, *arguments]))
            ours, *peer = alternately(3 if quick else 11, *sides)
            if peer:
                row("bpftool", peer[0])
            row("bpfload", ours, peer[0] if peer else None, wanted)


def _process(command: list[str]) -> Callable[[], Times]:
    return lambda: process_times(command)
