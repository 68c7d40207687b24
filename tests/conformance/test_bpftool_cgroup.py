"""`cgroup`: what bpftool prints of the same cgroups, and what either attaches the other finds."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpfload.abi import consts
from bpfload.btf.types import KIND_FUNC
from bpfload.errors import KernelError
from bpfload.inspect.cgroups import HOOK_NAMES, HOOKS, hook
from bpfload.kernel import btf
from bpfload.objects import Program
from bpfload.syscall import bpf
from support.peer import bpfload, bpftool, recent_peer, same
from support.programs import load_spec, program_spec

pytestmark = [pytest.mark.needs_root, pytest.mark.usefixtures("bpftool"), recent_peer]

_SKB, _SOCK = consts.BPF_PROG_TYPE_CGROUP_SKB, consts.BPF_PROG_TYPE_CGROUP_SOCK


@pytest.fixture
def egress() -> Iterator[Program]:
    with load_spec(program_spec("watch_egress", _SKB, attach_type=consts.BPF_CGROUP_INET_EGRESS)) as program:
        yield program


@pytest.fixture
def creating() -> Iterator[Program]:
    with load_spec(program_spec("watch_create", _SOCK, attach_type=consts.BPF_CGROUP_INET_SOCK_CREATE)) as program:
        yield program


def ident(program: Program) -> int:
    return program.info().id


@pytest.fixture
def populated(cgroup: Path, egress: Program, creating: Program) -> Path:
    """A cgroup with a program, a level without any, and one below with another."""
    (cgroup / "between" / "below").mkdir(parents=True)
    bpftool("cgroup", "attach", cgroup, "egress", "id", ident(egress), "multi")
    bpftool("cgroup", "attach", cgroup / "between" / "below", "sock_create", "id", ident(creating), "override")
    return cgroup


def test_showing_one(populated: Path) -> None:
    (shown,) = same("cgroup", "show", populated)
    assert (shown["attach_type"], shown["attach_flags"], shown["name"]) == ("cgroup_inet_egress", "multi", "watch_egress")
    below = populated / "between" / "below"
    assert [row["attach_flags"] for row in same("cgroup", "list", below)] == ["override"]
    assert len(same("c", "l", below, "eff")) == 2


def test_showing_a_tree(populated: Path) -> None:
    shown = same("cgroup", "tree", populated)
    assert [Path(row["cgroup"]) for row in shown] == [populated, populated / "between" / "below"]
    assert len(same("cgroup", "tree", populated, "effective")) == 3
    assert len(same("cgroup", "tree")) >= 2


def test_a_cgroup_without_programs(cgroup: Path) -> None:
    """As text neither prints anything. As JSON bpftool prints an empty line, which is no JSON: ours is an empty array."""
    assert bpfload("cgroup", "show", cgroup).stdout == bpftool("cgroup", "show", cgroup).stdout == ""
    assert bpftool("-j", "cgroup", "show", cgroup).stdout.strip() == ""
    assert bpfload("-j", "cgroup", "show", cgroup).json() == []
    assert same("cgroup", "tree", cgroup) == []


def test_each_attaches_and_detaches_what_the_other_shows(cgroup: Path, egress: Program) -> None:
    words = (cgroup, "egress", "id", ident(egress))
    assert bpfload("-j", "cgroup", "attach", *words).json() is None
    assert same("cgroup", "show", cgroup)[0]["attach_flags"] == ""
    bpftool("cgroup", "detach", *words)
    assert bpfload("cgroup", "show", cgroup).stdout == ""
    for option in ("multi", "override"):
        assert bpfload("cgroup", "attach", *words, option).status == 0
        assert same("cgroup", "show", cgroup)[0]["attach_flags"] == option
        assert bpfload("-j", "cgroup", "detach", *words).json() is None
        assert bpftool("cgroup", "show", cgroup).stdout == ""


def test_every_name_of_a_hook(cgroup: Path, egress: Program) -> None:
    """A program of another type is refused by the kernel, a name that isn't one by the command: both tell the same apart."""
    assert {hook(name) for name in HOOK_NAMES} == set(HOOKS)
    for name in (*HOOK_NAMES, "post_bind", "sk_skb", "nonsense"):
        theirs = bpftool("cgroup", "attach", cgroup, name, "id", ident(egress), check=False)
        bpftool("cgroup", "detach", cgroup, name, "id", ident(egress), check=False)
        ours = bpfload("cgroup", "attach", cgroup, name, "id", ident(egress))
        bpfload("cgroup", "detach", cgroup, name, "id", ident(egress))
        assert bool(ours.status) == bool(theirs.status), name
        assert ("is no hook" in ours.stderr) == ("invalid attach type" in theirs.stderr), name
    # To bpftool an empty word is the beginning of the first name.
    assert bpfload("cgroup", "attach", cgroup, "", "id", ident(egress)).status == 2


def test_what_is_refused(cgroup: Path, egress: Program, tmp_path: Path) -> None:
    bad = (
        ("show",),
        ("show", cgroup, "effective", "effective"),
        ("show", cgroup, "nonsense"),
        ("show", tmp_path),
        ("show", tmp_path / "nothing"),
        ("tree", tmp_path),
        ("tree", tmp_path / "nothing"),
        ("attach", cgroup, "egress"),
        ("attach", cgroup, "egress", "id", ident(egress), "nonsense"),
        ("detach", cgroup, "egress", "id", ident(egress)),
        ("attach", tmp_path, "egress", "id", ident(egress)),
        ("nonsense",),
    )
    for words in bad:
        assert bpftool("cgroup", *words, check=False).status != 0
        ours = bpfload("cgroup", *words)
        assert ours.status in (1, 2), ours
        assert ours.stderr.startswith("Error: "), ours
        assert "mistake in bpfload" not in ours.stderr


@pytest.mark.needs_feature("lsm_cgroup", since="6.0", config="CONFIG_BPF_LSM")
def test_a_security_module_of_a_cgroup(cgroup: Path) -> None:
    attach_type = consts.BPF_LSM_CGROUP
    target = btf.vmlinux().find("bpf_lsm_socket_bind", KIND_FUNC)
    spec = program_spec("on_bind", consts.BPF_PROG_TYPE_LSM, attach_type=attach_type)
    try:
        program = load_spec(spec, attach_btf_id=target)
    except KernelError as error:
        if error.errno == errno.EPERM and "BPFLOAD_NO_POLICY" not in os.environ:
            pytest.skip("feature: a policy of this machine lets not even root load LSM programs")
        raise
    with program:
        directory = os.open(cgroup, os.O_RDONLY)
        link = bpf.link_create(program.fd, directory, attach_type)
        try:
            assert same("cgroup", "show", cgroup)[0]["attach_btf_name"] == "bpf_lsm_socket_bind"
        finally:
            os.close(link)
            os.close(directory)
