"""What this process is allowed to, and which right a refused call was missing.

Source: include/uapi/linux/capability.h; bpf_prog_load(), map_create() and bpf_token_capable() in kernel/bpf.
"""

from __future__ import annotations

import os

from bpfload.abi.consts import CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON, CAP_SYS_ADMIN

NAMES = {
    CAP_NET_ADMIN: "CAP_NET_ADMIN",
    CAP_SYS_ADMIN: "CAP_SYS_ADMIN",
    CAP_PERFMON: "CAP_PERFMON",
    CAP_BPF: "CAP_BPF",
}

# is_net_admin_prog_type() and is_perfmon_prog_type() in kernel/bpf/syscall.c: numbers of enum bpf_prog_type.
_NET_ADMIN_TYPES = frozenset((3, 4, 6, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19, 22, 23, 25, 28, 32))
_PERFMON_TYPES = frozenset((2, 5, 7, 17, 24, 26, 27, 28, 29))


def effective() -> int:
    """Return the effective capabilities of this process as a bit mask."""
    with open("/proc/self/status", encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("CapEff:"):
                return int(line.split()[1], 16)
    return 0


def missing(*wanted: int) -> list[int]:
    """Return those of `wanted` that this process lacks: none of them if it has CAP_SYS_ADMIN, which stands in for each."""
    mask = effective()
    if mask >> CAP_SYS_ADMIN & 1:
        return []
    return [number for number in wanted if not mask >> number & 1]


def needed_for_program(prog_type: int) -> tuple[int, ...]:
    """Return the capabilities that loading a program of that type takes (enum bpf_prog_type; 0: unknown)."""
    needed = [CAP_BPF]
    if prog_type in _PERFMON_TYPES:
        needed.append(CAP_PERFMON)
    if prog_type in _NET_ADMIN_TYPES:
        needed.append(CAP_NET_ADMIN)
    return tuple(needed)


def permission_hint(*wanted: int) -> str:
    """Return why the kernel may have answered EPERM to a BPF call that takes the capabilities `wanted`, and the remedy."""
    lacking = missing(*(wanted or (CAP_BPF,)))
    if lacking:
        names = " and ".join(NAMES.get(number, str(number)) for number in lacking)
        verb, those = ("is", "that capability") if len(lacking) == 1 else ("are", "these capabilities")
        who = "" if os.geteuid() == 0 else " (this process isn't root)"
        return f"{names} {verb} missing{who}. Run it as root, or with {those}."
    limit = _locked_memory_limit()
    if limit is not None:
        return f"This kernel counts BPF against RLIMIT_MEMLOCK, which is {limit >> 10} KiB here: raise it (ulimit -l unlimited)."
    if in_other_user_namespace():
        return "This process is in a user namespace of its own; its capabilities don't count for BPF there without a BPF token."
    mode = lockdown()
    if mode not in ("", "none"):
        return f"The kernel is locked down ({mode}): it lets nobody read kernel memory through BPF."
    return "All capabilities are there: seccomp, a container's policy or a security module (dmesg says which) refused it."


def _locked_memory_limit() -> int | None:
    """Return RLIMIT_MEMLOCK in bytes; None where there is no limit, or the kernel (since 5.11) doesn't count by it."""
    import resource

    from bpfload.syscall import bpf_call

    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    return limit if limit != resource.RLIM_INFINITY and bpf_call.counts_locked_memory() else None


def lockdown() -> str:
    """Return the kernel's lockdown mode: "none", "integrity", "confidentiality", or "" where it can't be read."""
    try:
        with open("/sys/kernel/security/lockdown", encoding="utf-8") as file:
            text = file.read()
    except OSError:
        return ""
    return text.partition("[")[2].partition("]")[0]


def in_other_user_namespace() -> bool:
    """Whether root here isn't root of the machine: the initial user namespace maps every uid to itself."""
    try:
        with open("/proc/self/uid_map", encoding="utf-8") as file:
            return file.read().split() != ["0", "0", "4294967295"]
    except OSError:
        return False


def drop_for_bpf() -> None:
    """Go on without the capabilities that BPF asks for. Raises OSError."""
    from bpfload.syscall.caps import drop_effective

    drop_effective(NAMES)
