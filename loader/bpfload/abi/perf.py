"""The names of perf's events, and their numbers.

Source: enum perf_type_id, perf_hw_id, perf_sw_ids, perf_hw_cache_id and its two companions in include/uapi/linux/perf_event.h;
the names are those of perf-list(1).
"""

from __future__ import annotations

#: By enum perf_type_id.
TYPES = ("hardware", "software", "tracepoint", "hw-cache", "raw", "breakpoint")
TYPE_HARDWARE, TYPE_SOFTWARE, TYPE_TRACEPOINT, TYPE_CACHE, TYPE_RAW, TYPE_BREAKPOINT = range(6)

#: By enum perf_hw_id.
HARDWARE = (
    "cpu-cycles",
    "instructions",
    "cache-references",
    "cache-misses",
    "branch-instructions",
    "branch-misses",
    "bus-cycles",
    "stalled-cycles-frontend",
    "stalled-cycles-backend",
    "ref-cycles",
)

#: By enum perf_sw_ids.
SOFTWARE = (
    "cpu-clock",
    "task-clock",
    "page-faults",
    "context-switches",
    "cpu-migrations",
    "minor-faults",
    "major-faults",
    "alignment-faults",
    "emulation-faults",
    "dummy",
    "bpf-output",
    "cgroup-switches",
)

#: A cache event's config: bits 0 to 7 the cache, 8 to 15 the operation, 16 to 23 the result.
CACHES = ("L1-dcache", "L1-icache", "LLC", "dTLB", "iTLB", "branch", "node")
CACHE_OPERATIONS = ("load", "store", "prefetch")
CACHE_RESULTS = ("refs", "misses")

_ALIASES = {
    TYPE_HARDWARE: {"cycles": 0, "branches": 4, "idle-cycles-frontend": 7, "idle-cycles-backend": 8},
    TYPE_SOFTWARE: {"faults": 2, "cs": 3, "migrations": 4},
}


def events(kind: int) -> dict[str, int]:
    """Return the events of a type that have names, and their config."""
    if kind == TYPE_CACHE:
        return _cache_events()
    names = {TYPE_HARDWARE: HARDWARE, TYPE_SOFTWARE: SOFTWARE}.get(kind, ())
    return {name: config for config, name in enumerate(names)} | _ALIASES.get(kind, {})


def _cache_events() -> dict[str, int]:
    """Name cache events as perf does ("LLC-loads", "LLC-load-misses") and as bpftool does ("LLC-load-refs")."""
    found = {}
    for cache, cache_name in enumerate(CACHES):
        for operation, word in enumerate(CACHE_OPERATIONS):
            config = cache | operation << 8
            plural = f"{word}es" if word.endswith("h") else f"{word}s"
            found[f"{cache_name}-{plural}"] = config
            for result, end in enumerate(CACHE_RESULTS):
                found[f"{cache_name}-{word}-{end}"] = config | result << 16
    return found
