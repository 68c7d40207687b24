"""`bpfload unload PATH…`: what it prints."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from support.namespaces import VethPair
from support.paths import HELLO
from support.process import Result, run
from support.programs import load_spec, program_spec

pytestmark = [pytest.mark.needs_root, pytest.mark.usefixtures("nothing_left_behind")]

Command = Callable[..., Result]


def program_id(bpfload: Command, path: Path) -> int:
    return int(bpfload("-j", "prog", "show", "pinned", path).json()["id"])


def test_text(bpfload: Command, bpffs: Path, veth: VethPair) -> None:
    bpfload(HELLO, bpffs / "hello", "--dev", veth.device, "--pin-maps", bpffs / "maps")
    program = program_id(bpfload, bpffs / "hello")
    lines = bpfload("unload", bpffs / "hello").lines
    assert lines[0].startswith(f"detached and removed {bpffs}/hello_link  (link ")
    assert lines[0].endswith(f" of program {program})")
    assert [line.partition("  (")[0] for line in lines[1:]] == [
        f"removed {bpffs}/maps/hello_bss",
        f"removed {bpffs}/maps/hello_rodata",
        f"removed {bpffs}/hello",
        f"removed {bpffs}/maps/",
        f"program {program} is gone",
    ]
    gone = bpfload("prog", "show", "id", str(program), check=False)
    assert (gone.status, gone.stdout) == (1, "")


def test_json(bpfload: Command, bpffs: Path) -> None:
    bpfload(HELLO, bpffs / "hello")
    program = program_id(bpfload, bpffs / "hello")
    (bpffs / "again").hardlink_to(bpffs / "hello")
    assert bpfload("-j", "unload", bpffs / "hello").json() == [
        {
            "path": f"{bpffs}/hello",
            "removed": [{"path": f"{bpffs}/hello", "type": "program", "id": program}],
            "directories": [],
            "leftovers": [],
            "kept": [],
            "holders": [{"prog_id": program, "type": "pin", "name": f"{bpffs}/again"}],
            "gone": [],
        }
    ]


def test_what_still_holds_a_program_is_said(bpfload: Command, bpffs: Path) -> None:
    bpfload(HELLO, bpffs / "hello")
    program = program_id(bpfload, bpffs / "hello")
    bpfload("prog", "pin", "pinned", bpffs / "hello", bpffs / "again")
    assert bpfload("unload", bpffs / "hello").lines[1:] == [f"program {program} is still pinned at {bpffs}/again"]


def test_several_paths_of_which_one_is_wrong(bpfload: Command, bpffs: Path) -> None:
    for name in ("a", "b"):
        bpfload(HELLO, bpffs / name)
    done = bpfload("unload", bpffs / "a", bpffs / "nope", bpffs / "b", check=False)
    assert done.status == 1
    assert [line.partition("  (")[0] for line in done.lines[::2]] == [f"removed {bpffs}/a", f"removed {bpffs}/b"]
    assert all(re.fullmatch(r"program \d+ is gone", line) for line in done.lines[1::2])
    assert done.stderr.startswith(f"Error: nothing is pinned at {bpffs}/nope")
    assert os.listdir(bpffs) == []
    for name in ("a", "b"):
        bpfload(HELLO, bpffs / name)
    done = bpfload("-j", "unload", bpffs / "a", bpffs / "nope", bpffs / "b", check=False)
    assert done.status == 1
    assert [sorted(each)[0] for each in done.json()] == ["directories", "directories", "error"]


def test_nothing_there(bpfload: Command, bpffs: Path) -> None:
    bpfload(HELLO, bpffs / "hello")
    done = bpfload("unload", bpffs / "helo", check=False)
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr == f"Error: nothing is pinned at {bpffs}/helo\nDid you mean {bpffs}/hello?\n"
    assert bpfload("-j", "unload", bpffs / "helo", check=False).json() == {"error": done.stderr[7:-1]}


def test_a_plain_file_is_refused(bpfload: Command, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("mine")
    done = bpfload("unload", plain, check=False)
    assert done.status == 1
    assert "not on a BPF file system" in done.stderr
    assert plain.read_text() == "mine"


def test_no_path_at_all(bpfload: Command) -> None:
    assert bpfload("unload", check=False).status == 2


def test_only_said(bpfload: Command, bpffs: Path, veth: VethPair) -> None:
    bpfload(HELLO, bpffs / "hello", "--dev", veth.device, "--pin-maps", bpffs / "maps")
    planned = bpfload("unload", "--dry-run", bpffs / "hello").lines
    assert [line.partition("  (")[0] for line in planned] == [
        f"would be detached and removed: {bpffs}/hello_link",
        f"would be removed: {bpffs}/maps/hello_bss",
        f"would be removed: {bpffs}/maps/hello_rodata",
        f"would be removed: {bpffs}/hello",
        f"would be removed: {bpffs}/maps/",
    ]
    assert sorted(os.listdir(bpffs)) == ["hello", "hello_link", "maps"]
    done = bpfload("unload", bpffs / "hello").lines
    assert len(done) == len(planned) + 1


def test_a_pattern(bpfload: Command, bpffs: Path, veth: VethPair) -> None:
    bpfload(HELLO, bpffs / "lab_a", "--dev", veth.device)
    bpfload(HELLO, bpffs / "lab_b")
    bpfload(HELLO, bpffs / "other")
    bpfload("unload", f"{bpffs}/lab_*")
    assert os.listdir(bpffs) == ["other"]
    assert "nothing is pinned at" in bpfload("unload", f"{bpffs}/lab_*", check=False).stderr
    bpfload("unload", f"{bpffs}/oth?r")


def test_by_id_wherever_it_is(bpfload: Command, bpffs: Path, veth: VethPair) -> None:
    bpfload(HELLO, bpffs / "hello", "--pin-maps", bpffs / "maps")
    program = program_id(bpfload, bpffs / "hello")
    bpfload("prog", "pin", "id", program, bpffs / "again")
    bpfload("attach", "id", program, "--dev", veth.device, "--pin", bpffs / "elsewhere")
    other = load_spec(program_spec("bystander"))
    other.pin(bpffs / "bystander")
    other.close()
    (done,) = bpfload("-j", "unload", "--id", program).json()
    assert done["gone"] == [program]
    assert os.listdir(bpffs) == ["bystander"]
    assert "xdp" not in run("ip", "link", "show", "dev", veth.device).stdout
    gone = bpfload("unload", "--id", program, check=False)
    assert f"no program has id {program}" in gone.stderr


def test_by_name(bpfload: Command, bpffs: Path) -> None:
    for name in ("a", "b"):
        bpfload(HELLO, bpffs / name)
    several = bpfload("unload", "--name", "hello", check=False)
    assert several.status == 2
    assert "Choose with --id" in several.stderr
    bpfload("unload", bpffs / "a")
    assert bpfload("unload", "--name", "hello").lines[-1].endswith("is gone")
    assert os.listdir(bpffs) == []
    assert "no program has the name 'hello'" in bpfload("unload", "--name", "hello", check=False).stderr


def test_an_attachment_without_a_link(bpfload: Command, bpffs: Path, veth: VethPair) -> None:
    bpfload(HELLO, bpffs / "hello")
    bpfload("attach", bpffs / "hello", "--dev", veth.device, "--no-link")
    planned = bpfload("unload", bpffs / "hello", "--dry-run").stdout
    assert "would be detached: XDP" in planned
    assert "xdp" in run("ip", "link", "show", "dev", veth.device).stdout
    done = bpfload("unload", bpffs / "hello").lines
    assert "detached: XDP" in done[0]
    assert done[-1].endswith("is gone")
    assert "xdp" not in run("ip", "link", "show", "dev", veth.device).stdout
