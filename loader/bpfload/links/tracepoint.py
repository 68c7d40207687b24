"""Tracepoints, by their trace events: SEC("tp/CATEGORY/NAME"), SEC("tracepoint/CATEGORY/NAME").

Source: attach_tp() in tools/lib/bpf/libbpf.c; Documentation/trace/events.rst.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpfload.errors import KernelError, UsageError
from bpfload.links import perf as events
from bpfload.syscall import perf

if TYPE_CHECKING:
    from bpfload.links.target import Target
    from bpfload.objects.attachment import Attachment
    from bpfload.objects.base import KernelObject
    from bpfload.spec import ProgramSpec

PERF_TYPE_TRACEPOINT = 2


def attach(program: KernelObject, spec: ProgramSpec, target: Target) -> Attachment:
    """Attach to the trace event `target.name`, "category/name", else to the one that SEC() names."""
    category, name = _event(spec, target)
    from bpfload.kernel import tracefs

    ident = tracefs.event_id(category, name)
    attaching = f"attaching program {spec.name!r} to tracepoint {category}/{name}"
    try:
        event = perf.perf_event_open(PERF_TYPE_TRACEPOINT, ident, pid=-1, cpu=0)
    except KernelError as error:
        raise events.open_error(error, attaching) from None
    return events.attach_event(program, event, attaching, cookie=target.cookie, link=target.link)


def _event(spec: ProgramSpec, target: Target) -> tuple[str, str]:
    text = target.name or spec.attach_target
    # perf writes category:name.
    category, _, name = text.partition("/" if "/" in text else ":")
    if not category or not name or "/" in name or ".." in (category, name):
        what = f"{text!r} is no tracepoint" if text else f'SEC("{spec.section}") names no tracepoint'
        raise UsageError(
            f"program {spec.name!r}: {what}", hint="The form is tp/CATEGORY/NAME, for example tp/syscalls/sys_enter_openat."
        )
    return category, name
