"""`bpfload cgroup`: what bpftool has no words for, the place among other programs, and what is said of refusals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bpfload.abi import consts
from bpfload.inspect import cgroups
from support.peer import bpfload
from support.programs import load_spec, program_spec

pytestmark = pytest.mark.usefixtures("nothing_left_behind")

_ordering = pytest.mark.needs_feature("cgroup_mprog", since="6.17", config="CONFIG_CGROUP_BPF")


@pytest.fixture
def programs() -> Iterator[dict[str, int]]:
    """Programs by name, as ids: three for egress, one for sockets."""
    with ExitStack() as stack:
        found = {}
        for name in ("one", "two", "three"):
            spec = program_spec(name, consts.BPF_PROG_TYPE_CGROUP_SKB, attach_type=consts.BPF_CGROUP_INET_EGRESS)
            found[name] = stack.enter_context(load_spec(spec)).info().id
        spec = program_spec("sock", consts.BPF_PROG_TYPE_CGROUP_SOCK, attach_type=consts.BPF_CGROUP_INET_SOCK_CREATE)
        found["sock"] = stack.enter_context(load_spec(spec)).info().id
        yield found


def attach(cgroup: Path, *words: object) -> str:
    """Attach to egress; return the error."""
    result = bpfload("cgroup", "attach", cgroup, "egress", *(str(word) for word in words))
    assert result.status == (1 if result.stderr else 0)
    return result.stderr


def names(cgroup: Path) -> list[str]:
    return [program.name for program in cgroups.attached(str(cgroup))]


@_ordering
def test_programs_stand_where_they_are_put(cgroup: Path, programs: dict[str, int]) -> None:
    assert not attach(cgroup, "id", programs["one"], "multi")
    assert not attach(cgroup, "id", programs["two"], "before", "id", programs["one"])
    assert names(cgroup) == ["two", "one"]
    assert not attach(cgroup, "id", programs["three"], "after", "id", programs["two"])
    assert names(cgroup) == ["two", "three", "one"]


@_ordering
def test_the_ends(cgroup: Path, programs: dict[str, int]) -> None:
    for name, end in (("one", "first"), ("two", "first"), ("three", "last")):
        assert not attach(cgroup, "id", programs[name], end)
    assert names(cgroup) == ["two", "one", "three"]


@pytest.mark.needs_feature("cgroup_replace", since="5.6", config="CONFIG_CGROUP_BPF")
def test_replacing_one_of_several(cgroup: Path, programs: dict[str, int]) -> None:
    for name in ("one", "two"):
        assert not attach(cgroup, "id", programs[name], "multi")
    assert not attach(cgroup, "id", programs["three"], "replace", "id", programs["one"])
    assert names(cgroup) == ["three", "two"]


def test_what_comes_from_above(cgroup: Path, programs: dict[str, int]) -> None:
    (cgroup / "below").mkdir()
    assert not attach(cgroup, "id", programs["one"], "multi")
    assert not attach(cgroup / "below", "id", programs["two"], "multi")
    assert [view.name for view in cgroups.attached(str(cgroup / "below"), effective=True)] == ["two", "one"]
    assert [(depth, len(view.programs)) for depth, view in cgroups.tree(str(cgroup), effective=True)] == [(0, 1), (1, 2)]
    assert [depth for depth, _ in cgroups.tree(str(cgroup))] == [0, 1]


def test_refusals_are_explained(cgroup: Path, programs: dict[str, int], tmp_path: Path) -> None:
    assert "type for that hook" in attach(cgroup, "id", programs["sock"])
    assert "no directory of the cgroup2 file system" in attach(tmp_path, "id", programs["one"])
    assert not attach(cgroup, "id", programs["one"])
    (cgroup / "below").mkdir()
    assert "share the hook in another way" in attach(cgroup / "below", "id", programs["two"])
    missing = bpfload("cgroup", "show", tmp_path / "nothing")
    assert "can't open cgroup" in missing.stderr
    other = bpfload("cgroup", "attach", cgroup, "egres_", "id", str(programs["one"]))
    assert "Near it: egress" in other.stderr


@_ordering
def test_neighbours_that_are_not_there(cgroup: Path, programs: dict[str, int]) -> None:
    assert "isn't attached there" in attach(cgroup, "id", programs["two"], "replace", "id", programs["one"])
    both = bpfload("cgroup", "attach", cgroup, "egress", "id", str(programs["one"]), "first", "last")
    assert both.status == 2
    assert "both before and after" in both.stderr
