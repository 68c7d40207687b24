"""Functions of programs and libraries: SEC("uprobe/PATH:FUNCTION+OFFSET"), SEC("uretprobe/PATH:FUNCTION").

Source: bpf_program__attach_uprobe_opts() in tools/lib/bpf/libbpf.c; perf_uprobe_event_init() in kernel/events/core.c;
Documentation/trace/uprobetracer.rst for the form of older kernels.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from bpfload.errors import KernelError, UsageError
from bpfload.links import perf as events
from bpfload.links import probe_target
from bpfload.syscall import perf

if TYPE_CHECKING:
    from bpfload.links.target import Target
    from bpfload.objects.attachment import Attachment
    from bpfload.objects.base import KernelObject
    from bpfload.spec import ProgramSpec


def attach(program: KernelObject, spec: ProgramSpec, target: Target) -> Attachment:
    """Attach to a function of a program or library, to its return, or to an offset in the file.

    `target`: `binary`, `name` (the function), `offset`, `pid`, `ref_ctr_offset`, `cookie`; SEC() has the rest.
    """
    from bpfload.elf.userbinary import UserBinary
    from bpfload.links.user_paths import resolve

    path, function, offset = probe_target.binary_function(spec, target)
    path = resolve(path)
    if function:
        with UserBinary(path) as binary:
            offset += binary.function(function).offset
    check_offset(path, offset)
    if not target.link:
        from bpfload.links import uprobe_multi

        if uprobe_multi.is_loaded_for_links(program):
            raise uprobe_multi.only_by_link(spec)
    returns = probe_target.is_return(spec, target)
    place = f"{path}:{function}" if function else f"offset {offset:#x} of {path}"
    attaching = f"attaching program {spec.name!r} to {'the return of ' if returns else ''}{place}"
    return attach_at(
        program,
        attaching,
        path,
        offset,
        is_return=returns,
        pid=os.getpid() if target.pid == 0 else max(target.pid, -1),
        cookie=target.cookie,
        semaphore=target.ref_ctr_offset,
        link=target.link,
    )


def check_offset(path: str, offset: int) -> None:
    """Raise UsageError for a place that no process executes: the kernel would take it, and nothing ever happen."""
    from bpfload.elf.userbinary import UserBinary

    size = os.stat(path).st_size
    if not 0 <= offset < size:
        raise UsageError(f"offset {offset:#x} is behind the end of {path}, which has {size:#x} bytes")
    with open(path, "rb") as file:
        if file.read(4) != b"\x7fELF":
            return
    with UserBinary(path) as binary:
        if not binary.is_code(offset):
            places = ", ".join(
                f"{each.offset:#x} to {each.offset + each.file_size:#x}" for each in binary.segments if each.executable
            )
            raise UsageError(
                f"offset {offset:#x} of {path} is no code, so nothing would ever run there",
                hint=f"Its code is at {places or 'no offset at all'}. An offset counts from the file's start.",
            )


def attach_at(
    program: KernelObject,
    attaching: str,
    path: str,
    offset: int,
    *,
    is_return: bool = False,
    pid: int = -1,
    cookie: int = 0,
    semaphore: int = 0,
    link: bool = True,
) -> Attachment:
    """Attach at an offset of a file. `attaching`: for messages. `semaphore`: offset of a counter that is 1 more meanwhile."""
    kind = events.device_type("uprobe")
    undo = None
    cpu = -1 if pid > 0 else 0
    try:
        if kind is not None:
            config = is_return << events.device_bit("uprobe", "retprobe")
            if semaphore:
                config |= semaphore << events.device_bit("uprobe", "ref_ctr_offset")
            event = perf.perf_event_open(kind, config, text=os.fsencode(os.path.realpath(path)), config2=offset, pid=pid, cpu=cpu)
        else:
            from bpfload.links import probe_events

            ident, undo = probe_events.add_uprobe(os.path.realpath(path), offset, is_return=is_return, semaphore=semaphore)
            event = perf.perf_event_open(probe_events.PERF_TYPE_TRACEPOINT, ident, pid=pid, cpu=cpu)
    except KernelError as error:
        if undo is not None:
            undo()
        raise events.open_error(error, attaching, pid=pid, hint=hint_for(error, path, semaphore)) from None
    return events.attach_event(program, event, attaching, cookie=cookie, link=link, undo=undo)


def hint_for(error: KernelError, path: str, semaphore: int = 0) -> str:
    """Return what a refusal of the kernel to probe a file may mean, "" for nothing special."""
    if error.errno == errno.EINVAL:
        if semaphore:
            return "Another probe at that place has another counter (ref_ctr_offset), or none."
        return f"{path} is no regular file, or is on a file system whose files can't be probed."
    if error.errno in (errno.EOPNOTSUPP, errno.EIO, errno.ENOEXEC):
        return "The instruction there can't be probed: an offset must be that of an instruction's first byte."
    return ""
