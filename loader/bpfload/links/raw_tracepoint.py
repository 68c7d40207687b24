"""Raw tracepoints: SEC("raw_tp/NAME"), SEC("raw_tracepoint/NAME"), and the writable kind.

Source: bpf_raw_tp_link_attach() in kernel/bpf/syscall.c.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from bpfload.errors import KernelError, NotFoundError, NotSupportedError, UsageError, near
from bpfload.objects.link import Link
from bpfload.syscall import bpf

if TYPE_CHECKING:
    from bpfload.links import Target
    from bpfload.objects.base import KernelObject
    from bpfload.spec import ProgramSpec


def attach(program: KernelObject, spec: ProgramSpec, target: Target) -> Link:
    """Attach to the raw tracepoint `target.name`, else to the one that SEC() names."""
    name = target.name or spec.attach_target
    if not name:
        raise UsageError(
            f'program {spec.name!r}: SEC("{spec.section}") names no tracepoint to attach to',
            hint="Name one with --attach NAME, for example --attach sys_enter.",
        )
    try:
        return Link(bpf.raw_tracepoint_open(program.fd, name, target.cookie))
    except KernelError as error:
        raise _explain(error, spec, name, target.cookie) from None


def _lacks_cookies() -> bool:
    from bpfload.kernel import version

    return version.code() < version.encode(6, 10, 0)


def _explain(error: KernelError, spec: ProgramSpec, name: str, cookie: int) -> KernelError | NotFoundError:
    if error.errno == errno.ENOENT:
        from bpfload.kernel import tracefs

        # Trace events are written category/name or category:name; raw tracepoints have no category.
        bare = name.replace(":", "/").rpartition("/")[2]
        known = tracefs.raw_tracepoints()
        candidates = (bare,) if bare != name and bare in known else near(bare, known)
        return NotFoundError(
            f"program {spec.name!r}: this kernel has no raw tracepoint {name!r}",
            candidates=candidates,
            hint="" if candidates else "The events in /sys/kernel/tracing/events (but for those of syscalls/) have such names.",
        )
    hint = ""
    if error.errno == errno.EINVAL and cookie and _lacks_cookies():
        feature = "cookies for raw tracepoints"
        return NotSupportedError(feature, since="6.10", call=error.call, errno=errno.EINVAL, hint="Attach it without a cookie.")
    if error.errno == errno.EINVAL:
        hint = f"It reads more arguments than the tracepoint {name} has, or writes to it, which that tracepoint doesn't allow."
    elif error.errno == errno.EEXIST:
        hint = "This program is attached there already, or has just been taken off: the kernel does that a little later."
    from bpfload.abi.consts import CAP_BPF, CAP_PERFMON
    from bpfload.links.refusal import refused

    return refused(error, f"attaching program {spec.name!r} to raw tracepoint {name}", CAP_BPF, CAP_PERFMON, hint=hint)
