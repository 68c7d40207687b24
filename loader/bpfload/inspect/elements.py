"""What is in a map: keys and values as bytes, and by their types where the map has BTF."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from struct import unpack_from

from bpfload.abi import consts
from bpfload.errors import KernelError
from bpfload.inspect.typed import Decoders, TypedValue
from bpfload.objects.info import MapInfo
from bpfload.objects.map import Map

_OF_MAPS = (consts.BPF_MAP_TYPE_ARRAY_OF_MAPS, consts.BPF_MAP_TYPE_HASH_OF_MAPS)
_OF_OBJECTS = (*_OF_MAPS, consts.BPF_MAP_TYPE_PROG_ARRAY)


@dataclass(frozen=True, slots=True)
class CpuValue:
    """The value of one CPU, as bytes or by its type."""

    cpu: int
    value: bytes | TypedValue


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why a value couldn't be read. `error`: the system's words."""

    error: str


@dataclass(frozen=True, slots=True)
class Formatted:
    """An element by its types. `key`: None where the map's BTF says nothing of keys. `values`: of a per-CPU map."""

    key: TypedValue | None
    value: TypedValue | None
    values: tuple[CpuValue, ...] | None


@dataclass(frozen=True, slots=True)
class Element:
    """One element. `value`: None in a per-CPU map, which has `values`. `inner_map_id`: of the map that a slot holds."""

    key: bytes
    value: bytes | Unreadable | None
    values: tuple[CpuValue, ...] | None
    inner_map_id: int | None
    formatted: Formatted | None


def elements(item: Map) -> Iterator[Element]:
    """Yield the elements of a map in the kernel's order; a slot of a map of maps or programs that is empty is left out.

    Raises KernelError where the keys can't be walked (queues, stacks, ring buffers, …).
    """
    reader = _Reader(item)
    for key, value in raw(item):
        yield Element(key, value, None, None, None) if isinstance(value, Unreadable) else reader.element(key, value)


def raw(item: Map) -> Iterator[tuple[bytes, bytes | Unreadable]]:
    """Yield the keys of a map in the kernel's order and what is there: the value's bytes, of all CPUs, or why it can't be read.

    A slot of a map of maps or programs that is empty is left out. Raises KernelError where the keys can't be walked.
    """
    started = False
    try:
        for batch in item.batches():
            started = True
            yield from batch
        return
    except KernelError:
        if started:
            raise
    for key in item.keys():  # noqa: SIM118 - it is no dict
        try:
            yield key, item.lookup(key)
        except KernelError as error:
            if not (error.errno == errno.ENOENT and item.info().type in _OF_OBJECTS):
                yield key, Unreadable(os.strerror(error.errno or 0))


def element(item: Map, key: bytes, value: bytes) -> Element:
    """Return the element of a key and what was read there."""
    return _Reader(item).element(key, value)


class _Reader:
    """Makes elements of bytes."""

    def __init__(self, item: Map) -> None:
        self._map = item
        self._info = item.info()
        self._value_type_id, self._decoders = value_type(self._info)

    def element(self, key: bytes, value: bytes) -> Element:
        """Return the element of a key and the bytes found at it."""
        inner = unpack_from("=I", value)[0] if self._info.type in _OF_MAPS else None
        if not self._map.per_cpu:
            return Element(key, value, None, inner, self._formatted(key, value, None))
        values = tuple(CpuValue(cpu, part) for cpu, part in enumerate(self._map.split(value)))
        return Element(key, None, values, inner, self._formatted(key, None, values))

    def _formatted(self, key: bytes, value: bytes | None, values: tuple[CpuValue, ...] | None) -> Formatted | None:
        decoders = self._decoders
        if decoders is None:
            return None
        key_type, value_type_id = self._info.btf_key_type_id, self._value_type_id

        def typed(part: CpuValue) -> CpuValue:
            assert isinstance(part.value, bytes)
            return CpuValue(part.cpu, TypedValue(decoders, value_type_id, part.value))

        return Formatted(
            TypedValue(decoders, key_type, key) if key_type else None,
            None if value is None else TypedValue(decoders, value_type_id, value),
            None if values is None else tuple(typed(part) for part in values),
        )


def value_type(info: MapInfo) -> tuple[int, Decoders | None]:
    """Return the type id of a map's values, and the decoders of the BTF that it belongs to (None: the map has no types)."""
    if info.btf_vmlinux_value_type_id:
        from bpfload.kernel import btf as kernel_btf

        return info.btf_vmlinux_value_type_id, Decoders(kernel_btf.vmlinux())
    if info.btf_value_type_id:
        from bpfload.inspect import btf

        return info.btf_value_type_id, Decoders(btf.types(info.btf_id))
    return 0, None
