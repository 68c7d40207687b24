"""Words, and flags anywhere among them: what bpftool takes and what it refuses."""

from __future__ import annotations

import pytest

from support.peer import bpfload, bpftool, recent_peer

pytestmark = [pytest.mark.needs_root, pytest.mark.usefixtures("bpftool"), recent_peer]

_OBJECTS = ("prog", "map", "link", "cgroup", "perf", "net", "feature", "btf", "gen", "struct_ops", "iter")


@pytest.mark.parametrize(
    "line",
    [
        "p s",
        "m",
        "m l",
        "c t",
        "n",
        "b",
        "bt",
        "--js version",
        "--vers",
        "-Vj",
        "version -jp",
        "feature -j list map",
        "-- feature list map",
        "prog -z",
        "--bogus",
        "-j --bogus",
        "--pretty=3 prog",
        "-B",
        "bogus",
        "prog bogus",
        "p s id",
        "p s id x",
        "p s id 4000000000",
        "p s name",
        "m s bogus",
        "link x",
        "link show id",
        "cgroup",
        "feature probe bogus",
        "batch",
        "-h",
        "help",
    ],
)
def test_success_or_failure(line: str) -> None:
    """bpftool fails with 255, ours with 1, or 2 for words that make no sense; what is wrong is said on stderr, or in the JSON."""
    theirs, ours = bpftool(*line.split(), check=False), bpfload(*line.split())
    assert bool(ours.status) == bool(theirs.status), f"{ours}\n{theirs}"
    assert ours.status in (0, 1, 2)
    if ours.status and "-j" not in line:
        assert ours.stderr.startswith("Error: ")


@pytest.mark.parametrize("name", _OBJECTS)
def test_help_as_json(name: str) -> None:
    assert bpfload("-j", name, "help").json() is None
    # Of perf and iter bpftool prints an empty line, which is no JSON.
    assert bpftool("-j", name, "help").stdout.strip() in ("null", "")
    assert f"bpfload {name}" in bpfload(name, "help").stdout


def test_the_version_as_json() -> None:
    """Ours says the same of itself, and more; what can't be there is null or false."""
    ours, theirs = bpfload("-j", "version").json(), bpftool("--version", "-j").json()
    assert set(theirs) <= set(ours)
    assert set(theirs["features"]) <= set(ours["features"])
    assert all(isinstance(there, bool) for there in ours["features"].values())
