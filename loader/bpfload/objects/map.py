"""A map, and access to its elements."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self

from bpfload.abi import consts
from bpfload.errors import ENOTSUPP, KernelError, NotSupportedError
from bpfload.objects.base import KernelObject
from bpfload.syscall import bpf

if TYPE_CHECKING:
    from collections.abc import Collection

    from bpfload.objects.info import MapInfo
    from bpfload.objects.typed_map import Typed, TypedMap

_PER_CPU = (
    consts.BPF_MAP_TYPE_PERCPU_HASH,
    consts.BPF_MAP_TYPE_PERCPU_ARRAY,
    consts.BPF_MAP_TYPE_LRU_PERCPU_HASH,
    consts.BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE,
)

# Types whose elements the kernel hands out in batches, in the order of get_next_key, and each of which can be read.
_BATCHED = (
    consts.BPF_MAP_TYPE_HASH,
    consts.BPF_MAP_TYPE_ARRAY,
    consts.BPF_MAP_TYPE_PERCPU_HASH,
    consts.BPF_MAP_TYPE_PERCPU_ARRAY,
    consts.BPF_MAP_TYPE_LRU_HASH,
    consts.BPF_MAP_TYPE_LRU_PERCPU_HASH,
    consts.BPF_MAP_TYPE_LPM_TRIE,
)

# A batch reads about so many bytes.
_BATCH_BYTES = 1 << 18
# So often a batch is tried again that found elements only that vanished meanwhile.
_TRIES = 100


def is_per_cpu(map_type: int) -> bool:
    """Whether a map of that type has a value for each CPU at a key."""
    return map_type in _PER_CPU


class Map(KernelObject):
    """A map in the kernel, held by an fd.

    `lookup`, `update`, `items`, … take and give bytes. A per-CPU map's value is all CPUs' values, one after another, each rounded
    up to 8 bytes; `split` takes it apart and `join` makes one. `map[key]`, `read`, `write` and `typed()` take and give Python
    values, by the map's BTF.
    """

    __slots__ = ("_info", "_types")

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        self._info: MapInfo | None = None
        self._types: tuple[Typed, Typed] | None = None

    @classmethod
    def from_id(cls, ident: int) -> Self:
        """Open the map with that id. Raises NotFoundError, KernelError."""
        from bpfload.objects import opening

        return cls(opening.by_id(bpf.map_get_fd_by_id, "map", ident))

    @classmethod
    def from_pin(cls, path: str | os.PathLike[str]) -> Self:
        """Open the map pinned at `path`. Raises PinError, KernelError."""
        from bpfload.objects import opening

        return cls(opening.by_pin(path, "map"))

    def info(self) -> MapInfo:
        """Return what the kernel says of the map: asked once, for nothing in it ever changes."""
        if self._info is None:
            from bpfload.objects.info import map_info

            self._info = map_info(self.fd)
        return self._info

    @property
    def per_cpu(self) -> bool:
        """Whether there is a value for each CPU at a key."""
        return is_per_cpu(self.info().type)

    @property
    def stride(self) -> int:
        """Bytes from one CPU's value to the next; without per-CPU values, the size of the value."""
        size = self.info().value_size
        return size + 7 & ~7 if self.per_cpu else size

    @property
    def lookup_size(self) -> int:
        """Bytes that looking up one key gives: the value, or those of all CPUs."""
        if not self.per_cpu:
            return self.info().value_size
        from bpfload.kernel import cpus

        return self.stride * cpus.possible()

    def split(self, value: bytes) -> list[bytes]:
        """Return the values of the CPUs, without padding, of what `lookup` gave; a single value where there is only one."""
        size, stride = self.info().value_size, self.stride
        if not self.per_cpu:
            return [value]
        return [value[start : start + size] for start in range(0, len(value), stride)]

    def join(self, values: list[bytes]) -> bytes:
        """Return one value for `update` of a value for each CPU."""
        stride = self.stride
        return b"".join(value.ljust(stride, b"\0") for value in values)

    # --- elements ---------------------------------------------------------------------------------------------------

    def lookup(self, key: bytes | None, flags: int = 0) -> bytes:
        """Return the value at `key` (None: what is next in a queue or stack). Raises KernelError ENOENT where there is none."""
        return bpf.map_lookup_elem(self.fd, key, self.lookup_size, flags)

    def get(self, key: bytes) -> bytes | None:
        """Return the value at `key`, or None."""
        try:
            return self.lookup(key)
        except KernelError as error:
            if error.errno == errno.ENOENT:
                return None
            raise

    def peek(self) -> bytes | None:
        """Return the next element of a queue or stack and leave it there; None if it is empty."""
        try:
            return self.lookup(None)
        except KernelError as error:
            if error.errno == errno.ENOENT:
                return None
            raise

    def update(self, key: bytes | None, value: bytes, flags: int = 0) -> None:
        """Store `value` at `key` (None: push on a queue, a stack or into a bloom filter). `flags`: BPF_NOEXIST, BPF_EXIST, …"""
        bpf.map_update_elem(self.fd, key, value, flags)

    def delete(self, key: bytes) -> None:
        """Delete the element at `key`. Raises KernelError ENOENT where there is none, EINVAL for arrays."""
        bpf.map_delete_elem(self.fd, key)

    def pop(self, key: bytes | None = None, flags: int = 0) -> bytes:
        """Take out and return the element at `key` (None: the next of a queue or stack).

        Raises KernelError ENOENT, and NotSupportedError for a hash map on kernels before 5.14.
        """
        try:
            return bpf.map_lookup_and_delete_elem(self.fd, key, self.lookup_size, flags)
        except KernelError as error:
            # Not two calls instead of one: an element that is updated between them would be lost.
            if key is None or error.errno != ENOTSUPP:
                raise
            what = "taking out of a map in one step, or none for maps of this type"
            raise NotSupportedError(what, since="5.14", call=error.call, errno=error.errno) from None

    def freeze(self) -> None:
        """Make the map read-only for user space, for good."""
        bpf.map_freeze(self.fd)

    def keys(self) -> Iterator[bytes]:
        """Yield the keys. A key deleted meanwhile makes the kernel start over, as bpf(2) has it."""
        size, key = self.info().key_size, None
        while (key := bpf.map_get_next_key(self.fd, key, size)) is not None:
            yield key

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) of all elements, in batches where the kernel can; elements that vanish meanwhile are left out.

        Raises KernelError where the values of this type of map can't be read.
        """
        try:
            for batch in self.batches():
                yield from batch
            return
        except NoBatchesError:
            pass
        for key in self.keys():
            value = self.get(key)
            if value is not None:
                yield key, value

    # --- elements by their types ------------------------------------------------------------------------------------

    def typed(self, *, readable: bool = False, network: Collection[str] = ()) -> TypedMap:
        """Return the elements as a dict of Python values, by the map's BTF; without BTF, integers of 1, 2, 4 or 8 bytes.

        `readable`: addresses as text, and what the kernel's types say is in network order as the number that it means.
        `network`: names of members ("key", "value": the whole) that are in network order though no type says so.
        """
        from bpfload.btf.network import Network
        from bpfload.objects.typed_map import TypedMap

        return TypedMap(self, Network(addresses=readable, names=network) if readable or network else None)

    def read(self, key: Any = None) -> Any:
        """Return the value at `key`, both as Python values. Raises KeyError where there is none, UsageError, FormatError."""
        return self._by_type()[key]

    def write(self, key: Any, value: Any) -> None:
        """Store `value` at `key`, both as Python values (key None: push). Raises UsageError naming what doesn't fit."""
        self._by_type()[key] = value

    def _by_type(self) -> TypedMap:
        from bpfload.objects.typed_map import TypedMap, key_and_value

        if self._types is None:
            self._types = key_and_value(self)
        return TypedMap(self, types=self._types)

    def __getitem__(self, key: Any) -> Any:
        return self.read(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.write(key, value)

    def __delitem__(self, key: Any) -> None:
        del self._by_type()[key]

    def __contains__(self, key: Any) -> bool:
        return key in self._by_type()

    # Without this, Python would iterate by asking for the elements 0, 1, 2, ….
    __iter__ = None

    # --- many at a time ---------------------------------------------------------------------------------------------

    def batches(self) -> Iterator[Batch]:
        """Yield all elements, many at a time (BPF_MAP_LOOKUP_BATCH), in the order of `keys`.

        Raises NoBatchesError before the first of them where the kernel has no batches for this map, KernelError.
        """
        if self.info().type not in _BATCHED:
            raise NoBatchesError("batches for maps of this type")
        key_size, value_size = self.info().key_size, self.lookup_size
        count = max(64, _BATCH_BYTES // (key_size + value_size))
        count = max(1, min(count, self.info().max_entries))
        token: bytes | None = None
        started, tries = False, _TRIES
        while True:
            try:
                keys, values, read, token = bpf.map_lookup_batch(self.fd, token, count, key_size, value_size)
            except KernelError as error:
                if error.errno == errno.ENOSPC:
                    # One bucket of the hash table holds more than fits.
                    count *= 2
                    continue
                if error.errno == errno.EINTR and tries:
                    tries -= 1
                    continue
                if not started and error.errno in (errno.EINVAL, errno.EOPNOTSUPP, ENOTSUPP):
                    raise NoBatchesError("batches for maps of this type", since="5.6", errno=error.errno) from None
                raise
            started, tries = True, _TRIES
            if read:
                yield Batch(keys, values, read)
            if token is None:
                return


class Batch:
    """Elements in the map's order. `keys`, `values`: all keys and all values, one after another; `count`: of the elements."""

    __slots__ = ("count", "keys", "values")

    def __init__(self, keys: bytes, values: bytes, count: int) -> None:
        self.keys = keys
        self.values = values
        self.count = count

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        key_size, value_size = len(self.keys) // self.count, len(self.values) // self.count
        for number in range(self.count):
            key = self.keys[number * key_size : (number + 1) * key_size]
            yield key, self.values[number * value_size : (number + 1) * value_size]


class NoBatchesError(NotSupportedError):
    """The kernel has no batches for this type of map (before Linux 5.6, 5.13 for per-CPU arrays)."""
