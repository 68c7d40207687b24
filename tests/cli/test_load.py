"""`bpfload OBJ PATH` as people use it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from support.namespaces import VethPair
from support.paths import DATA, HELLO, HELLO_FUNC, PACKET_COUNTER, SYS_ENTER
from support.process import Result

pytestmark = [pytest.mark.needs_root, pytest.mark.usefixtures("nothing_left_behind")]

Command = Callable[..., Result]


@pytest.mark.parametrize("word", [[], ["load"]])
def test_one_program_is_one_pin(bpfload: Command, bpffs: Path, word: list[str]) -> None:
    done = bpfload(*word, HELLO, bpffs / "hello")
    assert (done.stdout, done.stderr) == ("", "")
    assert os.listdir(bpffs) == ["hello"]
    shown = bpfload("-j", "prog", "show", "pinned", bpffs / "hello").json()
    assert (shown["name"], shown["type"], shown["bytes_xlated"]) == ("hello", "xdp", 96)


def test_json_is_null(bpfload: Command, bpffs: Path) -> None:
    assert bpfload("-j", HELLO, bpffs / "hello").stdout == "null\n"


def test_a_relative_path(bpfload: Command, bpffs: Path) -> None:
    bpfload(HELLO, "hello", cwd=bpffs)
    assert os.listdir(bpffs) == ["hello"]


def test_the_peer_finds_what_was_loaded(bpfload: Command, bpftool: Command, bpffs: Path) -> None:
    """bpftool loads the same object: same tag, same maps."""
    bpfload(HELLO, bpffs / "ours")
    bpftool("prog", "load", HELLO, bpffs / "theirs")
    shown = [bpftool("-j", "prog", "show", "pinned", bpffs / name).json() for name in ("ours", "theirs")]
    for name in ("name", "type", "tag", "gpl_compatible", "bytes_xlated", "bytes_memlock"):
        assert shown[0][name] == shown[1][name]
    maps = [[bpftool("-j", "map", "show", "id", ident).json() for ident in each["map_ids"]] for each in shown]
    for ours, theirs in zip(*maps, strict=True):
        for name in ("name", "type", "flags", "bytes_key", "bytes_value", "max_entries", "frozen"):
            assert ours[name] == theirs[name]


@pytest.mark.needs_feature("xdp_link")
@pytest.mark.parametrize(("mode", "shown"), [("auto", "driver"), ("native", "driver"), ("generic", "generic")])
def test_xdp_stays_attached_and_runs(bpfload: Command, bpffs: Path, veth: VethPair, mode: str, shown: str) -> None:
    bpfload(PACKET_COUNTER, bpffs / "p", "--dev", veth.device, "--mode", mode)
    assert sorted(os.listdir(bpffs)) == ["p", "p_link"]
    assert [each["mode"] for each in bpfload("-j", "net", "list").json()[0]["xdp"]] == [shown]
    veth.send(3)
    link = bpfload("-j", "link", "show", "pinned", bpffs / "p_link").json()
    assert (link["type"], link["devname"]) == ("xdp", veth.device)
    (map_id,) = bpfload("-j", "prog", "show", "pinned", bpffs / "p").json()["map_ids"]
    counts = bpfload("-j", "map", "dump", "id", map_id).json()
    assert counts, "no packet was counted"
    bpfload("unload", bpffs / "p")
    assert bpfload("-j", "net", "list").json()[0]["xdp"] == []


@pytest.mark.needs_feature("raw_tracepoint_link")
@pytest.mark.parametrize(
    ("obj", "options", "name"),
    [
        (HELLO_FUNC, ["--attach", "sys_enter"], "sys_enter"),
        (SYS_ENTER, [], "sys_enter"),
        (SYS_ENTER, ["--attach", "sys_exit"], "sys_exit"),
    ],
)
def test_raw_tracepoints(bpfload: Command, bpffs: Path, obj: Path, options: list[str], name: str) -> None:
    bpfload(obj, bpffs / "p", *options)
    assert bpfload("-j", "link", "show", "pinned", bpffs / "p_link").json()["tp_name"] == name
    bpfload("unload", bpffs / "p")


@pytest.mark.parametrize(("obj", "options"), [(HELLO_FUNC, []), (SYS_ENTER, ["--no-attach"])])
def test_what_is_not_attached(bpfload: Command, bpffs: Path, obj: Path, options: list[str]) -> None:
    bpfload(obj, bpffs / "p", *options)
    assert os.listdir(bpffs) == ["p"]
    bpfload("unload", bpffs / "p")


def test_several_programs_make_a_directory(bpfload: Command, bpffs: Path, veth: VethPair) -> None:
    bpfload(DATA / "two-programs.bpf.o", bpffs / "two", "--dev", veth.device)
    assert sorted(os.listdir(bpffs)) == ["two"]
    assert sorted(os.listdir(bpffs / "two")) == ["packets", "packets_link", "syscalls", "syscalls_link"]
    bpfload("unload", bpffs / "two")
    assert os.listdir(bpffs) == []


def test_one_of_several_programs(bpfload: Command, bpffs: Path) -> None:
    bpfload(DATA / "two-programs.bpf.o", bpffs / "one", "--program", "packets")
    assert os.listdir(bpffs) == ["one"]
    assert bpfload("-j", "prog", "show", "pinned", bpffs / "one").json()["name"] == "packets"


def test_maps_are_pinned_on_request(bpfload: Command, bpffs: Path) -> None:
    bpfload(HELLO, bpffs / "hello", "--pin-maps", bpffs / "maps")
    assert sorted(os.listdir(bpffs / "maps")) == ["hello_bss", "hello_rodata"]
    bpfload("unload", bpffs / "hello")
    assert os.listdir(bpffs) == []


def test_maps_are_pinned_beside_the_program(bpfload: Command, bpffs: Path) -> None:
    """The directory is the mount point, which can't be moved into place, and stays."""
    bpfload(HELLO, bpffs / "hello", "--pin-maps", bpffs)
    assert sorted(os.listdir(bpffs)) == ["hello", "hello_bss", "hello_rodata"]
    bpfload("unload", bpffs / "hello")
    assert os.listdir(bpffs) == []


def test_no_mount_is_made_where_it_is_forbidden(bpfload: Command, private_mounts: None) -> None:
    from support import system

    system.mount("tmpfs", "/sys/fs", "tmpfs")
    try:
        Path("/sys/fs/bpf").mkdir()
        refused = bpfload("-n", HELLO, "/sys/fs/bpf/hello", check=False)
        assert refused.status == 1
        assert "no BPF file system is mounted at /sys/fs/bpf" in refused.stderr
        assert not os.path.ismount("/sys/fs/bpf")
        bpfload(HELLO, "/sys/fs/bpf/hello")
        assert os.path.ismount("/sys/fs/bpf")
        assert "hello" in os.listdir("/sys/fs/bpf")
        bpfload("unload", "/sys/fs/bpf/hello")
        system.umount("/sys/fs/bpf")
    finally:
        system.umount("/sys/fs")


def test_a_tracepoint_program_that_nothing_runs_is_pointed_out(bpfload: Command, bpffs: Path) -> None:
    result = bpfload(HELLO_FUNC, bpffs / "idle")
    assert result.stdout == ""
    assert (
        "program 'hello' is loaded and not attached: SEC(\"raw_tp/\") names no tracepoint (--attach NAME does)" in result.stderr
    )
    quiet = bpfload(HELLO_FUNC, bpffs / "told", "--no-attach")
    attached = bpfload(HELLO_FUNC, bpffs / "runs", "--attach", "sys_enter")
    assert quiet.stderr == attached.stderr == ""


# Every hook

MANY = DATA / "many-hooks.bpf.o"


def only(*names: str) -> list[str]:
    return [word for name in names for word in ("--program", name)]


@pytest.mark.needs_feature("tcx")
def test_a_device_attaches_all_that_wants_one(bpfload: Command, bpffs: Path, veth: VethPair) -> None:
    programs = only("on_xdp", "on_ingress", "on_egress", "on_tc", "on_lookup")
    bpfload(MANY, bpffs / "m", *programs, "--dev", veth.device, "--direction", "egress", "--before", "first")
    assert sorted(os.listdir(bpffs / "m")) == sorted(
        [name + end for name in ("on_xdp", "on_ingress", "on_egress", "on_tc") for end in ("", "_link")] + ["on_lookup"]
    )
    shown = bpfload("-j", "net", "list").json()[0]
    assert len(shown["xdp"]) == 1
    ends = {end: [each["name"] for each in shown["tc"] if each["kind"] == f"tcx/{end}"] for end in ("ingress", "egress")}
    assert ends == {"ingress": ["on_ingress"], "egress": ["on_tc", "on_egress"]}
    bpfload("unload", bpffs / "m")
    assert os.listdir(bpffs) == []


@pytest.mark.needs_feature("cgroup_link")
def test_a_cgroup(bpfload: Command, bpffs: Path, cgroup: Path) -> None:
    bpfload(MANY, bpffs / "m", *only("on_cgroup_egress", "on_cgroup_socket"), "--cgroup", cgroup)
    kinds = {bpfload("-j", "link", "show", "pinned", each).json()["attach_type"] for each in (bpffs / "m").glob("*_link")}
    assert kinds == {"cgroup_inet_egress", "cgroup_inet_sock_create"}
    bpfload("unload", bpffs / "m")


@pytest.mark.needs_feature("sk_lookup")
@pytest.mark.needs_feature("link_info")
def test_a_network_namespace(bpfload: Command, bpffs: Path, netns: VethPair) -> None:
    bpfload(MANY, bpffs / "m", *only("on_lookup"), "--netns", netns.there.path)
    shown = bpfload("-j", "link", "show", "pinned", bpffs / "m_link").json()
    assert (shown["type"], shown["netns_ino"]) == ("netns", os.stat(netns.there.path).st_ino)
    bpfload("unload", bpffs / "m")


@pytest.mark.needs_feature("sockmap_link")
def test_a_sockmap_of_the_object(bpfload: Command, bpffs: Path) -> None:
    bpfload(MANY, bpffs / "m", *only("on_verdict"), "--map", "sockets", "--pin-maps", bpffs / "maps")
    link = bpfload("-j", "link", "show", "pinned", bpffs / "m_link").json()
    assert link["map_id"] == bpfload("-j", "map", "show", "pinned", bpffs / "maps/sockets").json()["id"]
    bpfload("unload", bpffs / "m")


@pytest.mark.needs_feature("netfilter_link")
def test_netfilter(bpfload: Command, bpffs: Path, netns: VethPair) -> None:
    bpfload(MANY, bpffs / "m", *only("on_netfilter"), "--netfilter", "ip/input", "--priority", "-150")
    shown = bpfload("-j", "link", "show", "pinned", bpffs / "m_link").json()
    assert (shown["type"], shown["prio"]) == ("netfilter", -150)
    bpfload("unload", bpffs / "m")


@pytest.mark.needs_feature("perf_link")
@pytest.mark.needs_feature("uprobe")
@pytest.mark.needs_feature("iter")
def test_all_that_sec_names(bpfload: Command, bpffs: Path) -> None:
    names = ("on_switch", "on_enter", "on_task", "on_xdp")
    done = bpfload(MANY, bpffs / "m", *only(*names), "--attach")
    assert "program 'on_xdp' is loaded and not attached" in done.stderr
    assert "--dev IF" in done.stderr
    assert sorted(os.listdir(bpffs / "m")) == sorted([*names, "on_switch_link", "on_enter_link", "on_task_link"])
    bpfload("unload", bpffs / "m")


@pytest.mark.needs_feature("perf_link")
@pytest.mark.parametrize(
    ("program", "options"),
    [
        ("on_tracepoint", ["--attach", "sched/sched_switch"]),
        ("on_tracepoint", ["--target", "sched/sched_switch"]),
        ("on_uprobe", ["--target", "on_uprobe=/bin/true:0x2100"]),
    ],
)
def test_a_target_in_words(bpfload: Command, bpffs: Path, program: str, options: list[str]) -> None:
    bpfload(MANY, bpffs / "m", *only(program), *options)
    assert bpfload("-j", "link", "show", "pinned", bpffs / "m_link").json()["type"] == "perf_event"
    bpfload("unload", bpffs / "m")


@pytest.mark.parametrize("words", [["OBJ", "PATH", "--attach"], ["load", "--attach", "OBJ", "PATH"], ["OBJ", "--attach", "PATH"]])
@pytest.mark.needs_feature("raw_tracepoint_link")
def test_attach_without_a_name(bpfload: Command, bpffs: Path, words: list[str]) -> None:
    bpfload(*({"OBJ": SYS_ENTER, "PATH": bpffs / "p"}.get(word, word) for word in words))
    assert bpfload("-j", "link", "show", "pinned", bpffs / "p_link").json()["tp_name"] == "sys_enter"
    bpfload("unload", bpffs / "p")


# Values


def test_values_are_set_before_the_load(bpfload: Command, bpffs: Path) -> None:
    values = ["number=-7", "action=LOG", "text=hey", "ports[1]=443", "rule.range.high=0x20", "variable=11"]
    words = [word for each in values for word in ("--set", each)]
    bpfload(MANY, bpffs / "m", *only("on_xdp"), *words, "--pin-maps", bpffs / "maps")
    rodata = bpfload("-j", "map", "dump", "pinned", bpffs / "maps/many_hoo_rodata").json()[0]["formatted"]["value"][".rodata"]
    found = {name: value for each in rodata for name, value in each.items()}
    assert (found["number"], found["action"], found["ports"]) == (-7, "LOG", [1, 443, 3])
    assert found["rule"]["range"]["high"] == 0x20
    bpfload("unload", bpffs / "m")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--set", "nubmer=1"], ["no global variable 'nubmer'", "Did you mean number"]),
        (["--set", "small=300"], ["300 is out of range, 0 to 255"]),
        (["--set", "small"], ["--set small: it takes NAME=VALUE"]),
        (["--direction", "up", "--dev", "lo"], ["no direction 'up'"]),
        (["--priority", "1"], ["--priority", "--dev or --netfilter"]),
        (["--before", "middle", "--dev", "lo"], ["--before middle", "program:ID"]),
        (["--netfilter", "ip"], ["FAMILY/HOOK, for example ip/input"]),
        (["--fresh-maps"], ["--fresh-maps", "--replace"]),
        (["--attach", "--no-attach"], ["exclude each other"]),
        (["--cgroup", "/nowhere"], ["--cgroup", "no cgroup program", 'on_xdp, SEC("?xdp"): --dev IF']),
    ],
)
def test_options_that_make_no_sense(bpfload: Command, bpffs: Path, options: list[str], words: list[str]) -> None:
    result = bpfload(MANY, bpffs / "m", *only("on_xdp"), *options, check=False)
    assert result.status in (1, 2)
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr
    assert os.listdir(bpffs) == []


# Replacing

VERSIONS = DATA / "versions.bpf.o"


@pytest.mark.needs_feature("xdp_link")
def test_replace(bpfload: Command, bpffs: Path, veth: VethPair) -> None:
    path = bpffs / "v"
    bpfload(VERSIONS, path, "--replace", "--dev", veth.device, "--pin-maps", bpffs / "maps")
    link = bpfload("-j", "link", "show", "pinned", bpffs / "v_link").json()
    veth.send(2)
    done = bpfload("-j", VERSIONS, path, "--replace", "--keep-maps", "--set", "version=2")
    assert (done.stdout, done.stderr) == ("null\n", "")
    veth.send(3)
    after = bpfload("-j", "link", "show", "pinned", bpffs / "v_link").json()
    assert after["id"] == link["id"]
    assert after["prog_id"] != link["prog_id"]
    value = bpfload("-j", "map", "dump", "pinned", bpffs / "maps/counts").json()[0]["formatted"]["value"]
    assert value == {"all": 5, "by_version": [0, 2, 3, 0]}
    refused = bpfload(DATA / "versions-wide.bpf.o", path, "--replace", check=False)
    assert refused.status == 1
    for words in ("versions-wide.bpf.o", "map 'counts' doesn't fit", "value.last is new in the object", "--fresh-map"):
        assert words in refused.stderr
    assert bpfload("-j", "link", "show", "pinned", bpffs / "v_link").json() == after
    bpfload(DATA / "versions-wide.bpf.o", path, "--replace", "--fresh-map", "counts")
    assert bpfload("-j", "map", "dump", "pinned", bpffs / "maps/counts").json()[0]["formatted"]["value"]["all"] == 0
    bpfload("unload", path)
    assert os.listdir(bpffs) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--replace", "--keep-maps", "--fresh-maps"], ["--keep-maps excludes --fresh-maps"]),
        (["--replace", "--replace-maps"], ["--replace-maps", "Unload, and load anew"]),
        (["--keep-maps"], ["--keep-maps", "--replace"]),
        (["--fresh-map", "counts"], ["--fresh-map", "--replace"]),
    ],
)
def test_options_of_a_replacement(bpfload: Command, bpffs: Path, options: list[str], words: list[str]) -> None:
    result = bpfload(VERSIONS, bpffs / "v", *options, check=False)
    assert result.status == 2
    for word in words:
        assert word in result.stderr
    assert os.listdir(bpffs) == []
