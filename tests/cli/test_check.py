"""`bpfload check`: a line for each program, JSON, exit status, comparison with an earlier run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.process import Result

ROOT = Path(__file__).parents[2]
HELLO = ROOT / "samples/hello/hello.bpf.o"
REJECTED = ROOT / "tests/data/rejected.bpf.o"
FIELDS = (
    "object program section verdict errno type tag insns verified_insns maps func_infos line_infos message".split()  # noqa: SIM905
)

pytestmark = pytest.mark.needs_root
Command = Callable[..., Result]


def rows(result: Result) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = result.json()
    return found


def test_a_good_object(bpfload: Command) -> None:
    result = bpfload("check", HELLO)
    first, summary = result.stdout.splitlines()
    assert first.startswith("ok     hello.bpf.o: hello  xdp  tag ")
    assert first.endswith("12 insns, 10 verified")
    assert summary == "1 program in 1 object: 1 ok, 0 failed"


def test_json_has_every_field_in_order(bpfload: Command) -> None:
    (row,) = rows(bpfload("check", "-j", HELLO))
    assert list(row) == FIELDS
    assert (row["object"], row["program"], row["section"], row["verdict"]) == ("hello.bpf.o", "hello", "xdp", "ok")
    assert (row["errno"], row["type"], row["insns"], row["maps"], row["func_infos"]) == (0, "xdp", 12, 2, 1)
    assert row["message"] == ""


def test_a_refused_program_fails_the_run_and_says_why(bpfload: Command) -> None:
    result = bpfload("check", HELLO, REJECTED, check=False)
    assert result.status == 1
    line = next(line for line in result.stdout.splitlines() if line.startswith("error"))
    assert "rejected.bpf.o" in line
    assert "R1 offset is outside of the packet" in line
    assert "rejected.bpf.c:" in line
    assert result.stdout.splitlines()[-1].endswith("1 ok, 1 failed")


def test_the_whole_log_on_request(bpfload: Command) -> None:
    assert "processed" in bpfload("check", "-d", REJECTED, check=False).stdout


def test_an_object_that_cannot_be_read_does_not_stop_the_rest(bpfload: Command, tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no object")
    result = bpfload("check", "-j", text, tmp_path / "nosuch.bpf.o", HELLO, check=False)
    assert result.status == 1
    broken, missing, good = rows(result)
    assert (broken["program"], broken["verdict"], broken["errno"]) == (None, "error", -4001)
    assert (missing["program"], missing["errno"]) == (None, -2)
    assert good["verdict"] == "ok"
    assert "2 objects couldn't be read" in bpfload("check", text, tmp_path / "nosuch.bpf.o", check=False).stdout


def test_nothing_is_pinned_or_left(nothing_left_behind: None, bpfload: Command, sys_fs_bpf: Path) -> None:
    bpfload("check", HELLO, ROOT / "samples/packet-counter/packet-counter.bpf.o")
    assert not list(sys_fs_bpf.iterdir())


def baseline(path: Path, result: Result, **changes: object) -> Path:
    path.write_text(json.dumps([{**row, **changes} for row in rows(result)]))
    return path


def test_a_baseline_that_is_the_same(bpfload: Command, tmp_path: Path) -> None:
    earlier = baseline(tmp_path / "base", bpfload("check", "-j", HELLO))
    assert bpfload("check", HELLO, "--baseline", earlier).stdout.splitlines()[-1].endswith("; 0 changed since the baseline")
    assert "was" not in rows(bpfload("check", "-j", HELLO, "--baseline", earlier))[0]


def test_what_changed_since_the_baseline(bpfload: Command, tmp_path: Path) -> None:
    earlier = baseline(tmp_path / "base", bpfload("check", "-j", HELLO), tag="0" * 16, verified_insns=8)
    text = bpfload("check", HELLO, "--baseline", earlier).stdout
    assert "verified_insns: 8 → 10 (+25.0%)" in text
    assert f"tag: {'0' * 16} → " in text
    assert rows(bpfload("check", "-j", HELLO, "--baseline", earlier))[0]["was"] == {"tag": "0" * 16, "verified_insns": 8}


def test_programs_that_are_new_or_gone(bpfload: Command, tmp_path: Path) -> None:
    earlier = baseline(tmp_path / "base", bpfload("check", "-j", HELLO), program="old")
    text = bpfload("check", HELLO, "--baseline", earlier).stdout
    assert "new since the baseline" in text
    assert "gone   hello.bpf.o: old" in text
    new, gone = rows(bpfload("check", "-j", HELLO, "--baseline", earlier))
    assert (new["was"], gone["verdict"], gone["program"]) == (None, None, "old")


def test_a_baseline_that_is_none(bpfload: Command, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    result = bpfload("check", HELLO, "--baseline", tmp_path / "text", check=False)
    assert result.status == 1
    assert "text is not what check -j prints" in result.stderr
    assert bpfload("check", HELLO, "--baseline", tmp_path / "nosuch", check=False).status == 1


def test_without_an_object(bpfload: Command) -> None:
    result = bpfload("check", check=False)
    assert result.status == 2
    assert "OBJ" in result.stderr
