"""`prog show` with very many programs: beside bpftool, as JSON and as text."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from bench.measure import alternately, peak, process_times, row, section
from support import system
from support.process import bpfload_command, bpftool_command
from support.programs import small_program

_WANTED = "of bpftool; wanted: at most 1.5"


def main(*, quick: bool) -> None:
    if system.why_no_kernel():
        return
    count = 300 if quick else 2000
    with ExitStack() as stack:
        for number in range(count):
            stack.enter_context(small_program(f"bench{number}"))
        for flags, form in ((("-j",), "JSON"), ((), "text")):
            _show(f"prog show with {count} programs, all held by one process, {form}", flags, 3 if quick else 9)


def _show(heading: str, flags: Sequence[str], times: int) -> None:
    words = [*flags, "prog", "show"]
    ours, peer = [*bpfload_command(), *words], bpftool_command()
    with section(heading):
        sides = [lambda: process_times(ours)]
        if peer:
            sides.append(lambda: process_times([peer, *words]))
        found = alternately(times, *sides)
        if peer:
            row("bpftool", found[1])
        row("bpfload", found[0], found[1] if peer else None, _WANTED if peer else "")
        print(f"  {'peak memory':<44}{peak(ours) / 1024:9.1f} MiB", end="")
        print(f"  (bpftool {peak([peer, *words]) / 1024:.1f} MiB)" if peer else "", flush=True)
