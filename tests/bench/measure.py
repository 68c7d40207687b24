"""What all benchmarks share: running two sides in turn, medians, a line for each."""

from __future__ import annotations

import contextlib
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple


class Times(NamedTuple):
    """Seconds: by the clock, and of processor time, which a busy machine changes less."""

    wall: float
    cpu: float = 0.0


def process_times(command: Sequence[str]) -> Times:
    """Run a command to its end, output thrown away."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    elapsed = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.decode(errors='replace').strip()}")
    return Times(elapsed, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def peak(command: Sequence[str]) -> int:
    """Return the largest resident size of a command, in KiB: asked of a process of its own, whose only child it is."""
    script = (
        "import resource, subprocess, sys;"
        "subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", script, *command], capture_output=True, text=True, check=True)
    return int(done.stdout)


def alternately(count: int, *sides: Callable[[], Times]) -> list[Times]:
    """Run the sides in turn, so that whatever else the machine does hits all alike; return the median of each."""
    times: list[list[Times]] = [[] for _ in sides]
    for side in sides:
        side()  # warms caches, on disk and in the kernel
    for _ in range(count):
        for side, taken in zip(sides, times, strict=True):
            taken.append(side())
    return [Times(*(statistics.median(column) for column in zip(*taken, strict=True))) for taken in times]


def ms(seconds: float) -> str:
    return f"{seconds * 1000:9.2f} ms"


def title(text: str) -> None:
    print(f"\n{text}", flush=True)


def row(name: str, times: Times, base: Times | None = None, wanted: str = "") -> None:
    ratio = f"  x {times.wall / base.wall:5.2f}" if base else " " * 9
    cpu = f"  cpu {ms(times.cpu)}" if times.cpu else ""
    cpu_ratio = f"  x {times.cpu / base.cpu:5.2f}" if base and base.cpu else " " * 9 if cpu else ""
    print(f"  {name:<44}{ms(times.wall)}{ratio}{cpu}{cpu_ratio}  {wanted}".rstrip(), flush=True)


@contextlib.contextmanager
def section(text: str) -> Iterator[None]:
    """Print a heading; what fails below it is said and doesn't stop the rest."""
    title(text)
    try:
        yield
    except Exception as error:
        print(f"  not measured: {type(error).__name__}: {error}", flush=True)
