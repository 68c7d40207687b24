"""Attaching a loaded program to its hook: one file per hook, each with an `attach(program, spec, target) -> Attachment`.

A new hook is a new file and a row in `_BY_TYPE`, or in the SEC() table (`bpfload.elf.sections`) for what attaches by itself.
What a program is attached to comes from its SEC() where that says it, otherwise from a `Target`. An attachment is a BPF link
where the kernel has one for the hook; it ends with its last holder, or lives on as a pin. Where it has none, `fallback` holds
the older form.

::

    program      AttachableProgram: program.attach(), program.attach_xdp("eth0"), …
    target       Target, Order: where
    fallback     attachments that are no links: netlink, prog_attach, perf ioctl
    refusal      what all hooks say alike when the kernel refuses
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpfload.abi import consts
from bpfload.errors import UsageError
from bpfload.links.target import EVERY_PROCESS, Order, Target

if TYPE_CHECKING:
    from bpfload.objects.attachment import Attachment
    from bpfload.objects.base import KernelObject
    from bpfload.spec import ProgramSpec

__all__ = ["EVERY_PROCESS", "Order", "Target", "attach", "attach_to", "attaches_by_itself", "hook_of"]

# Program type, and where it takes one to tell, attach type: the hook, for programs whose SEC() names none.
_BY_TYPE: dict[int | tuple[int, int], str] = {
    (consts.BPF_PROG_TYPE_XDP, consts.BPF_XDP): "xdp",
    (consts.BPF_PROG_TYPE_XDP, 0): "xdp",
    consts.BPF_PROG_TYPE_KPROBE: "kprobe",
    (consts.BPF_PROG_TYPE_KPROBE, consts.BPF_TRACE_KPROBE_MULTI): "kprobe_multi",
    (consts.BPF_PROG_TYPE_KPROBE, consts.BPF_TRACE_KPROBE_SESSION): "kprobe_multi",
    (consts.BPF_PROG_TYPE_KPROBE, consts.BPF_TRACE_UPROBE_MULTI): "uprobe_multi",
    (consts.BPF_PROG_TYPE_KPROBE, consts.BPF_TRACE_UPROBE_SESSION): "uprobe_multi",
    consts.BPF_PROG_TYPE_TRACEPOINT: "tracepoint",
    consts.BPF_PROG_TYPE_PERF_EVENT: "perf_event",
    consts.BPF_PROG_TYPE_RAW_TRACEPOINT: "raw_tracepoint",
    consts.BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE: "raw_tracepoint",
    (consts.BPF_PROG_TYPE_TRACING, consts.BPF_TRACE_RAW_TP): "tracing",
    (consts.BPF_PROG_TYPE_TRACING, consts.BPF_TRACE_FENTRY): "tracing",
    (consts.BPF_PROG_TYPE_TRACING, consts.BPF_TRACE_FEXIT): "tracing",
    (consts.BPF_PROG_TYPE_TRACING, consts.BPF_TRACE_FSESSION): "tracing",
    (consts.BPF_PROG_TYPE_TRACING, consts.BPF_MODIFY_RETURN): "tracing",
    (consts.BPF_PROG_TYPE_TRACING, consts.BPF_TRACE_ITER): "iterator",
    (consts.BPF_PROG_TYPE_TRACING, consts.BPF_TRACE_FENTRY_MULTI): "tracing_multi",
    (consts.BPF_PROG_TYPE_TRACING, consts.BPF_TRACE_FEXIT_MULTI): "tracing_multi",
    (consts.BPF_PROG_TYPE_TRACING, consts.BPF_TRACE_FSESSION_MULTI): "tracing_multi",
    consts.BPF_PROG_TYPE_EXT: "freplace",
    (consts.BPF_PROG_TYPE_LSM, consts.BPF_LSM_MAC): "lsm",
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
    consts.BPF_PROG_TYPE_SCHED_CLS: "tc",
    (consts.BPF_PROG_TYPE_SCHED_CLS, consts.BPF_TCX_INGRESS): "tcx",
    (consts.BPF_PROG_TYPE_SCHED_CLS, consts.BPF_TCX_EGRESS): "tcx",
    (consts.BPF_PROG_TYPE_SCHED_CLS, consts.BPF_NETKIT_PRIMARY): "netkit",
    (consts.BPF_PROG_TYPE_SCHED_CLS, consts.BPF_NETKIT_PEER): "netkit",
    consts.BPF_PROG_TYPE_SK_MSG: "sockmap",
    consts.BPF_PROG_TYPE_SK_SKB: "sockmap",
    consts.BPF_PROG_TYPE_SOCKET_FILTER: "socket_filter",
    consts.BPF_PROG_TYPE_SK_REUSEPORT: "socket_filter",
    consts.BPF_PROG_TYPE_NETFILTER: "netfilter",
}

# Names in the SEC() table of hooks whose file has another name: several of them share a system call.
_FILES = {"iter": "iterator", "kprobe_session": "kprobe_multi"}


def hook_of(spec: ProgramSpec) -> str:
    """Return the name of the hook's module for a program, "" for one that is run otherwise (syscall, struct_ops, …)."""
    if spec.sec is not None and spec.sec.hook:
        return _FILES.get(spec.sec.hook, spec.sec.hook)
    return _BY_TYPE.get((spec.type, spec.attach_type)) or _BY_TYPE.get(spec.type, "")


def attaches_by_itself(spec: ProgramSpec) -> bool:
    """Whether SEC() names the hook in full, so that a program can be attached without being told where."""
    if spec.sec is not None and not spec.sec.attachable:
        return False
    return bool(spec.attach_target)


def attach(program: KernelObject, spec: ProgramSpec, target: Target | None = None) -> Attachment:
    """Attach a loaded program to its hook and return the attachment, which the caller owns.

    Raises UsageError where the hook isn't known or the target is incomplete, NotFoundError for a device or tracepoint that
    isn't there, KernelError where the kernel refuses, with the reason as far as it can be found.
    """
    name = hook_of(spec)
    if not name:
        raise UsageError(
            f'program {spec.name!r}: SEC("{spec.section}") programs have no hook to be attached to',
            hint="It can be loaded and pinned, and run by whatever uses it.",
        )
    return attach_to(name, program, spec, target or Target())


def attach_to(hook: str, program: KernelObject, spec: ProgramSpec, target: Target) -> Attachment:
    """Attach to the hook with that name: a module of this package."""
    from importlib import import_module

    attachment: Attachment = import_module(f"bpfload.links.{hook}").attach(program, spec, target)
    return attachment
