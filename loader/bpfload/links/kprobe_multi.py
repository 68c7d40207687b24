"""Many functions of the kernel at once: SEC("kprobe.multi/PATTERN"), SEC("kretprobe.multi/…"), SEC("kprobe.session/…").

Source: bpf_kprobe_multi_link_attach() in kernel/trace/bpf_trace.c; bpf_program__attach_kprobe_multi_opts() in
tools/lib/bpf/libbpf.c.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from struct import pack
from typing import TYPE_CHECKING

from bpfload.abi import consts
from bpfload.elf.pattern import glob
from bpfload.errors import KernelError, NotFoundError, NotSupportedError, UsageError
from bpfload.links import probe_target
from bpfload.objects.link import Link
from bpfload.syscall import bpf

if TYPE_CHECKING:
    from bpfload.links.target import Target
    from bpfload.objects.base import KernelObject
    from bpfload.spec import ProgramSpec

_KINDS = (consts.BPF_TRACE_KPROBE_MULTI, consts.BPF_TRACE_KPROBE_SESSION)
_FORM = "kprobe.multi/PATTERN, for example kprobe.multi/tcp_*"


def attach(program: KernelObject, spec: ProgramSpec, target: Target) -> Link:
    """Attach to the functions that a pattern matches, or to those in `target.symbols` or `target.addresses`.

    `target.cookies`: a number for each of the latter two, in their order.
    """
    session = spec.attach_type == consts.BPF_TRACE_KPROBE_SESSION
    returns = probe_target.is_return(spec, target) and not session
    symbols, addresses, what = _functions(spec, target)
    count = len(symbols) or len(addresses)
    if target.cookies and len(target.cookies) != count:
        raise UsageError(f"program {spec.name!r}: {len(target.cookies)} cookies for {count} functions")
    texts = [symbol.encode() + b"\0" for symbol in symbols]
    names = _numbers([bpf.address(text) for text in texts])
    places, cookies = _numbers(addresses), _numbers(target.cookies)
    flags = consts.BPF_F_KPROBE_MULTI_RETURN if returns else 0
    extra = pack("=IIQQQ", flags, count, bpf.address(names), bpf.address(places), bpf.address(cookies))
    try:
        return Link(link_create_for_many(program, spec, _KINDS, extra))
    except KernelError as error:
        raise _explain(error, f"attaching program {spec.name!r} to {what}", symbols, session) from None


def link_create_for_many(program: KernelObject, spec: ProgramSpec, kinds: tuple[int, int], extra: bytes) -> int:
    """Make a link of many probes, or of a session, as the program was loaded for; return its fd.

    What a program that was opened by its id or pin was loaded for, the kernel doesn't tell. `kinds`: both attach types.
    """
    if spec.attach_type in kinds:
        return bpf.link_create(program.fd, 0, spec.attach_type, extra=extra)
    try:
        return bpf.link_create(program.fd, 0, kinds[0], extra=extra)
    except KernelError as error:
        if error.errno != errno.EINVAL:
            raise
        try:
            return bpf.link_create(program.fd, 0, kinds[1], extra=extra)
        except KernelError:
            raise error from None


def _numbers(values: Sequence[int]) -> bytes:
    return pack(f"={len(values)}Q", *values)


def _functions(spec: ProgramSpec, target: Target) -> tuple[list[str], list[int], str]:
    """Return (names, addresses, description) of the functions: one of the two lists is empty. Raises UsageError."""
    if target.symbols and target.addresses:
        raise UsageError(f"program {spec.name!r}: functions are named either by symbols or by addresses")
    if target.symbols:
        return list(target.symbols), [], f"{len(target.symbols)} kernel functions"
    if target.addresses:
        return [], list(target.addresses), f"{len(target.addresses)} kernel functions"
    pattern = target.pattern or target.name or spec.attach_target
    if not pattern:
        raise UsageError(
            f'program {spec.name!r}: SEC("{spec.section}") names no functions to probe', hint=f"The form is {_FORM}."
        )
    if not all(sign.isalnum() or sign in "_.*?" for sign in pattern):
        raise UsageError(f"program {spec.name!r}: {pattern!r} is no pattern of functions' names", hint=f"The form is {_FORM}.")
    if target.cookies:
        raise UsageError(f"program {spec.name!r}: a pattern goes with no cookies: which function is which can't be told")
    symbols, addresses = matching(pattern)
    if not symbols and not addresses:
        from bpfload.kernel import kallsyms
        from bpfload.links.kprobe import no_function

        error = no_function(pattern.replace("*", "").replace("?", ""), kallsyms.load().function_names())
        error.message = f"no function of this kernel that can be probed matches {pattern!r}"
        raise error
    return symbols, addresses, f"{len(symbols) or len(addresses)} kernel functions ({pattern})"


def matching(pattern: str) -> tuple[list[str], list[int]]:
    """Return the functions that ftrace can probe and whose names match: their addresses, or names where those are hidden.

    Of two functions of one name both are meant, so addresses are better.
    """
    from bpfload.kernel import kallsyms, tracefs

    matches = glob(pattern)
    addresses = [address for address, name in tracefs.traceable_addresses() if matches(name)]
    if addresses:
        return [], addresses
    symbols = kallsyms.load()
    traceable = tracefs.traceable_functions(None)
    names = sorted({name for name in traceable or symbols.function_names() if matches(name)})
    if not names or symbols.hidden:
        return names, []
    return [], symbols.function_addresses(names)


def _explain(error: KernelError, attaching: str, symbols: list[str], session: bool) -> KernelError | NotFoundError:
    from bpfload.links.refusal import refused

    hint = ""
    if error.errno in (errno.EOPNOTSUPP, errno.EINVAL):
        from bpfload.kernel import kconfig, version

        since = "6.10" if session else "5.18"
        major, minor = since.split(".")
        old = 0 < version.code() < version.encode(int(major), int(minor), 0)
        try:
            without = kconfig.value("CONFIG_FPROBE") != "y"
        except NotFoundError:
            without = error.errno == errno.EOPNOTSUPP
        if old or without:
            what = "kprobe.session links" if session else "kprobe.multi links"
            reason = "" if old else "This kernel was built without CONFIG_FPROBE."
            return NotSupportedError(what, since=since, call=error.call, errno=error.errno, hint=reason)
    if error.errno in (errno.ESRCH, errno.ENOENT) and symbols:
        from bpfload.kernel import kallsyms, tracefs
        from bpfload.links.kprobe import no_function

        known = tracefs.traceable_functions(None) or kallsyms.load().function_names()
        absent = [symbol for symbol in symbols if symbol not in known]
        if absent:
            return no_function(absent[0], known)
    return refused(error, attaching, consts.CAP_BPF, consts.CAP_PERFMON, hint=hint)
