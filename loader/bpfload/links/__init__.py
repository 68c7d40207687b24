"""Attaching a loaded program to its hook: one file per hook, each with an `attach(program, spec, target) -> Link`.

A new hook is a new file and a row in `_HOOKS`. What a link is attached to comes from the program's SEC() where that says it,
otherwise from a `Target`. All attachments are BPF links: they end with their last holder, or live on as a pin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bpfload.abi import consts
from bpfload.errors import UsageError

if TYPE_CHECKING:
    from bpfload.objects.base import KernelObject
    from bpfload.objects.link import Link
    from bpfload.spec import ProgramSpec

__all__ = ["Target", "attach", "attaches_by_itself", "hook_of"]


@dataclass(slots=True, eq=False)
class Target:
    """Where to attach, as far as the program's SEC() doesn't say it. Each hook reads what it needs.

    `device`: name of a network device (xdp, tcx). `mode`: of XDP: "auto" (the driver's choice), "native" or "generic". `name`:
    tracepoint, raw tracepoint. `cgroup`: path of a cgroup directory. `netns`: path of a network namespace, "" for the own one.
    `map_fd`: a sockmap, or the map that an iterator walks. `cookie`: a number that the program can ask for.
    """

    device: str = ""
    mode: str = "auto"
    name: str = ""
    cgroup: str = ""
    netns: str = ""
    map_fd: int = -1
    cookie: int = 0


# Program type, and where it takes one to tell, attach type: the module of the hook. A type alone is the default of its kind.
_HOOKS: dict[int | tuple[int, int], str] = {
    (consts.BPF_PROG_TYPE_XDP, consts.BPF_XDP): "xdp",
    (consts.BPF_PROG_TYPE_XDP, 0): "xdp",
    consts.BPF_PROG_TYPE_RAW_TRACEPOINT: "raw_tracepoint",
    consts.BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE: "raw_tracepoint",
    (consts.BPF_PROG_TYPE_TRACING, consts.BPF_TRACE_RAW_TP): "tracing",
    (consts.BPF_PROG_TYPE_TRACING, consts.BPF_TRACE_FENTRY): "tracing",
    (consts.BPF_PROG_TYPE_TRACING, consts.BPF_TRACE_FEXIT): "tracing",
    (consts.BPF_PROG_TYPE_TRACING, consts.BPF_MODIFY_RETURN): "tracing",
    (consts.BPF_PROG_TYPE_TRACING, consts.BPF_TRACE_ITER): "iterator",
    consts.BPF_PROG_TYPE_EXT: "tracing",
    (consts.BPF_PROG_TYPE_LSM, consts.BPF_LSM_MAC): "tracing",
    (consts.BPF_PROG_TYPE_LSM, consts.BPF_LSM_CGROUP): "cgroup",
    consts.BPF_PROG_TYPE_CGROUP_SKB: "cgroup",
    consts.BPF_PROG_TYPE_CGROUP_SOCK: "cgroup",
    consts.BPF_PROG_TYPE_CGROUP_SOCK_ADDR: "cgroup",
    consts.BPF_PROG_TYPE_CGROUP_SOCKOPT: "cgroup",
    consts.BPF_PROG_TYPE_CGROUP_SYSCTL: "cgroup",
    consts.BPF_PROG_TYPE_CGROUP_DEVICE: "cgroup",
    consts.BPF_PROG_TYPE_SOCK_OPS: "cgroup",
    consts.BPF_PROG_TYPE_FLOW_DISSECTOR: "netns",
    consts.BPF_PROG_TYPE_SK_LOOKUP: "netns",
    (consts.BPF_PROG_TYPE_SCHED_CLS, consts.BPF_TCX_INGRESS): "tcx",
    (consts.BPF_PROG_TYPE_SCHED_CLS, consts.BPF_TCX_EGRESS): "tcx",
    consts.BPF_PROG_TYPE_SK_MSG: "sockmap",
    consts.BPF_PROG_TYPE_SK_SKB: "sockmap",
}

# Hooks that are named in full by SEC(): a load attaches these programs without being told where.
_BY_THEMSELVES = frozenset(("raw_tracepoint",))


def hook_of(spec: ProgramSpec) -> str:
    """Return the name of the hook's module for a program, "" for one that bpfload can't attach."""
    return _HOOKS.get((spec.type, spec.attach_type)) or _HOOKS.get(spec.type, "")


def attaches_by_itself(spec: ProgramSpec) -> bool:
    """Whether SEC() names the hook in full, so that loading the program by the command attaches it too."""
    return bool(spec.attach_target) and hook_of(spec) in _BY_THEMSELVES


def attach(program: KernelObject, spec: ProgramSpec, target: Target | None = None) -> Link:
    """Attach a loaded program to its hook and return the link, which the caller owns.

    Raises UsageError where the hook isn't known or the target is incomplete, NotFoundError for a device or tracepoint that
    isn't there, KernelError where the kernel refuses, with the reason as far as it can be found.
    """
    from importlib import import_module

    name = hook_of(spec)
    if not name:
        raise UsageError(
            f'program {spec.name!r}: SEC("{spec.section}") programs can\'t be attached by bpfload yet',
            hint="It can be loaded and pinned without being attached.",
        )
    link: Link = import_module(f"bpfload.links.{name}").attach(program, spec, target or Target())
    return link
