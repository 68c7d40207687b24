"""Perf's own events: SEC("perf_event") programs, run each so many events or so many times a second.

Source: perf_event_open(2); perf_event_set_bpf_handler() in kernel/events/core.c; perf-list(1) for the names.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from bpfload.abi import perf as names
from bpfload.errors import KernelError, NotFoundError, UsageError, near
from bpfload.links import perf as events
from bpfload.syscall import perf

if TYPE_CHECKING:
    from bpfload.links.target import Target
    from bpfload.objects.attachment import Attachment
    from bpfload.objects.base import KernelObject
    from bpfload.spec import ProgramSpec


def attach(program: KernelObject, spec: ProgramSpec, target: Target) -> Attachment:
    """Attach to the event `target.event_type`, `target.event_config`, sampled by `sample_period` or `sample_frequency`.

    `pid` -1 and `cpu` -1: every process, by an event on each CPU that is on; `pid` 0: this process.
    """
    kind, config = event(target.event_type, target.event_config)
    if bool(target.sample_period) == bool(target.sample_frequency):
        problem = "either or, not both" if target.sample_period else "nothing says how often the program is to be run"
        raise UsageError(
            f"program {spec.name!r}: {problem}",
            hint="Give sample_period (events between two runs) or sample_frequency (runs a second).",
        )
    cpus = [target.cpu]
    if target.pid < 0 and target.cpu < 0:
        from bpfload.kernel.cpus import online

        cpus = online()
    attaching = f"attaching program {spec.name!r} to perf event {target.event_type or kind} {target.event_config}".rstrip()

    def one(number: int) -> Attachment:
        try:
            fd = perf.perf_event_open(
                kind,
                config,
                sample_period=target.sample_period,
                sample_frequency=target.sample_frequency,
                pid=max(target.pid, -1),
                cpu=cpus[number],
            )
        except KernelError as error:
            hint = _hint(error, kind, target)
            raise events.open_error(error, attaching, pid=target.pid, hint=hint) from None
        return events.attach_event(program, fd, attaching, cookie=target.cookie, link=target.link)

    from bpfload.links.composite import attach_all

    return attach_all(one, len(cpus))


def event(kind: str | int, config: str | int) -> tuple[int, int]:
    """Return (type, config) of an event in perf's words or numbers. Raises NotFoundError with near matches, UsageError.

    Types: "hardware", "software", "tracepoint" ("category/name"), "hw-cache" ("LLC-load-misses"), "raw" and "breakpoint"
    (numbers), or a PMU of /sys/bus/event_source/devices with a number. An event of the first, second or fourth may go
    without its type.
    """
    if config == "":
        raise UsageError("no perf event is named", hint='For example the type "software" and the event "cpu-clock".')
    number = _number(config)
    if kind == "":
        if number is not None:
            raise UsageError(
                f"perf event {config} without its type", hint=f"Types are {', '.join(names.TYPES)}, or their numbers."
            )
        kind = _type_of(str(config))
    code = _type(kind)
    if number is not None:
        return code, number
    if code == names.TYPE_TRACEPOINT:
        from bpfload.kernel import tracefs

        category, _, name = str(config).replace(":", "/").partition("/")
        return code, tracefs.event_id(category, name)
    known = names.events(code)
    if config not in known:
        raise NotFoundError(
            f"no {kind} event {config!r}",
            candidates=near(str(config), known),
            hint="" if near(str(config), known) else f"Events are {', '.join(known)}." if known else "Such events are numbers.",
        )
    return code, known[str(config)]


def _number(value: str | int) -> int | None:
    if isinstance(value, int):
        return value
    try:
        return int(value, 0)
    except ValueError:
        return None


def _type(kind: str | int) -> int:
    number = _number(kind)
    if number is not None:
        return number
    if kind in names.TYPES:
        return names.TYPES.index(str(kind))
    found = events.device_type(str(kind)) if "/" not in str(kind) else None
    if found is None:
        known = [*names.TYPES, *_devices()]
        raise NotFoundError(
            f"no type of perf events {kind!r}",
            candidates=near(str(kind), known),
            hint="" if near(str(kind), known) else f"Types are {', '.join(known)}.",
        )
    return found


def _devices() -> list[str]:
    try:
        return sorted(os.listdir("/sys/bus/event_source/devices"))
    except OSError:
        return []


def _type_of(config: str) -> int:
    kinds = (names.TYPE_HARDWARE, names.TYPE_SOFTWARE, names.TYPE_CACHE)
    for kind in kinds:
        if config in names.events(kind):
            return kind
    known = [name for kind in kinds for name in names.events(kind)]
    raise NotFoundError(f"no perf event {config!r}", candidates=near(config, known), hint="")


def _hint(error: KernelError, kind: int, target: Target) -> str:
    if error.errno in (errno.ENOENT, errno.EOPNOTSUPP, errno.ENODEV):
        if kind in (names.TYPE_HARDWARE, names.TYPE_CACHE, names.TYPE_RAW):
            return (
                "This machine doesn't count it: virtual machines often have no counters of the processor's. Try software events."
            )
        return "The kernel has no such event, or it can't be sampled."
    if error.errno == errno.EINVAL:
        limit = _frequency_limit()
        if limit and target.sample_frequency > limit:
            return f"kernel.perf_event_max_sample_rate allows at most {limit} runs a second."
        if target.cpu >= 0:
            return f"Is there a CPU {target.cpu}, and is it on?"
    return ""


def _frequency_limit() -> int:
    try:
        with open("/proc/sys/kernel/perf_event_max_sample_rate", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 0
