"""Programs verified for one place in the kernel: tp_btf, fentry, fexit, fmod_ret, fsession, lsm.

The place is part of the program since it was loaded, so attaching names none. Such a link can be neither updated nor detached:
it ends with its last holder.

Source: bpf_tracing_prog_attach(), bpf_raw_tp_link_attach() and bpf_raw_tracepoint_open() in kernel/bpf/syscall.c,
bpf_trampoline_link_prog() in kernel/bpf/trampoline.c.
"""

from __future__ import annotations

import errno
from struct import pack
from typing import TYPE_CHECKING

from bpfload.abi import consts
from bpfload.errors import ENOTSUPP, KernelError, NotSupportedError
from bpfload.objects.link import Link
from bpfload.syscall import bpf

if TYPE_CHECKING:
    from bpfload.links.target import Target
    from bpfload.objects.base import KernelObject
    from bpfload.spec import ProgramSpec

_HINTS = {
    errno.EEXIST: "This program is attached there already, or has just been taken off: the kernel does that a little later.",
    errno.EBUSY: "It is attached there already, or a program that is replaced by another (freplace) can't be traced as well.",
    errno.E2BIG: "The function has as many programs as it takes: 38.",
    ENOTSUPP: "This kernel can't trace functions on this architecture.",
    errno.ENODEV: "ftrace has no room at the function's entry: something else has patched it.",
}


def attach(program: KernelObject, spec: ProgramSpec, target: Target) -> Link:
    """Attach where the program was verified for. `target.cookie`: Linux 5.19, for tp_btf Linux 6.10."""
    try:
        return Link(_attached(program.fd, spec, target))
    except KernelError as error:
        raise explain(error, spec, target.cookie) from None


def _attached(fd: int, spec: ProgramSpec, target: Target) -> int:
    """Attach and return the link's fd: without a cookie by the call that every kernel has."""
    if not target.cookie:
        return bpf.raw_tracepoint_open(fd)
    attach_type = target.attach_type if target.attach_type >= 0 else spec.attach_type
    return bpf.link_create(fd, 0, attach_type, extra=pack("=I4xQ", 0, target.cookie))


def explain(error: KernelError, spec: ProgramSpec, cookie: int = 0) -> KernelError:
    """Return a refusal in terms of the program and what it was to be attached to."""
    from bpfload.links.refusal import refused

    where = spec.attach_target or "what it was loaded for"
    if cookie and error.errno == errno.EINVAL:
        unsupported = _without_cookies(error, spec)
        if unsupported is not None:
            return unsupported
    hint = _HINTS.get(error.errno or 0, "")
    if error.errno == errno.ENOENT and _attaches_once():
        hint = "It was attached before: Linux before 5.13 attaches such a program only once. Load it again."
    return refused(error, f"attaching program {spec.name!r} to {where}", consts.CAP_BPF, consts.CAP_PERFMON, hint=hint)


def _attaches_once() -> bool:
    """Whether this kernel forgets what a program was verified for once it was attached there."""
    from bpfload.kernel import version

    return version.code() < version.encode(5, 13, 0)


def _without_cookies(error: KernelError, spec: ProgramSpec) -> NotSupportedError | None:
    from bpfload.kernel import version

    major, minor = (6, 10) if spec.attach_type == consts.BPF_TRACE_RAW_TP else (5, 19)
    if version.code() >= version.encode(major, minor, 0):
        return None
    what = f'cookies for SEC("{spec.section}") programs'
    return NotSupportedError(
        what, since=f"{major}.{minor}", call=error.call, errno=errno.EINVAL, hint="Attach it without a cookie."
    )
