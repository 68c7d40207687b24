"""`bpfload map …` with typed values: what goes in by type comes out by type, and what doesn't fit is explained."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from struct import pack

import pytest

from bpfload.abi import consts as c
from bpfload.btf.writer import BtfBuilder
from bpfload.kernel import cpus
from bpfload.objects import Map
from bpfload.syscall import bpf
from support.process import Result
from support.programs import small_map

pytestmark = [pytest.mark.needs_root, pytest.mark.usefixtures("private_mounts")]

Command = Callable[..., Result]
# A name that no other map on the machine has.
NAME = f"counts_{os.getpid()}"


def make_map(kind: int, path: Path, *, scalar_key: bool = False) -> Map:
    """Pin a map of counters by peer address; `scalar_key`: the key is a plain 32-bit number."""
    builder = BtfBuilder()
    u8, u16, u32, u64 = (builder.add_int(f"u{size * 8}", size) for size in (1, 2, 4, 8))
    s32 = builder.add_int("int", 4, 1)
    be16, be32 = builder.add_typedef("__be16", u16), builder.add_typedef("__be32", u32)
    name = builder.add_array(builder.add_int("char", 1, 1), 8, u32)
    mac = builder.add_array(u8, 6, u32)
    state = builder.add_enum("state", [("IDLE", 0), ("BUSY", 7)])
    key = u32 if scalar_key else builder.add_struct("flow", 8, [("peer", be32, 0), ("port", be16, 32), ("vlan", u16, 48)])
    inner = builder.add_struct("inner", 8, [("a", u32, 0, 3), ("b", u32, 3, 29), ("level", s32, 32)])
    pair = builder.add_array(inner, 2, u32)
    value = builder.add_struct(
        "counts", 48, [("packets", u64, 0), ("state", state, 64), ("name", name, 96), ("src_mac", mac, 160), ("pairs", pair, 224)]
    )
    btf = bpf.btf_load(builder.bytes())
    try:
        size = 4 if scalar_key else 8
        item = Map(bpf.map_create(kind, size, 48, 4, name=NAME, btf_fd=btf, btf_key_type_id=key, btf_value_type_id=value))
    finally:
        os.close(btf)
    item.pin(path)
    return item


@pytest.fixture
def counts(bpffs: Path) -> Iterator[Path]:
    with make_map(c.BPF_MAP_TYPE_HASH, bpffs / "counts"):
        yield bpffs / "counts"


FLOW = '{"peer": "10.0.0.1", "port": 443}'
VALUE = '{"packets": 5, "state": "BUSY", "name": "web", "src_mac": "00:1b:21:0a:0b:0c", "pairs": [{"a": 3, "level": -9}]}'
ZERO = {"a": 0, "b": 0, "level": 0}
READ = {"packets": 5, "state": "BUSY", "name": "web", "pairs": [{"a": 3, "b": 0, "level": -9}, ZERO]}


def test_in_and_out(counts: Path, bpfload: Command) -> None:
    bpfload("map", "update", "pinned", counts, "key", FLOW, "value", VALUE)
    look = ("map", "lookup", "pinned", counts, "key", FLOW)
    typed = bpfload("-j", *look, "--typed").json()
    assert typed == {
        "key": {"peer": 0x0A000001, "port": 443, "vlan": 0},
        "value": {**READ, "src_mac": [0, 0x1B, 0x21, 10, 11, 12]} | {"pairs": READ["pairs"]},
    }
    readable = bpfload("-j", *look, "--readable").json()
    assert readable == {"key": {"peer": "10.0.0.1", "port": 443, "vlan": 0}, "value": READ | {"src_mac": "00:1b:21:0a:0b:0c"}}
    assert bpfload("-j", "map", "dump", "pinned", counts, "--readable").json() == [readable]
    # Without options, the JSON is bpftool's.
    assert bpfload("-j", *look).json()["key"][:6] == ["0x0a", "0x00", "0x00", "0x01", "0x01", "0xbb"]


def test_what_comes_out_goes_in_again(counts: Path, bpfload: Command) -> None:
    import json

    bpfload("map", "update", "pinned", counts, "key", FLOW, "value", VALUE)
    before = bpfload("-j", "map", "dump", "pinned", counts).stdout
    for option in ("--typed", "--readable"):
        (row,) = bpfload("-j", "map", "dump", "pinned", counts, option).json()
        key, value = json.dumps(row["key"]), json.dumps(row["value"])
        bpfload("map", "delete", "pinned", counts, "key", key, option)
        bpfload("map", "update", "pinned", counts, "key", key, "value", value, "noexist", option)
        assert bpfload("-j", "map", "dump", "pinned", counts).stdout == before


def test_members(counts: Path, bpfload: Command) -> None:
    bpfload("map", "update", "pinned", counts, "key", FLOW, "value", VALUE)
    look = ("map", "lookup", "pinned", counts, "key", FLOW)
    assert bpfload(*look, ".packets").stdout == "5\n"
    assert bpfload(*look, ".state", ".pairs[0].level").stdout == "BUSY\n-9\n"
    assert bpfload("-j", *look, ".name").json() == "web"
    assert bpfload("-j", *look, ".name", ".packets").json() == {".name": "web", ".packets": 5}
    wrong = bpfload(*look, ".pakets", check=False)
    assert wrong.status
    assert "'pakets'" in wrong.stderr
    assert "packets" in wrong.stderr.replace("pakets", "")


def test_text(counts: Path, bpfload: Command) -> None:
    bpfload("map", "update", "pinned", counts, "key", FLOW, "value", VALUE)
    shown = bpfload("map", "dump", "pinned", counts, "--readable").stdout
    assert shown.startswith('key: {"peer": "10.0.0.1", "port": 443, "vlan": 0}  value: {"packets": 5, "state": "BUSY"')
    assert shown.endswith("\nFound 1 element\n")
    assert bpfload("map", "getnext", "pinned", counts, "--readable").stdout == (
        'key: null\nnext key: {"peer": "10.0.0.1", "port": 443, "vlan": 0}\n'
    )


def test_the_example_of_an_address_as_a_key(bpffs: Path, bpfload: Command) -> None:
    with make_map(c.BPF_MAP_TYPE_HASH, bpffs / "counts", scalar_key=True) as item:
        bpfload("map", "update", "name", NAME, "key", "10.0.0.1", "value", '{"packets": 5}')
        assert [key for key, _ in item.items()] == [bytes((10, 0, 0, 1))]
        assert bpfload("map", "lookup", "name", NAME, "key", "10.0.0.1", ".packets").stdout == "5\n"
        (row,) = bpfload("-j", "map", "dump", "name", NAME, "--network", "key").json()
        assert row["key"] == "10.0.0.1"
        bpfload("map", "delete", "name", NAME, "key", "10.0.0.1")
        assert not list(item.keys())


def test_bytes_and_words(bpffs: Path, bpfload: Command) -> None:
    """As many bytes as the key has are bytes; one word is a number of the key's width."""
    with Map(bpf.map_create(c.BPF_MAP_TYPE_HASH, 4, 8, 8, name="plain")) as item:
        ident = item.info().id
        for key, value in (
            ("1 0 0 0", "258"),
            ("0x10000", "-1"),
            ("hex 7 0 0 0", "typed 7"),
            ("typed 9", "json 18446744073709551615"),
        ):
            if value == "-1":
                value = "18446744073709551615"
            bpfload("map", "update", "id", ident, "key", *key.split(), "value", *value.split())
        found = {int.from_bytes(key, "little"): int.from_bytes(value, "little") for key, value in item.items()}
        assert found == {1: 258, 0x10000: (1 << 64) - 1, 7: 7, 9: (1 << 64) - 1}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("key", "1", "2", "value", "0"), ["key", "'value' is no byte", "4 bytes", "hex", "typed"]),
        (("key", "1", "2", "3", "300", "value", "0"), ["key", "'300' is no byte"]),
        (("key", "lots", "value", "0"), ["key", "number", "'lots'", "Give 4 bytes"]),
        (("key", "hex", "zz", "0", "0", "0", "value", "0"), ["'zz' is no byte"]),
        (("key", "-5", "value", "0"), ["key", "-5 is out of range", "0 to 4294967295"]),
        (("key", "5", "value", "{1}"), ["value", "no JSON", "single quotes"]),
        (("key", "5", "value"), ["the value is missing"]),
        (("key", "5"), ["the value is missing"]),
        (("value", "5"), ["the key is missing"]),
        (("key", "5", "key", "6", "value", "7"), ["the key is given twice"]),
        (("key", "5", "value", "7", "sometimes"), ["'sometimes' is no byte"]),
        (("key", "5", "value", "7", "exist"), ["no such key", "leave out exist"]),
        (("key", "typed", "value", "7"), ["not 'value'"]),
        (("key", "10.0.0.1.2", "value", "7"), ["number", "10.0.0.1.2"]),
    ],
)
def test_what_is_wrong(words: tuple[str, ...], said: list[str], bpfload: Command) -> None:
    with Map(bpf.map_create(c.BPF_MAP_TYPE_HASH, 4, 8, 8, name="plain")) as item:
        failed = bpfload("map", "update", "id", item.info().id, *words, check=False)
        assert failed.status in (1, 2), failed
        assert failed.stderr.startswith("Error: ")
        for word in said:
            assert word in failed.stderr, failed
        assert "Traceback" not in failed.stderr
        assert "mistake" not in failed.stderr
        assert not list(item.keys())


def test_refusals_name_the_reason(bpffs: Path, bpfload: Command) -> None:
    with Map(bpf.map_create(c.BPF_MAP_TYPE_ARRAY, 4, 4, 2, name="stiff")) as item:
        ident = item.info().id
        full = bpfload("map", "update", "id", ident, "key", 9, "value", 1, check=False)
        assert "2 entries at most: there is no such index" in full.stderr
        there = bpfload("map", "update", "id", ident, "key", 1, "value", 1, "noexist", check=False)
        assert "leave out noexist" in there.stderr
        keys = bpfload("map", "pop", "id", ident, check=False)
        assert "only a queue or stack" in keys.stderr
        bpfload("map", "freeze", "id", ident)
        frozen = bpfload("map", "update", "id", ident, "key", 1, "value", 1, check=False)
        assert "The map is frozen" in frozen.stderr


def test_per_cpu(bpffs: Path, bpfload: Command) -> None:
    with make_map(c.BPF_MAP_TYPE_PERCPU_HASH, bpffs / "counts", scalar_key=True) as item:
        words = ("map", "update", "pinned", bpffs / "counts", "key", 3)
        bpfload(*words, "value", '{"packets": 4}')
        assert [value["packets"] for value in item[3]] == [4] * cpus.possible()
        bpfload(*words, "value", '[{"cpu": 0, "value": {"packets": 9}}]')
        assert [value["packets"] for value in item[3]] == [9] + [0] * (cpus.possible() - 1)
        look = ("map", "lookup", "pinned", bpffs / "counts", "key", 3)
        values = bpfload("-j", *look, "--typed").json()["values"]
        assert [part["value"]["packets"] for part in values] == [9] + [0] * (cpus.possible() - 1)
        assert bpfload("-j", *look, ".packets").json()[0] == {"cpu": 0, "value": 9}
        assert "value (CPU 00): {" in bpfload(*look, "--typed").stdout
        wrong = bpfload(*words, "value", '[{"cpu": 9999, "value": {}}]', check=False)
        assert "no CPU 9999" in wrong.stderr


def test_maps_of_maps(bpffs: Path, bpfload: Command) -> None:
    with small_map("inner") as inner:
        inner.pin(bpffs / "inner")
        create = ("map", "create", bpffs / "outer", "type", "hash_of_maps", "key", 4, "value", 4, "entries", 3, "name", "outer")
        alone = bpfload(*create, check=False)
        assert "inner_map" in alone.stderr
        bpfload(*create, "inner_map", "pinned", bpffs / "inner")
        bpfload("map", "update", "pinned", bpffs / "outer", "key", 77, "value", "pinned", bpffs / "inner")
        bpfload("map", "update", "pinned", bpffs / "inner", "key", 0, "value", 5)
        (row,) = bpfload("-j", "map", "dump", "pinned", bpffs / "outer", "--typed").json()
        assert row == {"key": 77, "inner_map_id": inner.info().id, "elements": [{"key": 0, "value": 5}]}
        assert "    key: 0  value: 5\n" in bpfload("map", "dump", "pinned", bpffs / "outer", "--typed").stdout
        deeper = ("map", "create", bpffs / "deeper", *create[3:], "inner_map", "pinned", bpffs / "outer")
        assert "one level deep" in bpfload(*deeper, check=False).stderr


def test_an_lpm_trie(bpffs: Path, bpfload: Command) -> None:
    path = bpffs / "trie"
    words = ("type", "lpm_trie", "key", 8, "value", 4, "entries", 4, "name", "trie")
    assert "flags 1" in bpfload("map", "create", path, *words, check=False).stderr
    bpfload("map", "create", path, *words, "flags", 1)
    bpfload("map", "update", "pinned", path, "key", "10.0.0.0/8", "value", 7)
    assert bpfload("map", "lookup", "pinned", path, "key", "10.1.2.3/32", "--readable").stdout == "key: 10.1.2.3/32  value: 7\n"
    assert bpfload("-j", "map", "dump", "pinned", path, "--readable").json() == [{"key": "10.0.0.0/8", "value": 7}]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("type ringbuf key 0 value 0 entries 5000 name x", "times a power of 2"),
        ("type hash key 4 value 4 name x", "entries N"),
        ("type array key 8 value 4 entries 1 name x", "key 4"),
        ("type queue key 4 value 4 entries 1 name x", "key 0"),
        ("type hsh key 4 value 4 entries 1 name x", "hash"),
        ("type hash key 4 value 4 entries 1", "name NAME"),
        ("key 4 value 4 entries 1 name x", "type TYPE"),
        ("type hash key four value 4 entries 1 name x", "size of keys"),
        ("type hash key 4 value 99999999999 entries 1 name x", "32 bits"),
        ("type hash key 4 value 4 entries 1 name x offload_dev lo", "offload"),
    ],
)
def test_maps_that_can_not_be(words: str, said: str, bpffs: Path, bpfload: Command) -> None:
    failed = bpfload("map", "create", bpffs / "made", *words.split(), check=False)
    assert failed.status in (1, 2)
    assert said in failed.stderr, failed
    assert not (bpffs / "made").exists()


def test_typed_dump_of_what_can_not_be_read(bpfload: Command) -> None:
    """Sockets of a sockmap have no value that user space could read."""
    with Map(bpf.map_create(c.BPF_MAP_TYPE_SOCKMAP, 4, 4, 2, name="sockets")) as item:
        rows = bpfload("-j", "map", "dump", "id", item.info().id, "--typed").json()
        assert [list(row) for row in rows] == [["key", "error"]] * 2
        assert bpfload("map", "dump", "id", item.info().id, "--typed").stdout.endswith("Found 0 elements\n")
    with Map(bpf.map_create(c.BPF_MAP_TYPE_QUEUE, 0, 4, 4, name="line")) as item:
        item.update(None, pack("=I", 5))
        failed = bpfload("map", "dump", "id", item.info().id, "--typed", check=False)
        assert failed.status
        assert "can't be listed" in failed.stderr
        assert bpfload("-j", "map", "peek", "id", item.info().id, "--typed").json() == {"value": 5}


def test_help_says_how(bpfload: Command) -> None:
    text = bpfload("map", "help").stdout
    for word in ("update", "lookup", "getnext", "create", "push", "dequeue", "freeze", "--readable", "typed WORD"):
        assert word in text
