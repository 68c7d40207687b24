"""`bpfload attach`, `bpfload detach`, `bpfload link update`: what is loaded already, put on hooks and taken off."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bpfload.abi import consts
from bpfload.objects import Link, Program
from support.namespaces import VethPair
from support.paths import HELLO, SYS_ENTER
from support.process import Result, run
from support.programs import load_spec, program_spec, raw_tracepoint_spec

pytestmark = [pytest.mark.needs_root, pytest.mark.usefixtures("nothing_left_behind")]


@pytest.fixture
def hello(bpffs: Path, bpfload: Callable[..., Result]) -> Path:
    bpfload(HELLO, bpffs / "hello")
    return bpffs / "hello"


def xdp_on(veth: VethPair) -> bool:
    return "xdp" in run("ip", "link", "show", "dev", veth.device).stdout


@pytest.mark.needs_feature("xdp_link")
def test_attached_detached_unloaded(hello: Path, veth: VethPair, bpfload: Callable[..., Result]) -> None:
    done = bpfload("attach", hello, "--dev", veth.device)
    with Link.from_pin(f"{hello}_link") as link, Program.from_pin(hello) as program:
        info = link.info()
        assert info.prog_id == program.info().id
    assert done.stdout == f"program {info.prog_id} is attached (xdp) by link {info.id}, pinned at {hello}_link\n"
    assert xdp_on(veth)
    planned = bpfload("detach", hello, "--dry-run").stdout
    assert planned == f"would detach link {info.id} (xdp) of program {info.prog_id}, would remove {hello}_link\n"
    assert xdp_on(veth)
    assert bpfload("detach", hello).stdout == f"detached link {info.id} (xdp) of program {info.prog_id}, removed {hello}_link\n"
    assert not xdp_on(veth)
    assert bpfload("detach", hello).stdout == "nothing is attached\n"
    rows = bpfload("-j", "attach", "name", "hello", "--dev", veth.device, "--pin", f"{hello}_link", "--mode", "generic").json()
    assert (rows[0]["hook"], rows[0]["pinned"]) == ("xdp", [f"{hello}_link"])
    bpfload("unload", hello)  # which knows the link by its name
    assert not xdp_on(veth)


@pytest.mark.needs_feature("xdp_link")
def test_without_a_link(hello: Path, veth: VethPair, bpfload: Callable[..., Result]) -> None:
    assert bpfload("attach", hello, "--dev", veth.device, "--no-link").stdout.endswith("is attached (xdp) without a link\n")
    assert xdp_on(veth)
    assert not Path(f"{hello}_link").exists()
    (row,) = bpfload("-j", "detach", hello).json()
    assert (row["link_id"], row["removed"], row["remains"]) == (0, [], False)
    assert not xdp_on(veth)


@pytest.mark.needs_feature("tcx")
def test_tc_in_a_direction(bpffs: Path, veth: VethPair, bpfload: Callable[..., Result]) -> None:
    spec = program_spec("classify", consts.BPF_PROG_TYPE_SCHED_CLS, section="tc")
    with load_spec(spec) as program:
        program.pin(bpffs / "classify")
    lost = bpfload("attach", bpffs / "classify", "--dev", veth.device, check=False)
    assert (lost.status, "--direction ingress" in lost.stderr) == (2, True)
    bpfload("attach", bpffs / "classify", "--dev", veth.device, "--direction", "egress")
    (row,) = bpfload("-j", "net", "list", "dev", veth.device).json()[0]["tc"]
    assert row["kind"] == "tcx/egress"
    bpfload("detach", bpffs / "classify")
    bpfload("attach", bpffs / "classify", "--dev", veth.device, "--direction", "ingress", "--priority", 7)
    (row,) = bpfload("-j", "net", "list", "dev", veth.device).json()[0]["tc"]
    assert row["kind"] == "clsact/ingress"
    bpfload("unload", bpffs / "classify")
    assert bpfload("-j", "net", "list", "dev", veth.device).json()[0]["tc"] == []


@pytest.mark.needs_feature("cgroup_link")
def test_a_cgroup_program(bpffs: Path, cgroup: Path, bpfload: Callable[..., Result]) -> None:
    spec = program_spec("connects", consts.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, attach_type=consts.BPF_CGROUP_INET4_CONNECT)
    with load_spec(spec) as program:
        program.pin(bpffs / "connects")
    bpfload("attach", bpffs / "connects", "--cgroup", cgroup)
    (row,) = bpfload("-j", "cgroup", "show", cgroup).json()
    assert row["attach_type"] == "cgroup_inet4_connect"
    bpfload("detach", bpffs / "connects")
    assert bpfload("-j", "cgroup", "show", cgroup).json() == []


@pytest.mark.needs_feature("raw_tracepoint_link")
def test_a_directory_of_programs(bpffs: Path, bpfload: Callable[..., Result]) -> None:
    (bpffs / "lab").mkdir()
    for name in ("one", "two"):
        with load_spec(raw_tracepoint_spec(name)) as program:
            program.pin(bpffs / "lab" / name)
    bpfload("attach", bpffs / "lab", "--target", "sys_exit")
    assert sorted(path.name for path in (bpffs / "lab").iterdir()) == ["one", "one_link", "two", "two_link"]
    assert len(bpfload("-j", "detach", bpffs / "lab").json()) == 2
    assert sorted(path.name for path in (bpffs / "lab").iterdir()) == ["one", "two"]


@pytest.mark.needs_feature("raw_tracepoint_link")
def test_a_link_that_somebody_holds(bpffs: Path, bpfload: Callable[..., Result]) -> None:
    spec = raw_tracepoint_spec("held")
    with load_spec(spec) as program:
        program.pin(bpffs / "held")
    bpfload("attach", bpffs / "held", "--target", "sys_exit")
    with Link.from_pin(bpffs / "held_link"):
        failed = bpfload("detach", bpffs / "held", check=False)
        assert failed.status == 1
        assert "still attached by link" in failed.stdout
        assert "held by others" in failed.stderr
    assert not (bpffs / "held_link").exists()


def test_what_makes_no_sense(hello: Path, veth: VethPair, bpfload: Callable[..., Result], bpffs: Path) -> None:
    for words, status, said in (
        ((hello,), 2, "--dev"),
        ((hello, "--dev", "nosuch"), 1, "no network device 'nosuch'"),
        ((hello, "--mode", "generic"), 2, "--mode is about XDP on a device"),
        ((hello, "--hook", "tracpoint"), 2, "no hook 'tracpoint'"),
        (("name", "helo", "--dev", veth.device), 1, "no program has the name 'helo'"),
        (("name", "hello", "--dev", veth.device), 2, "--pin PATH"),
        ((bpffs / "nothing", "--dev", veth.device), 1, "nothing is pinned at"),
        ((bpffs, "--dev", veth.device, "--pin", bpffs / "x"), 0, ""),
    ):
        failed = bpfload("attach", *words, check=False)
        assert failed.status == status, failed
        assert said in failed.stderr
    assert not (bpffs / "hello_link").exists()
    bpfload("detach", hello)
    assert bpfload("detach", "name", "helo", check=False).status == 1


@pytest.mark.needs_feature("xdp_link")
def test_a_link_gets_another_program(hello: Path, bpffs: Path, veth: VethPair, bpfload: Callable[..., Result]) -> None:
    bpfload("attach", hello, "--dev", veth.device)
    with load_spec(program_spec("second")) as second, load_spec(program_spec("third")) as third:
        ident, other = second.info().id, third.info().id
        bpfload("link", "update", "pinned", f"{hello}_link", "id", ident)
        with Link.from_pin(f"{hello}_link") as link:
            assert link.info().prog_id == ident
        refused = bpfload("link", "update", "pinned", f"{hello}_link", "id", other, "old", "pinned", hello, check=False)
        assert refused.status == 1
        assert "EPERM" in refused.stderr
        assert f"program id {ident}" in refused.stderr
        bpfload("link", "update", "pinned", f"{hello}_link", "id", other, "old", "id", ident)
        with load_spec(raw_tracepoint_spec("wrong")) as wrong:
            failed = bpfload("link", "update", "pinned", f"{hello}_link", "id", wrong.info().id, check=False)
            assert failed.status == 1
        bpfload("detach", "id", other)


@pytest.mark.needs_feature("raw_tracepoint_link")
def test_a_link_that_cannot_be_updated(bpffs: Path, bpfload: Callable[..., Result]) -> None:
    bpfload(SYS_ENTER, bpffs / "enter")
    with load_spec(raw_tracepoint_spec("second")) as second:
        failed = bpfload("link", "update", "pinned", bpffs / "enter_link", "id", second.info().id, check=False)
        assert failed.status == 1
        assert "can't" in failed.stderr or "no " in failed.stderr
    bpfload("unload", bpffs / "enter")
