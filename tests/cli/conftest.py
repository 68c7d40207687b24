"""Fixtures of the command's tests: loaded samples to look at, and comparison with the peer on the same kernel."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from support.paths import HELLO
from support.process import Argument, Result

_PIDS = re.compile(r"^\s+pids .*\n", re.MULTILINE)


@pytest.fixture
def hello_pin(bpffs: Path, bpfload: Callable[..., Result]) -> Path:
    """`hello`, loaded by us and pinned in a bpffs of the test's own."""
    path = bpffs / "hello"
    bpfload(HELLO, path)
    return path


@pytest.fixture
def same_text(bpfload: Callable[..., Result], bpftool: Callable[..., Result]) -> Callable[..., str]:
    """`same_text("prog", "show", "id", 7)`: both print the same lines (pids aside: each sees itself)."""

    def compare(*args: Argument) -> str:
        ours, theirs = (_PIDS.sub("", command(*args).stdout) for command in (bpfload, bpftool))
        assert ours == theirs
        return ours

    return compare


@pytest.fixture
def same_json(bpfload: Callable[..., Result], bpftool: Callable[..., Result]) -> Callable[..., object]:
    """`same_json("prog", "show", "id", 7)`: -j gives the same values in the same order (pids aside)."""

    def compare(*args: Argument) -> object:
        ours, theirs = (_without_pids(command("-j", *args).json()) for command in (bpfload, bpftool))
        assert ours == theirs
        assert _keys(ours) == _keys(theirs)
        return ours

    return compare


def _without_pids(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_pids(item) for key, item in value.items() if key != "pids"}
    if isinstance(value, list):
        return [_without_pids(item) for item in value]
    return value


def _keys(value: object) -> object:
    """Return the keys in their order, which `==` between dicts doesn't compare."""
    if isinstance(value, dict):
        return [(key, _keys(item)) for key, item in value.items()]
    if isinstance(value, list):
        return [_keys(item) for item in value]
    return None
