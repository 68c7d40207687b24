"""The BTF objects in the kernel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from bpfload.btf import Btf
from bpfload.errors import BpfError
from bpfload.inspect import ids
from bpfload.inspect.arrival import ArrivalTable
from bpfload.inspect.owners import Holders, Owner
from bpfload.objects.btf import BtfObject


@dataclass(frozen=True, slots=True)
class BtfView:
    """One BTF object, as `btf show` shows it. `size`: bytes. `kernel`: vmlinux's or a module's, by that `name`."""

    id: int
    size: int
    prog_ids: tuple[int, ...]
    map_ids: tuple[int, ...]
    pids: tuple[Owner, ...] | None
    kernel: bool
    name: str | None


@dataclass(frozen=True, slots=True)
class Users:
    """Which programs and maps use which BTF object, by its id."""

    programs: ArrivalTable
    maps: ArrivalTable


def users() -> Users:
    """Look at every program and map for the BTF that it uses."""
    from bpfload.inspect import maps, programs

    found = Users(ArrivalTable(), ArrivalTable())
    for program in programs.every():
        program_info = program.info()
        if program_info.btf_id:
            found.programs.add(program_info.btf_id, program_info.id)
    for item in maps.every():
        map_info = item.info()
        if map_info.btf_id:
            found.maps.add(map_info.btf_id, map_info.id)
    return found


def view(item: BtfObject, holders: Holders, used: Users) -> BtfView:
    """Return the view of a BTF object. Raises KernelError."""
    info = item.info()
    return BtfView(
        info.id,
        info.btf_size,
        used.programs.numbers(info.id),
        used.maps.numbers(info.id),
        holders.owners(info.id),
        info.kernel_btf,
        info.name or None,
    )


def every() -> Iterator[BtfObject]:
    """Yield every BTF object, each closed when the next is asked for."""
    return ids.every(BtfObject.from_id, "BTF object")


# --- types by id ----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=8)
def types(ident: int, base: Btf | None = None) -> Btf:
    """Return the types of the BTF object with that id. Raises NotFoundError, KernelError.

    `base`: what a module's types build on; vmlinux's if it isn't given.
    """
    from bpfload.kernel import btf as kernel_btf

    with BtfObject.from_id(ident) as item:
        info = item.info()
        if base is None and info.kernel_btf and info.name != kernel_btf.VMLINUX:
            base = kernel_btf.vmlinux()
        return item.btf(base=base)


def type_name_in(ident: int, type_id: int) -> str:
    """Return the name of a function in the BTF object with that id, "" where it can't be told."""
    from bpfload.btf.types import KIND_FUNC

    try:
        found = types(ident).type(type_id)
    except BpfError:
        return ""
    return found.name if found.kind == KIND_FUNC else ""
