"""The machine's processors, as the kernel counts them for per-CPU maps."""

from __future__ import annotations

_possible = 0


def possible() -> int:
    """Return the number of CPUs that there can be: a per-CPU map has so many values at a key.

    Source: /sys/devices/system/cpu/possible; num_possible_cpus() in include/linux/cpumask.h.
    """
    global _possible
    if not _possible:
        with open("/sys/devices/system/cpu/possible", encoding="ascii") as file:
            _possible = parse_list(file.read())
    return _possible


def online() -> list[int]:
    """Return the numbers of the CPUs that run now."""
    with open("/sys/devices/system/cpu/online", encoding="ascii") as file:
        text = file.read().strip()
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def parse_list(text: str) -> int:
    """Return one more than the highest CPU of a list such as "0-3,8"."""
    return 1 + max(int(part.rpartition("-")[2]) for part in text.strip().split(","))
