"""Declared state: brought about, kept, changed, repaired, taken away; and what a kill leaves is settled by the next run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bpfload import pins, state
from bpfload.errors import BpfError, PinError
from bpfload.load import LoadOptions
from bpfload.objects import Link, Program
from bpfload.objects.bpffs import identify
from bpfload.objects.bpffs import pins as bpffs_pins
from bpfload.state import Outcome, records
from support.killing import run_killed_at
from support.namespaces import VethPair
from support.paths import DATA, HELLO

pytestmark = [pytest.mark.usefixtures("nothing_left_behind"), pytest.mark.needs_feature("global_data", "raw_tracepoint_link")]

VERSIONS, WIDE, MANY = DATA / "versions.bpf.o", DATA / "versions-wide.bpf.o", DATA / "two-programs.bpf.o"
RAW_TP = 'file = "versions.bpf.o"\nprograms = ["on_rename"]\n'


@pytest.fixture
def lab(tmp_path: Path, bpffs: Path) -> Callable[..., Path]:
    """Write a file that declares objects, by name and table; their pins are in the test's bpffs."""
    shutil.copy(VERSIONS, tmp_path / "versions.bpf.o")

    def write(_name: str = "lab", **tables: str) -> Path:
        text = f'name = "{_name}"\n'
        for name, table in tables.items():
            text += f'[object.{name}]\npin = "{bpffs}/{name}"\n{table}\n'
        path = tmp_path / "lab.toml"
        path.write_text(text)
        return path

    return write


def apply(path: Path, **options: bool) -> list[Outcome]:
    return list(state.apply(state.read(path), **options))


def actions(path: Path) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Apply; return by object what was done, and why."""
    outcomes = apply(path)
    assert [str(each.error) for each in outcomes if each.error] == []
    return {each.change.object: (each.change.action, each.change.reasons) for each in outcomes}


def ident(path: Path) -> int:
    pin = identify(str(path))
    assert pin is not None, path
    return pin.id


def names(bpffs: Path) -> list[str]:
    return sorted(os.path.relpath(os.path.join(place, name), bpffs) for place, _, found in os.walk(bpffs) for name in found)


def test_brought_kept_and_taken_away(bpffs: Path, lab: Callable[..., Path]) -> None:
    file = lab(one=RAW_TP, two=f'file = "{HELLO}"')
    assert [change.action for change in state.plan(state.read(file))] == ["create", "create"]
    assert names(bpffs) == [], "a plan does nothing"
    assert actions(file) == dict.fromkeys(("one", "two"), ("create", ("nothing is pinned there",)))
    assert names(bpffs) == ["one", "one_bpfload_applied", "one_link", "two", "two_bpfload_applied"]
    before = [ident(bpffs / name) for name in ("one", "one_link", "two")]
    assert actions(file) == {"one": ("none", ()), "two": ("none", ())}
    assert [ident(bpffs / name) for name in ("one", "one_link", "two")] == before, "not even other ids"
    assert actions(lab(two=f'file = "{HELLO}"')) == {"one": ("remove", ("no longer declared",)), "two": ("none", ())}
    assert names(bpffs) == ["two", "two_bpfload_applied"]
    assert actions(lab()) == {"two": ("remove", ("no longer declared",))}
    assert names(bpffs) == []


@pytest.mark.needs_feature("xdp_link")
def test_a_value_an_object_and_a_place_change(bpffs: Path, lab: Callable[..., Path], veth: VethPair, tmp_path: Path) -> None:
    table = 'file = "versions.bpf.o"\ndev = "{}"\n[object.v.set]\nversion = {}\n'
    actions(lab(v=table.format(veth.device, 1)))
    link, program = ident(bpffs / "v_link"), ident(bpffs / "v")
    assert actions(lab(v=table.format(veth.device, 2))) == {"v": ("replace", ("version: 1 → 2",))}
    assert ident(bpffs / "v_link") == link, "the same link, with another program"
    assert ident(bpffs / "v") != program
    with Program.from_pin(bpffs / "v") as used:
        maps = set(used.info("map_ids").map_ids)
    with open(tmp_path / "versions.bpf.o", "ab") as object_file:
        object_file.write(b"\0")
    assert actions(lab(v=table.format(veth.device, 2))) == {"v": ("replace", ("object changed",))}
    with Program.from_pin(bpffs / "v") as used:
        assert len(maps & set(used.info("map_ids").map_ids)) == len(maps) - 1, "all but the constants live on"
    veth.here.run("ip", "link", "add", "other", "type", "veth", "peer", "another")
    assert actions(lab(v=table.format("other", 2))) == {"v": ("replace", (f"dev: {veth.device} → other",))}
    veth.here.run("ip", "link", "del", "other")
    veth.here.run("ip", "link", "add", "other", "type", "veth", "peer", "another")
    action, reasons = actions(lab(v=table.format("other", 2)))["v"]
    assert action == "replace"
    assert "no longer attached: its device is gone" in reasons[0]
    assert actions(lab(v=table.format("other", 2))) == {"v": ("none", ())}
    # Loaded on, attached no longer.
    assert actions(lab(v='file = "versions.bpf.o"\n[object.v.set]\nversion = 2\n'))["v"][1] == ("dev: other → none",)
    assert names(bpffs) == ["v", "v_bpfload_applied"]
    actions(lab())


def test_what_is_gone_comes_back(bpffs: Path, lab: Callable[..., Path]) -> None:
    file = lab(one=RAW_TP + f'pin-maps = "{bpffs}/maps"\n')
    actions(file)
    for gone in ("one_link", "maps/counts", "one"):
        os.unlink(bpffs / gone)
        action, reasons = actions(file)["one"]
        assert (action, reasons) == ("create" if gone == "one" else "replace", (f"{bpffs}/{gone} is gone",))
        assert {"one", "one_link", "maps/counts"} <= {*names(bpffs)}
        assert actions(file) == {"one": ("none", ())}
    pins.deploy(VERSIONS, bpffs / "one", replace=True, options=LoadOptions(programs=frozenset({"on_rename"})))
    assert "by now, not" in actions(file)["one"][1][0], "somebody else has replaced it"
    pins.unload(bpffs / "one")
    assert names(bpffs) == [], "unload takes the record along"
    assert actions(file)["one"] == ("create", ("nothing is pinned there",))
    actions(lab())
    assert names(bpffs) == []


def test_directories(bpffs: Path, lab: Callable[..., Path]) -> None:
    """Several programs become a directory; what it is to be in is made, and goes again with the last one in it."""
    both = "".join(f'[object.{name}]\npin = "{bpffs}/a/b/{name}"\nfile = "{MANY}"\n' for name in ("x", "y"))
    file = lab()
    file.write_text(f'name = "lab"\n{both}')
    assert {action for action, _ in actions(file).values()} == {"create"}
    assert (bpffs / "a/b/x/packets").exists()
    with Link.from_pin(bpffs / "a/b/x/syscalls_link") as link:
        assert link.info().prog_id == ident(bpffs / "a/b/x/syscalls")
    file.write_text('name = "lab"\n' + both[both.index("[object.y]") :])
    assert actions(file) == {"x": ("remove", ("no longer declared",)), "y": ("none", ())}
    actions(lab())
    assert os.listdir(bpffs) == []


def test_what_others_brought_is_left_alone(bpffs: Path, lab: Callable[..., Path]) -> None:
    pins.deploy(VERSIONS, bpffs / "one", options=LoadOptions(programs=frozenset({"on_rename"})))
    before = ident(bpffs / "one")
    file = lab(one=RAW_TP, two=RAW_TP)
    one, two = apply(file)
    assert isinstance(one.error, PinError)
    assert "program " in str(one.error)
    assert "which no file has brought" in str(one.error)
    assert "--adopt takes it over" in one.error.hint
    assert (two.error, two.done) == (None, False), "nothing is done if something is wrong with the file"
    assert ident(bpffs / "one") == before
    one, two = apply(file, adopt=True)
    assert (one.done, two.done) == (True, True)
    other = lab("another", one=RAW_TP)
    (one,) = apply(other)
    assert "the file that calls itself 'lab' has brought it there" in str(one.error)
    assert [each.change.action for each in apply(lab())] == ["remove", "remove"]


def test_what_fails_leaves_the_old_and_the_others_go_on(bpffs: Path, lab: Callable[..., Path], tmp_path: Path) -> None:
    actions(lab(one=RAW_TP))
    before = ident(bpffs / "one")
    shutil.copy(WIDE, tmp_path / "versions.bpf.o")
    file = lab(one=RAW_TP, two=f'file = "{DATA}/rejected.bpf.o"', three=RAW_TP)
    one, two, three = apply(file)
    assert "map 'counts' doesn't fit" in str(one.error)
    assert two.error is not None
    assert three.done
    assert ident(bpffs / "one") == before
    assert names(bpffs) == ["one", "one_bpfload_applied", "one_link", "three", "three_bpfload_applied", "three_link"]
    (one, _) = apply(lab(one=RAW_TP + 'maps = "fit"\n', three=RAW_TP))
    assert one.deployed is not None
    assert any("started anew" in note and "counts" in note for note in one.deployed.notes)
    assert "a_map_with_a_long_name_1" in one.deployed.kept_maps or ".bss" in one.deployed.kept_maps
    apply(lab())


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('programs = ["nope"]', "no program 'nope'"),
        ('dev = "lo"\ncgroup = "/sys"', "has no cgroup program to attach"),
        ('fresh-maps = ["cnts"]', "has no map 'cnts'"),
        ("[object.one.set]\nversoin = 1", "no global variable 'versoin'"),
        ('[object.one.program.nope]\ntarget = "x"', "no program 'nope'"),
    ],
)
def test_mistakes_that_the_object_shows(bpffs: Path, lab: Callable[..., Path], table: str, message: str) -> None:
    (one,) = apply(lab(one=f'file = "versions.bpf.o"\n{table}\n'))
    assert message in str(one.error)
    assert "lab.toml, [object.one]" in str(one.error)
    assert names(bpffs) == []


def test_an_object_file_that_is_not_there(bpffs: Path, lab: Callable[..., Path]) -> None:
    actions(lab(one=RAW_TP))
    (one,) = apply(lab(one='file = "nothing.o"'))
    assert "nothing.o: can't be read: No such file or directory" in str(one.error)
    assert (bpffs / "one").exists()
    apply(lab())


def test_two_at_once_wait_for_each_other(lab: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    from bpfload.state import applying

    file = lab(one=RAW_TP)
    monkeypatch.setattr(applying, "_PATIENCE_SECONDS", 0.05)
    with open(file, "rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(BpfError, match="another process has been applying it"):
            apply(file)


def test_a_record_is_not_taken_for_a_pin(bpffs: Path, lab: Callable[..., Path]) -> None:
    actions(lab(one=RAW_TP))
    record = bpffs / "one_bpfload_applied"
    assert record.is_symlink()
    assert identify(str(record)) is None
    assert [pin.path for pin in bpffs_pins(str(bpffs))] == [str(bpffs / "one"), str(bpffs / "one_link")]
    assert [each.path for each in records.every("lab")] == [str(bpffs / "one")]
    apply(lab())


def test_killed_anywhere(bpffs: Path, lab: Callable[..., Path]) -> None:
    """A first load, a change, a removal, killed at every fifth call that changes something: the next run gets to the same end."""
    first, second = RAW_TP + "[object.one.set]\nversion = 1\n", RAW_TP + "[object.one.set]\nversion = 2\n"
    kills = 0
    for before, after in (("", first), (first, second), (second, "")):
        start = {"one": before} if before else {}
        end = {"one": after} if after else {}
        number = 1
        while True:
            apply(lab(**start))
            declaration = state.read(lab(**end))
            if not run_killed_at(number, lambda declaration=declaration: [*state.apply(declaration)], changing=True):
                break
            kills += 1
            number += 5
            outcomes = [*state.apply(declaration)]
            assert not any(each.error for each in outcomes), [str(each.error) for each in outcomes]
            assert names(bpffs) == (["one", "one_bpfload_applied", "one_link"] if end else [])
            assert all(each.change.action == "none" for each in state.apply(declaration))
    assert kills > 10
    apply(lab())
    assert names(bpffs) == []
