"""fentry.multi, fexit.multi, fsession.multi: one program at many functions by one link (Linux 7.2).

The functions are those of vmlinux whose names match a pattern, or of one module (``module:pattern``), as far as they can be
traced: their arguments fit, and ftrace knows them.

Source: bpf_tracing_multi_attach() in kernel/trace/bpf_trace.c; collect_func_ids_by_glob(), btf_type_is_traceable_func() in
tools/lib/bpf/libbpf.c.
"""

from __future__ import annotations

import errno
from struct import pack
from typing import TYPE_CHECKING

from bpfload.abi import consts
from bpfload.btf.types import KIND_ENUM, KIND_ENUM64, KIND_FUNC, KIND_FUNC_PROTO, KIND_INT, KIND_PTR, KIND_STRUCT, KIND_UNION
from bpfload.errors import KernelError, NotFoundError, NotSupportedError, UsageError
from bpfload.objects.link import Link
from bpfload.syscall import bpf

if TYPE_CHECKING:
    from bpfload.btf import Btf
    from bpfload.links.target import Target
    from bpfload.objects.base import KernelObject
    from bpfload.spec import ProgramSpec

_MAX_ARGUMENTS = 12
_MAX_ARGUMENT_SIZE = 16  # bytes
_SINCE = (7, 2)


def attach(program: KernelObject, spec: ProgramSpec, target: Target) -> Link:
    """Attach to all functions that match `target.pattern`, else the pattern in SEC(), or to `target.symbols`.

    `target.cookies`: one for each of the symbols. Raises NotFoundError where nothing matches.
    """
    pattern = target.pattern or ("" if target.symbols else spec.attach_target)
    if not pattern and not target.symbols:
        raise UsageError(
            f'program {spec.name!r}: SEC("{spec.section}") names no functions to attach to',
            hint='Give a pattern, with "*" and "?", or names.',
        )
    if target.cookies and len(target.cookies) != len(target.symbols):
        raise UsageError(f"{len(target.cookies)} cookies for {len(target.symbols)} named functions: there must be as many")
    ids = _matching(pattern) if pattern else [_named(symbol) for symbol in target.symbols]
    if not ids:
        raise NotFoundError(f"program {spec.name!r}: this kernel has no function {pattern!r} that can be traced")
    rows = sorted(zip(ids, target.cookies or (0,) * len(ids), strict=True))
    return _attached(program, spec, rows, with_cookies=bool(target.cookies), where=pattern or ", ".join(target.symbols))


def _attached(program: KernelObject, spec: ProgramSpec, rows: list[tuple[int, int]], *, with_cookies: bool, where: str) -> Link:
    ids = pack(f"={len(rows)}I", *(ident for ident, _ in rows))
    cookies = pack(f"={len(rows)}Q", *(cookie for _, cookie in rows)) if with_cookies else b""
    extra = pack("=QQI4x", bpf.address(ids), bpf.address(cookies), len(rows))
    try:
        return Link(bpf.link_create(program.fd, 0, spec.attach_type, extra=extra))
    except KernelError as error:
        from bpfload.kernel import version
        from bpfload.links.refusal import refused

        if error.errno == errno.EINVAL and version.code() < version.encode(*_SINCE, 0):
            since = ".".join(str(number) for number in _SINCE)
            raise NotSupportedError("tracing of many functions by one link", since=since, call=error.call) from None
        hint = ""
        if error.errno == errno.EINVAL:
            hint = "Each function may be named once; those that never return can't be traced at their exit."
        elif error.errno == errno.EBUSY:
            hint = "One of the functions is patched by something else."
        what = f"attaching program {spec.name!r} to {len(rows)} functions ({where})"
        raise refused(error, what, consts.CAP_BPF, consts.CAP_PERFMON, hint=hint) from None


# --- which functions ------------------------------------------------------------------------------------------------


def _named(symbol: str) -> int:
    """Return the BTF id of a function by its name, or ``module:name``. Raises NotFoundError with near matches."""
    module, name = _split(symbol)
    btf = _types(module)
    found: int = btf.find(name, KIND_FUNC)
    if found:
        return found
    from bpfload.errors import near

    names = (text.decode(errors="replace") for text in btf.own_strings.split(b"\0") if text.startswith(name[:3].encode()))
    close = tuple(candidate for candidate in near(name, names, 6) if btf.find(candidate, KIND_FUNC))[:3]
    raise NotFoundError(f"this kernel has no function {symbol!r} (among those with BTF)", candidates=close)


def _matching(pattern: str) -> list[int]:
    """Return the BTF ids of the functions that match a pattern and can be traced."""
    from bpfload.elf.pattern import glob
    from bpfload.kernel import tracefs

    module, name = _split(pattern)
    btf = _types(module)
    matches = glob(name)
    names = tracefs.traceable_functions(module) or {text.decode(errors="replace") for text in btf.own_strings.split(b"\0")}
    names = {text for text in names if matches(text)}
    found = [ident for text in names for ident in btf.find_all(text) if ident >= btf.start_id]
    return sorted(ident for ident in found if is_traceable(btf, ident))


def _split(text: str) -> tuple[str, str]:
    module, _, name = text.rpartition(":")
    return module, name


def _types(module: str) -> Btf:
    from bpfload.kernel import btf as kernel_btf

    if not module or module == "vmlinux":
        return kernel_btf.vmlinux()
    modules = kernel_btf.modules()
    for entry in modules:
        if entry.name == module:
            return entry.btf
    from bpfload.errors import near

    raise NotFoundError(f"no module {module!r} with BTF", candidates=near(module, [entry.name for entry in modules]))


def is_traceable(btf: Btf, ident: int) -> bool:
    """Whether a type is a function whose arguments and result the kernel's trampolines can carry."""
    function = btf.type(ident)
    if function.kind != KIND_FUNC:
        return False
    prototype = btf.type(function.type_id)
    if prototype.kind != KIND_FUNC_PROTO or len(prototype.params) > _MAX_ARGUMENTS:
        return False
    if prototype.type_id and _size(btf, prototype.type_id, aggregates=False) is None:
        return False
    sizes = [_size(btf, parameter.type_id) for parameter in prototype.params]
    return all(size is not None and 0 < size <= _MAX_ARGUMENT_SIZE for size in sizes)


def _size(btf: Btf, type_id: int, *, aggregates: bool = True) -> int | None:
    """Return the bytes of an argument's type; None for what no register holds. Variable arguments have the type 0: no size."""
    if not type_id:
        return 0
    resolved = btf.resolve(type_id)
    if not resolved:
        return 0
    found = btf.type(resolved)
    if found.kind == KIND_PTR:
        return btf.pointer_size
    if found.kind in (KIND_INT, KIND_ENUM, KIND_ENUM64) or (aggregates and found.kind in (KIND_STRUCT, KIND_UNION)):
        return found.size
    return None
