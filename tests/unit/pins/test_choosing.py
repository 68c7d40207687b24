"""Which programs are attached where: what SEC() and the caller say, and what is said of what doesn't fit together."""

from __future__ import annotations

import pytest

from bpfload import elf
from bpfload.errors import NotFoundError, UsageError
from bpfload.links import Target
from bpfload.pins.choosing import choose, idle, option_for
from bpfload.spec import ObjectSpec, ProgramSpec
from support.paths import DATA


@pytest.fixture
def spec() -> ObjectSpec:
    return elf.read(DATA / "many-hooks.bpf.o")


def some(spec: ObjectSpec, *names: str) -> list[ProgramSpec]:
    return [spec.program(name) for name in names] or spec.entry_programs


def chosen(spec: ObjectSpec, target: Target, *names: str) -> list[tuple[str, str]]:
    return [(wish.name, wish.hook) for wish in choose(spec, some(spec, *names), target=target, attaching=False)]


def test_a_device_is_for_everything_that_wants_one(spec: ObjectSpec) -> None:
    names = ("on_xdp", "on_ingress", "on_egress", "on_tc", "on_lookup")
    found = chosen(spec, Target(device="eth0", parent="ingress"), *names)
    assert found == [("on_xdp", "xdp"), ("on_ingress", "tcx"), ("on_egress", "tcx"), ("on_tc", "tc")]


@pytest.mark.parametrize(
    ("target", "names"),
    [
        (Target(cgroup="/c"), ["on_cgroup_egress", "on_cgroup_socket"]),
        (Target(netns="/n"), ["on_lookup"]),
        (Target(map="sockets"), ["on_verdict", "on_element"]),
        (Target(family="ip", hook="input"), ["on_netfilter"]),
        (Target(event_type="software", event_config="cpu-clock"), ["on_event"]),
        (Target(pid=1), ["on_event", "on_uretprobe", "on_task"]),
    ],
)
def test_each_field_has_its_programs(spec: ObjectSpec, target: Target, names: list[str]) -> None:
    assert [name for name, _ in chosen(spec, target)] == names


def test_a_name_is_for_the_one_program_without(spec: ObjectSpec) -> None:
    assert chosen(spec, Target(name="x/y"), "on_tracepoint", "on_switch") == [("on_tracepoint", "tracepoint")]
    assert chosen(spec, Target(name="x/y"), "on_switch") == [("on_switch", "tracepoint")]
    (wish,) = choose(spec, some(spec, "on_uprobe", "on_switch"), target=Target(name="/bin/sh:main"))
    assert (wish.spec.attach_target, wish.target.name) == ("/bin/sh:main", "")
    assert spec.program("on_uprobe").attach_target == "", "the caller's spec stays as it is"


def test_all_that_sec_names(spec: ObjectSpec) -> None:
    programs = some(spec)
    wishes = choose(spec, programs, all_that_sec_names=True)
    assert [wish.name for wish in wishes] == ["on_switch", "on_enter", "on_uretprobe", "on_task"]
    notes = idle(programs, wishes, all_that_sec_names=True)
    assert any("'on_xdp' is loaded and not attached" in note and "--dev IF" in note for note in notes)
    assert any("'on_socket'" in note and "the process that has the socket" in note for note in notes)
    assert not any("run_by_hand" in note for note in notes)


def test_raw_tracepoints_attach_by_default(spec: ObjectSpec) -> None:
    assert [wish.name for wish in choose(spec, some(spec))] == ["on_enter"]
    assert choose(spec, some(spec), attaching=False) == []


def test_targets_by_program(spec: ObjectSpec) -> None:
    targets = {"on_xdp": Target(device="a"), "on_ingress": Target(device="b")}
    wishes = choose(spec, some(spec), targets=targets, target=Target(cgroup="/c"), attaching=False)
    places = {wish.name: wish.target.device or wish.target.cgroup for wish in wishes}
    assert places == {"on_xdp": "a", "on_ingress": "b", "on_cgroup_egress": "/c", "on_cgroup_socket": "/c"}


@pytest.mark.parametrize(
    ("target", "names", "words"),
    [
        (Target(device="e"), ("on_lookup",), "--dev: many-hooks.bpf.o has no XDP, tc or netkit program"),
        (Target(device="e"), ("on_lookup",), 'on_lookup, SEC("?sk_lookup"): --netns PATH'),
        (Target(cgroup="/c"), ("on_xdp",), 'on_xdp, SEC("?xdp"): --dev IF'),
        (Target(device="e"), ("on_xdp", "on_xdp_frags"), "several XDP programs: on_xdp, on_xdp_frags"),
        (Target(device="e"), ("on_tc",), "--direction ingress"),
        (Target(name="n"), ("on_uprobe", "on_tracepoint"), "--target PROGRAM=NAME"),
        (Target(name="n"), ("on_xdp",), "has no tracepoint, probe or tracing program"),
        (Target(netns="n"), ("run_by_hand",), 'run_by_hand, SEC("?syscall").'),
    ],
)
def test_what_does_not_fit(spec: ObjectSpec, target: Target, names: tuple[str, ...], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        choose(spec, some(spec, *names), target=target)
    assert words in str(caught.value)


def test_a_program_that_is_not_there(spec: ObjectSpec) -> None:
    with pytest.raises(NotFoundError, match="no program 'on_xpd'") as caught:
        choose(spec, some(spec), targets={"on_xpd": Target(device="e")})
    assert caught.value.candidates[0] == "on_xdp"
    with pytest.raises(UsageError, match="have no hook"):
        choose(spec, some(spec), targets={"run_by_hand": Target(device="e")})


def test_each_hook_has_an_option(spec: ObjectSpec) -> None:
    without = {program.name for program in some(spec) if not option_for(program)}
    assert without == {"on_socket", "run_by_hand"}
