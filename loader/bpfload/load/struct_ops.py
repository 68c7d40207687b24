"""struct_ops variables fitted to the running kernel's structs.

A struct_ops variable has the type that the object's author saw; the kernel's own struct may have its members elsewhere, more of
them or fewer. Its map's value is the kernel's ``struct bpf_struct_ops_NAME``, which holds ``struct NAME`` as its data.

Source: bpf_map__init_kern_struct_ops(), find_struct_ops_kern_types() and bpf_object_adjust_struct_ops_autoload() in
tools/lib/bpf/libbpf.c.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bpfload.abi import consts
from bpfload.btf.names_index import essential_name
from bpfload.btf.types import KIND_FUNC_PROTO, KIND_PTR, KIND_STRUCT
from bpfload.errors import BpfError, LinkError
from bpfload.spec import MapSpec, ProgramSpec

if TYPE_CHECKING:
    from bpfload.btf import Btf, Type
    from bpfload.load.session import Session

_VALUE_PREFIX = "bpf_struct_ops_"


@dataclass(slots=True, eq=False)
class StructOps:
    """One struct_ops map against the running kernel.

    `value_size`: bytes of the kernel's value; `value_type_id`: of struct bpf_struct_ops_NAME; `btf_fd`: of the module that
    has it, 0 for vmlinux. `data`: the value, function pointers still 0; `functions`: (offset in `data`, program name) of those.
    """

    value_size: int
    value_type_id: int
    btf_fd: int
    data: bytearray
    functions: list[tuple[int, str]] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class _KernelTypes:
    """The kernel's side: its BTF, struct NAME, struct bpf_struct_ops_NAME, and the offset of the former in the latter."""

    btf: Btf
    btf_fd: int
    struct: Type
    value: Type
    data_offset: int


def prepare(session: Session) -> None:
    """Fit every struct_ops map that is to be created; choose the programs that they need."""
    for spec in session.spec.maps.values():
        if spec.struct_ops is not None and spec.autocreate:
            try:
                session.struct_ops[spec.name] = _fit(session, spec)
            except BpfError as error:
                error.within(f"map {spec.name!r}")
                raise
    _choose_programs(session)


def _choose_programs(session: Session) -> None:
    """A struct_ops program is loaded if a map that is created refers to it, and not if only others do."""
    referred: dict[str, bool] = {}
    for spec in session.spec.maps.values():
        if spec.struct_ops is not None:
            for _, name in spec.struct_ops.programs:
                referred[name] = referred.get(name, False) or spec.autocreate
    chosen = {program.name for program in session.selected}
    session.selected = [
        program
        for program in session.spec.entry_programs
        if (referred[program.name] if _is_struct_ops(program) and program.name in referred else program.name in chosen)
    ]


def _is_struct_ops(program: ProgramSpec) -> bool:
    return program.type == consts.BPF_PROG_TYPE_STRUCT_OPS


def _fit(session: Session, spec: MapSpec) -> StructOps:
    local = session.spec.btf
    assert local is not None
    assert spec.struct_ops is not None
    kernel = _kernel_types(session, essential_name(spec.struct_ops.type_name))
    mine = local.type(spec.struct_ops.type_id)
    result = StructOps(kernel.value.size, kernel.value.id, kernel.btf_fd, bytearray(kernel.value.size))
    programs = dict(spec.struct_ops.programs)
    theirs = {member.name: (index, member) for index, member in reversed(list(enumerate(kernel.struct.members)))}
    data = bytes(spec.data or b"")
    for member in mine.members:
        offset = member.offset_bits // 8
        size = local.size_of(member.type_id)
        value = data[offset : offset + size]
        program = programs.get(offset)
        if member.name not in theirs:
            if program is not None or any(value):
                raise _unsupported(f"this kernel's struct {kernel.struct.name} has no member {member.name!r}, and it is set")
            continue
        index, other = theirs[member.name]
        if member.bitfield_size or other.bitfield_size:
            raise _unsupported(f"member {member.name!r} is a bit field")
        place = kernel.data_offset + other.offset_bits // 8
        my_type, their_type = local.type(local.resolve(member.type_id)), kernel.btf.type(kernel.btf.resolve(other.type_id))
        if my_type.kind != their_type.kind:
            raise _unsupported(f"member {member.name!r} is of another kind in this kernel")
        if my_type.kind == KIND_PTR:
            if program is not None:
                _set_function(session, kernel, result, program, index, their_type, place)
            continue
        their_size = kernel.btf.size_of(their_type.id)
        if size != their_size:
            raise _unsupported(f"member {member.name!r} has {size} bytes, and {their_size} in this kernel")
        result.data[place : place + size] = value
    return result


def _set_function(
    session: Session, kernel: _KernelTypes, result: StructOps, name: str, index: int, pointer: Type, place: int
) -> None:
    """Note that member `index` is to be `name`; a program can only ever be one member of one struct."""
    program = next((entry for entry in session.spec.programs if entry.name == name), None)
    if program is None or not _is_struct_ops(program):
        raise _unsupported(f"{name!r} is no struct_ops program")
    if kernel.btf.type(kernel.btf.resolve(pointer.type_id)).kind != KIND_FUNC_PROTO:
        raise _unsupported(f"member {index} of struct {kernel.struct.name} is no function pointer in this kernel")
    known = session.struct_ops_members.setdefault(name, (kernel.struct.id, index, kernel.btf_fd))
    if known[:2] != (kernel.struct.id, index):
        raise LinkError(
            f"program {name!r} is used for two different members", program=name, hint="Write a program for each of them."
        )
    result.functions.append((place, name))


def _kernel_types(session: Session, name: str) -> _KernelTypes:
    from bpfload.kernel import btf as kernel_btf

    value_name = _VALUE_PREFIX + name
    btf, fd = kernel_btf.vmlinux(), 0
    value_id = btf.find(value_name, KIND_STRUCT)
    if not value_id:
        for module in kernel_btf.modules():
            value_id = module.btf.find(value_name, KIND_STRUCT)
            if value_id:
                btf, fd = module.btf, session.module_fd(module)
                break
        else:
            raise LinkError(f"this kernel has no struct_ops {name!r} (struct {value_name})", errno_code=errno.ESRCH)
    struct_id = btf.find(name, KIND_STRUCT)
    if not struct_id:
        raise LinkError(f"this kernel's BTF has no struct {name}", errno_code=errno.ENOENT)
    value = btf.type(value_id)
    for member in value.members:
        if member.type_id == struct_id:
            return _KernelTypes(btf, fd, btf.type(struct_id), value, member.offset_bits // 8)
    raise LinkError(f"this kernel's struct {value_name} doesn't hold a struct {name}")


def _unsupported(message: str) -> LinkError:
    return LinkError(message, errno_code=errno.EOPNOTSUPP)
