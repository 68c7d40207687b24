#!/usr/bin/env python3
"""Run libbpf and bpfload over the kernel's BPF selftests and compare them, program by program.

Prepares sources, a reference libbpf and the objects in a cache (see prepare.py), runs reference.c, runs `bpfload check -j`,
prints a table and each difference in a line, and fails if a difference has no entry in explained.toml. The reference is
run, not recorded, so that on a new kernel both sides change together.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from conformance.compare import Exception_, Result, compare
from conformance.prepare import HERE, Prepared, prepare, say

#: Seconds for one program; the slowest, a loop of a million instructions, takes about 15 on an idle machine, twice.
LIMIT = 120


@dataclass(frozen=True)
class Cost:
    """What a run cost: seconds of wall clock and of processor time (the kernel's verifier included), peak memory in MiB."""

    seconds: float = float("nan")
    processor: float = float("nan")
    peak: float = float("nan")


@dataclass(frozen=True)
class Measured:
    """What one side said and what it cost."""

    rows: list[dict[str, Any]]
    cost: Cost


def run_measured(command: Sequence[str | Path], output: Path) -> tuple[int, Cost]:
    """Run a command with its standard output in a file. Returns exit status and cost.

    The command gets a mount namespace with an empty bpffs at /sys/fs/bpf, so that no pin of this machine changes a result.
    """
    inside = 'mount -t bpf bpffs /sys/fs/bpf && exec "$@"'
    began = time.monotonic()
    with output.open("wb") as file:
        process = subprocess.Popen(["unshare", "--mount", "sh", "-c", inside, "sh", *command], stdout=file)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, Cost(time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def run_reference(prepared: Prepared, objects: list[Path], output: Path) -> Measured:
    """Run libbpf over the objects."""
    status, cost = run_measured([prepared.reference, "--seconds", str(LIMIT), *objects], output)
    if status:
        raise SystemExit(f"conformance: the reference failed: exit status {status}")
    return Measured([json.loads(line) for line in output.read_text().splitlines()], cost)


def run_bpfload(command: list[str], objects: list[Path], output: Path) -> Measured:
    """Run `bpfload check -j` over the objects; status 1 only says that some program failed."""
    status, cost = run_measured([*command, "check", "-j", *objects], output)
    try:
        rows = json.loads(output.read_text())
    except ValueError as error:
        raise SystemExit(f"conformance: {shlex.join(command)} check -j: exit status {status}, and no JSON: {error}") from None
    if not isinstance(rows, list):
        raise SystemExit(f"conformance: {shlex.join(command)} check -j: exit status {status}: {rows}")
    return Measured(rows, cost)


def read_exceptions() -> list[Exception_]:
    """Return the named exceptions of explained.toml that are for the running kernel."""
    listed = tomllib.loads((HERE / "explained.toml").read_text()).get("explained", [])
    entries = [entry for entry in listed if platform.release().startswith(entry.get("kernel", ""))]
    return [Exception_(e["object"], e["program"], e["reason"], tuple(e.get("fields", ()))) for e in entries]


def print_result(result: Result, objects: list[Path], reference: Measured, measured: Measured | None) -> None:
    """Print the differences, then the table."""
    for difference in [*result.explained, *result.unexplained]:
        print(("  " if difference.reason else "! ") + difference.line())
    for entry in result.unused:
        print(f"? {entry.object}:{entry.program}: the exception explains nothing (any more): {entry.reason}")
    counts = {
        "objects": len(objects),
        "programs": result.programs,
        "loaded by libbpf": result.ok_reference,
        "loaded by bpfload": result.ok,
        "equal": result.equal,
        "  of these loaded": result.ok_on_both,
        "too slow to compare": len(result.not_compared),
        "explained": len(result.explained),
        "unexplained": len(result.unexplained),
    }
    for title, count in counts.items():
        print(f"{title:<22}{count:>8}")
    if measured:
        print(f"{'':<22}{'libbpf':>10}{'bpfload':>10}{'ratio':>8}")
        for title, theirs, ours in (
            ("seconds", reference.cost.seconds, measured.cost.seconds),
            ("  of the processor", reference.cost.processor, measured.cost.processor),
            ("peak memory, MiB", reference.cost.peak, measured.cost.peak),
        ):
            print(f"{title:<22}{theirs:>10.1f}{ours:>10.1f}{ours / theirs:>8.2f}")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="conformance", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("pattern", nargs="*", help="only objects whose name (without .bpf.o) matches one of these")
    parser.add_argument("--objects", metavar="DIR", type=Path, help="take these instead, compiled for another kernel")
    parser.add_argument("--prepare-only", action="store_true", help="fill the cache and stop")
    parser.add_argument("--reference-only", action="store_true", help="run libbpf alone and say where its results are")
    parser.add_argument("--bpfload", metavar="COMMAND", help="the command to test (default: bpfload beside this Python)")
    parser.add_argument("--reference", metavar="FILE", type=Path, help="take libbpf's results from an earlier run")
    parser.add_argument("--output", metavar="DIR", type=Path, help="keep reference.jsonl and bpfload.json here")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare, run, compare. Returns the exit status."""
    options = parse(arguments)
    prepared = prepare(options.objects)
    for name, error in prepared.failed.items():
        say(f"{name} doesn't compile: {error}")
    patterns = options.pattern or ["*"]
    objects = [path for path in prepared.objects if any(fnmatchcase(path.name[:-6], pattern) for pattern in patterns)]
    if options.prepare_only or not objects:
        say(f"{len(objects)} objects in {prepared.objects[0].parent}")
        return 0 if objects else 2
    output = options.output or prepared.reference.parent / "results"
    output.mkdir(parents=True, exist_ok=True)
    if options.reference:
        names = {path.name for path in objects}
        rows = [json.loads(line) for line in options.reference.read_text().splitlines()]
        reference = Measured([row for row in rows if row["object"] in names], Cost())
    else:
        say(f"libbpf over {len(objects)} objects")
        reference = run_reference(prepared, objects, output / "reference.jsonl")
    if options.reference_only:
        say(f"{len(reference.rows)} programs in {reference.cost.seconds:.0f} s: {output / 'reference.jsonl'}")
        return 0
    command = shlex.split(options.bpfload) if options.bpfload else [str(Path(sys.executable).with_name("bpfload"))]
    say(f"bpfload over {len(objects)} objects")
    measured = run_bpfload(command, objects, output / "bpfload.json")
    result = compare(reference.rows, measured.rows, read_exceptions())
    if options.pattern:
        result.unused.clear()
    print_result(result, objects, reference, measured)
    return 1 if result.unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
