"""`bpfload iter`: an iterator printed without a pin, over one task, over cgroups; what a mistake says."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bpfload.abi import consts
from bpfload.objects import Map
from bpfload.syscall import bpf
from support.paths import DATA, HELLO
from support.process import Result

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_feature("iter", "sleepable")]

ITERATORS = DATA / "iterators.bpf.o"
Command = Callable[..., Result]


@pytest.mark.usefixtures("nothing_left_behind")
def test_what_an_iterator_writes(bpfload: Command) -> None:
    me = f"{os.getpid()} {os.getpid()} {Path('/proc/self/comm').read_text().strip()}"
    assert me in bpfload("iter", "cat", ITERATORS).stdout.splitlines()
    assert me in bpfload("-j", "iter", "cat", ITERATORS).json()
    with Map(bpf.map_create(consts.BPF_MAP_TYPE_ARRAY, 4, 4, 1, name="seen_by_iter")):
        assert "seen_by_iter" in bpfload("iter", "cat", ITERATORS, "program", "maps").stdout


@pytest.mark.needs_feature("iter_task", "iter_cgroup")
def test_over_one_task_and_over_cgroups(bpfload: Command, bpffs: Path, cgroup: Path) -> None:
    me = os.getpid()
    for option in ("pid", "tid"):
        assert bpfload("iter", "cat", ITERATORS, option, me).stdout.startswith(f"{me} {me} ")
    ident = cgroup.stat().st_ino
    for where in (cgroup, ident):
        assert bpfload("iter", "cat", ITERATORS, "program", "cgroups", "cgroup", where, "self").stdout == f"{ident}\n"
    bpfload("iter", "pin", ITERATORS, bpffs / "mine", "program", "cgroups", "cgroup", cgroup)
    shown = bpfload("-j", "link", "show", "pinned", bpffs / "mine").json()
    assert (shown["target_name"], shown["cgroup_id"], shown["order"]) == ("cgroup", ident, "descendants_pre")
    assert bpfload("iter", "cat", bpffs / "mine").stdout == f"{ident}\n"
    assert bpfload("-j", "iter", "cat", bpffs / "mine").json() == [str(ident)]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("cat", ITERATORS, "tid", "1", "pid", "2"), 2, "to a thread or to a process, not to both"),
        (("cat", ITERATORS, "pid", "0"), 2, "pid 0 is no process"),
        (("cat", ITERATORS, "pid", "one"), 2, "the pid: 'one' is not a whole number"),
        (("cat", ITERATORS, "cgroup", "/"), 2, "an iterator over task can't be bound to a cgroup; it takes a task"),
        (("cat", ITERATORS, "program", "maps", "pid", "1"), 2, "it walks over everything there is"),
        (("cat", ITERATORS, "program", "mapz"), 1, "no program 'mapz'"),
        (("cat", ITERATORS, "over", "1"), 2, "It takes: map, pid, tid, cgroup, program"),
        (("cat", HELLO), 2, "program 'hello' is no iterator: SEC(\"xdp\")"),
        (("cat", "/nope"), 1, "no such file"),
        (("cat",), 2, "an object file, or a pinned iterator is missing"),
        (("pin", DATA / "elements.bpf.o", "/sys/fs/bpf/without_map"), 1, "needs the map whose elements they are"),
        (("pin", ITERATORS, "/tmp/iterator"), 1, "/tmp is not on a BPF file system"),
    ],
)
def test_mistakes(
    words: tuple[object, ...], status: int, said: str, bpfload: Command, sys_fs_bpf: Path, nothing_left_behind: None
) -> None:
    done = bpfload("iter", *words, check=False)
    assert done.status == status
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in sys_fs_bpf.iterdir() if not path.name.endswith(".debug")] == []


def test_a_pin_of_something_else(bpfload: Command, bpffs: Path) -> None:
    with Map(bpf.map_create(consts.BPF_MAP_TYPE_ARRAY, 4, 4, 1)) as other:
        other.pin(bpffs / "map")
    assert "holds a map, not a link" in bpfload("iter", "cat", bpffs / "map", check=False).stderr
