"""BPF_PROG_LOAD for each linked program, with the fall-backs that older kernels need.

Source: bpf_object_load_prog() and libbpf_prepare_prog_load() in tools/lib/bpf/libbpf.c.
"""

from __future__ import annotations

import errno
from struct import pack
from typing import TYPE_CHECKING

from bpfload.abi import consts
from bpfload.errors import BpfError, KernelError, LinkError
from bpfload.linker import LinkedProgram, References, patch_references
from bpfload.syscall import bpf

if TYPE_CHECKING:
    from bpfload.load.session import Session

_FIRST_LOG = 1 << 18
_LARGEST_LOG = 1 << 30  # the kernel takes up to UINT_MAX >> 2 bytes
_LOG_GROWTH = 8
_LAST_LINE = b"\nprocessed "
_HELPER_CALL = 0x85
#: bpf_probe_read_{user,kernel}{,_str} → what kernels before 5.5 have instead.
_OLD_PROBE_READ = {112: 4, 113: 4, 114: 45, 115: 45}


class Attributes:
    """The arguments of one BPF_PROG_LOAD, changed between attempts. Field names are those of union bpf_attr."""

    __slots__ = (
        "attach_btf_id",
        "attach_fd",
        "btf_fd",
        "expected_attach_type",
        "flags",
        "func_info",
        "func_info_size",
        "ifindex",
        "insns",
        "line_info",
        "line_info_size",
        "name",
        "prog_type",
    )

    def __init__(self, linked: LinkedProgram, insns: bytearray, session: Session) -> None:
        spec = linked.spec
        with_btf = session.btf_fd > 0 and session.with_records
        self.insns = insns
        self.prog_type = spec.type
        self.name = spec.name
        self.expected_attach_type = spec.attach_type
        self.flags = spec.flags | session.token_flag
        self.ifindex = spec.ifindex or session.options.ifindex
        self.btf_fd = session.btf_fd if with_btf else 0
        self.func_info = linked.func_info if with_btf else b""
        self.func_info_size = linked.func_info_size
        self.line_info = linked.line_info if with_btf else b""
        self.line_info_size = linked.line_info_size
        self.attach_btf_id = 0
        self.attach_fd = 0


def load_programs(session: Session) -> None:
    """Load every linked program, in the object's order."""
    references = References(session.map_fds, list(session.spec.maps), session.externs)
    for linked in session.linked:
        try:
            _load_one(session, linked, references)
        except BpfError as error:
            error.within(f"program {linked.name!r}")
            raise


def _load_one(session: Session, linked: LinkedProgram, references: References) -> None:
    spec = linked.spec
    if session.spec.jumptables:
        from bpfload.load import jumptables

        references.jump_tables = jumptables.create(session, linked)
    insns = patch_references(linked, references)
    _check_type(session, linked)
    attributes = Attributes(linked, insns, session)
    _prepare(session, linked, attributes)
    if not insns:
        raise LinkError("it has no instructions", program=spec.name)
    session.adopt_program(spec, _load(session, linked, attributes))
    fd = session.program_fds[spec.name]
    _bind_read_only_data(session, linked, fd)


def _check_type(session: Session, linked: LinkedProgram) -> None:
    spec = linked.spec
    if spec.type == consts.BPF_PROG_TYPE_UNSPEC:
        from difflib import get_close_matches

        from bpfload.elf.sections import SECTION_DEFINITIONS

        names = [row[0].rstrip("+") for row in SECTION_DEFINITIONS]
        section = spec.section.removeprefix("?")
        head, slash, extras = section.partition("/")
        near = get_close_matches(section, names, n=1)
        near = near or [name + slash + extras for name in get_close_matches(head, names, n=1)]
        hint = (
            f'Did you mean SEC("{near[0]}")?' if near else 'Name the section after the program\'s type, for example SEC("xdp").'
        )
        raise LinkError(f"section {spec.section!r} names no program type", program=spec.name, hint=hint)
    if spec.type == consts.BPF_PROG_TYPE_STRUCT_OPS and spec.name not in session.struct_ops_members:
        raise LinkError(
            "no struct_ops variable refers to it",
            program=spec.name,
            hint='Name it in a variable in SEC(".struct_ops") or SEC(".struct_ops.link").',
        )


def _prepare(session: Session, linked: LinkedProgram, attributes: Attributes) -> None:
    """Fill in what SEC() implies and only the kernel can tell."""
    spec, sec = linked.spec, linked.spec.sec
    member = session.struct_ops_members.get(spec.name)
    if spec.type == consts.BPF_PROG_TYPE_STRUCT_OPS and member is not None:
        attributes.attach_btf_id, attributes.expected_attach_type, attributes.attach_fd = member
        return
    if sec is not None and sec.hook == "usdt":
        attributes.expected_attach_type = consts.BPF_TRACE_UPROBE_MULTI
    if sec is not None and sec.needs_btf_id:
        from bpfload.load import targets

        attributes.attach_btf_id, attributes.attach_fd = targets.find(session, spec)
    elif sec is not None and sec.hook == "tracing_multi":
        from bpfload.load import targets

        attributes.attach_fd = targets.module_of_pattern(session, spec)


def _attempt(session: Session, attributes: Attributes, log_level: int = 0, log: bytearray | None = None) -> int:
    spec = session.spec
    return bpf.prog_load(
        attributes.prog_type,
        attributes.insns,
        spec.license.encode("latin-1"),
        name=attributes.name,
        expected_attach_type=attributes.expected_attach_type,
        flags=attributes.flags,
        kern_version=_kernel_version(session, attributes),
        ifindex=attributes.ifindex,
        btf_fd=attributes.btf_fd,
        func_info=attributes.func_info,
        func_info_rec_size=attributes.func_info_size,
        line_info=attributes.line_info,
        line_info_rec_size=attributes.line_info_size,
        attach_btf_id=attributes.attach_btf_id,
        attach_fd=attributes.attach_fd,
        fd_array=pack(f"={len(session.fd_array)}i", *session.fd_array),
        log_level=log_level,
        log=log,
        token_fd=session.token_fd,
    )


def _kernel_version(session: Session, attributes: Attributes) -> int:
    """KPROBE programs need the running kernel's version before 5.0, and it does no harm later."""
    if session.spec.version:
        return session.spec.version
    if attributes.prog_type != consts.BPF_PROG_TYPE_KPROBE:
        return 0
    from bpfload.kernel import version

    return version.code()


def _load(session: Session, linked: LinkedProgram, attributes: Attributes) -> int:
    """Load a program and return its fd; where the kernel refuses, leave out what it lacks and try again, or say why."""
    try:
        return _try(session, linked, attributes)
    except _Refused as error:
        refused = error
    if _leave_out_what_is_missing(linked, attributes):
        try:
            return _try(session, linked, attributes)
        except _Refused as error:
            refused = error
    refusal, log = refused.refusal, refused.log
    if not session.options.log_level:
        try:
            fd, _ = _attempt_with_log(session, attributes)
            return fd
        except _Refused as error:
            log = error.log
            # With a log the kernel may complain of the buffer instead of the program.
            if error.refusal.errno not in (errno.EPERM, errno.ENOSPC):
                refusal = error.refusal
    if refusal.errno == errno.EPERM:
        from bpfload.kernel import capabilities

        hint = capabilities.permission_hint(*capabilities.needed_for_program(attributes.prog_type))
        refusal = KernelError("BPF_PROG_LOAD", errno.EPERM, f"loading program {linked.name!r} was refused", hint=hint)
    from bpfload.load.verifier import explain

    raise explain(refusal, linked, session.spec, log, session.notes_for(linked))


def _try(session: Session, linked: LinkedProgram, attributes: Attributes) -> int:
    """Load a program, with a log only where the caller wants one of every program. Raises _Refused."""
    if session.options.log_level:
        fd, session.logs[linked.name] = _attempt_with_log(session, attributes)
        return fd
    try:
        return _attempt(session, attributes)
    except KernelError as error:
        raise _Refused(error) from None


def _leave_out_what_is_missing(linked: LinkedProgram, attributes: Attributes) -> bool:
    """Take away what the running kernel doesn't know; return whether that was anything."""
    from bpfload import features

    sec = linked.spec.sec
    before = attributes.name, attributes.expected_attach_type
    if features.supports("prog_name") is False:
        attributes.name = ""
    if sec is not None and sec.optional_attach_type and features.supports("expected_attach_type") is False:
        attributes.expected_attach_type = 0
    if sec is not None and sec.hook == "usdt" and features.supports("uprobe_multi") is False:
        attributes.expected_attach_type = linked.spec.attach_type
    changed = before != (attributes.name, attributes.expected_attach_type)
    if features.supports("probe_read_kernel") is False:
        changed = _use_old_probe_read(attributes.insns) or changed
    return changed


def _use_old_probe_read(insns: bytearray) -> bool:
    from struct import pack_into, unpack_from

    changed = False
    for offset in range(0, len(insns), 8):
        if insns[offset] == _HELPER_CALL and insns[offset + 1] == 0:
            old = _OLD_PROBE_READ.get(unpack_from("<i", insns, offset + 4)[0])
            if old is not None:
                pack_into("<i", insns, offset + 4, old)
                changed = True
    return changed


class _Refused(Exception):
    """The kernel refused a program. `log`: what the verifier said, "" if it wasn't asked."""

    def __init__(self, refusal: KernelError, log: str = "") -> None:
        super().__init__(log)
        self.refusal = refusal
        self.log = log


def _attempt_with_log(session: Session, attributes: Attributes) -> tuple[int, str]:
    """Load for the verifier's log, in a buffer that grows until it fits; return the fd and the log. Raises _Refused.

    Since Linux 6.4 a buffer that is too small holds the log's end, which is what matters; the whole of it is only read where
    a log level was asked for.
    """
    size = _FIRST_LOG
    level = session.options.log_level or consts.BPF_LOG_LEVEL1
    while True:
        log = bytearray(size)
        try:
            return _attempt(session, attributes, level, log), _text(log)
        except KernelError as error:
            if error.errno == errno.ENOSPC and size < _LARGEST_LOG:
                has_end = log.rfind(_LAST_LINE, size - 1024) >= 0
                if session.options.log_level or not has_end:
                    size *= _LOG_GROWTH
                    continue
            raise _Refused(error, _text(log)) from None


def _text(log: bytearray) -> str:
    end = log.find(0)
    return log[: end if end >= 0 else len(log)].decode(errors="replace")


def _bind_read_only_data(session: Session, linked: LinkedProgram, fd: int) -> None:
    """Let the program hold the .rodata maps that its instructions don't mention: metadata lives there.

    libbpf binds every .rodata map; the kernel ignores those that the program has already.
    """
    used = {relocation.target for _, relocation in linked.relocations}
    for spec in session.spec.maps.values():
        if spec.kind == "data" and spec.read_only and spec.name not in used and spec.name in session.map_fds:
            try:
                bpf.prog_bind_map(fd, session.map_fds[spec.name])
            except KernelError as error:
                session.notes.append(f"map {spec.name!r} isn't bound to program {linked.name!r}: {error.strerror}")
