"""System calls, by the kernel's function for them: SEC("ksyscall/NAME"), SEC("kretsyscall/NAME").

Source: bpf_program__attach_ksyscall() in tools/lib/bpf/libbpf.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpfload.errors import NotFoundError, UsageError, near
from bpfload.kernel import kallsyms, syscalls
from bpfload.links import kprobe

if TYPE_CHECKING:
    from bpfload.links.target import Target
    from bpfload.objects.attachment import Attachment
    from bpfload.objects.base import KernelObject
    from bpfload.spec import ProgramSpec


def attach(program: KernelObject, spec: ProgramSpec, target: Target) -> Attachment:
    """Attach to the system call `target.name`, else to the one that SEC() names, or to its return."""
    name = target.name or spec.attach_target
    if not name or not name.isidentifier():
        what = f"{name!r} is no system call" if name else f'SEC("{spec.section}") names no system call'
        raise UsageError(f"program {spec.name!r}: {what}", hint="The form is ksyscall/NAME, for example ksyscall/unlinkat.")
    try:
        return kprobe.attach_at(program, spec, target, syscalls.function(name))
    except NotFoundError:
        prefix = syscalls.function("")
        known = [each.removeprefix(prefix) for each in kallsyms.load().function_names() if each.startswith(prefix)]
        raise NotFoundError(
            f"this kernel has no system call {name!r}",
            candidates=near(name, known),
            hint="" if near(name, known) else f"It would be the function {prefix}{name}, without such a prefix in SEC().",
        ) from None
