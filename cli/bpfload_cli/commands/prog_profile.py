"""`bpfload prog profile`: what the processor does while a program runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress

from bpfload.inspect.profile import METRICS, MOST_METRICS, Metric, Profiler, Reading
from bpfload_cli.grammar import Words
from bpfload_cli.selecting import one_program
from bpfload_cli.session import Session

_NAMES = tuple(metric.name for metric in METRICS)
_LONG = 86_400.0


def profile(session: Session, words: Words) -> None:
    """Count metrics while a program runs, for some seconds or until interrupted, and show them."""
    with ExitStack() as stack:
        program = one_program(words, stack)
        seconds = words.number("the number of seconds") if len(words) > 2 and words.accept("duration") else None
        metrics = _metrics(words)
        with Profiler(program, metrics) as profiler:
            with suppress(KeyboardInterrupt):
                _wait(seconds)
            readings = profiler.read()
    if session.json:
        session.data(readings)
    else:
        session.write(text_of(readings, metrics))


def _metrics(words: Words) -> list[Metric]:
    """Read the metrics' names, in whatever order; return them in theirs."""
    wanted = {words.keyword(_NAMES, "a metric")}
    while words:
        wanted.add(words.keyword(_NAMES, "a metric"))
    if len(wanted) > MOST_METRICS:
        raise words.error(f"{len(wanted)} metrics are too many: at most {MOST_METRICS} can be counted at a time")
    return [metric for metric in METRICS if metric.name in wanted]


def _wait(seconds: int | None) -> None:
    """Sleep so long; for ever without a number."""
    if seconds is not None:
        time.sleep(seconds)
        return
    while True:
        time.sleep(_LONG)


def text_of(readings: Sequence[Reading], metrics: Sequence[Metric]) -> str:
    """Return readings as bpftool prints them: each with its ratio to another, and the part of the time it was counted in."""
    values = {reading.metric: reading.value for reading in readings}
    lines = [f"\n{readings[0].run_cnt:18} {'run_cnt':<20}\n"]
    for reading, metric in zip(readings, metrics, strict=True):
        base = values.get(metric.ratio_to, 0)
        ratio = f"# {reading.value * metric.factor / base:8.2f} {metric.ratio:<30}" if base > 0 else " " * 41
        share = f"({reading.running * 100 / reading.enabled:4.2f}%)" if reading.enabled > reading.running else ""
        lines.append(f"{reading.value:18} {reading.metric:<20}{ratio}{share}\n")
    return "".join(lines)
