"""`map create`, `update`, `lookup`, `getnext`, `delete`, `push`, `pop`, `freeze`: two equal maps, one for each command.

Each step is done to both, by bpftool and by us: what they print and whether they fail must be the same, as text and as JSON, and
so must be what the maps hold afterwards. Messages of errors are our own words.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from struct import pack
from typing import Any

import pytest

from bpfload.abi import consts as c
from bpfload.abi.names import MAP_TYPE_NAMES
from bpfload.objects import Map
from bpfload.syscall import bpf
from support.features import why_missing
from support.paths import DATA
from support.peer import bpfload, recent_peer
from support.process import Argument, Result, bpftool
from support.programs import load_spec, program_spec, small_map

pytestmark = [pytest.mark.needs_root, pytest.mark.usefixtures("bpftool"), recent_peer]

# By name: type, key size, value size, entries, flags; then steps, each of the words behind the map.
Steps = tuple[tuple[str, str], ...]
_HASH: Steps = (
    ("update", "key 1 0 0 0 value 1 2 3 4 5 6 7 8"),
    ("update", "key hex 0a 0b 0c 0d value hex ff 0 1 2 3 4 5 6 any"),
    ("update", "value 0x10 010 10 0 0 0 0 255 key 1 0 0 0 exist"),
    ("update", "key 1 0 0 0 value 0 0 0 0 0 0 0 0 noexist"),
    ("update", "noexist key 9 9 9 9 value 0 0 0 0 0 0 0 0"),
    ("update", "key 8 8 8 8 value 0 0 0 0 0 0 0 0 exist"),
    ("update", "k 7 0 0 0 v 0 0 0 0 0 0 0 255 an"),
    ("update", "key 1 0 0 value 0 0 0 0 0 0 0 0"),
    ("update", "key 1 0 0 0"),
    ("update", "value 0 0 0 0 0 0 0 0"),
    ("update", "key 1 0 0 0 key 1 0 0 0 value 0 0 0 0 0 0 0 0"),
    ("update", "key 1 0 0 0 value 0 0 0 0 0 0 0 0 any any"),
    ("update", "key 1 0 0 0 value 0 0 0 0 0 0 0 0 other"),
    ("update", "key hex 1 0 0 zz value 0 0 0 0 0 0 0 0"),
    ("lookup", "key 1 0 0 0"),
    ("lookup", "key hex 0A 0b 0c 0d"),
    ("lookup", "key 4 3 2 1"),
    ("lookup", ""),
    ("lookup", "key 1 0 0 0 value 1"),
    ("getnext", ""),
    ("getnext", "key 1 0 0 0"),
    ("getnext", "key 200 0 0 0"),
    ("delete", "key 1 0 0 0"),
    ("delete", "key 1 0 0 0"),
    ("delete", ""),
    ("push", "value 0 0 0 0 0 0 0 0"),
    ("peek", ""),
)
_ARRAY: Steps = (
    ("update", "key 1 0 0 0 value hex aa bb cc dd ee ff"),
    ("update", "key 200 0 0 0 value hex aa bb cc dd ee ff"),
    ("update", "key 1 0 0 0 value hex 1 2 3 4 5 6 noexist"),
    ("lookup", "key 1 0 0 0"),
    ("lookup", "key 200 0 0 0"),
    ("delete", "key 1 0 0 0"),
    ("getnext", ""),
    ("getnext", "key 1 0 0 0"),
    ("getnext", "key 2 0 0 0"),
    ("freeze", ""),
    ("update", "key 0 0 0 0 value hex 1 2 3 4 5 6"),
    ("lookup", "key 0 0 0 0"),
)
_QUEUE: Steps = (
    ("pop", ""),
    ("peek", ""),
    ("push", "value 1 2 3 4"),
    ("enqueue", "value hex a b c d"),
    ("update", "value 9 9 9 9"),
    ("push", "key 1 value 1 2 3 4"),
    ("push", "value 1 2 3"),
    ("push", ""),
    ("push", "value 0 0 0 0"),
    ("push", "value 5 5 5 5"),
    ("peek", ""),
    ("lookup", ""),
    ("pop", ""),
    ("dequeue", ""),
    ("getnext", ""),
    ("delete", ""),
    ("pop", ""),
    ("pop", ""),
    ("pop", ""),
)
_WIDE_KEY = "0 1 2 3 4 5 6 7 8 9 a b c d e f 10 11 12 13"
_WIDE: Steps = (
    ("update", f"key hex {_WIDE_KEY} value 1 2 3"),
    ("lookup", f"key hex {_WIDE_KEY}"),
    ("lookup", f"key hex 77 {_WIDE_KEY[2:]}"),
    ("getnext", ""),
)
_TRIE: Steps = (
    ("update", "key 24 0 0 0 10 0 1 0 value 1 0 0 0"),
    ("update", "key 8 0 0 0 10 0 0 0 value 2 0 0 0"),
    ("update", "key 40 0 0 0 10 0 0 0 value 2 0 0 0"),
    ("lookup", "key 32 0 0 0 10 0 1 7"),
    ("lookup", "key 32 0 0 0 11 0 1 7"),
    ("getnext", ""),
    ("delete", "key 24 0 0 0 10 0 1 0"),
    ("lookup", "key 32 0 0 0 10 0 1 7"),
)
_NO_READING: Steps = (
    ("lookup", "key 0 0 0 0"),
    ("getnext", ""),
    ("delete", "key 0 0 0 0"),
    ("peek", ""),
    ("freeze", ""),
)
# The hash of a key, and so the order of keys, is then the same in both maps.
_ZERO_SEED = c.BPF_F_ZERO_SEED
_CASES: dict[str, tuple[tuple[int, int, int, int], Steps]] = {
    "hash": ((4, 8, 4, _ZERO_SEED), _HASH),
    # With room enough that nothing is evicted: each CPU takes entries for itself.
    "lru_hash": ((4, 8, 4096, _ZERO_SEED), _HASH),
    "percpu_hash": ((4, 8, 4, _ZERO_SEED), _HASH),
    "lru_percpu_hash": ((4, 8, 4096, _ZERO_SEED), _HASH[:3]),
    "array": ((4, 6, 3, 0), _ARRAY),
    "percpu_array": ((4, 6, 3, 0), _ARRAY),
    "queue": ((0, 4, 4, 0), _QUEUE),
    "stack": ((0, 4, 4, 0), _QUEUE),
    "bloom_filter": ((0, 4, 4, 0), _QUEUE[:5]),
    "lpm_trie": ((8, 4, 16, c.BPF_F_NO_PREALLOC), _TRIE),
    "stack_trace": ((4, 80, 8, 0), _NO_READING),
    "ringbuf": ((0, 0, 4096, 0), _NO_READING),
    "perf_event_array": ((4, 4, 2, 0), _NO_READING),
    "cgroup_array": ((4, 4, 2, 0), (*_NO_READING, ("update", "key 0 0 0 0 value 255 255 0 0"))),
    "sockmap": ((4, 4, 4, 0), (*_NO_READING, ("update", "key 0 0 0 0 value 255 255 0 0"))),
    "sockhash": ((4, 8, 4, 0), _NO_READING),
    "devmap": ((4, 4, 4, 0), (*_NO_READING[:3], ("update", "key 0 0 0 0 value 1 0 0 0"), ("lookup", "key 0 0 0 0"))),
    "cpumap": ((4, 4, 2, 0), (*_NO_READING[:3], ("update", "key 0 0 0 0 value 64 0 0 0"), ("lookup", "key 0 0 0 0"))),
    "arena": ((0, 0, 4, c.BPF_F_MMAPABLE), _NO_READING),
}


class Twins:
    """Two equal maps: bpftool's and ours."""

    def __init__(self, theirs: Map, ours: Map) -> None:
        self.theirs, self.ours = theirs, ours

    def do(self, command: str, *words: Argument) -> Result:
        """Do the same to both; return what ours said."""
        for flags in (("-j",), ()) if command in ("lookup", "peek", "getnext") else ((),):
            expected = bpftool(*flags, "map", command, "id", self.theirs.info().id, *words, check=False)
            found = bpfload(*flags, "map", command, "id", self.ours.info().id, *words)
            assert bool(found.status) == bool(expected.status), f"{found}\n{expected}"
            if not (flags and _failed(expected)):
                assert found.stdout == expected.stdout, f"{found}\n{expected}"
            assert "mistake" not in found.stderr, found
        return found

    def same_contents(self) -> None:
        theirs, ours = (
            bpftool("-j", "map", "dump", "id", item.info().id, check=False).stdout for item in (self.theirs, self.ours)
        )
        assert theirs == ours


def _failed(result: Result) -> bool:
    return result.stdout.startswith('{"error"')


@pytest.mark.parametrize("kind", _CASES)
def test_every_step(kind: str) -> None:
    (key, value, entries, flags), steps = _CASES[kind]
    missing = why_missing(kind) if kind in ("arena", "ringbuf") else ""
    if missing:
        pytest.skip(missing)
    with ExitStack() as stack:
        made = [
            stack.enter_context(Map(bpf.map_create(MAP_TYPE_NAMES.index(kind), key, value, entries, flags, name="twin")))
            for _ in range(2)
        ]
        twins = Twins(*made)
        for command, words in steps:
            twins.do(command, *words.split())
            if command in ("update", "push", "delete", "freeze"):
                _same_elements(twins)


def test_json_of_what_changes_something() -> None:
    with small_map() as theirs, small_map() as ours:
        for command, words in (("update", "key 0 0 0 0 value 1 2 3 4"), ("freeze", "")):
            expected = bpftool("-j", "map", command, "id", theirs.info().id, *words.split())
            assert expected.stdout == bpfload("-j", "map", command, "id", ours.info().id, *words.split()).stdout == "null\n"
        found = bpfload("-j", "map", "update", "id", ours.info().id, "key", 0, 0, 0, 0, "value", 1, 2, 3, 4)
        assert found.status
        assert "frozen" in found.json()["error"]


def _same_elements(twins: Twins) -> None:
    def elements(item: Map) -> list[str]:
        data = bpfload("-j", "map", "dump", "id", item.info().id).stdout or "[]"
        return sorted(json.dumps(row) for row in json.loads(data)) if data.endswith("]\n") else [data]

    assert elements(twins.theirs) == elements(twins.ours)


# Maps of maps and of programs


@pytest.mark.parametrize("kind", ["array_of_maps", "hash_of_maps"])
def test_maps_of_maps(kind: str, bpffs: Path) -> None:
    with small_map("inner") as inner, ExitStack() as stack:
        inner.pin(bpffs / "inner")
        make = lambda: Map(bpf.map_create(MAP_TYPE_NAMES.index(kind), 4, 4, 3, inner_map_fd=inner.fd))  # noqa: E731 - twice
        twins = Twins(stack.enter_context(make()), stack.enter_context(make()))
        key = ("key", 1, 0, 0, 0)
        twins.do("update", *key, "value", "id", inner.info().id)
        twins.do("lookup", *key)
        twins.do("update", *key, "value", "pinned", bpffs / "inner", "exist")
        twins.do("update", *key, "value", "id", 0)
        twins.do("update", *key, "value", "id")
        twins.do("lookup", "key", 0, 0, 0, 0)
        twins.same_contents()
        twins.do("delete", *key)
        twins.same_contents()


def test_an_array_of_programs() -> None:
    spec = program_spec("slot", c.BPF_PROG_TYPE_SOCKET_FILTER)
    with ExitStack() as stack:
        program = stack.enter_context(load_spec(spec))
        twins = Twins(*(stack.enter_context(Map(bpf.map_create(c.BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 3))) for _ in range(2)))
        said = twins.do("update", "key", 2, 0, 0, 0, "value", "id", program.info().id)
        assert said.stderr.startswith("Warning")
        twins.do(
            "update",
            "key",
            1,
            0,
            0,
            0,
            "value",
            "tag",
            program.info().tag.hex() if isinstance(program.info().tag, bytes) else program.info().tag,
        )
        twins.do("lookup", "key", 2, 0, 0, 0)
        twins.do("lookup", "key", 0, 0, 0, 0)
        twins.same_contents()


# Maps with types: what bpftool prints as formatted


@pytest.fixture
def typed(bpffs: Path) -> Iterator[dict[str, Twins]]:
    """The maps of tests/data/looked-at.bpf.c, twice."""
    with ExitStack() as stack:
        found = []
        for name in ("theirs", "ours"):
            bpftool("prog", "loadall", DATA / "looked-at.bpf.o", bpffs / f"programs-{name}", "pinmaps", bpffs / name)
            found.append({pin.name: stack.enter_context(Map.from_pin(pin)) for pin in (bpffs / name).iterdir()})
        yield {name: Twins(item, found[1][name]) for name, item in found[0].items()}


def test_types(typed: dict[str, Twins]) -> None:
    for name, twins in typed.items():
        info = twins.ours.info()
        if not info.value_size or info.key_size != 4 or name.startswith("."):
            continue
        value = [number * 7 % 256 for number in range(info.value_size)]
        twins.do("update", "key", 1, 0, 0, 0, "value", *value)
        twins.do("lookup", "key", 1, 0, 0, 0)
        twins.do("lookup", "key", 0, 0, 0, 0)
        twins.do("lookup", "key", 77, 0, 0, 0)
        twins.same_contents()


# Creating


_CREATED = (
    "type hash key 4 value 8 entries 16 name made",
    "type array key 4 value 0x10 entries 2 name made_again flags 0x400",
    "entries 4 name queued type queue value 4 key 0",
    "t lpm_trie k 8 v 4 e 16 n trie f 1",
    "type lpm_trie key 8 value 4 entries 16 name trie",
    "type ringbuf key 0 value 0 entries 4096 name ring",
    "type ringbuf key 0 value 0 entries 4095 name ring",
    "type hash key 4 value 8 entries 16 name",
    "type hash key 4 value 8 entries 16",
    "type hash key 4 value 8 name made",
    "type has key 4 value 8 entries 16 name made",
    "type hash type hash key 4 value 8 entries 16 name made",
    "type hash key 4 key 4 value 8 entries 16 name made",
    "type hash key x value 8 entries 16 name made",
    "type array key 8 value 8 entries 16 name made",
    "type hash key 4 value 8 entries 16 name made other thing",
    "type hash key 4 value 8 entries 16 name a-b",
    "type hash key 4 value 8 entries 16 name a_name_of_more_than_fifteen",
    "type percpu_array key 4 value 8 entries 16 name per_cpu",
    "type array_of_maps key 4 value 4 entries 16 name outer",
    "type array_of_maps key 4 value 4 entries 16 name outer inner_map pinned INNER",
    "type hash_of_maps key 4 value 4 entries 16 name outer inner_map pinned INNER",
    "type hash key 4 value 8 entries 16 name made offload_dev lo",
    "type hash key 4 value 8 entries 16 name made offload_dev nothere",
)


@pytest.mark.parametrize("words", _CREATED)
@pytest.mark.parametrize("flags", [(), ("-j",)], ids=["text", "json"])
def test_create(words: str, flags: tuple[str, ...], bpffs: Path, bpftool: Callable[..., Result]) -> None:
    with small_map("inner") as inner:
        inner.pin(bpffs / "inner")
        parts = words.replace("INNER", str(bpffs / "inner")).split()
        expected = bpftool(*flags, "map", "create", bpffs / "theirs", *parts, check=False)
        found = bpfload(*flags, "map", "create", bpffs / "ours", *parts)
        assert bool(found.status) == bool(expected.status), f"{found}\n{expected}"
        assert "mistake" not in found.stdout + found.stderr
        assert (bpffs / "ours").exists() == (bpffs / "theirs").exists() == (not expected.status)
        if not expected.status:
            assert found.stdout == expected.stdout
            assert _described(bpffs / "ours") == _described(bpffs / "theirs")


def _described(pin: Path) -> Any:
    data = bpftool("-j", "map", "show", "pinned", pin).json()
    # The id is the map's own; a map without BTF shows what an earlier one had.
    return {name: value for name, value in data.items() if name not in ("id", "btf_id", "pids")}


def test_pin(bpffs: Path) -> None:
    with small_map() as item:
        for command, name in ((bpftool, "theirs"), (bpfload, "ours")):
            assert command("-j", "map", "pin", "id", item.info().id, bpffs / name).stdout == "null\n"
            with Map.from_pin(bpffs / name) as found:
                assert found.info().id == item.info().id
        for command in (bpftool, bpfload):
            assert command(
                "map", "pin", "id", item.info().id, bpffs / "ours", **({"check": False} if command is bpftool else {})
            ).status


def test_wide_keys() -> None:
    with ExitStack() as stack:
        twins = Twins(*(stack.enter_context(Map(bpf.map_create(c.BPF_MAP_TYPE_HASH, 20, 3, 4))) for _ in range(2)))
        for command, words in _WIDE:
            twins.do(command, *words.split())


def test_a_map_that_may_only_be_written() -> None:
    with ExitStack() as stack:
        twins = Twins(
            *(stack.enter_context(Map(bpf.map_create(c.BPF_MAP_TYPE_ARRAY, 4, 4, 2, c.BPF_F_WRONLY))) for _ in range(2))
        )
        twins.do("lookup", "key", 0, 0, 0, 0)
        twins.do("update", "key", 0, 0, 0, 0, "value", 1, 2, 3, 4)


def test_dump_of_a_batch_beside_the_same_elements_one_by_one() -> None:
    """Every width of key and value, so that templates are filled along both directions."""
    for key_size, value_size, count in ((1, 1, 200), (4, 300, 3), (40, 2, 50), (4, 0, 0), (8, 5000, 2), (3, 24, 40)):
        if not value_size:
            continue
        with Map(bpf.map_create(c.BPF_MAP_TYPE_HASH, key_size, value_size, 256)) as item:
            for number in range(count):
                key = number.to_bytes(min(key_size, 2), "little").ljust(key_size, b"\x5a")
                item.update(key, bytes((number + place * 3) % 256 for place in range(value_size)))
            for flags in ((), ("-j",), ("-p",)):
                words = (*flags, "map", "dump", "id", item.info().id)
                assert bpfload(*words).stdout == bpftool(*words).stdout


def test_numbers_are_bytes_as_in_bpftool() -> None:
    """One byte for a value of one byte is that byte, and several numbers are bytes whatever the type."""
    with ExitStack() as stack:
        twins = Twins(*(stack.enter_context(Map(bpf.map_create(c.BPF_MAP_TYPE_ARRAY, 4, 1, 2))) for _ in range(2)))
        twins.do("update", "key", 0, 0, 0, 0, "value", "010")
        assert twins.ours.lookup(pack("=I", 0)) == b"\x08"
        twins.same_contents()
