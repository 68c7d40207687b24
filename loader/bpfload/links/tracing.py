"""Programs verified for one place in the kernel: tp_btf, fentry, fexit, fmod_ret, fsession, lsm, freplace.

The place is part of the program since it was loaded, so attaching names none.

Source: bpf_tracing_prog_attach() and bpf_raw_tracepoint_open() in kernel/bpf/syscall.c.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from bpfload.errors import KernelError
from bpfload.objects.link import Link
from bpfload.syscall import bpf

if TYPE_CHECKING:
    from bpfload.links import Target
    from bpfload.objects.base import KernelObject
    from bpfload.spec import ProgramSpec


def attach(program: KernelObject, spec: ProgramSpec, target: Target) -> Link:
    """Attach where the program was verified for."""
    try:
        return Link(bpf.raw_tracepoint_open(program.fd, "", target.cookie))
    except KernelError as error:
        from bpfload.abi.consts import CAP_BPF, CAP_PERFMON
        from bpfload.links.refusal import refused

        hint = ""
        if error.errno == errno.EBUSY:
            hint = "The function has as many programs as it takes, or ftrace has no room at its entry."
        what = f"attaching program {spec.name!r} to {spec.attach_target or 'its target'}"
        raise refused(error, what, CAP_BPF, CAP_PERFMON, hint=hint) from None
