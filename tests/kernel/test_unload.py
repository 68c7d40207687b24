"""bpfload.pins.unload: what it takes away, what it leaves, and what it says still holds the program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bpfload import pins
from bpfload.abi import consts
from bpfload.errors import NotFoundError, PinError
from bpfload.links import Target, attach
from bpfload.objects import Map, Program
from bpfload.objects.paths import STAGED
from bpfload.pins.removal import Unloaded
from bpfload.syscall import bpf
from support.namespaces import VethPair
from support.process import run
from support.programs import load_spec, program_spec, raw_tracepoint_spec, small_map, small_program

pytestmark = pytest.mark.usefixtures("nothing_left_behind")


def removed(done: Unloaded, top: Path) -> list[tuple[str, str]]:
    return [(os.path.relpath(pin.path, top), pin.kind) for pin in done.removed]


def test_a_program_and_its_link(bpffs: Path, veth: VethPair) -> None:
    spec = program_spec()
    with load_spec(spec) as program, attach(program, spec, Target(device=veth.device)) as link:
        pins.publish(str(bpffs / "p"), {"small": program}, {"small": link})
    assert "xdp" in run("ip", "link", "show", "dev", veth.device).stdout.split()
    done = pins.unload(bpffs / "p")
    assert removed(done, bpffs) == [("p_link", "link"), ("p", "program")]
    assert done.holders == ()
    assert "xdp" not in run("ip", "link", "show", "dev", veth.device).stdout.split()
    assert os.listdir(bpffs) == []


def test_a_raw_tracepoints_link_ends_with_its_pin(bpffs: Path) -> None:
    spec = raw_tracepoint_spec()
    with load_spec(spec) as program, attach(program, spec) as link:
        pins.publish(str(bpffs / "p"), {"small": program}, {"small": link})
    assert pins.unload(bpffs / "p").holders == ()


def test_maps_that_the_load_pinned_go_and_others_stay(bpffs: Path) -> None:
    with small_program() as program, small_map("m") as m, small_map("n") as n:
        pins.publish(str(bpffs / "p"), {"small": program}, maps={"m": m}, maps_directory=str(bpffs / "maps"))
        pins.pin(m.fd, str(bpffs / "maps/again"))
        pins.pin(n.fd, str(bpffs / "maps/other"))
    done = pins.unload(bpffs / "p")
    assert removed(done, bpffs) == [("maps/m", "map"), ("p", "program")]
    assert sorted(os.listdir(bpffs / "maps")) == ["again", "other"]
    assert done.directories == ()


def test_a_directory_that_the_load_made_goes_with_the_maps(bpffs: Path) -> None:
    with small_program() as program, small_map("m") as m:
        pins.publish(str(bpffs / "p"), {"small": program}, maps={"m": m}, maps_directory=str(bpffs / "maps"))
    done = pins.unload(bpffs / "p")
    assert done.directories == (str(bpffs / "maps"),)
    assert os.listdir(bpffs) == []


def test_a_link_of_another_program_is_not_touched(bpffs: Path, veth: VethPair) -> None:
    spec = program_spec()
    with small_program("other") as program, load_spec(spec) as attached:
        pins.publish(str(bpffs / "p"), {"other": program})
        with attach(attached, spec, Target(device=veth.device)) as link:
            pins.pin(link.fd, str(bpffs / "p_link"))
            done = pins.unload(bpffs / "p")
            assert removed(done, bpffs) == [("p", "program")]
            assert os.listdir(bpffs) == ["p_link"]
            link.info()


def test_several_programs(bpffs: Path, veth: VethPair) -> None:
    spec = program_spec("a")
    with load_spec(spec) as a, small_program("b") as b, small_map() as m, attach(a, spec, Target(device=veth.device)) as link:
        target = str(bpffs / "two")
        pins.publish(target, {"a": a, "b": b}, {"a": link}, maps={"m": m}, maps_directory=f"{target}/maps")
    assert sorted(os.listdir(bpffs / "two")) == ["a", "a_link", "b", "maps"]
    done = pins.unload(f"{bpffs}/two/")
    assert removed(done, bpffs) == [("two/a_link", "link"), ("two/maps/m", "map"), ("two/a", "program"), ("two/b", "program")]
    assert done.directories == (f"{bpffs}/two/maps", f"{bpffs}/two")
    assert os.listdir(bpffs) == []


def test_somebody_elses_pin_in_the_directory_stays(bpffs: Path) -> None:
    with small_program("a") as a, small_program("b") as b, small_map() as m:
        pins.publish(str(bpffs / "two"), {"a": a, "b": b})
        pins.pin(m.fd, str(bpffs / "two/mine"))
        done = pins.unload(bpffs / "two")
        assert [pin.path for pin in done.kept] == [f"{bpffs}/two/mine"]
    assert os.listdir(bpffs / "two") == ["mine"]
    with Map.from_pin(bpffs / "two/mine") as m:
        assert m.info().name == "small"


def test_a_directory_that_no_load_made_is_refused(bpffs: Path) -> None:
    (bpffs / "mine").mkdir()
    with pytest.raises(PinError, match="no pins in it"):
        pins.unload(bpffs / "mine")
    with small_program() as program:
        pins.publish(str(bpffs / "mine/p"), {"small": program})
    with pytest.raises(PinError, match="no load of bpfload made") as caught:
        pins.unload(bpffs / "mine")
    assert "mine/p" in caught.value.hint
    assert os.listdir(bpffs / "mine") == ["p"]


def test_what_is_no_pin_is_refused(bpffs: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("mine")
    with pytest.raises(PinError, match="not on a BPF file system"):
        pins.unload(plain)
    assert plain.read_text() == "mine"
    with pytest.raises(PinError, match="mount point"):
        pins.unload(bpffs)
    (bpffs / "elsewhere").symlink_to(plain)
    with pytest.raises(PinError, match="no program, map or link"):
        pins.unload(bpffs / "elsewhere")
    assert os.listdir(bpffs) == ["elsewhere"]


def test_nothing_there(bpffs: Path) -> None:
    with small_program() as program:
        pins.publish(str(bpffs / "hello"), {"small": program})
    with pytest.raises(NotFoundError, match="nothing is pinned") as caught:
        pins.unload(bpffs / "helo")
    assert caught.value.candidates == (str(bpffs / "hello"),)
    with pytest.raises(NotFoundError):
        pins.unload(bpffs / "no/such")
    assert os.listdir(bpffs) == ["hello"]


def test_a_single_link_or_map_can_be_named(bpffs: Path) -> None:
    spec = raw_tracepoint_spec()
    with load_spec(spec) as program, attach(program, spec) as link, small_map() as m:
        pins.pin(link.fd, str(bpffs / "l"))
        pins.pin(m.fd, str(bpffs / "m"))
    assert removed(pins.unload(bpffs / "l"), bpffs) == [("l", "link")]
    assert removed(pins.unload(bpffs / "m"), bpffs) == [("m", "map")]


def test_what_a_killed_load_left(bpffs: Path) -> None:
    """A load killed between its last two steps: everything is there but PATH."""
    spec = raw_tracepoint_spec()
    with load_spec(spec) as program, attach(program, spec) as link, small_map() as m:
        pins.publish(str(bpffs / "p"), {"s": program}, {"s": link}, maps={"m": m}, maps_directory=str(bpffs / "maps"))
    (bpffs / "p").rename(bpffs / f"p{STAGED}")
    done = pins.unload(bpffs / "p")
    assert sorted(pin.kind for pin in done.leftovers) == ["link", "map", "program"]
    assert done.removed == ()
    assert os.listdir(bpffs) == []


# Holders


def test_another_pin_holds_it(bpffs: Path) -> None:
    with small_program() as program:
        pins.publish(str(bpffs / "p"), {"small": program})
        pins.pin(program.fd, str(bpffs / "again"))
    (holder,) = pins.unload(bpffs / "p").holders
    assert (holder.kind, holder.name, str(holder)) == ("pin", f"{bpffs}/again", f"pinned at {bpffs}/again")


def test_another_link_holds_it(bpffs: Path) -> None:
    spec = raw_tracepoint_spec()
    with load_spec(spec) as program, attach(program, spec) as link:
        pins.publish(str(bpffs / "p"), {"small": program})
        pins.pin(link.fd, str(bpffs / "l"))
        ident = link.info().id
    (holder,) = pins.unload(bpffs / "p").holders
    assert str(holder) == f"attached by link {ident}, pinned at {bpffs}/l"


def test_a_process_holds_it(bpffs: Path) -> None:
    with small_program() as program:
        pins.publish(str(bpffs / "p"), {"small": program})
        sleeper = subprocess.Popen(["sleep", "60"], pass_fds=[program.fd])
    try:
        (holder,) = pins.unload(bpffs / "p").holders
        assert (holder.kind, holder.id, holder.name) == ("process", sleeper.pid, "sleep")
    finally:
        sleeper.kill()
        sleeper.wait()


def test_a_map_of_programs_holds_it(bpffs: Path) -> None:
    table = Map(bpf.map_create(consts.BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 4))
    with small_program() as program, table:
        pins.publish(str(bpffs / "p"), {"small": program})
        bpf.map_update_elem(table.fd, (2).to_bytes(4, sys.byteorder), program.fd.to_bytes(4, sys.byteorder))
        ident = table.info().id
        program.close()
        (holder,) = pins.unload(bpffs / "p").holders
        assert (holder.kind, holder.id) == ("map", ident)


def test_an_attachment_without_a_link_ends(bpffs: Path, veth: VethPair) -> None:
    with small_program() as program:
        ident = program.info().id
        pins.publish(str(bpffs / "p"), {"small": program})
    run("ip", "link", "set", "dev", veth.device, "xdp", "pinned", bpffs / "p")
    planned = pins.unload(bpffs / "p", dry_run=True)
    assert [each.program for each in planned.detached] == [ident]
    assert "xdp" in run("ip", "link", "show", "dev", veth.device).stdout
    done = pins.unload(bpffs / "p")
    assert done.detached == planned.detached
    assert (done.gone, done.holders) == ((ident,), ())
    assert "xdp" not in run("ip", "link", "show", "dev", veth.device).stdout


def test_the_own_process_holds_it(bpffs: Path) -> None:
    with small_program() as program:
        pins.publish(str(bpffs / "p"), {"small": program})
        (holder,) = pins.unload(bpffs / "p").holders
        assert (holder.kind, holder.id) == ("process", os.getpid())
        with Program.from_id(program.info().id):
            pass
