"""Elements of real maps by their types: `Map.read`, `write`, `typed()`."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from struct import pack

import pytest

from bpfload.abi import consts as c
from bpfload.btf.writer import BtfBuilder
from bpfload.errors import UsageError
from bpfload.kernel import cpus
from bpfload.objects import Map, Program
from bpfload.objects.map import NoBatchesError
from bpfload.objects.typed_map import field_of
from bpfload.syscall import bpf
from support.programs import load_spec, program_spec, small_map

pytestmark = [pytest.mark.needs_root, pytest.mark.usefixtures("nothing_left_behind")]


def typed_map(kind: int = c.BPF_MAP_TYPE_HASH, entries: int = 8, flags: int = 0) -> Map:
    """A map from a struct with an address and a port to counters, an enum and a name."""
    builder = BtfBuilder()
    u16, u32, u64 = (builder.add_int(name, size) for name, size in (("u16", 2), ("u32", 4), ("u64", 8)))
    char = builder.add_int("char", 1, 1)
    be16, be32 = builder.add_typedef("__be16", u16), builder.add_typedef("__be32", u32)
    state = builder.add_enum("state", [("IDLE", 0), ("BUSY", 7)])
    name = builder.add_array(char, 8, u32)
    key = builder.add_struct("flow", 8, [("peer", be32, 0), ("port", be16, 32), ("vlan", u16, 48)])
    bits = [("low", u32, 0, 4), ("high", u32, 4, 28), ("state", state, 32), ("name", name, 64), ("packets", u64, 128)]
    value = builder.add_struct("counts", 24, bits)
    btf = bpf.btf_load(builder.bytes())
    try:
        key_size, key_id = (4, u32) if kind in (c.BPF_MAP_TYPE_ARRAY, c.BPF_MAP_TYPE_PERCPU_ARRAY) else (8, key)
        return Map(
            bpf.map_create(
                kind, key_size, 24, entries, flags, name="flows", btf_fd=btf, btf_key_type_id=key_id, btf_value_type_id=value
            )
        )
    finally:
        import os

        os.close(btf)


@pytest.fixture
def flows() -> Iterator[Map]:
    with typed_map() as item:
        yield item


FLOW = {"peer": "10.0.0.1", "port": 443, "vlan": 5}


def test_as_a_dict(flows: Map) -> None:
    flows[FLOW] = {"packets": 5, "state": "BUSY", "name": "web", "low": 3, "high": 1 << 20}
    value = flows[FLOW]
    assert value == {"low": 3, "high": 1 << 20, "state": "BUSY", "name": "web", "packets": 5}
    assert FLOW in flows
    assert flows.read(FLOW) == value
    flows.write(FLOW, {"packets": 6})
    assert flows[FLOW]["state"] == "IDLE"
    del flows[FLOW]
    assert FLOW not in flows
    with pytest.raises(KeyError):
        flows[FLOW]
    with pytest.raises(KeyError):
        del flows[FLOW]


def test_bytes_in_memory(flows: Map) -> None:
    """An address goes to memory in network order, a number as the machine has it; readable, a __be16 is the number it means."""
    flows[FLOW] = {}
    assert list(flows.keys()) == [bytes((10, 0, 0, 1)) + pack("=HH", 443, 5)]
    readable = flows.typed(readable=True)
    readable[FLOW] = {"packets": 1}
    assert flows.get(bytes((10, 0, 0, 1)) + pack(">H", 443) + pack("=H", 5)) is not None
    keys = [dict(key) for key, _ in readable.items()]
    assert FLOW in keys
    assert len(keys) == len(readable) == 2
    for key, value in readable.items():
        readable[key] = value  # what comes out goes in again
    assert len(readable) == 2


def test_network_order_by_request() -> None:
    with Map(bpf.map_create(c.BPF_MAP_TYPE_HASH, 4, 2, 4)) as item:
        asked = item.typed(network=["key", "value"])
        asked["10.1.2.3"] = 8080
        assert list(item.items()) == [(bytes((10, 1, 2, 3)), pack(">H", 8080))]
        assert dict(asked.items()) == {"10.1.2.3": 8080}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"pakets": 1}, ["value", "no member 'pakets'", "packets"]),
        ({"packets": -1}, ["value.packets", "out of range"]),
        ({"packets": "many"}, ["value.packets", "number", "many"]),
        ({"state": "LAZY"}, ["value.state", "IDLE, BUSY"]),
        ({"name": "far too long a name"}, ["value.name", "up to 7 bytes"]),
        ({"low": 16}, ["value.low", "0 to 15"]),
        ({"peer": 1}, ["no member 'peer'"]),
        (5, ["mapping of members"]),
    ],
)
def test_what_does_not_fit(flows: Map, value: object, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        flows[FLOW] = value
    for word in words:
        assert word in str(caught.value)
    assert not list(flows.keys())


def test_without_types() -> None:
    with Map(bpf.map_create(c.BPF_MAP_TYPE_HASH, 4, 8, 4)) as item:
        item[5] = -1 % (1 << 64)
        assert item[5] == (1 << 64) - 1
        assert dict(item.typed().items()) == {5: (1 << 64) - 1}
        with pytest.raises(UsageError, match="out of range"):
            item[1 << 32] = 0
    with Map(bpf.map_create(c.BPF_MAP_TYPE_HASH, 3, 5, 4)) as item:
        item[(1, 2, 3)] = [9, 8]
        assert dict(item.typed().items()) == {(1, 2, 3): [9, 8, 0, 0, 0]}


def test_per_cpu() -> None:
    with typed_map(c.BPF_MAP_TYPE_PERCPU_ARRAY, 2) as item:
        item[1] = {"packets": 4}
        assert [value["packets"] for value in item[1]] == [4] * cpus.possible()
        item[1] = [{"packets": cpu} for cpu in range(cpus.possible())]
        assert [value["packets"] for value in item.read(1)] == list(range(cpus.possible()))
        with pytest.raises(UsageError, match="CPUs"):
            item[1] = [{"packets": 1}] * (cpus.possible() + 1)


def test_queues_and_tries() -> None:
    with Map(bpf.map_create(c.BPF_MAP_TYPE_QUEUE, 0, 4, 4)) as item:
        item.write(None, 7)
        item.write(None, 8)
        assert item.read() == item.read(None) == 7
        assert item.pop() == pack("=I", 7)
        assert item.peek() == pack("=I", 8)
        item.pop()
        assert item.peek() is None
    with Map(bpf.map_create(c.BPF_MAP_TYPE_LPM_TRIE, 8, 4, 4, c.BPF_F_NO_PREALLOC)) as item:
        item["10.0.0.0/8"] = 1
        assert item.lookup(pack("=I", 32) + bytes((10, 7, 7, 7))) == pack("=I", 1)
        assert dict(item.typed(readable=True).items()) == {"10.0.0.0/8": 1}


def test_maps_and_programs_as_values() -> None:
    with small_map("inner") as inner, Map(bpf.map_create(c.BPF_MAP_TYPE_HASH_OF_MAPS, 4, 4, 3, inner_map_fd=inner.fd)) as outer:
        outer[7] = inner
        with outer[7] as found:
            assert isinstance(found, Map)
            assert found.info().id == inner.info().id
            found[0] = 99
        assert inner[0] == 99
    spec = program_spec("slot", c.BPF_PROG_TYPE_SOCKET_FILTER)
    with load_spec(spec) as program, Map(bpf.map_create(c.BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 3)) as slots:
        slots[2] = program
        with slots[2] as entry:
            assert isinstance(entry, Program)
            assert entry.info().id == program.info().id


def test_no_cycle_keeps_the_fd(no_fd_leak: None) -> None:
    """Typed access must not make a circle of references: an fd would stay open until the next collection."""
    gc.disable()
    try:
        item = typed_map()
        item[FLOW] = {}
        del item
    finally:
        gc.enable()


def test_batches() -> None:
    with Map(bpf.map_create(c.BPF_MAP_TYPE_HASH, 4, 8, 5000)) as item:
        for number in range(5000):
            item.update(pack("=I", number), pack("=Q", number * 3))
        batches = list(item.batches())
        assert sum(batch.count for batch in batches) == 5000
        pairs = [pair for batch in batches for pair in batch]
        assert sorted(pairs) == sorted((pack("=I", number), pack("=Q", number * 3)) for number in range(5000))
        assert [key for key, _ in pairs] == list(item.keys())
    with Map(bpf.map_create(c.BPF_MAP_TYPE_QUEUE, 0, 4, 4)) as item, pytest.raises(NoBatchesError):
        next(item.batches())


def test_paths_of_members() -> None:
    value = {"flow": {"ports": [1, 2]}, "n": 3}
    assert field_of(value, ".flow.ports[1]") == 2
    assert field_of(value, ".n") == 3
    for path, words in (
        (".m", "no member 'm'"),
        (".n.x", "value.n has no members"),
        (".flow.ports[2]", "has 2 elements"),
        ("n", "path"),
    ):
        with pytest.raises(Exception, match=words.replace(".", r"\.")):
            field_of(value, path)
