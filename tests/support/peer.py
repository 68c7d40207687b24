"""Comparing what bpfload and bpftool print of the same things: text line for line, JSON value for value.

Ours runs in the test's own process (the tests of the installed command are in tests/cli). The peer takes a second for each
listing, since it attaches a BPF program to find the owners: `same_rows` looks at many objects in one listing.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Collection
from typing import Any

import pytest

from bpfload_cli.main import main
from support.process import Argument, Result, bpftool, bpftool_command


def peer_version() -> tuple[int, ...]:
    """Return the peer's version, (0,) without one."""
    if not bpftool_command():
        return (0,)
    found = re.match(r"bpftool v(\d+)\.(\d+)", bpftool("version", check=False).stdout)
    return tuple(int(part) for part in found.groups()) if found else (0,)


#: Older ones lack fields: 7.1 says nothing of "orphaned", netfilter, uprobe.multi.
recent_peer = pytest.mark.skipif(peer_version() < (7, 5), reason="feature: the peer is older than bpftool 7.5 (make peers)")

_PIDS = re.compile(r"^\s+pids .*\n", re.MULTILINE)
_ROWS = re.compile(r"^(\d+): ", re.MULTILINE)


def bpfload(*words: Argument) -> Result:
    """Run a command line in this process."""
    arguments = [str(word) for word in words]
    out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(arguments)
        out.flush()
    assert isinstance(out.buffer, io.BytesIO)
    return Result(("bpfload", *arguments), status, out.buffer.getvalue().decode(errors="surrogateescape"), err.getvalue())


def same(*words: Argument) -> Any:
    """Run both with the same words, as text and with -j; return the JSON that both gave, without pids."""
    _compare_text(bpfload(*words), bpftool(*words, check=False))
    ours, theirs = bpfload("-j", *words), bpftool("-j", *words, check=False)
    _compare_status(ours, theirs)
    value, expected = clean(ours.json()), clean(theirs.json())
    assert value == expected
    assert keys(value) == keys(expected)
    assert clean(bpfload("-p", *words).json()) == value
    return value


def same_text(*words: Argument) -> str:
    """Run both with the same words, as text only; return it without pids."""
    ours = bpfload(*words)
    _compare_text(ours, bpftool(*words, check=False))
    return strip(ours.stdout)


def _compare_text(ours: Result, theirs: Result) -> None:
    assert strip(ours.stdout) == strip(theirs.stdout)
    _compare_status(ours, theirs)


def _compare_status(ours: Result, theirs: Result) -> None:
    """Both succeed, or both fail; but `bpftool link show` of one link fails even where all went well."""
    if "link" not in theirs.args:
        assert bool(ours.status) == bool(theirs.status), f"{ours}\n{theirs}"


def same_rows(kind: str, idents: Collection[int], *flags: str, without: Collection[str] = ()) -> dict[int, Any]:
    """List all objects of a kind ("prog", "map", "link", "btf") with both, as text and with -j, and compare those named.

    Others come and go meanwhile. `without`: JSON keys not to compare; the text isn't compared then. Returns the JSON by id.
    """
    if not without:
        ours, theirs = (rows(strip(command(*flags, kind, "list").stdout)) for command in (bpfload, bpftool))
        assert [ours.get(ident) for ident in idents] == [theirs.get(ident) for ident in idents]
    found, expected = (
        {
            row["id"]: {key: value for key, value in clean(row).items() if key not in without}
            for row in command("-j", *flags, kind, "list").json()
            if row["id"] in idents
        }
        for command in (bpfload, bpftool)
    )
    assert found == expected
    assert keys(found) == keys(expected)
    assert set(found) == set(idents)
    return found


def rows(text: str) -> dict[int, str]:
    """Split a listing into what it says of each id."""
    parts = _ROWS.split(text)
    return {int(ident): rest for ident, rest in zip(parts[1::2], parts[2::2], strict=True)}


def strip(text: str) -> str:
    """Leave out the lines that name processes, since each command sees itself."""
    return _PIDS.sub("", text)


def clean(value: Any) -> Any:
    """Leave out the processes."""
    if isinstance(value, dict):
        return {key: clean(item) for key, item in value.items() if key != "pids"}
    if isinstance(value, list):
        return [clean(item) for item in value]
    return value


def keys(value: Any) -> Any:
    """Return the keys in their order, which `==` between dicts doesn't compare."""
    if isinstance(value, dict):
        return [(key, keys(item)) for key, item in value.items()]
    if isinstance(value, list):
        return [keys(item) for item in value]
    return None


def pids(kind: str, ident: int) -> tuple[Any, Any]:
    """Return the JSON of one object from both, with the processes."""
    words = ("-j", kind, "show", "id", ident)
    return bpfload(*words).json(), json.loads(bpftool(*words).stdout)
