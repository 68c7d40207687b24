"""The BTF id that a program attaches to: a function, tracepoint, LSM hook or iterator of the kernel, or of a program.

Source: libbpf_find_attach_btf_id() and find_kernel_btf_id() in tools/lib/bpf/libbpf.c.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from bpfload.abi import consts
from bpfload.btf.types import KIND_FUNC, KIND_TYPEDEF
from bpfload.errors import LinkError, NotFoundError
from bpfload.spec import ProgramSpec

if TYPE_CHECKING:
    from bpfload.btf import Btf
    from bpfload.load.session import Session

#: How the kernel's BTF names a target, by expected attach type: prefix and kind. Functions have none.
_FORMS = {
    consts.BPF_TRACE_RAW_TP: ("btf_trace_", KIND_TYPEDEF, "tracepoint"),
    consts.BPF_LSM_MAC: ("bpf_lsm_", KIND_FUNC, "LSM hook"),
    consts.BPF_LSM_CGROUP: ("bpf_lsm_", KIND_FUNC, "LSM hook"),
    consts.BPF_TRACE_ITER: ("bpf_iter_", KIND_FUNC, "iterator"),
}
_FUNCTION = ("", KIND_FUNC, "function")


def find(session: Session, program: ProgramSpec) -> tuple[int, int]:
    """Return (BTF id, fd of the module's BTF or of the target program; 0: vmlinux). Raises LinkError, NotFoundError."""
    options = session.options
    name = options.attach_targets.get(program.name) or program.attach_target
    if options.attach_to:
        return _in_program(options.attach_to, options.attach_function or name, program), options.attach_to
    if not name:
        raise LinkError(
            f'SEC("{program.section}") names nothing to attach to',
            program=program.name,
            hint=f'Name it in SEC("{program.section}/TARGET"), or when loading.',
        )
    if program.type == consts.BPF_PROG_TYPE_EXT:
        raise LinkError(
            f"it replaces function {name!r} of another program, which must be named",
            program=program.name,
            hint="Load that program first and name it (--attach-to PIN, or LoadOptions.attach_to).",
        )
    return _in_kernel(session, program, name)


def _in_program(fd: int, name: str, program: ProgramSpec) -> int:
    """Return the id of a function in a loaded program's BTF."""
    from bpfload.objects.functions import function_id

    try:
        return function_id(fd, name)
    except LinkError as error:
        raise LinkError(error.message, program=program.name, hint=error.hint) from None


def module_of_pattern(session: Session, program: ProgramSpec) -> int:
    """Return the fd of the BTF of the module that a pattern for many functions names (``module:pattern``); 0: vmlinux."""
    module, colon, _ = program.attach_target.partition(":")
    if not colon or module == "vmlinux":
        return 0
    from bpfload.kernel import btf as kernel_btf

    modules = kernel_btf.modules()
    for entry in modules:
        if entry.name == module:
            return session.module_fd(entry)
    from bpfload.errors import near

    raise NotFoundError(f"no module {module!r} with BTF", candidates=near(module, [entry.name for entry in modules]))


def _in_kernel(session: Session, program: ProgramSpec, target: str) -> tuple[int, int]:
    from bpfload.kernel import btf as kernel_btf

    prefix, kind, noun = _FORMS.get(program.attach_type, _FUNCTION)
    module, colon, name = target.partition(":")
    if not colon:
        module, name = "", target
    vmlinux = kernel_btf.vmlinux()
    # A module is named by what its name starts with, as in libbpf.
    if not module or "vmlinux".startswith(module):
        found = vmlinux.find(prefix + name, kind)
        if found:
            return found, 0
    for entry in kernel_btf.modules():
        if not module or entry.name.startswith(module):
            found = entry.btf.find(prefix + name, kind)
            if found >= entry.btf.start_id:
                return found, session.module_fd(entry)
    raise _unknown(name, noun, vmlinux, prefix, kind, "this kernel has", errno.ESRCH).within(f"program {program.name!r}")


def _unknown(name: str, noun: str, btf: Btf, prefix: str, kind: int, who: str, code: int) -> NotFoundError:
    """Say that nothing has that name, and what comes near."""
    from difflib import get_close_matches

    wanted = prefix + name
    start = (prefix or wanted[:3]).encode()
    # Hundreds of names instead of a hundred thousand types: those that begin like the wanted one, and are of its kind.
    names = {text.decode() for text in btf.own_strings.split(b"\0") if text.startswith(start)}
    close = get_close_matches(wanted, names, n=6, cutoff=0.75)
    near = tuple(found[len(prefix) :] for found in close if btf.find(found, kind))[:3]
    return NotFoundError(f"{who} no {noun} {name!r} (among those with BTF)", candidates=near, errno_code=code)
