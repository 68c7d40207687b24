"""`prog show` with very many programs: beside bpftool, as JSON and as text."""

from __future__ import annotations

import resource
from collections.abc import Sequence
from contextlib import ExitStack

from bench.measure import alternately, peak, process_times, row, section
from bpfload.insn.assemble import ld_map_fd
from bpfload.objects import Program
from support import system
from support.process import bpfload_command, bpftool_command
from support.programs import load_spec, program_spec, small_map, small_program

_WANTED = "of bpftool; wanted: at most 1.5"


def main(*, quick: bool) -> None:
    if system.why_no_kernel():
        return
    count = 300 if quick else 2000
    times = 3 if quick else 9
    _raise_limit(2 * count)
    with ExitStack() as stack:
        for number in range(count):
            stack.enter_context(small_program(f"bench{number}"))
        for flags, form in ((("-j",), "JSON"), ((), "text")):
            _show(f"prog show with {count} programs, all held by one process, {form}", flags, times)
    with ExitStack() as stack:
        for number in range(count):
            stack.enter_context(_with_a_map(stack, number))
        _show(f"prog show with {count} programs that have a map each, JSON", ("-j",), times)


def _with_a_map(stack: ExitStack, number: int) -> Program:
    item = stack.enter_context(small_map(f"bench{number}"))
    spec = program_spec(f"bench{number}")
    spec.insns = ld_map_fd(1, item.fd) + spec.insns
    return load_spec(spec)


def _raise_limit(files: int) -> None:
    """Let this process have so many files open, besides the usual ones."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = files + 256
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(wanted, hard)), hard))


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
