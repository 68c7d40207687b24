"""`bpfload batch`: our own commands in it, where it stopped, and how fast it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support.paths import HELLO
from support.process import Result

pytestmark = pytest.mark.needs_root

Bpfload = Callable[..., Result]


def test_loading_and_unloading(bpfload: Bpfload, bpffs: Path) -> None:
    pin = bpffs / "hello"
    script = f"{HELLO} {pin} --no-attach\nprog show pinned {pin}\nload {HELLO} {pin}2\nunload {pin} {pin}2\n"
    found = bpfload("-j", "batch", "file", "-", stdin=script).json()
    assert [entry["command"][0] for entry in found] == [str(HELLO), "prog", "load", "unload"]
    assert found[1]["output"]["name"] == "hello"
    assert not any("error" in (entry["output"] or {}) for entry in found)
    assert list(bpffs.iterdir()) == []


def test_where_it_stopped(bpfload: Bpfload, tmp_path: Path) -> None:
    path = tmp_path / "commands"
    path.write_text("# first\nversion\nprog show \\\n  id 4000000000\nversion\n")
    result = bpfload("batch", "file", path, check=False)
    assert result.status == 1
    assert result.stdout.count("bpfload v") == 1
    assert "no program has id 4000000000" in result.stderr
    assert f"{path}, line 3: stopped at this command: prog show id 4000000000" in result.stderr
    path.write_text("prog nonsense\n")
    assert bpfload("batch", "file", path, check=False).status == 2


def test_what_was_written_wrongly(bpfload: Bpfload, tmp_path: Path) -> None:
    path = tmp_path / "commands"
    path.write_text("version\nprog show name 'a b\n")
    assert f"{path}, line 2: a quotation mark" in bpfload("batch", "file", path, check=False).stderr
    assert "quotation mark" in bpfload("-j", "batch", "file", path, check=False).json()[-1]["error"]
    path.write_text("version \\\n")
    assert f"{path}, line 1: the line that was to continue" in bpfload("batch", "file", path, check=False).stderr


def test_one_that_runs_itself(bpfload: Bpfload, tmp_path: Path) -> None:
    path = tmp_path / "commands"
    path.write_text(f"batch file {path}\n")
    result = bpfload("batch", "file", path, check=False)
    assert "without an end" in result.stderr
    assert result.status == 2


def test_bytes_that_are_no_text(bpfload: Bpfload, tmp_path: Path) -> None:
    path = tmp_path / "commands"
    path.write_bytes(b"prog show name \xff\xfe\n")
    result = bpfload("batch", "file", path, check=False)
    assert result.status == 1
    assert "no program has the name" in result.stderr


def test_a_thousand_commands(bpfload: Bpfload) -> None:
    """One process for all: what costs a second here would cost a minute one by one."""
    start = time.monotonic()
    result = bpfload("batch", "file", "-", stdin="feature list_builtins prog_types\n" * 1000)
    assert result.lines[-1] == "processed 1000 commands"
    assert time.monotonic() - start < 10
