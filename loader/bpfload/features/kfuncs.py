"""Which kernel functions (kfuncs) programs of a type may call: a program with just that call is loaded for each.

Source: fetch_kfunc_meta(), check_kfunc_call() in kernel/bpf/verifier.c; btf_tag_kfunc() in pahole, which marks them since 1.27.
"""

from __future__ import annotations

from bpfload.btf.types import KIND_DECL_TAG
from bpfload.errors import BpfError
from bpfload.features import program_types
from bpfload.insn.assemble import assemble, call_kfunc, exit_

_TAG = "bpf_kfunc"
# What the verifier says of a function that isn't for programs of this type; anything else it says is about the arguments.
_REFUSALS = (b"is not allowed", b"JIT does not support")


def every() -> dict[str, int] | None:
    """Return the kfuncs of the kernel itself, by name the id in its BTF; None where its BTF doesn't mark them."""
    from bpfload.kernel import btf

    try:
        kernel = btf.vmlinux()
    except BpfError:
        return None
    found = {}
    for number in range(1, len(kernel)):
        if kernel.kind(number) == KIND_DECL_TAG:
            tag = kernel.type(number)
            if tag.name == _TAG:
                found[kernel.type(tag.type_id).name] = tag.type_id
    return found or None


def available(prog_type: int, kfuncs: dict[str, int]) -> tuple[str, ...] | None:
    """Return those of the kfuncs that programs of a type may call; None where that can't be found out by loading some."""
    if prog_type in program_types.UNLOADABLE:
        return None
    prober = program_types.prober(prog_type, assemble(call_kfunc(0), exit_()))
    found = []
    for name, ident in sorted(kfuncs.items()):
        prober.set_immediate(0, ident)
        code, log = prober.try_load()
        if not code or (log and not any(text in log for text in _REFUSALS)):
            found.append(name)
    return tuple(found)
