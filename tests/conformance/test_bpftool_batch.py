"""`batch`: what bpftool makes of the same files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.peer import bpfload, bpftool, keys, recent_peer
from support.process import bpfload as installed
from support.process import bpftool as peer

pytestmark = [pytest.mark.needs_root, pytest.mark.usefixtures("bpftool"), recent_peer]

# Of commands whose output both have alike.
_GOOD = """\
# names
feature list_builtins prog_types   # all of them
  feature 'list_builtins' "helpers"

f l \\
  prog
\tprog\thelp
map help \\
# this comment is the continuation
feature list_builtins\tprog_types
"""


def same_batch(path: Path, *flags: str) -> Any:
    """Run a file in both; compare success, JSON and the last line of the text. Return the JSON."""
    ours, theirs = (command("-j", "batch", "file", path, **options) for command, options in _BOTH)
    assert bool(ours.status) == bool(theirs.status), f"{ours}\n{theirs}"
    found, expected = ours.json(), theirs.json()
    assert [entry.get("command") for entry in found] == [entry.get("command") for entry in expected]
    if not ours.status:
        assert found == expected
        assert keys(found) == keys(expected)
        assert ours.stdout == theirs.stdout
        ours, theirs = (command("-p", "batch", "file", path, **options) for command, options in _BOTH)
        assert ours.stdout == theirs.stdout
    ours, theirs = (command("batch", "file", path, **options) for command, options in _BOTH)
    assert bool(ours.status) == bool(theirs.status)
    assert ("processed" in ours.stdout) == ("processed" in theirs.stdout)
    if "processed" in ours.stdout:
        assert ours.lines[-1] == theirs.lines[-1]
    return found


_BOTH: tuple[Any, ...] = ((bpfload, {}), (bpftool, {"check": False}))


@pytest.mark.parametrize(
    "text",
    [
        _GOOD,
        "",
        "# nothing\n\n   \n",
        "feature list_builtins prog_types",
        "'feature''list_builtins'prog_types\n",
        'feature "list_builtins" prog_types\r\n',
        "feature list_builtins prog_types\nprog show id 4000000000\nfeature list_builtins helpers\n",
        "nonsense\n",
        "prog show id 4000000000\n",
        "feature list_builtins prog_types\nfeature 'list_builtins\n",
        "feature list_builtins \\\n",
        "batch file /no/such/file\n",
    ],
)
def test_the_same_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "commands"
    path.write_bytes(text.encode())
    same_batch(path)


def test_batches_in_batches(tmp_path: Path) -> None:
    inner, outer = tmp_path / "inner", tmp_path / "outer"
    inner.write_text("feature list_builtins prog_types\nprog help\n")
    outer.write_text(f"batch file {inner}\nmap help\n")
    assert len(same_batch(outer)[0]["output"]) == 2


def test_standard_input() -> None:
    text = "feature list_builtins prog_types\n"
    ours, theirs = (command("-j", "batch", "file", "-", stdin=text) for command in (installed, peer))
    assert ours.stdout == theirs.stdout


def test_changes_are_the_same(tmp_path: Path, bpffs: Path) -> None:
    """Objects that one command makes are there for the next."""
    from support.programs import small_map

    path = tmp_path / "commands"
    with small_map("batched") as item:
        ident = item.info().id
        for number, (command, options) in enumerate(_BOTH):
            pin = bpffs / f"map{number}"
            path.write_text(f"map pin id {ident} {pin}\nmap show pinned {pin}\n")
            # Of a call's errno from before, bpftool says that it couldn't read the file.
            shown = command("-j", "batch", "file", path, **options).json()[1]
            assert shown["output"]["id"] == ident


@pytest.mark.parametrize("words", [(), ("file",), ("nonsense", "x"), ("file", "x", "y"), ("file", "/no/such/file")])
def test_what_is_refused(words: tuple[str, ...]) -> None:
    assert bpftool("batch", *words, check=False).status != 0
    ours = bpfload("batch", *words)
    assert ours.status in (1, 2)
    assert ours.stderr.startswith("Error: ")
    assert "error" in json.loads(bpfload("-j", "batch", *words).stdout)
