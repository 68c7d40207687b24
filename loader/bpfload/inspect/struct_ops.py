"""The struct_ops maps in the kernel: tables of functions that are registered, or can be, with a part of the kernel.

Source: tools/bpf/bpftool/struct_ops.c.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bpfload.abi import consts
from bpfload.btf.types import KIND_STRUCT
from bpfload.btf.values import PYTHON, Decoder
from bpfload.errors import NotFoundError, UsageError, near
from bpfload.inspect import ids
from bpfload.objects.map import Map
from bpfload.syscall import bpf

if TYPE_CHECKING:
    from bpfload.btf import Btf
    from bpfload.objects.info import MapInfo

_PREFIX = "bpf_struct_ops_"
_KEY = bytes(4)


@dataclass(frozen=True, slots=True)
class StructOpsView:
    """One struct_ops map. `kernel_struct_ops`: the name of the kernel's struct, "tcp_congestion_ops"."""

    id: int
    name: str
    kernel_struct_ops: str


def view(table: Map) -> StructOpsView:
    """Return the view of a struct_ops map. Raises KernelError."""
    info = table.info()
    return StructOpsView(info.id, info.name, _value_type_name(info).removeprefix(_PREFIX))


def dump(table: Map, style: str = PYTHON) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the kernel says of a map, and its value, each in a dict by the name of its type.

    `style`: of `bpfload.btf.values`; function pointers are shown as ``PROTOTYPE PROGRAM/prog_id:ID``. Raises KernelError.
    """
    from bpfload.kernel import btf as kernel_btf

    info = table.info()
    vmlinux = kernel_btf.vmlinux()
    info_type = vmlinux.type(vmlinux.find("bpf_map_info", KIND_STRUCT))
    raw = bytearray(info_type.size)
    bpf.obj_get_info_by_fd(table.fd, raw)
    value = table.lookup(_KEY)
    types = _types(info)
    decoder = Decoder(types, style=style, program_name=_program_name)
    of_info = decoder if types is vmlinux else Decoder(vmlinux, style=style)
    return (
        {"bpf_map_info": of_info.decode(info_type.id, bytes(raw))},
        {_value_type_name(info): decoder.decode(info.btf_vmlinux_value_type_id, value)},
    )


def _types(info: MapInfo) -> Btf:
    """Return the BTF that has the type of a map's value: vmlinux's, or a module's."""
    from bpfload.inspect import btf
    from bpfload.kernel import btf as kernel_btf
    from bpfload.objects.btf import BtfObject

    if info.btf_vmlinux_id:
        with BtfObject.from_id(info.btf_vmlinux_id) as holder:
            if holder.info().name != kernel_btf.VMLINUX:
                return btf.types(info.btf_vmlinux_id)
    return kernel_btf.vmlinux()


def _value_type_name(info: MapInfo) -> str:
    return _types(info).type(info.btf_vmlinux_value_type_id).name


def _program_name(ident: int) -> str:
    """Return the name of a program's first function, "" where it can't be told."""
    from struct import unpack_from

    from bpfload.errors import BpfError
    from bpfload.inspect import btf
    from bpfload.objects.program import Program

    try:
        with Program.from_id(ident) as program:
            info = program.info("func_info")
        if not info.btf_id or not info.func_info:
            return ""
        (function,) = unpack_from("=I", info.func_info, 4)
        return btf.types(info.btf_id).type(function).name
    except BpfError:
        return ""


# --- finding --------------------------------------------------------------------------------------------------------


def every() -> Iterator[Map]:
    """Yield every struct_ops map, each closed when the next is asked for. Raises KernelError, naming the missing capability."""
    return (table for table in ids.every(Map.from_id, "map") if _is_struct_ops(table))


def find(kind: str, value: str) -> list[Map]:
    """Open the maps that a selector means: `kind` is "id" or "name". Raises NotFoundError, UsageError."""
    if kind == "id":
        table = Map.from_id(ids.number(value))
        if _is_struct_ops(table):
            return [table]
        with table:
            info = table.info()
            raise UsageError(f"map {info.id} ({info.name}) is no struct_ops map")
    found = ids.matching(every(), lambda table: table.info().name == value)
    if not found:
        names = [table.info().name for table in every()]
        raise NotFoundError(f"no struct_ops map has the name {value!r}", candidates=near(value, names))
    return found


def _is_struct_ops(table: Map) -> bool:
    return table.info().type == consts.BPF_MAP_TYPE_STRUCT_OPS
