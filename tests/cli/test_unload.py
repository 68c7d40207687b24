"""`bpfload unload PATH…`: what it prints."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from support.namespaces import VethPair
from support.paths import HELLO
from support.process import Result

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
    assert [line.partition("  (")[0] for line in done.lines] == [f"removed {bpffs}/a", f"removed {bpffs}/b"]
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
