"""The whole of bpftool's command line beside ours, in one kernel state with one of everything; and the table that says so.

parity.toml has a row for each command and form: the tests that compare it, what differs on purpose and why, or why it can't be
compared on a machine like this. Many command lines go through one process of the peer, by its `batch file`: a process of its own
takes it a tenth of a second.
"""

from __future__ import annotations

import ast
import json
import os
import re
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bpfload.abi import consts as c
from bpfload.objects.bpffs import pins
from support import leaks, namespaces, system
from support.features import why_missing
from support.kernel_state import REGISTERED, VERIFIED_FOR_A_TARGET, State, kernel_state
from support.paths import TESTS
from support.peer import bpfload, bpftool, clean, keys, recent_peer, rows, same, strip
from support.process import Argument, Result, find_tool
from support.programs import load_spec, program_spec

pytestmark = [pytest.mark.needs_root, pytest.mark.usefixtures("bpftool"), recent_peer]

_TRACEFS = Path("/sys/kernel/tracing")
# Cookies: bpftool finds them by an iterator, which its own rights or build may not allow.
_COOKIE = re.compile(r"^\s+bpf_cookie \d+\n", re.MULTILINE)
_BTF_ID = re.compile(r"btf_id \d+(  )?")
# After the last line bpftool takes an errno that a command left, though it succeeded, for one of reading the file.
_STALE = "reading batch file failed"
# A link that somebody is just making can't be opened yet: bpftool's listings of all links end there.
_BEING_MADE = "can't get link by id"


@pytest.fixture(scope="module")
def state(private_mounts: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    """One of everything."""
    root = namespaces.cgroup2_root()
    if root is None or not find_tool("ip"):
        pytest.skip("feature: no cgroup2 is mounted here, or no ip(8) (make peers)")
    before = leaks.kernel_ids()
    with ExitStack() as stack:
        if not (_TRACEFS / "events").exists():
            system.mount("tracefs", _TRACEFS, "tracefs")
            stack.callback(system.umount, _TRACEFS)
        bpffs = stack.enter_context(namespaces.mounted_bpffs(tmp_path_factory.mktemp("state") / "bpf"))
        cgroup = stack.enter_context(namespaces.private_cgroup(root))
        veth = stack.enter_context(namespaces.veth_pair())
        stack.enter_context(veth.here.entered())
        yield stack.enter_context(kernel_state(bpffs, cgroup, veth, bpfload))
    assert not leaks.left_behind(before)


def both(*words: Argument) -> tuple[Result, Result]:
    return bpfload(*words), bpftool(*words, check=False)


def same_batch(lines: Sequence[str], tmp_path: Path) -> list[Any]:
    """Run all lines by one process of each, as text and as JSON, and compare; return what each line gives as JSON."""
    assert lines
    same_text_batch(lines, tmp_path)
    ours, theirs = both("-j", "batch", "file", tmp_path / "lines")
    found, expected = clean(ours.json()), clean(theirs.json())
    if expected[-1].get("error", "").startswith(_STALE):
        expected.pop()
    assert found == expected
    assert keys(found) == keys(expected)
    return [row["output"] for row in found]


def same_text_batch(lines: Sequence[str], tmp_path: Path) -> None:
    """Run all lines by one process of each, as text, and compare."""
    assert lines
    file = tmp_path / "lines"
    file.write_text("\n".join(lines) + "\n")
    ours, theirs = both("batch", "file", file)
    assert ours.status == 0, ours
    assert _STALE in theirs.stderr or theirs.status == 0, theirs
    done = f"processed {len(lines)} commands\n"
    assert ours.stdout.endswith(done)
    assert strip(ours.stdout.removesuffix(done)) == strip(theirs.stdout.removesuffix(done))


# What there is


def test_nothing_is_missing_in_the_state(state: State) -> None:
    """Each type of program, map and link that the peer says the kernel has is there, and each hook of a cgroup."""
    features = bpftool("-j", "feature", "probe").json()
    for kind, group, suffix in (("prog", "program_types", "_prog_type"), ("map", "map_types", "_map_type")):
        known = {name.removeprefix("have_").removesuffix(suffix) for name, there in features[group].items() if there}
        listed = bpfload("-j", kind).json()
        found = {row["type"] for row in listed if row["id"] in state.ids[kind]}
        assert known - found - set(VERIFIED_FOR_A_TARGET) - {"lirc_mode2"} == set(), kind
    found = {row["type"] for row in bpfload("-j", "link").json() if row["id"] in state.ids["link"]}
    links = {
        "raw_tracepoint": "raw_tracepoint_link",
        "cgroup": "cgroup_link",
        "iter": "iter",
        "netns": "sk_lookup",
        "xdp": "xdp_link",
        "perf_event": "perf_link",
        "netfilter": "netfilter_link",
        "tcx": "tcx",
        "uprobe_multi": "uprobe_multi",
        "sockmap": "sockmap_link",
    }
    assert {name for name, feature in links.items() if not why_missing(feature)} <= found
    hooks = {row["attach_type"] for folder in bpfload("-j", "cgroup", "tree", state.cgroup).json() for row in folder["programs"]}
    named = set(re.findall(r"\bcgroup_\w+", bpftool("cgroup", "help", check=False).stderr))
    assert named <= hooks | {"lsm_cgroup", "cgroup_root"}


# Programs, maps, BTF, links


@pytest.mark.parametrize("flags", [(), ("-f",), ("-d", "-n"), ("-m",)], ids=" ".join)
@pytest.mark.parametrize("kind", ["prog", "map", "btf"])
def test_listing(state: State, kind: str, flags: tuple[str, ...]) -> None:
    """All of a kind at once. bpftool's list of maps repeats an earlier map's btf_id on Linux 6.18: compared one by one."""
    for form in ((), ("-j",), ("-p",)):
        # In a row of BTF the order of ids goes by how many objects there are in all, and others' come and go: look again.
        for tries in range(4):
            try:
                found = _same_listing(state, kind, form, flags)
                break
            except AssertionError:
                if kind != "btf" or tries == 3:
                    raise
    if flags == ("-f",) and kind != "btf":
        assert any(row.get("pinned") for row in found.values())


def _same_listing(state: State, kind: str, form: tuple[str, ...], flags: tuple[str, ...]) -> dict[int, Any]:
    ours, theirs = both(*form, *flags, kind, "list")
    if not form:
        texts, wanted = rows(strip(ours.stdout)), rows(strip(theirs.stdout))
        for ident in state.ids[kind]:
            assert _without_btf_id(kind, texts[ident]) == _without_btf_id(kind, wanted[ident])
        return {}
    found, expected = (_by_id(result, state.ids[kind], kind) for result in (ours, theirs))
    assert set(found) == set(state.ids[kind])
    assert found == expected
    assert keys(found) == keys(expected)
    return found


def _without_btf_id(kind: str, text: str) -> str:
    return "\n".join(line for line in _BTF_ID.sub("", text).split("\n") if line.strip()) if kind == "map" else text


def _by_id(result: Result, wanted: Sequence[int], kind: str) -> dict[int, Any]:
    without = {"map": {"btf_id"}, "link": {"bpf_cookie"}}.get(kind, set())
    return {
        row["id"]: {key: value for key, value in clean(row).items() if key not in without}
        for row in result.json()
        if row["id"] in wanted
    }


def test_types_of_maps(state: State, tmp_path: Path) -> None:
    """One by one bpftool has the right btf_id."""
    typed = [row["id"] for row in bpfload("-j", "map").json() if row["id"] in state.ids["map"] and "btf_id" in row]
    shown = same_batch([f"map show id {ident}" for ident in typed[:12]], tmp_path)
    assert all(row["btf_id"] in state.ids["btf"] for row in shown)


def test_links(state: State) -> None:
    """All at once; each by its id, if somebody is making one at this moment."""
    ours, theirs = both("-f", "link")
    if _BEING_MADE not in theirs.stderr:
        found, expected = (rows(_COOKIE.sub("", strip(result.stdout))) for result in (ours, theirs))
        assert [found[ident] for ident in state.ids["link"]] == [expected[ident] for ident in state.ids["link"]]
        listed, wanted = (_by_id(result, state.ids["link"], "link") for result in both("-j", "-f", "link"))
        assert listed == wanted
        assert keys(listed) == keys(wanted)
        return
    for ident in state.ids["link"]:
        ours, theirs = both("link", "show", "id", ident)
        assert _COOKIE.sub("", strip(ours.stdout)) == _COOKIE.sub("", strip(theirs.stdout))
        found, expected = (_without_cookie(result.json()) for result in both("-j", "link", "show", "id", ident))
        assert found == expected
        assert keys(found) == keys(expected)


def _without_cookie(value: Any) -> Any:
    return {key: item for key, item in clean(value).items() if key != "bpf_cookie"}


@pytest.mark.parametrize("words", ["p l", "pr s", "m s", "ma l", "bt", "bt s"])
def test_beginnings_of_words(state: State, words: str) -> None:
    kind = {"p": "prog", "m": "map", "b": "btf"}[words[0]]
    found, expected = (_by_id(result, state.ids[kind], kind) for result in both("--js", *words.split()))
    for row in (*found.values(), *expected.values()) if kind == "btf" else ():
        row.update(prog_ids=sorted(row["prog_ids"]), map_ids=sorted(row["map_ids"]))  # test_listing compares the order
    assert found == expected
    assert set(found) == set(state.ids[kind])


def test_selectors(state: State, tmp_path: Path) -> None:
    """PROG, MAP and LINK in each of their ways, with one match and with several, each as text and as JSON."""
    pin = next(pin for pin in pins(str(state.pins["theirs"])) if pin.kind == "program")
    program = bpfload("-j", "prog", "show", "id", pin.id).json()
    table = state.pins["theirs_maps"] / "typed_hash"
    shown = bpfload("-j", "map", "show", "pinned", table).json()
    same_batch(
        [
            f"prog show id {program['id']}",
            f"p s i {program['id']}",
            f"prog show tag {program['tag']}",
            f"prog show name {program['name']}",
            f"prog show pinned {pin.path}",
            "prog show name two_of_it",
            f"map show id {shown['id']}",
            f"map show pinned {table}",
            "map show name made",
            f"prog dump xlated pinned {pin.path}",
            f"prog dump xlated tag {program['tag']}",
            f"map dump pinned {table}",
            f"map lookup pinned {table} key {' '.join(['0'] * shown['bytes_key'])}",
            f"map getnext pinned {table}",
        ],
        tmp_path,
    )
    same("link", "show", "pinned", state.pins["link_raw_tracepoint"])
    same("btf", "show", "id", program["btf_id"])


@pytest.mark.parametrize("form", ["", "opcodes", "linum", "opcodes linum"])
def test_instructions(state: State, tmp_path: Path, form: str) -> None:
    """Of every program that is more than a return, and of a few that aren't."""
    listed = [row for row in bpfload("-j", "prog").json() if row["id"] in state.ids["prog"]]
    chosen = [row["id"] for row in listed if row["bytes_xlated"] > 16] + [row["id"] for row in listed][:3]
    assert len(chosen) > 8
    if form in ("opcodes", "linum"):
        chosen = chosen[:4]
    same_batch([f"prog dump xlated id {ident} {form}".strip() for ident in chosen], tmp_path)


def test_what_is_in_maps(state: State, tmp_path: Path) -> None:
    """Of every map; those that can't be read fail in both."""
    lines = []
    for ident in state.ids["map"]:
        if bpfload("map", "dump", "id", ident).status == 0:
            lines.append(f"map dump id {ident}")
        else:
            assert bpftool("map", "dump", "id", ident, check=False).status
    assert len(lines) > 30
    same_batch(lines, tmp_path)


def test_types(state: State, tmp_path: Path) -> None:
    """Raw; as C in the order of the ids: sorted, bpftool 7.5 loses the first type."""
    kernel = [row["id"] for row in bpfload("-j", "btf").json() if row["kernel"]]
    own = [ident for ident in state.ids["btf"] if ident not in kernel]
    same_text_batch([f"btf dump id {ident}{form}" for ident in own for form in ("", " format c unsorted")], tmp_path)


# Devices, cgroups, processes, struct_ops


def test_devices(state: State) -> None:
    for words in (("net",), *(("net", "show", "dev", name) for name in ("lo", state.other, state.veth.device))):
        ours, theirs = both(*words)
        found, expected = (result.json()[0] for result in both("-j", *words))
        if _BEING_MADE in json.dumps(expected):  # the last section
            ours, theirs = (Result(each.args, 0, each.stdout.partition("netfilter:")[0], "") for each in (ours, theirs))
            found["netfilter"] = expected["netfilter"] = []
        assert ours.stdout == theirs.stdout
        assert found == expected
        assert keys(found) == keys(expected)
        assert bool(ours.status) == bool(theirs.status)
    with state.veth.there.entered():  # bpftool's JSON of a flow dissector isn't JSON
        ours, theirs = (result.stdout.partition("netfilter:")[0] for result in both("net"))
        assert ours == theirs
        if not why_missing("flow_dissector"):
            assert re.search(r"^\s*id \d+", ours.partition("flow_dissector:")[2], re.MULTILINE)


def test_cgroups(state: State) -> None:
    below = state.cgroup / "between" / "below"
    for words in (
        ("show", state.cgroup),
        ("show", below),
        ("list", state.cgroup, "effective"),
        ("show", below, "effective"),
        ("tree", state.cgroup),
        ("tree", state.cgroup, "effective"),
    ):
        assert same("cgroup", *words)


def test_processes(state: State) -> None:
    """Those of this process: others' come and go."""
    me = os.getpid()
    found, expected = ([row for row in result.json() if row["pid"] == me] for result in both("-j", "perf"))
    assert found == expected
    assert keys(found) == keys(expected)
    assert len(found) >= 4
    lines = [[line for line in result.lines if line.startswith(f"pid {me} ")] for result in both("perf", "list")]
    assert lines[0] == lines[1]


@pytest.mark.needs_feature("linked_struct_ops", since="6.4", config="CONFIG_DEBUG_INFO_BTF")
def test_struct_ops(state: State) -> None:
    assert REGISTERED.exists()
    mine = [row["id"] for row in bpfload("-j", "struct_ops").json() if row["id"] in state.ids["map"]]
    assert mine
    found, expected = ([row for row in result.json() if row["id"] in mine] for result in both("-j", "struct_ops"))
    assert found == expected
    for ident in mine:
        same("struct_ops", "show", "id", ident)
        same("struct_ops", "dump", "id", ident)


# What changes something: compared by what it leaves


def test_pins(state: State) -> None:
    """What either pins both find, with -f."""
    for kind, ident in (("prog", state.ids["prog"][0]), ("map", state.ids["map"][0]), ("link", state.ids["link"][0])):
        paths = [str(state.bpffs / f"{name}_{kind}") for name in ("pinned", "pinned_by_peer")]
        assert bpfload("-j", kind, "pin", "id", ident, paths[0]).stdout == "null\n"
        assert bpftool("-j", kind, "pin", "id", ident, paths[1]).stdout == "null\n"
        shown = same("-f", kind, "show", "id", ident)
        assert set(paths) <= set(shown["pinned"])
        for command in (bpfload, lambda *words: bpftool(*words, check=False)):
            assert command(kind, "pin", "id", ident, paths[0]).status, "it is there already"
        for path in paths:
            os.unlink(path)


@pytest.mark.needs_feature("link_detach", "cgroup_link")
def test_detaching_a_link(state: State) -> None:
    shown = []
    for command in (bpfload, bpftool):
        with load_spec(program_spec("gone", c.BPF_PROG_TYPE_CGROUP_SKB, attach_type=c.BPF_CGROUP_INET_EGRESS)) as program:
            folder = os.open(state.cgroup, os.O_RDONLY)
            link = bpf_link(program.fd, folder)
            ident = leaks_id(link)
            assert command("-j", "link", "detach", "id", ident).stdout == "null\n"
            row = same("link", "show", "id", ident)
            shown.append({key: value for key, value in row.items() if key not in ("id", "prog_id")})
            os.close(link)
            os.close(folder)
    assert shown[0] == shown[1]
    assert shown[0]["cgroup_id"] == 0


def bpf_link(program: int, folder: int) -> int:
    from bpfload.syscall import bpf

    return bpf.link_create(program, folder, c.BPF_CGROUP_INET_EGRESS)


def leaks_id(link: int) -> int:
    """Return the id of a link that this process holds."""
    found = re.search(r"^link_id:\s*(\d+)$", Path(f"/proc/self/fdinfo/{link}").read_text(), re.MULTILINE)
    assert found
    return int(found[1])


@pytest.mark.needs_feature("tcx")
@pytest.mark.parametrize("hook", ["tcx_ingress", "tcx_egress"])
def test_tcx(state: State, hook: str) -> None:
    """What one attaches both show, and the other takes out. (bpftool 7.5 has no `prepend` yet.)"""
    device = f"{state.other}b"
    with load_spec(program_spec("mine", c.BPF_PROG_TYPE_SCHED_CLS)) as program:
        for attach, detach in ((bpfload, _peer), (_peer, bpfload)):
            assert attach("-j", "net", "attach", hook, "id", program.info().id, "dev", device).stdout == "null\n"
            found, expected = (result.json()[0]["tc"] for result in both("-j", "net", "show", "dev", device))
            assert found == expected
            assert [(row["kind"], row["prog_id"]) for row in found] == [(hook.replace("_", "/"), program.info().id)]
            assert detach("-j", "net", "detach", hook, "dev", device).stdout == "null\n"
            assert all(result.json()[0]["tc"] == [] for result in both("-j", "net", "show", "dev", device))


def _peer(*words: Argument) -> Result:
    return bpftool(*words, check=False)


# The table


@dataclass(frozen=True)
class Row:
    """One row of parity.toml. `status`: "same", "different" (on purpose: `why`), "impossible" (here: `why`).

    `command`: its words. `words`: what else may be said there. `tests`: that compare it, FILE::NAME in tests/.
    """

    command: str
    status: str
    tests: tuple[str, ...] = ()
    words: str = ""
    why: str = ""


def table() -> list[Row]:
    rows = tomllib.loads((Path(__file__).parent / "parity.toml").read_text())["row"]
    return [Row(**{key: tuple(value) if key == "tests" else value for key, value in row.items()}) for row in rows]


@pytest.mark.parametrize("row", table(), ids=lambda row: f"{row.command} {row.words}".strip())
def test_each_row_is_compared_or_explained(row: Row) -> None:
    assert row.status in ("same", "different", "impossible")
    assert bool(row.why) == (row.status != "same"), "differences need a reason, and only they do"
    assert row.tests or row.status == "impossible", "no test"
    for test in row.tests:
        file, _, name = test.partition("::")
        defined = {each.name for each in ast.walk(ast.parse((TESTS / file).read_text())) if isinstance(each, ast.FunctionDef)}
        assert name in defined, f"there is no {test}"


def test_every_command_of_the_peer_is_in_the_table() -> None:
    """What its help texts name: objects, commands, and every word of their forms that is to be written as it stands."""
    said: dict[str, set[str]] = {}
    for row in table():
        said.setdefault(row.command.partition(" ")[0], set()).update(re.findall(r"[\w-]+", f"{row.command} {row.words}"))
    objects = _alternatives(bpftool("help", check=False).stderr, "OBJECT")
    assert len(objects) >= 10
    assert objects | {"batch", "version", "help"} <= set(said)
    for name in objects:
        text = bpftool(name, "help", check=False).stderr
        forms = re.sub(r"\\\n\s+", " ", text).split("\n\n")[0]
        wanted = set(re.findall(r"(?<![\w<])[a-z][a-z_0-9]+\b", forms)) - {"bpftool"}
        missing = wanted - said[name]
        assert not missing, f"bpftool {name}: {missing}"
        options = set(re.findall(r"--[a-z-]+", text))
        assert options <= set(re.findall(r"--[a-z-]+", " ".join(row.words for row in table() if row.command == "options")))


def _alternatives(text: str, name: str) -> set[str]:
    found = re.search(rf"{name} := \{{([^}}]+)\}}", text)
    assert found
    return set(re.findall(r"\w+", found[1]))
