"""A map's elements as Python values, by the types of its BTF: numbers, texts, dicts by member, lists, names of enums."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator, MutableMapping
from functools import lru_cache
from typing import Any

from bpfload.abi import consts
from bpfload.btf import Btf
from bpfload.btf.encode import encode
from bpfload.btf.network import Network, prefix_bytes, prefix_text
from bpfload.btf.values import PYTHON, Decoder
from bpfload.errors import KernelError, NotFoundError, UsageError
from bpfload.objects.base import KernelObject
from bpfload.objects.info import MapInfo
from bpfload.objects.map import Map

_OF_MAPS = (consts.BPF_MAP_TYPE_ARRAY_OF_MAPS, consts.BPF_MAP_TYPE_HASH_OF_MAPS)
_OF_PROGRAMS = (consts.BPF_MAP_TYPE_PROG_ARRAY,)


class Typed:
    """Values of one type, to and from bytes. `name`: what they are, for messages: "key" or "value"."""

    def __init__(self, btf: Btf, type_id: int, name: str, network: Network | None = None) -> None:
        self.btf = btf
        self.type_id = type_id
        self.name = name
        self.network = network
        self._decoder = Decoder(btf, style=PYTHON, network=network)

    def encode(self, value: Any) -> bytes:
        """Return the bytes of a value. Raises UsageError, naming the member, if it doesn't fit the type."""
        return encode(self.btf, self.type_id, value, name=self.name, network=self.network)

    def decode(self, data: bytes) -> Any:
        """Return the value of bytes. Raises FormatError."""
        size, decode = self._decoder.prepare_named(self.type_id, self.name)
        return decode(data, 0) if len(data) >= size else self._decoder.decode(self.type_id, data)


@lru_cache(maxsize=64)
def _untyped(size: int) -> tuple[Btf, int]:
    """Return a type for what has none: an unsigned integer of 1, 2, 4 or 8 bytes, else an array of bytes."""
    from bpfload.btf.writer import BtfBuilder

    builder = BtfBuilder()
    if size in (1, 2, 4, 8):
        type_id = builder.add_int(f"{size * 8}-bit integer", size)
    else:
        byte = builder.add_int("byte", 1)
        type_id = builder.add_array(byte, size, builder.add_int("index", 4))
    return builder.build(), type_id


def _types_of(info: MapInfo) -> Btf | None:
    """Return the BTF that a map's types are in, None where it has none."""
    if not info.btf_id:
        return None
    from bpfload.objects.btf import BtfObject

    with BtfObject.from_id(info.btf_id) as found:
        said = found.info()
        if not said.kernel_btf:
            return found.btf()
        from bpfload.kernel import btf as kernel_btf

        return kernel_btf.vmlinux() if said.name == kernel_btf.VMLINUX else found.btf(base=kernel_btf.vmlinux())


def key_and_value(item: Map, network: Network | None = None) -> tuple[Typed, Typed]:
    """Return what makes values of a map's keys and values; without BTF, integers by their size."""
    info = item.info()
    btf = _types_of(info) if info.btf_key_type_id or info.btf_value_type_id else None
    key = (btf, info.btf_key_type_id) if btf and info.btf_key_type_id else _untyped(info.key_size)
    value = (btf, info.btf_value_type_id) if btf and info.btf_value_type_id else _untyped(info.value_size)
    if info.btf_vmlinux_value_type_id:
        from bpfload.kernel import btf as kernel_btf

        value = (kernel_btf.vmlinux(), info.btf_vmlinux_value_type_id)
    return Typed(key[0], key[1], "key", network), Typed(value[0], value[1], "value", network)


class TypedMap(MutableMapping[Any, Any]):
    """A map's elements by their types, as a dict has them.

    A struct is a dict by member, and may be written as one that leaves members out (they become 0) or as bytes. A key that is a
    struct comes out of iteration as a tuple of (member, value) pairs, which does as a key again. A per-CPU map has a list with a
    value for each CPU; written, a single value goes to all of them. A map of maps has `Map`s, an array of programs `Program`s,
    which the caller closes. `network`: see `bpfload.btf.network`; the text of an address does for a key or value without it, too,
    and `10.0.0.0/8` for the key of an LPM trie.
    """

    def __init__(self, item: Map, network: Network | None = None, *, types: tuple[Typed, Typed] | None = None) -> None:
        self.map = item
        self.key, self.value = types or key_and_value(item, network)
        self._network = network

    # --- to and from bytes ------------------------------------------------------------------------------------------

    def encode_key(self, key: Any) -> bytes | None:
        """Return a key's bytes; None, for a queue or stack, is None. Raises UsageError."""
        if not self.map.info().key_size:
            return None
        if isinstance(key, str) and self.map.info().type == consts.BPF_MAP_TYPE_LPM_TRIE:
            raw = prefix_bytes(key, self.map.info().key_size, sys.byteorder)
            if raw is not None:
                return raw
        return self.key.encode(_from_hashable(key))

    def decode_key(self, key: bytes) -> Any:
        """Return the value of a key's bytes. Raises FormatError."""
        if self._network and self._network.addresses and self.map.info().type == consts.BPF_MAP_TYPE_LPM_TRIE:
            text = prefix_text(key, sys.byteorder)
            if text is not None:
                return text
        return self.key.decode(key)

    def encode_value(self, value: Any) -> bytes:
        """Return the bytes of a value, of all CPUs in a per-CPU map. Raises UsageError."""
        if isinstance(value, KernelObject):
            return value.fd.to_bytes(4, sys.byteorder)
        if not self.map.per_cpu:
            return self.value.encode(value)
        count = self.map.lookup_size // self.map.stride
        if not isinstance(value, list):
            return self.map.join([self.value.encode(value)] * count)
        if len(value) != count:
            raise UsageError(f"value: a list has a value for each of {count} CPUs, not {len(value)}")
        return self.map.join([self.value.encode(part) for part in value])

    def decode_value(self, value: bytes) -> Any:
        """Return the value of bytes that `lookup` gave. Raises FormatError."""
        if self.map.info().type in _OF_MAPS:
            return Map.from_id(int.from_bytes(value, sys.byteorder))
        if self.map.info().type in _OF_PROGRAMS:
            from bpfload.objects.program import Program

            return Program.from_id(int.from_bytes(value, sys.byteorder))
        parts = [self.value.decode(part) for part in self.map.split(value)]
        return parts if self.map.per_cpu else parts[0]

    # --- as a dict --------------------------------------------------------------------------------------------------

    def __getitem__(self, key: Any) -> Any:
        raw = self.encode_key(key)
        found = self.map.peek() if raw is None else self.map.get(raw)
        if found is None:
            raise KeyError(key)
        return self.decode_value(found)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.map.update(self.encode_key(key), self.encode_value(value))

    def __delitem__(self, key: Any) -> None:
        raw = self.encode_key(key)
        if raw is None:
            raise UsageError("a queue or stack has no keys: take the next element with pop()")
        try:
            self.map.delete(raw)
        except KernelError as error:
            if error.errno == errno.ENOENT:
                raise KeyError(key) from None
            raise

    def __iter__(self) -> Iterator[Any]:
        for key in self.map.keys():  # noqa: SIM118 - it is no dict
            yield _hashable(self.decode_key(key))

    def __len__(self) -> int:
        return sum(1 for _ in self.map.keys())  # noqa: SIM118 - it is no dict

    def items(self) -> Any:
        """Yield (key, value) of all elements, in batches where the kernel can; elements that vanish meanwhile are left out."""
        for key, value in self.map.items():
            yield _hashable(self.decode_key(key)), self.decode_value(value)


def _hashable(key: Any) -> Any:
    """Return a key that can be one of a dict: dicts and lists as tuples."""
    if isinstance(key, dict):
        return tuple((name, _hashable(value)) for name, value in key.items())
    return tuple(_hashable(part) for part in key) if isinstance(key, list) else key


def _from_hashable(key: Any) -> Any:
    """Return what `_hashable` made a key of."""
    if not isinstance(key, tuple):
        return key
    if key and all(isinstance(part, tuple) and len(part) == 2 and isinstance(part[0], str) for part in key):
        return {name: _from_hashable(part) for name, part in key}
    return [_from_hashable(part) for part in key]


def field_of(value: Any, path: str) -> Any:
    """Return a part of a value by its path, such as ``.flow.ports[1]``.

    A dot and a name lead to a member, a number in brackets to an element. Raises UsageError, NotFoundError naming near members.
    """
    import re

    steps = re.findall(r"\.([^.\[\]]+)|\[(\d+)\]", path)
    if "".join(f".{name}" if name else f"[{number}]" for name, number in steps) != path:
        raise UsageError(f"{path!r} is no path of a member", hint="It looks like .member, .member.inner or .list[3].")
    gone = "value"
    for name, number in steps:
        if name:
            if not isinstance(value, dict):
                raise UsageError(f"{gone} has no members, so no .{name}")
            if name not in value:
                from bpfload.errors import near

                raise NotFoundError(f"{gone} has no member {name!r}", candidates=near(name, value))
            value, gone = value[name], f"{gone}.{name}"
        else:
            if not isinstance(value, list) or int(number) >= len(value):
                has = f"{len(value)} elements" if isinstance(value, list) else "no elements"
                raise UsageError(f"{gone} has {has}, so no [{number}]")
            value, gone = value[int(number)], f"{gone}[{number}]"
    return value
