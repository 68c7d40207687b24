"""Many places of a program or library at once: SEC("uprobe.multi/PATH:PATTERN"), uretprobe.multi, uprobe.session.

Source: bpf_uprobe_multi_link_attach() in kernel/trace/bpf_trace.c; bpf_program__attach_uprobe_multi() in tools/lib/bpf/libbpf.c.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from struct import pack
from typing import TYPE_CHECKING

from bpfload.abi import consts
from bpfload.errors import KernelError, NotFoundError, NotSupportedError, UsageError
from bpfload.links import probe_target, uprobe
from bpfload.links.kprobe_multi import link_create_for_many
from bpfload.objects.link import Link
from bpfload.syscall import bpf

if TYPE_CHECKING:
    from bpfload.links.target import Target
    from bpfload.objects.attachment import Attachment
    from bpfload.objects.base import KernelObject
    from bpfload.spec import ProgramSpec

_KINDS = (consts.BPF_TRACE_UPROBE_MULTI, consts.BPF_TRACE_UPROBE_SESSION)
_FORM = "uprobe.multi/PATH:PATTERN, for example uprobe.multi/libc.so.6:mem*"


def attach(program: KernelObject, spec: ProgramSpec, target: Target) -> Attachment:
    """Attach to the functions of `target.binary` that a pattern matches, or to its `symbols`, or `offsets`.

    `cookies`, `ref_ctr_offsets`: one for each of the latter two, in their order. `pid`: of one process. On kernels without
    such links (before 6.6) each place gets a uprobe of its own.
    """
    path, offsets, what = _places(spec, target)
    returns = probe_target.is_return(spec, target)
    session = spec.attach_type == consts.BPF_TRACE_UPROBE_SESSION
    attaching = f"attaching program {spec.name!r} to {'the returns of ' if returns else ''}{what}"
    pid = os.getpid() if target.pid == 0 else max(target.pid, 0)
    if target.link:
        try:
            return attach_link(
                program,
                spec,
                path,
                offsets,
                semaphores=target.ref_ctr_offsets,
                cookies=target.cookies,
                pid=pid,
                is_return=returns and not session,
            )
        except KernelError as error:
            if session or not lacks_links(error):
                raise explain(error, attaching, path, pid, session) from None
    elif is_loaded_for_links(program):
        raise only_by_link(spec)
    return attach_singly(
        program,
        attaching,
        path,
        offsets,
        semaphores=target.ref_ctr_offsets,
        cookies=target.cookies,
        pid=pid or -1,
        is_return=returns,
        link=target.link,
    )


def attach_link(
    program: KernelObject,
    spec: ProgramSpec,
    path: str,
    offsets: Sequence[int],
    *,
    semaphores: Sequence[int] = (),
    cookies: Sequence[int] = (),
    pid: int = 0,
    is_return: bool = False,
) -> Link:
    """Make one link for all offsets of a file. `pid`: 0 for every process. Raises KernelError with the bare errno."""
    name = os.fsencode(os.path.realpath(path)) + b"\0"
    arrays = [pack(f"={len(numbers)}Q", *numbers) for numbers in (offsets, semaphores, cookies)]
    flags = consts.BPF_F_UPROBE_MULTI_RETURN if is_return else 0
    addresses = [bpf.address(array) for array in arrays]
    extra = pack("=QQQQIII", bpf.address(name), *addresses, len(offsets), flags, pid)
    return Link(link_create_for_many(program, spec, _KINDS, extra))


def attach_singly(
    program: KernelObject,
    attaching: str,
    path: str,
    offsets: Sequence[int],
    *,
    semaphores: Sequence[int] = (),
    cookies: Sequence[int] = (),
    pid: int = -1,
    is_return: bool = False,
    link: bool = True,
) -> Attachment:
    """Attach a uprobe at each offset of a file: all of them or none."""
    from bpfload.links.composite import attach_all

    def one(number: int) -> Attachment:
        return uprobe.attach_at(
            program,
            attaching,
            path,
            offsets[number],
            is_return=is_return,
            pid=pid,
            cookie=cookies[number] if cookies else 0,
            semaphore=semaphores[number] if semaphores else 0,
            link=link,
        )

    return attach_all(one, len(offsets))


def is_loaded_for_links(program: KernelObject) -> bool:
    """Whether a program was loaded for links of many uprobes, and the kernel has them.

    Such a program must not get a uprobe of its own: asked for the cookie, the kernel would take the event for another thing.
    """
    path, offset = b"/\0", bytes(8)
    extra = pack("=QQQQIII", bpf.address(path), bpf.address(offset), 0, 0, 1, 0, 0)
    try:
        os.close(bpf.link_create(program.fd, 0, consts.BPF_TRACE_UPROBE_MULTI, extra=extra))
    except KernelError as error:
        # The kernel looks at the program first, then finds that "/" is no file.
        return error.errno != errno.EINVAL and error.errno != errno.EOPNOTSUPP
    return True


def only_by_link(spec: ProgramSpec) -> UsageError:
    """Return the error for such a program that is to be attached without a link."""
    return UsageError(f"program {spec.name!r} was loaded for a link of many uprobes, and can't be attached without")


def lacks_links(error: KernelError) -> bool:
    """Whether a refusal means that this kernel has no links of many uprobes."""
    if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
        return False
    from bpfload import features

    return features.supports("uprobe_multi") is False


def explain(error: KernelError, attaching: str, path: str, pid: int, session: bool = False) -> KernelError | NotFoundError:
    """Return what a refused link of many uprobes means."""
    from bpfload.links.refusal import refused

    if error.errno == errno.ESRCH and pid:
        return NotFoundError(f"{attaching}: there is no process {pid}", errno_code=errno.ESRCH)
    if session and error.errno == errno.EINVAL:
        from bpfload.kernel import version

        if 0 < version.code() < version.encode(6, 13, 0):
            return NotSupportedError("uprobe.session links", since="6.13", call=error.call, errno=error.errno)
    return refused(error, attaching, consts.CAP_BPF, consts.CAP_PERFMON, hint=uprobe.hint_for(error, path))


def _places(spec: ProgramSpec, target: Target) -> tuple[str, list[int], str]:
    """Return (path, offsets in the file, description) of what is to be probed. Raises UsageError, NotFoundError."""
    from bpfload.elf.userbinary import UserBinary
    from bpfload.links.user_paths import resolve

    path, pattern = probe_target.binary_and_name(spec, target, _FORM)
    path = resolve(path)
    if target.symbols and target.offsets:
        raise UsageError(f"program {spec.name!r}: places are named either by symbols or by offsets")
    pattern = target.pattern or ("" if target.symbols or target.offsets else pattern)
    if pattern and (target.cookies or target.ref_ctr_offsets):
        raise UsageError(f"program {spec.name!r}: a pattern goes with no cookies or counters: which place is which can't be told")
    if target.offsets:
        offsets = list(target.offsets)
        for offset in offsets:
            uprobe.check_offset(path, offset)
    elif target.symbols:
        with UserBinary(path) as binary:
            offsets = [function.offset for function in binary.functions(target.symbols)]
    elif pattern:
        with UserBinary(path) as binary:
            offsets = [function.offset for function in binary.matching(pattern)]
    else:
        message = f'program {spec.name!r}: SEC("{spec.section}") names no functions of {path} to probe'
        raise UsageError(message, hint=f"The form is {_FORM}.")
    for what, given in (("cookies", target.cookies), ("counters (ref_ctr_offsets)", target.ref_ctr_offsets)):
        if given and len(given) != len(offsets):
            raise UsageError(f"program {spec.name!r}: {len(given)} {what} for {len(offsets)} places")
    what = f"{len(offsets)} places of {path}" + (f" ({pattern})" if pattern else "")
    return path, offsets, what
