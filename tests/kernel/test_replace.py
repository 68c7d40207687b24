"""Replacing what a load pinned and attached: in place, with the contents of its maps, under traffic; or not at all."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bpfload import elf, pins
from bpfload.abi import consts
from bpfload.btf.values import decode
from bpfload.errors import BpfError, KernelError, LinkError, NotFoundError, PinError, UsageError
from bpfload.links import EVERY_PROCESS, Target, netns, xdp
from bpfload.load import LoadOptions, load
from bpfload.objects import Link, Map, Program
from bpfload.objects.bpffs import identify
from bpfload.objects.paths import STAGED
from bpfload.pins import staging, unlinked
from bpfload.spec import ObjectSpec
from bpfload.syscall import bpf
from support import namespaces
from support.namespaces import VethPair
from support.paths import DATA, HELLO
from support.programs import load_spec, program_spec, small_map
from support.traced import compiled

pytestmark = [pytest.mark.usefixtures("nothing_left_behind"), pytest.mark.needs_feature("global_data")]

MANY = DATA / "many-hooks.bpf.o"
VERSIONS, WIDE = DATA / "versions.bpf.o", DATA / "versions-wide.bpf.o"


def present(bpffs: Path) -> list[str]:
    return sorted(
        os.path.relpath(os.path.join(place, name), bpffs)
        for place, _, names in os.walk(bpffs)
        for name in names
        if not name.endswith(".debug")
    )


def ident(path: Path) -> int:
    pin = identify(str(path))
    assert pin is not None, path
    return pin.id


def options(*programs: str) -> LoadOptions:
    return LoadOptions(programs=frozenset(programs) or None)


@contextmanager
def map_of(pin: Path, name: str) -> Iterator[Map]:
    """Open a map of a pinned program by the name that the kernel has for it."""
    with Program.from_pin(pin) as program:
        for number in program.info("map_ids").map_ids:
            with Map.from_id(number) as found:
                if found.info().name == name:
                    yield found
                    return
    raise AssertionError(f"{pin} uses no map {name}")


def counts(pin: Path) -> dict[str, Any]:
    """Return struct count of a pinned program's map, and what .bss has counted."""
    spec = elf.read(VERSIONS)
    assert spec.btf is not None
    with map_of(pin, "counts") as found, map_of(pin, "versions.bss") as bss:
        value: dict[str, Any] = decode(spec.btf, spec.maps["counts"].value_type_id, found.lookup(bytes(4)))
        return {**value, "packets": int.from_bytes(bss.lookup(bytes(4)), "little")}


# In place


@pytest.mark.needs_feature("xdp_link")
def test_program_pin_and_link_change_and_counts_stay(bpffs: Path, veth: VethPair) -> None:
    path = bpffs / "p"
    pins.deploy(VERSIONS, path, target=Target(device=veth.device))
    before = {name: ident(bpffs / name) for name in ("p", "p_link")}
    veth.send(3)
    done = pins.deploy(VERSIONS, path, replace=True, values={"version": "2"})
    assert done.replaced == (before["p"],)
    assert done.attached == ("on_packet",)
    assert set(done.kept_maps) == {"counts", ".bss", "a_map_with_a_long_name_1", "a_map_with_a_long_name_2"}
    assert set(done.pins) == {str(path), f"{path}_link"}
    assert present(bpffs) == ["p", "p_link"]
    assert ident(path) != before["p"]
    assert ident(bpffs / "p_link") == before["p_link"], "the link is the same, with another program"
    with Link.from_pin(bpffs / "p_link") as link:
        assert link.info().prog_id == ident(path)
    veth.send(2)
    assert counts(path) == {"all": 5, "by_version": [0, 3, 2, 0], "packets": 5}
    with pytest.raises(NotFoundError):
        Program.from_id(before["p"])
    assert pins.unload(path).holders == ()


def test_where_nothing_is_it_is_a_first_load(bpffs: Path) -> None:
    done = pins.deploy(HELLO, bpffs / "p", replace=True)
    assert (done.replaced, present(bpffs)) == ((), ["p"])
    pins.unload(bpffs / "p")


def test_long_names_are_told_apart(bpffs: Path) -> None:
    path, maps = bpffs / "p", bpffs / "maps"
    pins.deploy(VERSIONS, path, maps_directory=maps)
    names = ("a_map_with_a_long_name_1", "a_map_with_a_long_name_2")
    before = {name: ident(maps / name) for name in names}
    pins.deploy(VERSIONS, path, replace=True)
    assert {name: ident(maps / name) for name in names} == before
    pins.unload(path)
    assert os.listdir(bpffs) == []
    # Without pins the kernel has only fifteen characters, the same for both.
    pins.deploy(VERSIONS, path)
    with Program.from_pin(path) as program:
        used = set(program.info("map_ids").map_ids)
    pins.deploy(VERSIONS, path, replace=True)
    with Program.from_pin(path) as program:
        now = set(program.info("map_ids").map_ids)
    assert len(used & now) == len(used) - 1, "all but the constants"
    pins.unload(path)


@pytest.mark.needs_feature("xdp_link")
@pytest.mark.needs_feature("tcx")
@pytest.mark.needs_feature("raw_tracepoint_link")
def test_a_directory_whose_programs_come_and_go(bpffs: Path, veth: VethPair) -> None:
    path = bpffs / "d"
    first = options("on_packet", "on_egress")
    pins.deploy(VERSIONS, path, target=Target(device=veth.device), options=first, maps_directory=path / "maps")
    before = {name: ident(path / name) for name in ("on_packet", "on_packet_link", "on_egress_link", "maps/counts")}
    pins.deploy(VERSIONS, path, replace=True, options=options("on_packet", "on_rename"), values={"version": 2})
    names = ["on_packet", "on_packet_link", "on_rename", "on_rename_link"]
    assert sorted(name for name in os.listdir(path) if name != "maps") == names
    assert ident(path / "on_packet_link") == before["on_packet_link"]
    assert ident(path / "maps/counts") == before["maps/counts"]
    assert ident(path / "on_packet") != before["on_packet"]
    with pytest.raises(NotFoundError):
        Link.from_id(before["on_egress_link"])
    pins.deploy(VERSIONS, path, replace=True, options=options("on_rename"))
    assert [name for name in present(bpffs) if "/maps/" not in name] == ["d/on_rename", "d/on_rename_link"]
    with pytest.raises(NotFoundError):
        Link.from_id(before["on_packet_link"])
    assert pins.unload(path).holders == ()
    assert os.listdir(bpffs) == []


@pytest.mark.needs_feature("xdp_link")
@pytest.mark.needs_feature("tcx")
def test_one_program_becomes_several(bpffs: Path, veth: VethPair) -> None:
    path = bpffs / "p"
    pins.deploy(VERSIONS, path, target=Target(device=veth.device), maps_directory=bpffs / "maps")
    link, kept = ident(bpffs / "p_link"), ident(bpffs / "maps/counts")
    more = options("on_packet", "on_egress")
    pins.deploy(VERSIONS, path, replace=True, options=more, targets={"on_egress": Target(device=veth.device)})
    assert sorted(os.listdir(bpffs)) == ["maps", "p"]
    assert sorted(os.listdir(path)) == ["on_egress", "on_egress_link", "on_packet", "on_packet_link"]
    assert (ident(path / "on_packet_link"), ident(bpffs / "maps/counts")) == (link, kept)
    assert pins.unload(path).holders == ()
    assert os.listdir(bpffs) == []


@pytest.mark.needs_feature("raw_tracepoint_link")
def test_a_hook_that_can_not_be_updated(bpffs: Path) -> None:
    """A raw tracepoint: the new program is attached beside the old one, then the old one goes."""
    path = bpffs / "p"
    pins.deploy(VERSIONS, path, options=options("on_rename"))
    old = ident(bpffs / "p_link")
    rename()
    pins.deploy(VERSIONS, path, replace=True, options=options("on_rename"), values={"version": 2})
    assert ident(bpffs / "p_link") != old
    assert present(bpffs) == ["p", "p_link"]
    rename()
    found = counts(path)
    assert found["by_version"][1] >= 1
    assert found["by_version"][2] >= 1
    with pytest.raises(NotFoundError):
        Link.from_id(old)
    pins.unload(path)


def rename() -> None:
    """Reach the tracepoint task_rename."""
    name = Path("/proc/self/comm")
    name.write_text(name.read_text().strip())


@pytest.mark.parametrize(
    ("program", "target"),
    [
        pytest.param("on_xdp", Target(link=False), marks=pytest.mark.needs_feature("veth")),
        pytest.param("on_xdp", Target(link=False, mode="generic"), marks=pytest.mark.needs_feature("veth")),
        pytest.param("on_tc", Target(parent="ingress", priority=7), marks=pytest.mark.needs_feature("clsact")),
        ("on_cgroup_egress", Target(link=False, multi=True)),
        ("on_cgroup_egress", Target(link=False, override=True)),
        ("on_cgroup_socket", Target(link=False)),
    ],
)
def test_an_attachment_without_a_link(bpffs: Path, veth: VethPair, cgroup: Path, program: str, target: Target) -> None:
    """What older kernels have, and filters of tc always: found by the program, and given the new one."""
    path = bpffs / "p"
    target = replace(target, cgroup=str(cgroup)) if program.startswith("on_cgroup") else replace(target, device=veth.device)
    pins.deploy(MANY, path, target=target, options=options(program))
    pins.deploy(MANY, path, replace=True, options=options(program), values={"number": 5})
    assert present(bpffs) == ["p"]
    with Program.from_pin(path) as now:
        (found,) = unlinked.attachments_of(now)
        with found:
            assert found.info().prog_id == now.info().id == ident(path)
        # A process that was killed after the update, and before the pins changed: PATH takes its place back.
        with load(elf.read(MANY), options(program)) as newer:
            pins.pin(newer.program(program).fd, f"{path}{STAGED}")
            (found,) = unlinked.attachments_of(now)
            with found:
                found.update(newer.program(program), old=now)
                assert unlinked.attachments_of(now) == []
        staging.clean_up(str(path))
        (found,) = unlinked.attachments_of(now)
        with found:
            assert found.info().prog_id == now.info().id
    done = pins.unload(path)
    assert (len(done.detached), done.holders) == (1, ())


@pytest.mark.needs_feature("sockmap_verdict_alone", "sockmap_query")
def test_a_program_of_a_sockmap_without_a_link(bpffs: Path) -> None:
    path, one = bpffs / "p", options("on_verdict")
    pins.deploy(MANY, path, target=Target(map="sockets", link=False), options=one, maps_directory=bpffs / "maps")
    pins.deploy(MANY, path, options=one, replace=True)
    with Map.from_pin(bpffs / "maps/sockets") as sockets:
        there = bpf.prog_query(sockets.fd, consts.BPF_SK_SKB_VERDICT)[0]
        assert there == [ident(path)]
        with pytest.raises(UsageError, match="attached without a link, and stays where it is"):
            pins.deploy(MANY, path, options=one, replace=True, target=Target(map="sockets"))
        done = pins.unload(path)
        assert [each.where for each in done.detached] == ["attachment without a link"]
        assert bpf.prog_query(sockets.fd, consts.BPF_SK_SKB_VERDICT)[0] == []
    assert os.listdir(bpffs) == []


@pytest.mark.needs_feature("flow_dissector")
def test_a_flow_dissector_without_a_link(bpffs: Path, veth: VethPair) -> None:
    kind, attach_type = consts.BPF_PROG_TYPE_FLOW_DISSECTOR, consts.BPF_FLOW_DISSECTOR
    spec = program_spec("small", kind, section="flow_dissector", attach_type=attach_type)
    with load_spec(spec) as first, load_spec(spec) as other:
        pins.pin(first.fd, str(bpffs / "p"))
        netns.attach(first, spec, Target(link=False)).keep()
        (found,) = unlinked.attachments_of(first)
        with found:
            found.update(other, old=first)
        assert unlinked.attachments_of(first) == []
        (found,) = unlinked.attachments_of(other)
        with found:
            found.update(first)
        assert pins.unload(bpffs / "p").detached[0].program == first.info().id
        assert unlinked.attachments_of(first) == []


@pytest.mark.needs_feature("cgroup_link")
def test_links_of_cgroups_are_not_taken_for_attachments_without(bpffs: Path, cgroup: Path) -> None:
    path = bpffs / "p"
    pins.deploy(MANY, path, target=Target(cgroup=str(cgroup)), options=options("on_cgroup_egress"))
    with Program.from_pin(path) as program:
        assert unlinked.attachments_of(program) == []
    pins.unload(path)


@pytest.mark.needs_feature("xdp_link")
def test_another_device(bpffs: Path, veth: VethPair) -> None:
    path = bpffs / "p"
    veth.here.run("ip", "link", "add", "other0", "type", "veth", "peer", "name", "other1")
    pins.deploy(VERSIONS, path, target=Target(device=veth.device))
    link = ident(bpffs / "p_link")
    pins.deploy(VERSIONS, path, replace=True, target=Target(device=veth.device))
    assert ident(bpffs / "p_link") == link, "the same place again"
    pins.deploy(VERSIONS, path, replace=True, target=Target(device="other0"))
    with Link.from_pin(bpffs / "p_link") as moved:
        assert moved.info().number("ifindex") == socket.if_nametoindex("other0")
    with pytest.raises(NotFoundError):
        Link.from_id(link)
    pins.unload(path)


@pytest.mark.needs_feature("xdp_link")
@pytest.mark.parametrize("link", [True, False])
def test_another_mode_of_xdp(bpffs: Path, veth: VethPair, link: bool) -> None:
    path, one = bpffs / "p", options("on_xdp")
    pins.deploy(MANY, path, target=Target(device=veth.device, mode="generic", link=link), options=one)
    with pytest.raises(UsageError, match="in generic mode, which can't become native without a moment") as caught:
        pins.deploy(MANY, path, replace=True, target=Target(device=veth.device, mode="native"), options=one)
    assert "Leave out --mode" in caught.value.hint
    for mode in ("auto", "generic"):
        old = ident(path)
        pins.deploy(MANY, path, replace=True, target=Target(device=veth.device, mode=mode), options=one)
        assert ident(path) != old
        assert xdp.modes_on(socket.if_nametoindex(veth.device)) == ["generic"]
    assert pins.unload(path).holders == ()
    assert xdp.modes_on(socket.if_nametoindex(veth.device)) == []


def test_another_place_for_what_has_no_link(bpffs: Path, veth: VethPair) -> None:
    path, one = bpffs / "p", options("on_xdp")
    pins.deploy(MANY, path, target=Target(device=veth.device, link=False), options=one)
    with pytest.raises(UsageError, match="attached without a link, and stays where it is"):
        pins.deploy(MANY, path, replace=True, target=Target(device="lo"), options=one)
    pins.unload(path)


@pytest.mark.needs_feature("netfilter_link")
def test_a_hook_that_takes_one_program_only(bpffs: Path, veth: VethPair) -> None:
    path, one = bpffs / "p", options("on_netfilter")
    here = Target(family="ip", hook="input", priority=7)
    pins.deploy(MANY, path, target=here, options=one)
    old = ident(path)
    for target in (None, here):
        with pytest.raises(UsageError, match=r"each priority of a netfilter hook is there once \(its is 7\)") as caught:
            pins.deploy(MANY, path, replace=True, target=target, options=one)
        assert "Unload the old one first" in caught.value.hint
        assert "--priority NUMBER" in caught.value.hint
    assert ident(path) == old
    pins.deploy(MANY, path, replace=True, target=Target(family="ip", hook="input", priority=8), options=one)
    with Link.from_pin(f"{path}_link") as link:
        assert (link.info().prog_id, link.info().number("priority")) == (ident(path), 8)
    assert pins.unload(path).holders == ()


@pytest.mark.needs_feature("uprobe", "perf_link")
@pytest.mark.parametrize("by_section", [True, False])
def test_a_forgotten_pid_of_a_probe(bpffs: Path, by_section: bool) -> None:
    binary = compiled()
    assert binary is not None
    spec, one, path = elf.read(MANY), options("on_uretprobe"), bpffs / "p"
    where = f"{binary}:traced_add"
    spec.program("on_uretprobe").attach_target = where if by_section else ""
    name = "" if by_section else where
    pins.deploy(spec, path, target=Target(name=name, pid=os.getpid()), options=one)
    for target in (Target(name=name), None):
        words = "doesn't tell whether the old one is attached to one process" if by_section or target else "where the old one is"
        with pytest.raises(UsageError, match=words) as caught:
            pins.deploy(spec, path, replace=True, target=target, options=one)
        assert ("--pid -1 for all" if by_section or target else "--target") in caught.value.hint
    for pid in (EVERY_PROCESS, os.getpid()):
        old = ident(path)
        pins.deploy(spec, path, replace=True, target=Target(name=name, pid=pid), options=one)
        assert ident(path) != old
    assert pins.unload(path).holders == ()


@pytest.mark.needs_feature("perf_event", "perf_link")
def test_a_forgotten_process_of_a_perf_event(bpffs: Path) -> None:
    path, one = bpffs / "p", options("on_event")
    event = Target(event_type="software", event_config="cpu-clock", sample_period=10**9, pid=os.getpid())
    pins.deploy(MANY, path, target=event, options=one)
    with pytest.raises(UsageError, match="where the old one is attached") as unsaid:
        pins.deploy(MANY, path, replace=True, options=one)
    assert "--event TYPE/CONFIG" in unsaid.value.hint
    forgotten = Target(event_type="software", event_config="cpu-clock", sample_period=10**9)
    with pytest.raises(UsageError, match="to one process") as caught:
        pins.deploy(MANY, path, replace=True, target=forgotten, options=one)
    assert "--pid -1 for all" in caught.value.hint
    forgotten.pid = EVERY_PROCESS
    pins.deploy(MANY, path, replace=True, target=forgotten, options=one)
    assert all(pin.prog_id == ident(path) for pin in staging.pins_at(f"{path}_link"))
    assert pins.unload(path).holders == ()


# Maps


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("counts", {"max_entries": 2}, "map 'counts' doesn't fit: max_entries is 1, the object wants 2"),
        ("a_map_with_a_long_name_1", {"flags": 1}, "map_flags is 0x0, the object wants 0x1"),
        ("a_map_with_a_long_name_2", {"type": 9}, "type is hash, the object wants lru_hash"),
    ],
)
def test_a_map_that_does_not_fit(bpffs: Path, name: str, change: dict[str, int], words: str) -> None:
    path = bpffs / "p"
    pins.deploy(VERSIONS, path)
    old = ident(path)
    spec = changed(name, **change)
    with pytest.raises(LinkError) as caught:
        pins.deploy(spec, path, replace=True)
    assert words in caught.value.message
    assert "--fresh-map" in caught.value.hint
    assert (ident(path), present(bpffs)) == (old, ["p"])
    done = pins.deploy(spec, path, replace=True, fresh_maps=[name])
    assert name not in done.kept_maps
    assert len(done.kept_maps) == 3
    pins.unload(path)


def changed(name: str, **change: int) -> ObjectSpec:
    spec = elf.read(VERSIONS)
    for field, value in change.items():
        setattr(spec.maps[name], field, value)
    return spec


@pytest.mark.needs_feature("xdp_link")
def test_a_value_that_has_changed_is_named_member_by_member(bpffs: Path, veth: VethPair) -> None:
    path = bpffs / "p"
    pins.deploy(VERSIONS, path, target=Target(device=veth.device), maps_directory=bpffs / "maps")
    old = {name: ident(bpffs / name) for name in present(bpffs)}
    veth.send(2)
    with pytest.raises(LinkError) as caught:
        pins.deploy(WIDE, path, replace=True)
    for words in ("value_size is 40, the object wants 48", "value.last is new in the object", "by_version is at offset 8"):
        assert words in caught.value.message
    assert {name: ident(bpffs / name) for name in present(bpffs)} == old
    assert counts(path)["all"] == 2
    pins.deploy(WIDE, path, replace=True, keep_maps=False)
    assert {name for name in old if ident(bpffs / name) != old[name]} == set(old) - {"p_link"}
    pins.unload(path)
    assert os.listdir(bpffs) == []


def test_keeping_all_maps(bpffs: Path) -> None:
    path = bpffs / "p"
    pins.deploy(VERSIONS, path)
    old = ident(path)
    pins.deploy(VERSIONS, path, replace=True, keep_maps=True)
    with pytest.raises(LinkError, match=r"no map for .*counts.*, whose content would be lost"):
        pins.deploy(HELLO, path, replace=True, keep_maps=True)
    assert ident(path) != old
    pins.deploy(HELLO, path, replace=True, fresh_maps=[".bss"])
    pins.unload(path)


def test_values_of_kept_and_of_new_maps(bpffs: Path) -> None:
    path = bpffs / "p"
    pins.deploy(VERSIONS, path)
    with pytest.raises(UsageError, match=r"the variable is in \.bss, which is kept"):
        pins.deploy(VERSIONS, path, replace=True, values={"packets": "7"})
    pins.deploy(VERSIONS, path, replace=True, values={"packets": "7"}, fresh_maps=[".bss"])
    assert counts(path)["packets"] == 7
    with pytest.raises(NotFoundError, match="no such map") as caught:
        pins.deploy(VERSIONS, path, replace=True, fresh_maps=["count"])
    assert caught.value.candidates == ("counts",)
    pins.unload(path)


# On any failure the old one stays


@pytest.mark.needs_feature("xdp_link")
def test_what_fails_leaves_the_old_one_whole(bpffs: Path, veth: VethPair) -> None:
    path = bpffs / "p"
    pins.deploy(VERSIONS, path, target=Target(device=veth.device), maps_directory=bpffs / "maps")
    old = {name: ident(bpffs / name) for name in present(bpffs)}
    veth.send(1)
    rejected = elf.read(VERSIONS)
    rejected.program("on_packet").insns, rejected.program("on_packet").relocations = bytes([0x95]) + bytes(7), ()
    attempts: list[tuple[Any, dict[str, Any]]] = [
        (rejected, {}),
        (VERSIONS, {"target": Target(device="nope")}),
        (VERSIONS, {"target": Target(cgroup="/")}),
        (VERSIONS, {"maps_directory": "/tmp/maps"}),
        (VERSIONS, {"options": options("on_rename"), "targets": {"on_rename": Target(name="no_such")}}),
        (HELLO, {"target": Target(device=veth.peer_device)}),
    ]
    for source, arguments in attempts:
        with pytest.raises(BpfError):
            pins.deploy(source, path, replace=True, **arguments)
        assert {name: ident(bpffs / name) for name in present(bpffs)} == old, arguments
        with Link.from_pin(bpffs / "p_link") as link:
            assert link.info().prog_id == old["p"]
    veth.send(1)
    assert counts(path)["all"] == 2
    assert pins.unload(path).holders == ()


@pytest.mark.needs_feature("xdp_link")
def test_a_link_that_somebody_else_has_updated(bpffs: Path, veth: VethPair) -> None:
    """The link isn't the load's any more: it doesn't run its program."""
    path = bpffs / "p"
    pins.deploy(VERSIONS, path, target=Target(device=veth.device))
    pins.deploy(HELLO, bpffs / "other")
    with Link.from_pin(bpffs / "p_link") as link, Program.from_pin(bpffs / "other") as other:
        link.update(other)
    with pytest.raises(KernelError, match="has an XDP program already"):
        pins.deploy(VERSIONS, path, replace=True, target=Target(device=veth.device))
    os.unlink(bpffs / "p_link")
    pins.unload(path)
    pins.unload(bpffs / "other")


def test_what_is_no_load(bpffs: Path) -> None:
    with small_map() as one:
        pins.pin(one.fd, str(bpffs / "m"))
        (bpffs / "d").mkdir()
        pins.pin(one.fd, str(bpffs / "d/m"))
    for name, words in (("m", "not what a load pinned"), ("d", "no load of bpfload made")):
        with pytest.raises(PinError, match=words):
            pins.deploy(VERSIONS, bpffs / name, replace=True)
    pins.deploy(VERSIONS, bpffs / "two", options=options("on_packet", "on_egress"))
    os.rename(bpffs / "m", bpffs / "two/m")
    with pytest.raises(PinError, match="holds pins of others, too"):
        pins.deploy(VERSIONS, bpffs / "two", options=options("on_packet", "on_egress"), replace=True)
    assert present(bpffs) == ["d/m", "two/m", "two/on_egress", "two/on_packet"]


@pytest.mark.needs_feature("xdp_link")
def test_a_link_of_no_program_is_not_lost(bpffs: Path, veth: VethPair) -> None:
    """What a registration of struct_ops is among the pins of a load: it would end without anybody having asked for that."""
    path, two = bpffs / "d", options("on_packet", "on_egress")
    pins.deploy(VERSIONS, path, options=two, targets={"on_packet": Target(device=veth.device)}, attaching=False)
    os.rename(path / "on_packet_link", path / "table_link")
    old = present(bpffs)
    with pytest.raises(PinError, match="table_link belongs to none of its programs, and a replacement can't") as caught:
        pins.deploy(VERSIONS, path, options=two, replace=True)
    assert "Unload" in caught.value.hint
    assert present(bpffs) == old
    assert pins.unload(path).holders == ()


# Under traffic


@pytest.mark.needs_feature("xdp_link")
def test_a_hundred_replacements_lose_no_packet_and_no_count(bpffs: Path, veth: VethPair) -> None:
    """Packets stream through a veth pair while the program is replaced a hundred times: each was seen by a version, once."""
    path = bpffs / "p"
    pins.deploy(VERSIONS, path, target=Target(device=veth.device))
    stop = threading.Event()
    sent = [0]
    sender = threading.Thread(target=stream, args=(veth, stop, sent))
    sender.start()
    try:
        for number in range(100):
            pins.deploy(VERSIONS, path, replace=True, values={"version": number % 2 + 1})
    finally:
        stop.set()
        sender.join()
    assert sent[0] > 1000
    deadline = time.monotonic() + 5
    while counts(path)["all"] < sent[0] and time.monotonic() < deadline:
        time.sleep(0.01)
    found = counts(path)
    assert (found["all"], found["packets"]) == (sent[0], sent[0])
    assert sum(found["by_version"][1:3]) == sent[0], "each packet was seen by one version"
    assert min(found["by_version"][1:3]) > 0, "both versions have seen some"
    assert received(veth) == sent[0]
    assert pins.unload(path).holders == ()


def stream(veth: VethPair, stop: threading.Event, sent: list[int]) -> None:
    """Send packets from the other end until told to stop; count those that the device took."""
    with veth.there.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        before = transmitted(veth.peer_device)
        while not stop.is_set():
            with namespaces.contextlib.suppress(ConnectionRefusedError):
                sender.sendto(b"x" * 32, (veth.address, 9))
            time.sleep(0.0002)
        sent[0] = transmitted(veth.peer_device) - before


def transmitted(device: str) -> int:
    """Return how many packets a device of this thread's namespace has sent."""
    for line in Path("/proc/thread-self/net/dev").read_text().splitlines():
        name, _, numbers = line.partition(":")
        if name.strip() == device:
            return int(numbers.split()[9])
    raise AssertionError(f"no device {device}")


def received(veth: VethPair) -> int:
    """Return how many packets the device here has received."""
    for line in Path("/proc/thread-self/net/dev").read_text().splitlines():
        name, _, numbers = line.partition(":")
        if name.strip() == veth.device:
            return int(numbers.split()[1])
    raise AssertionError("no device")
