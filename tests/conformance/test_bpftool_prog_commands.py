"""`prog load`, `loadall`, `attach`, `detach`, `run`, `profile` beside bpftool: what each leaves in the kernel, says, refuses."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bpfload.abi import consts
from bpfload.errors import KernelError
from bpfload.objects import Map, Program
from bpfload.objects.bpffs import pins as bpffs_pins
from bpfload.syscall import bpf
from support.namespaces import VethPair
from support.paths import DATA, HELLO
from support.peer import bpfload, bpftool, recent_peer
from support.process import Argument, Result
from support.process import bpfload as bpfload_process
from support.programs import load_spec, program_spec, small_program

pytestmark = [pytest.mark.needs_root, pytest.mark.usefixtures("bpftool"), recent_peer]

Command = Callable[..., Result]
LOOKED_AT, TWO = DATA / "looked-at.bpf.o", DATA / "two-programs.bpf.o"

# What is another one in each load.
_NUMBERS = ("id", "loaded_at", "map_ids", "btf_id", "pids", "prog_id")
_LOOPBACK = 1  # the index of lo
_KINDS = {"program": "prog", "map": "map", "link": "link"}


def theirs(*words: Argument) -> Result:
    return bpftool(*words, check=False)


def state(folder: Path) -> dict[str, Any]:
    """Return what is pinned below a directory, and what the kernel says of it, apart from what is another in each load."""
    found = {}
    for pin in bpffs_pins(str(folder)):
        shown = bpfload("-j", _KINDS[pin.kind], "show", "id", pin.id).json()
        number_of_maps = len(shown.get("map_ids", ()))
        rest = {key: value for key, value in shown.items() if key not in _NUMBERS}
        found[os.path.relpath(pin.path, folder)] = {"kind": pin.kind, "maps": number_of_maps, **rest}
    return found


def both(folder: Path, *words: Argument) -> tuple[Result, Result]:
    """Run a command line with each, HERE being a directory of its own; compare what they leave, and whether they succeed."""
    results = []
    for command in (bpfload, theirs):
        name = "ours" if command is bpfload else "theirs"
        (folder / name).mkdir(exist_ok=True)
        results.append(command(*(str(word).replace("HERE", str(folder / name)) for word in words)))
    ours, peers = results
    assert bool(ours.status) == bool(peers.status), f"{ours}\n{peers}"
    assert ours.status in (0, 1, 2)
    assert state(folder / "ours") == state(folder / "theirs")
    assert tree(folder / "ours") == tree(folder / "theirs")
    return ours, peers


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# --- loading --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", [HELLO, TWO, LOOKED_AT], ids=lambda path: path.name)
@pytest.mark.parametrize(
    "line",
    ["load {} HERE/one", "load {} HERE/one pinmaps HERE/maps", "loadall {} HERE/all", "loadall {} HERE pinmaps HERE/maps"],
)
def test_load(bpffs: Path, file: Path, line: str) -> None:
    ours, _ = both(bpffs, "prog", *line.format(file).split())
    assert ours.status == 0, ours
    assert ours.stdout == ours.stderr == ""
    assert tree(bpffs / "ours")


def test_what_is_pinned_and_what_isnt(bpffs: Path) -> None:
    both(bpffs, "prog", "loadall", TWO, "HERE/all", "pinmaps", "HERE/all")
    assert tree(bpffs / "ours") == ["all", "all/packets", "all/syscalls", "all/two_prog_bss"]
    both(bpffs, "prog", "load", TWO, "HERE/one")
    assert {"packets"} == {row["name"] for row in state(bpffs / "ours").values() if row["kind"] == "program"} - {"syscalls"}


def test_json(bpffs: Path) -> None:
    ours, peers = both(bpffs, "-j", "prog", "load", HELLO, "HERE/one")
    assert ours.json() is peers.json() is None


@pytest.mark.parametrize(
    "word",
    [
        *("socket", "classifier", "action", "cgroup/skb", "cgroup_skb/egress", "lwt_in", "sk_skb/stream_verdict", "sk_msg"),
        *("xdp", "raw_tracepoint", "tp", "tracepoint/x/y", "sockops", "flow_dissector", "struct_ops", "fentry", "c", "bogus"),
    ],
)
def test_type(bpffs: Path, word: str) -> None:
    """Programs that count and return are what most types take; the rest both refuse."""
    ours, _ = both(bpffs, "prog", "load", TWO, "HERE/one", "type", word)
    # cgroup/skb and sockops: the verifier allows them no 2 as return value.
    assert bool(ours.status) == (word in ("cgroup/skb", "sockops", "struct_ops", "fentry", "c", "bogus"))


@pytest.mark.parametrize(
    "words",
    [
        "map name two_prog.bss MAP",
        "map idx 0 MAP",
        "m n two_prog.bss MAP pinm HERE/maps",
        "map idx 1 MAP",
        "map name nope MAP",
        "map idx 0 MAP map name two_prog.bss MAP",
        "map idx 0 OTHER",
    ],
)
@pytest.mark.parametrize("command", ["load", "loadall"])
def test_a_map_that_is_there(bpffs: Path, command: str, words: str) -> None:
    array, hash_ = consts.BPF_MAP_TYPE_ARRAY, consts.BPF_MAP_TYPE_HASH
    with Map(bpf.map_create(array, 4, 8, 1, name="given")) as given, Map(bpf.map_create(hash_, 8, 8, 1)) as other:
        line = words.replace("MAP", f"id {given.info().id}").replace("OTHER", f"id {other.info().id}")
        ours, _ = both(bpffs, "prog", command, TWO, "HERE/it", *line.split())
        if not ours.status:
            for name in ("ours", "theirs"):
                pins = list(bpffs_pins(str(bpffs / name)))
                users = [bpfload("-j", "prog", "show", "id", pin.id).json() for pin in pins if pin.kind == "program"]
                assert users
                assert all(row["map_ids"] == [given.info().id] for row in users)


def test_autoattach(bpffs: Path) -> None:
    """What SEC() says enough of is attached, which the link's pin shows; the rest is pinned, and both say so."""
    ours, peers = both(bpffs, "prog", "loadall", LOOKED_AT, "HERE/all", "autoattach")
    fallen = [line for line in peers.stderr.splitlines() if line.startswith("Program ")]
    assert [line.partition(": ")[0] for line in ours.stderr.splitlines()] == fallen
    assert {row["kind"] for row in state(bpffs / "ours").values()} == {"link", "program"}
    both(bpffs, "prog", "load", TWO, "HERE/one", "autoattach")
    both(bpffs, "-j", "prog", "load", HELLO, "HERE/hello", "autoattach")


@pytest.mark.parametrize(
    "line",
    [
        "load",
        "load {}",
        "load /nowhere HERE/one",
        "load {} /nowhere/one",
        "load {} HERE/one more",
        "load {} HERE/one type",
        "load {} HERE/one type xdp type xdp",
        "load {} HERE/one map name",
        "load {} HERE/one map name two_prog.bss",
        "load {} HERE/one map bogus two_prog.bss id 1",
        "load {} HERE/one map idx x id 1",
        "load {} HERE/one offload_dev nosuchdev",
        "load {} HERE/one xdpmeta_dev nosuchdev",
        "load {} HERE/one offload_dev lo",
        "load {} HERE/one dev lo",
        "load {} HERE/one xdpmeta_dev lo offload_dev lo",
        "load {} HERE/one pinmaps",
        "load {} HERE/no/such/directory",
        "loadall {} HERE/no/such/directory",
        "load {} HERE/a.b",
    ],
)
def test_refusals(bpffs: Path, line: str) -> None:
    ours, _ = both(bpffs, "prog", *line.format(TWO).split())
    assert ours.status
    assert ours.stderr.startswith("Error: ") or "\nError: " in ours.stderr
    assert state(bpffs / "ours") == {}


def test_nothing_stays_of_a_load_that_fails(bpffs: Path, nothing_left_behind: None) -> None:
    for command in (bpfload, theirs):
        here = bpffs / command.__name__
        here.mkdir()
        bpfload("prog", "load", HELLO, here / "taken")
        assert command("prog", "load", HELLO, here / "taken").status
        assert command("prog", "loadall", DATA / "rejected.bpf.o", here / "all", "pinmaps", here / "maps").status
        (here / "taken").unlink()
    assert not tree(bpffs / "bpfload")  # bpftool leaves empty directories


def test_hints_for_a_device(bpffs: Path, veth: VethPair) -> None:
    """veth knows XDP hints: a program may be bound to it, and can be attached nowhere else then."""
    ours, _ = both(bpffs, "prog", "load", TWO, "HERE/one", "xdpmeta_dev", veth.device)
    assert ours.status == 0, ours
    for name in ("ours", "theirs"):
        with Program.from_pin(bpffs / name / "one") as program:
            with pytest.raises(KernelError, match="EINVAL"):
                bpf.link_create(program.fd, _LOOPBACK, consts.BPF_XDP)
            os.close(bpf.link_create(program.fd, veth.ifindex, consts.BPF_XDP))


def test_the_verifiers_log(bpffs: Path) -> None:
    ours = bpfload("-d", "prog", "load", HELLO, bpffs / "one")
    assert ours.status == 0
    assert "processed " in ours.stderr
    assert "processed " in theirs("-d", "prog", "load", HELLO, bpffs / "two").stderr


# --- attaching ------------------------------------------------------------------------------------------------------

_SOCKMAP = {
    "sk_skb_stream_parser": (consts.BPF_PROG_TYPE_SK_SKB, consts.BPF_SK_SKB_STREAM_PARSER),
    "sk_skb_stream_verdict": (consts.BPF_PROG_TYPE_SK_SKB, consts.BPF_SK_SKB_STREAM_VERDICT),
    "sk_skb_verdict": (consts.BPF_PROG_TYPE_SK_SKB, consts.BPF_SK_SKB_VERDICT),
    "sk_msg_verdict": (consts.BPF_PROG_TYPE_SK_MSG, consts.BPF_SK_MSG_VERDICT),
}


@pytest.fixture
def sockmap() -> Iterator[Map]:
    with Map(bpf.map_create(consts.BPF_MAP_TYPE_SOCKMAP, 4, 4, 4, name="sockets")) as made:
        yield made


def attached(target: Map) -> dict[str, list[int] | int]:
    """Return the ids of what is attached; the error's number where a map with one verdict isn't asked for another."""
    found: dict[str, list[int] | int] = {}
    for name, (_, number) in _SOCKMAP.items():
        try:
            found[name] = bpf.prog_query(target.fd, number)[0]
        except KernelError as error:
            found[name] = error.errno or 0
    return found


@pytest.mark.parametrize(
    ("name", "word"), [*((name, name) for name in _SOCKMAP), ("sk_msg_verdict", "msg"), ("sk_skb_stream_parser", "stream_p")]
)
def test_attach_to_a_sockmap(sockmap: Map, name: str, word: str) -> None:
    type_, attach_type = _SOCKMAP[name]
    none = attached(sockmap)
    with (
        load_spec(program_spec("first", type_, attach_type=attach_type)) as first,
        load_spec(program_spec("second", type_, attach_type=attach_type)) as second,
    ):
        idents = [program.info().id for program in (first, second)]
        rest = (word, "id", sockmap.info().id)
        left = []
        for command in (bpfload, theirs):
            seen = []
            for action, ident in (("attach", 0), ("attach", 1), ("detach", 0), ("detach", 1), ("detach", 1)):
                done = command("prog", action, "id", idents[ident], *rest)
                seen.append((bool(done.status), done.stdout, attached(sockmap)))
            left.append(seen)
            assert attached(sockmap) == none
        assert left[0] == left[1]
        assert left[0][0][2][name] == [idents[0]]
        assert left[0][1][2][name] == [idents[1]]  # the later one takes the earlier one's place
        assert bpfload("-j", "prog", "attach", "id", idents[0], *rest).json() is None
        assert bpfload("prog", "detach", "id", idents[0], *rest).status == 0


def test_attach_as_flow_dissector(veth: VethPair) -> None:
    spec = program_spec("dissect", consts.BPF_PROG_TYPE_FLOW_DISSECTOR, attach_type=consts.BPF_FLOW_DISSECTOR)
    with load_spec(spec) as program:
        ident = program.info().id

        def here() -> list[int]:
            namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
            try:
                return bpf.prog_query(namespace, consts.BPF_FLOW_DISSECTOR)[0]
            finally:
                os.close(namespace)

        for attach, detach in ((bpfload, theirs), (theirs, bpfload)):
            assert attach("prog", "attach", "id", ident, "flow_dissector").status == 0
            assert here() == [ident]
            assert detach("prog", "detach", "id", ident, "flow_dissector").status == 0
            assert here() == []


def test_attach_what_cannot_be(sockmap: Map) -> None:
    with small_program() as program, Map(bpf.map_create(consts.BPF_MAP_TYPE_ARRAY, 4, 4, 1)) as array:
        ident, number = program.info().id, sockmap.info().id
        for line in (
            f"attach id {ident} sk_msg_verdict id {number}",
            f"detach id {ident} sk_msg_verdict id {number}",
            f"attach id {ident} sk_skb_verdict id {array.info().id}",
            f"attach id {ident} flow_dissector",
            f"attach id {ident} sk_msg_verdict",
            f"attach id {ident} sk_msg_verdict id 4000000000",
            f"attach id {ident} xdp id {number}",
            f"attach id {ident}",
            "attach",
        ):
            ours, peers = bpfload("prog", *line.split()), theirs("prog", *line.split())
            assert ours.status, line
            assert peers.status, line
            assert ours.stderr.startswith("Error: "), line


# --- running --------------------------------------------------------------------------------------------------------


def without_duration(result: Result) -> str:
    return re.sub(r"duration( \(average\))?: \d+ns", r"duration\1: Nns", result.stdout)


@pytest.fixture
def packet(tmp_path: Path) -> Path:
    file = tmp_path / "packet"
    file.write_bytes(bytes(range(24, 24 + 109)))
    return file


@pytest.mark.parametrize(
    "line",
    [
        "data_in IN",
        "data_in IN data_out -",
        "data_in IN data_out - data_size_out 200 repeat 3",
        "data_in IN repeat 0x10",
        "data_in IN data_out OUT",
        "data_in IN data_out - ctx_in CTX ctx_out -",
        "data_in IN ctx_in CTX ctx_out OUT data_out -",
        "data_in IN data_out /nowhere/file",
        "data_in IN data_size_out 10",
        "data_in /nowhere",
        "data_in IN ctx_in IN",
        "data_in IN data_",
        "data_in IN repeat x",
        "data_in IN bogus",
        "data_in - ctx_in -",
        "repeat 5",
        "data_in SHORT",
        "",
    ],
)
@pytest.mark.parametrize("type_", [consts.BPF_PROG_TYPE_SCHED_CLS, consts.BPF_PROG_TYPE_XDP])
def test_run(tmp_path: Path, packet: Path, type_: int, line: str) -> None:
    (tmp_path / "context").write_bytes(bytes(200) if type_ == consts.BPF_PROG_TYPE_SCHED_CLS else xdp_context(packet))
    (tmp_path / "short").write_bytes(b"123")
    line = line.replace("IN", str(packet)).replace("CTX", str(tmp_path / "context")).replace("SHORT", str(tmp_path / "short"))
    with small_program("ran", type_) as program:
        said = []
        for flags in ((), ("-j",), ("-p",)):
            said.append([])
            for command in (bpfload, theirs):
                out = tmp_path / command.__name__
                words = line.replace("OUT", str(out)).split()
                done = command(*flags, "prog", "run", "id", program.info().id, *words)
                written = out.read_bytes() if out.exists() else None
                said[-1].append((bool(done.status), shown(done, flags), written))
        for ours, peers in said:
            assert ours == peers


def shown(done: Result, flags: tuple[str, ...]) -> Any:
    """Return what a run printed, without how long it took, and without the words of an error."""
    if not flags:
        return without_duration(done)
    if done.status:
        return None
    value = done.json()
    assert value.pop("duration") >= 0
    return value


def xdp_context(packet: Path) -> bytes:
    """Return a struct xdp_md for a packet."""
    return bytes(4) + packet.stat().st_size.to_bytes(4, "little") + bytes(16)


def test_run_from_standard_input(packet: Path) -> None:
    data = "0123456789abcdef0123456789"
    with small_program("ran", consts.BPF_PROG_TYPE_SCHED_CLS) as program:
        words = ("prog", "run", "id", program.info().id, "data_in", "-", "data_out", "-")
        ours, peers = (command(*words, stdin=data) for command in (bpfload_process, bpftool))
        assert without_duration(ours) == without_duration(peers)
        assert "01234567 89abcdef" in ours.stdout


def test_run_what_cannot_be() -> None:
    with load_spec(program_spec("fixed", consts.BPF_PROG_TYPE_SOCK_OPS, attach_type=consts.BPF_CGROUP_SOCK_OPS)) as program:
        words = ("prog", "run", "id", program.info().id, "repeat", "1")
        ours, peers = bpfload(*words), theirs(*words)
        assert ours.status
        assert peers.status
        assert "ENOTSUPP" in ours.stderr
        assert "no test run for programs of type sock_ops" in ours.stderr


# --- profiling ------------------------------------------------------------------------------------------------------


def test_what_profile_refuses() -> None:
    with small_program() as program:
        for line in ("", "bogus", "cycles bogus", "cycles instructions l1d llc dtlb", "cycles"):
            words = ("prog", "profile", "id", program.info().id, *line.split())
            ours, peers = bpfload(*words), theirs(*words)
            assert ours.status, line
            assert peers.status, line
            assert ours.stderr.startswith("Error: "), line
        assert "has no BTF of its functions" in ours.stderr
