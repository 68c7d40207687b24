"""A load or unload that is killed, or fails, at any one of its system calls: nothing half done is ever seen, nothing remains."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bpfload import elf, pins
from bpfload.errors import NotFoundError
from bpfload.kernel.cpus import online
from bpfload.links import Target
from bpfload.links.program import AttachableProgram
from bpfload.load import LoadOptions
from bpfload.objects import Map, Program
from bpfload.objects import bpffs as bpffs_objects
from bpfload.objects.paths import LINK, STAGED
from bpfload.pins import removal, staging, unlinked
from bpfload.pins.attached import attach_loaded
from support.killing import every_kill
from support.namespaces import VethPair
from support.paths import DATA, HELLO, HELLO_FUNC
from support.process import bpfload_command, run
from support.tracer import bpf_commands, kill_points, run_failing, run_killed

pytestmark = pytest.mark.usefixtures("nothing_left_behind")

# Between two of these a kill makes no difference to anybody else.
CALLS = ("bpf", "mkdir", "utimensat", "flock", "renameat2", "rename", "unlink", "rmdir")

VERSIONS = DATA / "versions.bpf.o"
TWO_PROGRAMS = DATA / "two-programs.bpf.o"


@dataclass
class Case:
    """A load: `pinned` is what it pins, relative to the bpffs."""

    bpffs: Path
    device: str
    obj: Path
    name: str
    pinned: list[str]
    to_device: bool = False
    tracepoint: str = ""
    maps: str = ""

    @property
    def path(self) -> Path:
        return self.bpffs / self.name

    @property
    def command(self) -> list[str | os.PathLike[str]]:
        words: list[str | os.PathLike[str]] = [*bpfload_command(), self.obj, self.path]
        words += ["--dev", self.device] if self.to_device else []
        words += ["--attach", self.tracepoint] if self.tracepoint else []
        return words + (["--pin-maps", self.bpffs / self.maps] if self.maps else [])

    def load(self) -> None:
        target = Target(device=self.device if self.to_device else "", name=self.tracepoint)
        pins.deploy(self.obj, self.path, target=target, maps_directory=self.bpffs / self.maps if self.maps else "")

    def present(self) -> list[str]:
        return sorted(
            os.path.relpath(os.path.join(place, name), self.bpffs)
            for place, _, names in os.walk(self.bpffs)
            for name in names
            if not name.endswith(".debug")
        )

    def take_away(self) -> None:
        """Unload whatever there is, and check that this is the end of it; that programs go too is checked in the end."""
        with contextlib.suppress(NotFoundError):
            pins.unload(self.path)
        assert [name for name in os.listdir(self.bpffs) if not name.endswith(".debug")] == []


def make_case(kind: str, bpffs: Path, device: str) -> Case:
    if kind == "plain":
        return Case(bpffs, device, HELLO, "hello", ["hello"])
    if kind == "link":
        return Case(bpffs, device, HELLO, "hello", ["hello", f"hello{LINK}"], to_device=True)
    if kind == "maps":
        pinned = ["hello", f"hello{LINK}", "maps/hello_bss", "maps/hello_rodata"]
        return Case(bpffs, device, HELLO, "hello", pinned, to_device=True, maps="maps")
    if kind == "tracepoint":
        return Case(bpffs, device, HELLO_FUNC, "hf", ["hf", f"hf{LINK}"], tracepoint="sys_exit")
    pinned = ["two/maps/two_prog_bss", "two/packets", f"two/packets{LINK}", "two/syscalls", f"two/syscalls{LINK}"]
    return Case(bpffs, device, TWO_PROGRAMS, "two", pinned, to_device=True, maps="two/maps")


@pytest.fixture(params=["plain", "link", "maps", "tracepoint", "directory"])
def case(request: pytest.FixtureRequest, bpffs: Path, veth: VethPair) -> Case:
    return make_case(request.param, bpffs, veth.device)


@pytest.fixture(params=["maps", "directory"])
def command_case(request: pytest.FixtureRequest, bpffs: Path, veth: VethPair, strace: None) -> Case:
    return make_case(request.param, bpffs, veth.device)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Don't wait after each unload for the kernel to let go: a hundred times a grace period is long."""
    monkeypatch.setattr(removal, "remaining_holders", lambda *_args, **_kwargs: [])


# The library, at every single system call


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("then", ["unload", "load"])
def test_a_killed_load_leaves_no_path_and_the_next_command_cleans_up(case: Case, then: str) -> None:
    case.load()
    case.take_away()
    unfinished = finished = 0
    for number in every_kill(case.load):
        if case.path.exists():
            assert case.present() == case.pinned, number
            finished += 1
        else:
            assert finished == 0, f"kill {number}: PATH had appeared at an earlier system call already"
            unfinished += 1
            if then == "load":
                case.load()
                assert case.present() == case.pinned, number
        case.take_away()
    assert unfinished > 10
    assert finished > 0
    case.take_away()


@pytest.mark.usefixtures("impatient")
def test_a_killed_unload_can_be_repeated(case: Case) -> None:
    case.load()

    def unload() -> None:
        pins.unload(case.path)

    for number in every_kill(unload):
        if not case.path.exists():
            case.load()
            assert case.present() == case.pinned, number
        case.take_away()
        case.load()
    assert case.present() == []


# Replacement


@dataclass
class Versions:
    """A load of versions.bpf.o that is replaced by itself with other constants, and what is there of either version."""

    bpffs: Path
    device: str
    programs: tuple[str, ...]
    maps: str = ""

    @property
    def path(self) -> Path:
        return self.bpffs / "v"

    def deploy(self, version: int, *, replace: bool) -> None:
        targets = {name: Target(device=self.device) for name in self.programs if name != "on_rename"}
        options = LoadOptions(programs=frozenset(self.programs))
        pins.deploy(
            elf.read(VERSIONS),
            self.path,
            targets={} if replace else targets,
            options=options,
            maps_directory=self.bpffs / self.maps if self.maps and not replace else "",
            values={"version": version},
            replace=replace,
        )

    def version(self) -> int:
        """Return the version that PATH is; check that all is of that version: pins, links, what they run, maps."""
        present = {pin.path: pin for pin in bpffs_objects.pins(str(self.bpffs))}
        single = len(self.programs) == 1
        place = {name: str(self.path) if single else f"{self.path}/{name}" for name in self.programs}
        assert {path for path, pin in present.items() if pin.kind != "map"} == {
            each + end for each in place.values() for end in ("", LINK)
        }
        found, used = set(), set()
        for each in place.values():
            assert present[each + LINK].prog_id == present[each].id
            with Program.from_pin(each) as program:
                for ident in program.info("map_ids").map_ids:
                    used.add(ident)
                    with Map.from_id(ident) as item:
                        if item.info().name == "versions.rodata":
                            found.add(int.from_bytes(item.lookup(bytes(4))[:4], "little"))
        pinned = {os.path.basename(path): pin.id for path, pin in present.items() if pin.kind == "map"}
        assert len(pinned) == (5 if self.maps else 0), pinned
        assert set(pinned.values()) <= used
        (version,) = found
        return version

    def running(self) -> set[int]:
        """Return the ids of the programs that the links at PATH run, whatever the pins say."""
        return {pin.prog_id for pin in bpffs_objects.pins(str(self.bpffs)) if pin.kind == "link" and STAGED not in pin.path}


LOADS = {
    "link": ("on_packet",),
    "maps": ("on_packet", "maps"),
    "beside": ("on_rename", "maps"),
    "directory": ("on_packet", "on_egress", "on_rename", "v/maps"),
}

# Of so many system calls only some, evenly spread.
STEPS = {1: 1, 3: 3}


@pytest.fixture
def versions(request: pytest.FixtureRequest, bpffs: Path, veth: VethPair) -> Versions:
    words = LOADS[request.param]
    maps = next((word for word in words if "maps" in word), "")
    return Versions(bpffs, veth.device, tuple(word for word in words if word != maps), maps)


@pytest.mark.usefixtures("impatient")
@pytest.mark.needs_feature("xdp_link")
@pytest.mark.needs_feature("tcx")
@pytest.mark.parametrize("versions", list(LOADS), indirect=True)
def test_a_killed_replacement_leaves_one_version(versions: Versions) -> None:
    """Whenever it is killed, all that is attached runs; what is left is the old version, from a moment on the new, whole."""
    versions.deploy(1, replace=False)
    assert versions.version() == 1
    found = []
    for number in every_kill(lambda: versions.deploy(2, replace=True), changing=True, step=STEPS[len(versions.programs)]):
        assert len(versions.running()) >= len(versions.programs), number
        staging.clean_up(str(versions.path))
        found.append(versions.version())
        if found[-1] == 2:
            pins.unload(versions.path)
            versions.deploy(1, replace=False)
    assert found == sorted(found)
    assert found.count(1) > 20
    assert found.count(2) > 1
    pins.unload(versions.path)


@pytest.mark.usefixtures("impatient")
@pytest.mark.needs_feature("xdp_link")
@pytest.mark.parametrize("one_more", [False, True])
def test_maps_that_only_one_version_has(bpffs: Path, veth: VethPair, one_more: bool) -> None:
    """Their pins come and go with their version, whenever the replacement is killed; also where it becomes a directory."""
    path, maps = bpffs / "v", bpffs / "maps"

    def deploy(own: str, *programs: str, replacing: bool) -> None:
        spec = elf.read(VERSIONS)
        spec.maps[own] = replace(spec.maps["counts"], name=own)
        target = None if replacing else Target(device=veth.device)
        options = LoadOptions(programs=frozenset(programs))
        pins.deploy(spec, path, target=target, options=options, maps_directory=maps, replace=replacing)

    common = {"counts", "a_map_with_a_long_name_1", "a_map_with_a_long_name_2", "versions_bss", "versions_rodata"}
    more = ("on_egress",) if one_more else ()
    deploy("own_1", "on_packet", replacing=False)
    found = []
    for number in every_kill(lambda: deploy("own_2", "on_packet", *more, replacing=True), changing=True, step=2):
        staging.clean_up(str(path))
        (own,) = set(os.listdir(maps)) - common
        assert set(os.listdir(maps)) == {*common, own}, number
        found.append(own)
        with Program.from_pin(path / "on_packet" if path.is_dir() else path) as program:
            used = set(program.info("map_ids").map_ids)
        pinned = {pin.path: pin.id for pin in bpffs_objects.pins(str(maps))}
        assert {pinned[f"{maps}/versions_rodata"], pinned[f"{maps}/counts"]} <= used, number
        if own == "own_2":
            pins.unload(path)
            deploy("own_1", "on_packet", replacing=False)
    assert found == sorted(found)
    assert min(found.count(own) for own in ("own_1", "own_2")) > 2
    pins.unload(path)
    assert [name for name in os.listdir(bpffs) if not name.endswith(".debug")] == []


@pytest.mark.usefixtures("impatient")
@pytest.mark.needs_feature("xdp_link")
@pytest.mark.needs_feature("tcx")
@pytest.mark.parametrize("versions", ["beside", "directory"], indirect=True)
@pytest.mark.parametrize("then", ["replace", "unload"])
def test_the_command_after_a_killed_replacement(versions: Versions, then: str) -> None:
    versions.deploy(1, replace=False)
    for number in every_kill(lambda: versions.deploy(2, replace=True), changing=True, step=STEPS[len(versions.programs)]):
        if then == "replace":
            versions.deploy(3, replace=True)
            assert versions.version() == 3, number
        pins.unload(versions.path)
        assert [name for name in os.listdir(versions.bpffs) if not name.endswith(".debug")] == [], number
        versions.deploy(1, replace=False)
    pins.unload(versions.path)


@pytest.mark.usefixtures("impatient")
@pytest.mark.needs_feature("xdp_link")
@pytest.mark.needs_feature("tcx")
@pytest.mark.parametrize("versions", ["maps", "directory"], indirect=True)
def test_a_call_of_a_replacement_that_fails(versions: Versions, strace: None) -> None:
    """Each call fails once with an error that isn't expected there: the old version stays whole, or the new one is there."""
    versions.deploy(1, replace=False)
    command = [*bpfload_command(), VERSIONS, versions.path, "--replace", "--set", "version=2"]
    command += [word for name in versions.programs for word in ("--program", name)]
    points = kill_points(command, CALLS)
    # What comes before the lock is looking, and a load like any other, of which nothing is to be seen yet.
    first = next(number for number, point in enumerate(points) if point.name == "flock")
    for point in points[first :: 2 * STEPS[len(versions.programs)]]:
        before = versions.version()
        result = run_failing(command, point, "ENOMEM")
        assert "unexpected" not in result.stderr, f"{point}\n{result}"
        staging.clean_up(str(versions.path))
        assert versions.version() == (2 if result.status == 0 else before), f"{point}\n{result}"
    pins.unload(versions.path)


# Attaching what is loaded already


@dataclass
class Attaching:
    """A pinned program that is attached. `links`: how many; 0 for a filter of tc, which is none."""

    path: Path
    target: Target
    links: int

    def attach(self) -> None:
        with Program.from_pin(self.path) as pinned:
            program = AttachableProgram.from_id(pinned.info().id)
        with program:
            attach_loaded(program, self.target, f"{self.path}{LINK}" if self.links else "")

    def attached(self) -> int:
        """Return how many links there are at the pin, or filters of the program; nothing else is pinned."""
        found = list(bpffs_objects.pins(f"{self.path}{LINK}")) if os.path.isdir(f"{self.path}{LINK}") else []
        single = bpffs_objects.identify(f"{self.path}{LINK}")
        with Program.from_pin(self.path) as program:
            ident = program.info().id
            assert all(pin.prog_id == ident for pin in found)
            filters = unlinked.attachments_of(program) if not self.links else []
            for each in filters:
                each.close()
        return len(found) + (single is not None) + len(filters)


@pytest.fixture
def attaching(request: pytest.FixtureRequest, bpffs: Path, veth: VethPair) -> Attaching:
    if request.param == "event":
        event = Target(event_type="software", event_config="cpu-clock", sample_period=10**9)
        return Attaching(bpffs / "p", event, len(online()))
    if request.param == "filter":
        return Attaching(bpffs / "p", Target(device=veth.device, parent="ingress", priority=3), 0)
    return Attaching(bpffs / "p", Target(device=veth.device), 1)


@pytest.mark.usefixtures("impatient")
@pytest.mark.needs_feature("xdp_link", "perf_link", "clsact")
@pytest.mark.parametrize(
    ("attaching", "program"), [("link", "on_xdp"), ("event", "on_event"), ("filter", "on_tc")], indirect=["attaching"]
)
@pytest.mark.parametrize("then", ["attach", "unload"])
def test_a_killed_attach(attaching: Attaching, program: str, then: str) -> None:
    """Whenever it is killed, it is attached as a whole or not at all; the next command is as if nothing had been."""
    path, whole = attaching.path, attaching.links or 1

    def load() -> None:
        pins.deploy(DATA / "many-hooks.bpf.o", path, options=LoadOptions(programs=frozenset({program})), attaching=False)

    load()
    found = []
    for number in every_kill(attaching.attach, changing=True):
        found.append(attaching.attached())
        if not found[-1] and then == "attach":
            attaching.attach()
            assert attaching.attached() == whole, number
        pins.unload(path)
        assert [name for name in os.listdir(path.parent) if not name.endswith(".debug")] == [], number
        load()
    assert set(found) <= {0, whole}
    assert found == sorted(found)
    assert found.count(0) > 3
    attaching.attached()
    pins.unload(path)


# The command, by strace


@pytest.mark.usefixtures("impatient", "strace")
def test_a_killed_command(bpffs: Path, veth: VethPair) -> None:
    case = make_case("maps", bpffs, veth.device)
    points = kill_points(case.command, CALLS)
    assert case.present() == case.pinned
    case.take_away()
    assert points[-1].name == "renameat2", "nothing is left to be done once PATH is there"
    for point in points:
        assert run_killed(case.command, point).status != 0, point
        assert not case.path.exists(), point
        case.take_away()


@pytest.mark.usefixtures("impatient")
def test_a_call_that_fails(command_case: Case) -> None:
    """Each call fails once with an error that isn't expected there: the load fails, or does without; nothing remains."""
    case = command_case
    points = kill_points(case.command, CALLS)
    case.take_away()
    for point in points:
        result = run_failing(case.command, point, "ENOMEM")
        if result.status == 0:
            assert case.present() == case.pinned, point
            case.take_away()
        else:
            assert result.status == 1, f"{point}\n{result}"
            assert result.stderr.startswith("Error: "), f"{point}\n{result}"
            assert "unexpected" not in result.stderr, f"{point}\n{result}"
            assert [name for name in os.listdir(case.bpffs) if not name.endswith(".debug")] == [], f"{point}\n{result}"


def test_few_system_calls(bpffs: Path, veth: VethPair, strace: None) -> None:
    """A fresh process loads and pins `hello` with at most 12 bpf(2) calls; attaching takes two more, within the same limit."""
    assert len(bpf_commands([*bpfload_command(), HELLO, bpffs / "hello"])) <= 12
    assert len(bpf_commands([*bpfload_command(), HELLO, bpffs / "again", "--dev", veth.device])) <= 12
    run(*bpfload_command(), "unload", bpffs / "hello", bpffs / "again")
