"""Functions of the kernel: SEC("kprobe/FUNCTION+OFFSET"), SEC("kretprobe/FUNCTION").

Source: bpf_program__attach_kprobe_opts() in tools/lib/bpf/libbpf.c; perf_kprobe_event_init() in kernel/events/core.c.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from bpfload.errors import KernelError, NotFoundError, UsageError, near
from bpfload.links import perf as events
from bpfload.links import probe_target
from bpfload.syscall import perf

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bpfload.links.target import Target
    from bpfload.objects.attachment import Attachment
    from bpfload.objects.base import KernelObject
    from bpfload.spec import ProgramSpec

_BLACKLIST = "/sys/kernel/debug/kprobes/blacklist"


def attach(program: KernelObject, spec: ProgramSpec, target: Target) -> Attachment:
    """Attach to a function of the kernel or of a module, or to its return.

    `target`: `name` (the function), `offset`, `cookie`; what it leaves out is taken from SEC().
    """
    function, offset = probe_target.kernel_function(spec, target)
    return attach_at(program, spec, target, function, offset)


def attach_at(program: KernelObject, spec: ProgramSpec, target: Target, function: str, offset: int = 0) -> Attachment:
    """Attach to the function of that name, at an offset in bytes. Raises NotFoundError with near matches, KernelError."""
    if spec.attach_type and not target.link:
        # Asked for the cookie, the kernel would take the event for a link of many.
        raise UsageError(f"program {spec.name!r} was loaded for a link of many kprobes, and can't be attached without")
    returns = probe_target.is_return(spec, target)
    place = f"{function}+{offset:#x}" if offset else function
    attaching = f"attaching program {spec.name!r} to {'the return of ' if returns else ''}kernel function {place}"
    if offset:
        _check_offset(function, offset)
    undo = None
    try:
        kind = events.device_type("kprobe")
        if kind is not None:
            config = returns << events.device_bit("kprobe", "retprobe")
            event = perf.perf_event_open(kind, config, text=function.encode(), config2=offset, pid=-1, cpu=0)
        else:
            from bpfload.links import probe_events

            ident, undo = probe_events.add_kprobe(function, offset, is_return=returns)
            event = perf.perf_event_open(probe_events.PERF_TYPE_TRACEPOINT, ident, pid=-1, cpu=0)
    except KernelError as error:
        if undo is not None:
            undo()
        raise explain(error, attaching, function) from None
    return events.attach_event(program, event, attaching, cookie=target.cookie, link=target.link, undo=undo)


def _check_offset(function: str, offset: int) -> None:
    """Raise UsageError for an offset in another function, as far as that can be told: the kernel would probe that one."""
    from bpfload.kernel import kallsyms

    symbols = kallsyms.load()
    size = symbols.size(symbols.address(function))
    if size and not 0 < offset < size:
        raise UsageError(f"offset {offset:#x} is behind the end of {function}, which has {size:#x} bytes")


def explain(error: KernelError, attaching: str, function: str) -> KernelError | NotFoundError:
    """Return what a refused kprobe means."""
    from bpfload.errors import NotSupportedError

    if isinstance(error, NotSupportedError):
        return error
    from bpfload.kernel import kallsyms

    found = kallsyms.load().entries(function)
    if error.errno in (errno.ENOENT, errno.EINVAL) and not found and not kallsyms.load().empty:
        return no_function(function, kallsyms.load().function_names())
    hint = ""
    if error.errno == errno.EADDRNOTAVAIL:
        hint = f"{len(found)} functions are called {function}: which one is meant can't be told."
    elif error.errno in (errno.EILSEQ, errno.EINVAL):
        hint = "An offset must be that of an instruction's first byte, inside the function."
        if _is_blacklisted(function):
            hint = f"The kernel allows no probe in {function}: it is in {_BLACKLIST}."
    return events.open_error(error, attaching, hint=hint)


def no_function(function: str, known: Iterable[str]) -> NotFoundError:
    """Return the error for a function that the kernel has no symbol of."""
    names = set(known)
    # The compiler's clones: name.isra.0, name.part.0, name.constprop.0, name.cold
    clones = tuple(sorted(name for name in names if name.startswith(f"{function}.")))[:3]
    candidates = clones or near(function, names)
    return NotFoundError(
        f"this kernel has no function {function!r}",
        candidates=candidates,
        hint=""
        if candidates
        else "The compiler may have inlined it, or its module isn't loaded. /proc/kallsyms lists what is there.",
    )


def _is_blacklisted(function: str) -> bool:
    try:
        with open(_BLACKLIST, encoding="utf-8") as file:
            return any(line.split()[-1:] == [function] for line in file)
    except OSError:
        return False
