"""Tracing's file system: events, their ids, the pipe; and the kernel's raw tracepoints, which BTF knows as well."""

from __future__ import annotations

import errno
import os

from bpfload.errors import NotFoundError, near
from bpfload.kernel import mounts

PLACES = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
_BTF = "/sys/kernel/btf"


def find() -> str | None:
    """Return where tracefs is mounted, or None."""
    for place in PLACES:
        if mounts.is_tracefs(place):
            return place
    others = mounts.mount_points("tracefs")
    return others[0] if others else None


def ensure() -> str:
    """Return where tracefs is mounted; mount it at its usual place if it isn't. Raises NotFoundError where that fails."""
    place = find()
    if place is not None:
        return place
    try:
        mounts.mount_tracefs(PLACES[0])
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise NotFoundError(
            f"tracefs is not mounted, and can't be mounted at {PLACES[0]}: {reason}",
            hint=f"Mount it: mount -t tracefs tracefs {PLACES[0]}",
            errno_code=error.errno or errno.EINVAL,
        ) from error
    return PLACES[0]


def available_events() -> list[tuple[str, str]]:
    """Return the (category, name) of every trace event; empty where tracefs isn't mounted or may not be read."""
    place = find()
    if place is None:
        return []
    try:
        with open(f"{place}/available_events", encoding="utf-8") as file:
            lines = [line.strip().partition(":") for line in file]
    except OSError:
        return []
    return [(category, name) for category, _, name in lines]


def event_id(category: str, name: str) -> int:
    """Return the number by which perf_event_open(2) knows a trace event. Raises NotFoundError with near matches."""
    place = ensure()
    try:
        with open(f"{place}/events/{category}/{name}/id", encoding="utf-8") as file:
            return int(file.read())
    except FileNotFoundError:
        known = [f"{known_category}/{known_name}" for known_category, known_name in available_events()]
        raise NotFoundError(
            f"this kernel has no tracepoint '{category}/{name}'", candidates=near(f"{category}/{name}", known)
        ) from None


def traceable_functions(module: str | None = "") -> set[str]:
    """Return the names of the functions that ftrace can trace; empty where it can't tell.

    `module`: those of one module, "" those of the kernel proper, None all.

    Source: available_filter_functions in Documentation/trace/ftrace.rst: a name a line, a module's with ``[module]`` behind it.
    """
    place = find()
    if place is None:
        return set()
    mark = f"[{module}]" if module else ""
    try:
        with open(f"{place}/available_filter_functions", encoding="utf-8", errors="replace") as file:
            rows = (line.split() for line in file)
            return {row[0] for row in rows if row and (module is None or (row[1] if len(row) > 1 else "") == mark)}
    except OSError:
        return set()


def traceable_addresses() -> list[tuple[int, str]]:
    """Return (address, name) of every function that ftrace can trace (Linux 6.5); empty where it can't tell.

    Source: available_filter_functions_addrs in Documentation/trace/ftrace.rst: an address, a name, and a module's name.
    """
    place = find()
    if place is None:
        return []
    try:
        with open(f"{place}/available_filter_functions_addrs", encoding="utf-8", errors="replace") as file:
            rows = (line.split() for line in file)
            return [(int(row[0], 16), row[1]) for row in rows if len(row) > 1]
    except (OSError, ValueError):
        return []


def raw_tracepoints() -> list[str]:
    """Return the names of the kernel's raw tracepoints, modules' included, sorted.

    They are taken from the `btf_trace_NAME` types of the kernel's BTF, which needs no tracefs; where there is no BTF, from the
    trace events (most of which are called as their raw tracepoint; those of system calls aren't).
    """
    import re

    names: set[str] = set()
    pattern = re.compile(rb"\0btf_trace_(\w+)(?=\0)")
    try:
        files = sorted(os.listdir(_BTF))
    except OSError:
        files = []
    for file in files:
        try:
            with open(f"{_BTF}/{file}", "rb") as stream:
                names.update(name.decode() for name in pattern.findall(stream.read()))
        except OSError:
            continue
    if not names:
        names.update(name for category, name in available_events() if category != "syscalls")
    return sorted(names)
