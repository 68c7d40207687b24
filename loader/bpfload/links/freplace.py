"""freplace: a program in the place of a function of another program.

It is loaded for one function of one program; since Linux 5.10 it may be attached to others with the same arguments as well,
one after the other or, loaded once for each, side by side. Such a link can be neither updated nor detached: close it, and attach
another program.

Source: bpf_tracing_prog_attach() in kernel/bpf/syscall.c, bpf_check_attach_target() in kernel/bpf/verifier.c.
"""

from __future__ import annotations

import errno
from struct import pack
from typing import TYPE_CHECKING

from bpfload.abi import consts
from bpfload.errors import KernelError, UsageError
from bpfload.objects.link import Link
from bpfload.syscall import bpf

if TYPE_CHECKING:
    from bpfload.links.target import Target
    from bpfload.objects.base import KernelObject
    from bpfload.spec import ProgramSpec


def attach(program: KernelObject, spec: ProgramSpec, target: Target) -> Link:
    """Replace what the program was loaded for; or of `target.program_fd` the function `target.function`, else that in SEC()."""
    if target.program_fd < 0:
        if target.function:
            message = f"program {spec.name!r}: a function {target.function!r} of which program?"
            raise UsageError(message, hint="Name the program whose function is to be replaced.")
        return _attached(program, spec, target, 0, 0, "what it was loaded for")
    name = target.function or spec.attach_target
    if not name:
        raise UsageError(f"program {spec.name!r}: no function to replace", hint="Name one of the other program's functions.")
    from bpfload.objects.functions import function_id

    ident = function_id(target.program_fd, name)
    return _attached(program, spec, target, target.program_fd, ident, f"function {name!r}")


def _attached(program: KernelObject, spec: ProgramSpec, target: Target, other: int, ident: int, where: str) -> Link:
    try:
        if other or target.cookie:
            return Link(bpf.link_create(program.fd, other, 0, extra=pack("=I4xQ", ident, target.cookie)))
        return Link(bpf.raw_tracepoint_open(program.fd))
    except KernelError as error:
        from bpfload.links.refusal import refused

        what = f"putting program {spec.name!r} in the place of {where}"
        raise refused(error, what, consts.CAP_BPF, consts.CAP_PERFMON, hint=_hint(error, other)) from None


def _hint(error: KernelError, other: int) -> str:
    if error.errno in (errno.EINVAL, errno.ENOENT) and not other:  # ENOENT before Linux 5.13
        return "It was attached before: since then it must be told which program's function to replace."
    if error.errno == errno.EINVAL:
        return "The function must be global, of the same arguments, and its program of the type that this one was loaded for."
    if error.errno == errno.EBUSY:
        return "The function is replaced already, is traced by fentry or fexit, or its program is in a map for tail calls."
    return ""
