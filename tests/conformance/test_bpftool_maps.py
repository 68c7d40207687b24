"""`map show`, `map dump`: what bpftool prints of the same maps, of every type."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from struct import pack

import pytest

from bpfload.abi import consts as c
from bpfload.abi.names import MAP_TYPE_NAMES
from bpfload.kernel import btf
from bpfload.objects import Map
from bpfload.syscall import bpf
from support.attachments import listening_socket
from support.features import why_missing
from support.paths import DATA, PACKET_COUNTER
from support.peer import recent_peer, same, same_rows
from support.process import Result
from support.programs import load_spec, program_spec, small_map

pytestmark = [pytest.mark.needs_root, pytest.mark.usefixtures("bpftool"), recent_peer]

_PAGE = 4096
# By type: key size, value size, entries, flags.
_SHAPES = {
    "hash": (4, 8, 16, 0),
    "array": (4, 12, 5, 0),
    "prog_array": (4, 4, 4, 0),
    "perf_event_array": (4, 4, 2, 0),
    "percpu_hash": (8, 20, 16, 0),
    "percpu_array": (4, 6, 3, 0),
    "stack_trace": (4, 80, 8, 0),
    "cgroup_array": (4, 4, 2, 0),
    "lru_hash": (20, 4, 16, 0),
    "lru_percpu_hash": (4, 8, 16, 0),
    "lpm_trie": (8, 4, 16, c.BPF_F_NO_PREALLOC),
    "devmap": (4, 4, 4, 0),
    "sockmap": (4, 4, 4, 0),
    "cpumap": (4, 4, 2, 0),
    "xskmap": (4, 4, 4, 0),
    "sockhash": (4, 8, 4, 0),
    "reuseport_sockarray": (4, 8, 4, 0),
    "queue": (0, 4, 4, 0),
    "stack": (0, 4, 4, 0),
    "devmap_hash": (4, 8, 4, 0),
    "ringbuf": (0, 0, _PAGE, 0),
    "bloom_filter": (0, 4, 16, 0),
    "user_ringbuf": (0, 0, _PAGE, 0),
    "arena": (0, 0, 4, c.BPF_F_MMAPABLE),
}
_FEATURES = {"arena": "arena", "user_ringbuf": "user_ringbuf", "ringbuf": "ringbuf"}


def create(kind: str, name: str = "lookable") -> Map:
    key, value, entries, flags = _SHAPES[kind]
    return Map(bpf.map_create(MAP_TYPE_NAMES.index(kind), key, value, entries, flags, name=name))


def fill(kind: str, item: Map) -> None:
    """Put something in where user space can."""
    info = item.info()
    if kind == "lpm_trie":
        for prefix, address in ((8, 10), (24, 11), (32, 12)):
            item.update(pack("=IBBBB", prefix, address, 0, 0, 1), bytes([address] * 4))
    elif kind.endswith("hash") and kind not in ("sockhash", "devmap_hash"):
        for number in range(7):
            item.update(number.to_bytes(info.key_size, "little"), bytes([number] * item.lookup_size))
    elif kind in ("array", "percpu_array"):
        for number in range(info.max_entries):
            item.update(pack("=I", number), bytes(range(number, number + item.lookup_size)))
    elif kind in ("queue", "stack", "bloom_filter"):
        item.update(None, b"abcd")
    elif kind == "cpumap":
        item.update(pack("=I", 0), pack("=I", 64))


def there() -> list[str]:
    return [kind for kind in _SHAPES if not why_missing(_FEATURES.get(kind, "btf"))]


def test_every_type() -> None:
    """bpftool's list repeats the btf_id of an earlier map for one that has none: on Linux 6.18 the kernel leaves the field as
    the caller had it, and bpftool doesn't clear it."""
    with ExitStack() as stack:
        mine = {kind: stack.enter_context(create(kind)) for kind in there()}
        kinds = {item.info().id: kind for kind, item in mine.items()}
        shown = same_rows("map", kinds, without=["btf_id"])
        assert {ident: row["type"] for ident, row in shown.items()} == kinds
        for kind, item in mine.items():
            fill(kind, item)
            same("map", "dump", "id", item.info().id)


@pytest.mark.parametrize("kind", ["hash", "percpu_hash", "lpm_trie", "queue"])
def test_empty_maps(kind: str) -> None:
    with create(kind) as item:
        same("map", "dump", "id", item.info().id)
        same("map", "show", "id", item.info().id)


@pytest.mark.parametrize("shape", [(1, 1), (16, 8), (8, 16), (12, 12), (13, 12), (17, 1), (1, 17), (40, 33)], ids=str)
@pytest.mark.parametrize("per_cpu", [False, True])
def test_sizes_decide_on_lines(shape: tuple[int, int], per_cpu: bool) -> None:
    kind = c.BPF_MAP_TYPE_PERCPU_HASH if per_cpu else c.BPF_MAP_TYPE_HASH
    with Map(bpf.map_create(kind, *shape, 4, 0)) as item:
        item.update(bytes(range(shape[0])), bytes(200 - n % 200 for n in range(item.lookup_size)))
        same("map", "dump", "id", item.info().id)


@pytest.mark.parametrize("kind", [c.BPF_MAP_TYPE_ARRAY_OF_MAPS, c.BPF_MAP_TYPE_HASH_OF_MAPS])
def test_maps_of_maps(kind: int) -> None:
    with small_map("inner") as inner, Map(bpf.map_create(kind, 4, 4, 3, inner_map_fd=inner.fd, name="outer")) as outer:
        same("map", "dump", "id", outer.info().id)
        outer.update(pack("=I", 1), pack("=I", inner.fd))
        shown = same("map", "dump", "id", outer.info().id)
        assert [row["inner_map_id"] for row in shown] == [inner.info().id]


def test_a_prog_array_and_its_owner() -> None:
    """An array of programs has no owner until it has seen one."""
    spec = program_spec("slot", c.BPF_PROG_TYPE_SOCKET_FILTER)
    with create("prog_array") as item, load_spec(spec) as program:
        assert "owner_prog_type" not in same("map", "show", "id", item.info().id)
        item.update(pack("=I", 2), pack("=I", program.fd))
        assert same("map", "show", "id", item.info().id)["owner_prog_type"] == "socket_filter"
        (row,) = same("map", "dump", "id", item.info().id)
        assert row["value"] == [f"0x{byte:02x}" for byte in pack("=I", program.info().id)]


def test_sockets_in_maps(netns: object) -> None:
    with listening_socket() as listening, create("sockmap") as small, create("sockhash") as wide:
        key = pack("=I", 1)
        small.update(key, pack("=I", listening.fileno()))
        wide.update(key, pack("=Q", listening.fileno()))
        same("map", "dump", "id", small.info().id)
        same("map", "dump", "id", wide.info().id)


def test_a_reuseport_array_of_small_values(netns: object) -> None:
    with Map(bpf.map_create(c.BPF_MAP_TYPE_REUSEPORT_SOCKARRAY, 4, 4, 2, name="small")) as item:
        same("map", "dump", "id", item.info().id)


def test_devices_in_maps(netns: object) -> None:
    with create("devmap") as item, create("devmap_hash") as hashed:
        index = socket.if_nametoindex("lo")
        item.update(pack("=I", 3), pack("=I", index))
        hashed.update(pack("=I", 9), pack("=II", index, 0))
        same("map", "dump", "id", item.info().id)
        same("map", "dump", "id", hashed.info().id)


def test_socket_storage(bpffs: Path, bpftool: Callable[..., Result]) -> None:
    words = ("type", "lru_hash", "key", "8", "value", "8", "entries", "4", "name", "made")
    bpftool("map", "create", bpffs / "made", *words)
    same("map", "show", "pinned", bpffs / "made")
    assert same("-f", "map", "show", "pinned", bpffs / "made")["pinned"] == [str(bpffs / "made")]


def test_a_frozen_map_and_flags() -> None:
    with Map(bpf.map_create(c.BPF_MAP_TYPE_ARRAY, 4, 4, 1, c.BPF_F_RDONLY_PROG, name="stiff")) as item:
        assert same("map", "show", "id", item.info().id)["frozen"] == 0
        item.freeze()
        assert same("map", "show", "id", item.info().id)["frozen"] == 1


def test_a_map_that_can_not_be_read() -> None:
    with Map(bpf.map_create(c.BPF_MAP_TYPE_ARRAY, 4, 4, 2, c.BPF_F_WRONLY, name="closed")) as item:
        same("map", "dump", "id", item.info().id)


def test_many_elements() -> None:
    """More than one batch, in the order of the hash table."""
    with Map(bpf.map_create(c.BPF_MAP_TYPE_HASH, 4, 100, 6000, name="many")) as item:
        for number in range(5000):
            item.update(pack("=I", number), bytes([number % 256] * 100))
        assert len(same("map", "dump", "id", item.info().id)) == 5000


# Maps with types


@pytest.fixture
def typed(bpffs: Path, bpftool: Callable[..., Result]) -> Iterator[dict[str, Map]]:
    """The maps of tests/data/looked-at.bpf.c, by name, with something in them."""
    folder = bpffs / "maps"
    bpftool("prog", "loadall", DATA / "looked-at.bpf.o", bpffs / "programs", "pinmaps", folder)
    with ExitStack() as stack:
        found = {pin.name: stack.enter_context(Map.from_pin(pin)) for pin in folder.iterdir()}
        info = found["typed_hash"].info()
        for number in range(3):
            pattern = bytes((number * 37 + place * 11) % 256 for place in range(info.value_size))
            found["typed_hash"].update(bytes([number] * info.key_size), pattern)
        found["typed_hash"].update(bytes(info.key_size), bytes(info.value_size))
        for name, values in {"colours": (1, 7, 9), "bigs": (0x123456789ABC, 3)}.items():
            for number, value in enumerate(values):
                found[name].update(pack("=I", number), value.to_bytes(found[name].info().value_size, "little"))
        for number in range(2):
            found["typed_percpu"].update(pack("=I", number), bytes(range(found["typed_percpu"].lookup_size)))
        yield found


def test_typed_maps(typed: dict[str, Map]) -> None:
    assert len(typed) >= 8
    same_rows("map", [item.info().id for item in typed.values()], without=["btf_id"])
    for item in typed.values():
        same("map", "dump", "id", item.info().id)


def test_a_sample(bpffs: Path, bpftool: Callable[..., Result]) -> None:
    bpftool("prog", "loadall", PACKET_COUNTER, bpffs / "programs", "pinmaps", bpffs / "maps")
    with Map.from_pin(bpffs / "maps" / "protocols") as item:
        item.update(pack("=I", 6), pack("=QQ", 5, 500))
        (row,) = same("map", "dump", "name", "protocols")[-1:]
        assert "formatted" in str(row)


def test_several_of_one_name() -> None:
    with ExitStack() as stack:
        several = [stack.enter_context(create(kind, "look_twice")) for kind in ("array", "hash", "percpu_array")]
        fill("array", several[0])
        shown = same("map", "show", "name", "look_twice")
        assert [row["id"] for row in shown] == [item.info().id for item in several]
        same("map", "dump", "name", "look_twice")


def test_several_with_types(typed: dict[str, Map], bpffs: Path, bpftool: Callable[..., Result]) -> None:
    bpftool("prog", "loadall", DATA / "looked-at.bpf.o", bpffs / "again")
    assert len(same("map", "dump", "name", "colours")) >= 2


@pytest.mark.needs_feature("struct_ops_link")
def test_struct_ops(bpffs: Path, bpftool: Callable[..., Result]) -> None:
    """The value's type is the kernel's."""
    bpftool("struct_ops", "register", DATA / "congestion.bpf.o", bpffs)
    (pin,) = bpffs.iterdir()
    link = same("link", "show", "pinned", pin)
    assert link["type"] == "struct_ops"
    same("map", "show", "id", link["map_id"])
    (row,) = same("map", "dump", "id", link["map_id"])
    assert "lookable" in str(row["formatted"])
    assert btf.vmlinux().find("tcp_congestion_ops")
