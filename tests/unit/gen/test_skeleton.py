"""Generated modules: what is in them, what they are called, that a type checker and ruff have nothing to say."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from bpfload.btf.writer import BtfBuilder
from bpfload.errors import UsageError
from bpfload.gen.identifiers import Scope, class_name, identifier
from bpfload.gen.skeleton import skeleton, subskeleton
from bpfload.skeleton import Skeleton
from support.elfbuilder import ALLOC, WRITE, ElfBuilder
from support.paths import DATA, EXEC_EVENTS, HELLO, PACKET_COUNTER, SYS_ENTER

OBJECT = DATA / "skeleton.bpf.o"

Make = Callable[..., ModuleType]


@pytest.fixture
def module(request: pytest.FixtureRequest) -> ModuleType:
    return made(skeleton(OBJECT, "everything"), "everything_skeleton", request)


def made(source: str, name: str, request: pytest.FixtureRequest) -> ModuleType:
    """Return the module of a source, imported for the time of a test."""
    found = sys.modules[name] = ModuleType(name)
    request.addfinalizer(lambda: sys.modules.pop(name))
    exec(compile(source, name, "exec"), found.__dict__)
    return found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("counter", "counter"),
        ("class", "class_"),
        ("rodata.str1.1", "rodata_str1_1"),
        ("2fast", "_2fast"),
        ("__pad", "_pad"),
        ("__init__", "init"),
        ("_sunder_", "sunder"),
        ("mro", "mro_"),
        ("größe", "gr__e"),
        ("", "_0"),
        ("__", "_0"),
    ],
)
def test_names(name: str, expected: str) -> None:
    assert identifier(name) == expected
    assert identifier(name).isidentifier()


def test_names_of_classes() -> None:
    assert [class_name(name) for name in ("flow_key", "__sk_buff", "exec-events", "3d", "_", "IPv6")] == [
        "FlowKey",
        "SkBuff",
        "ExecEvents",
        "_3d",
        "_0",
        "IPv6",
    ]
    scope = Scope(frozenset(("taken",)))
    assert [scope.add(name) for name in ("taken", "free", "free", "free")] == ["taken_", "free", "free_", "free__"]


def test_constants_and_variables_have_their_initial_values(module: ModuleType) -> None:
    with module.Everything() as everything:
        assert everything.rodata.origin == module.Point(x=3, y=4)
        assert (everything.data.counter, everything.data_custom.custom, everything.bss.list_) == (5, 9, [0, 0, 0, 0])
        assert everything.bss.import_ is module.Verdict.VERDICT_NONE
        everything.rodata.origin = module.Point(x=-1, y=-2)
        everything.bss.import_ = module.Verdict.VERDICT_DROP
        everything.bss.total = module.Stats(comm="me", level=-3, last=module.Number(whole=1), all=[7, 3])
        assert everything.rodata.origin == module.Point(-1, -2)
        assert everything.bss.import_ is module.Verdict.VERDICT_DROP
        total = everything.bss.total
        assert (total.comm, total.level, total.last.bytes_, total.all) == ("me", -3, [1, 0, 0, 0, 0, 0, 0, 0], [7, 3])
        assert everything.spec.value("origin") == {"x": -1, "y": -2}


def test_what_does_not_fit_is_refused(module: ModuleType) -> None:
    everything = module.Everything.open()
    with pytest.raises(UsageError, match="counter"):
        everything.data.counter = "many"
    with pytest.raises(AttributeError, match="EverythingData has no 'count' that could be set"):
        everything.data.count = 1
    with pytest.raises(AttributeError):
        everything.maps.flows = None


def test_what_is_not_loaded_says_so(module: ModuleType) -> None:
    everything = module.Everything()
    with pytest.raises(UsageError, match=r"program 'count': the object isn't loaded\nCall load\(\) first"):
        _ = everything.programs.count
    with pytest.raises(UsageError, match="map 'flows': the object isn't loaded"):
        _ = everything.maps.flows
    with pytest.raises(UsageError, match="attach: the object isn't loaded"):
        everything.attach()
    assert everything.links.count is None
    everything.close()


def test_unions_write_what_was_changed(module: ModuleType) -> None:
    flow = module.Flow.from_plain({"from": 1, "lambda": 2, "is_new": True, "v4": 0x30004, "low": 4, "high": 3})
    assert flow.to_plain() == {"from": 1, "lambda": 2, "is_new": True, "v4": 0x30004, "low": 4, "high": 3}
    flow.low = 9
    assert flow.to_plain() == {"from": 1, "lambda": 2, "is_new": True, "low": 9, "high": 3}
    assert module.Flow(v4=7).to_plain() == {"from": 0, "lambda": 0, "is_new": False, "v4": 7}
    assert {module.Flow(v4=7): 1}[module.Flow(v4=7)] == 1
    assert module.Number.from_plain({"whole": 1, "bytes": [1] + [0] * 7}).to_plain() == {"whole": 1, "bytes": [1] + [0] * 7}


def test_enums_keep_numbers_without_a_name(module: ModuleType) -> None:
    event = module.Event.from_plain({"number": 1, "verdict": 99, "text": "x"})
    assert event.verdict == 99
    assert module.Event.from_plain({"number": 1, "verdict": "VERDICT_DROP", "text": "x"}).verdict is module.Verdict.VERDICT_DROP


def test_only_records_are_among_the_structs(module: ModuleType) -> None:
    assert hasattr(module, "Event")
    assert not hasattr(module, "XdpMd"), "what a program is called with"
    assert not hasattr(module, "hidden"), "static"


def test_classes_are_called_after_the_file_or_as_wanted(request: pytest.FixtureRequest) -> None:
    assert "class Hello(skeleton.Skeleton):" in skeleton(HELLO)
    assert "class PacketCounter(skeleton.Skeleton):" in skeleton(PACKET_COUNTER)
    assert "class MyOwn(skeleton.Skeleton):" in skeleton(HELLO, "my_own")
    # A struct of the class's name gets another one.
    clash = made(skeleton(OBJECT, "point"), "clash_skeleton", request)
    assert clash.Point.__bases__[0].__name__ == "Skeleton"
    assert clash.Point_(1, 2).y == 2


def test_names_on_purpose_do_no_harm(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    name = 'x"); raise SystemExit  # """\n\\'
    elf, btf = ElfBuilder(), BtfBuilder()
    elf.program("xdp", name)
    elf.license()
    elf.symbol(name, elf.section(".data", bytes(4), flags=ALLOC | WRITE), 0, 4)
    struct = btf.add_struct(name, 4, [(name, btf.add_enum(name, [(name, 1)]), 0)])
    btf.add_datasec(".data", 4, [(btf.add_var(name, struct), 0, 4)])
    elf.section(".BTF", btf.bytes(), flags=0)
    path = tmp_path / f"{name.replace('/', '')}.bpf.o"
    path.write_bytes(elf.build())
    module = made(skeleton(path), "hostile_skeleton", request)
    part = made(subskeleton(path), "hostile_subskeleton", request)
    assert [each for each in vars(part) if "SystemExit" in each]
    owner = next(each for each in vars(module).values() if isinstance(each, type) and issubclass(each, Skeleton))()
    assert owner.spec.value(name) == {name: 0}
    assert [each.name for each in owner.spec.entry_programs] == [name]


def test_variables_without_types_are_bytes(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    elf = ElfBuilder()
    elf.program("xdp", "pass")
    elf.license()
    elf.symbol("number", elf.section(".data", b"\1\2\3\4", flags=ALLOC | WRITE), 0, 4)
    path = tmp_path / "bare.bpf.o"
    path.write_bytes(elf.build())
    bare = made(skeleton(path), "bare_skeleton", request).Bare()
    assert bare.data.number == b"\1\2\3\4"
    bare.data.number = b"abcd"
    assert bare.data.number == b"abcd"


@pytest.mark.parametrize(
    "path", [OBJECT, HELLO, PACKET_COUNTER, SYS_ENTER, EXEC_EVENTS, DATA / "looked-at.bpf.o"], ids=lambda p: p.name
)
def test_ruff_has_nothing_to_say(path: Path, tmp_path: Path) -> None:
    for kind in (skeleton, subskeleton):
        out = tmp_path / f"{kind.__name__}_made.py"
        out.write_text(kind(path))
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "E,F,I,UP,B,W", "--ignore", "E501", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


USE = """
import everything
import part

with everything.Everything() as made:
    made.rodata.only_pid = 3
    made.load()
    made.attach(pass_=None)
    for flow, stats in made.maps.flows.items():
        reveal_type(flow)
        reveal_type(stats.corners)
    reveal_type(made.maps.per_cpu.get(0))
    reveal_type(made.bss.import_)
    reveal_type(next(made.maps.events.read(everything.Event)))
    reveal_type(made.programs.count)
    made.data.counter = "five"
    made.maps.flows.set(1, everything.Stats())
    made.attach(nobody=None)
    assert made.live is not None
    part.Part(made.live).bss.list_ = [1]
"""


def test_a_type_checker_knows_what_is_what(tmp_path: Path) -> None:
    (tmp_path / "everything.py").write_text(skeleton(OBJECT, "everything"))
    (tmp_path / "part.py").write_text(subskeleton(OBJECT, "part"))
    (tmp_path / "use.py").write_text(USE)
    (tmp_path / "hello.py").write_text(skeleton(HELLO))
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "everything.py", "part.py", "hello.py", "use.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    lines = [line.partition(": ")[2] for line in done.stdout.splitlines()]
    assert [line.removeprefix("note: Revealed type is ") for line in lines if line.startswith("note: Revealed")] == [
        '"everything.Flow"',
        '"list[everything.Point]"',
        '"list[everything.Point] | None"',
        '"everything.Verdict | int"',
        '"everything.Event"',
        '"bpfload.links.program.AttachableProgram"',
    ], done.stdout
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert len(errors) == 3, done.stdout
    assert all(line.startswith("use.py:") for line in errors), "nothing in the modules themselves"
    assert "Incompatible types in assignment" in errors[0]
    assert '"set" of "MapOf" has incompatible type "int"; expected "Flow"' in errors[1]
    assert 'Unexpected keyword argument "nobody"' in errors[2]
