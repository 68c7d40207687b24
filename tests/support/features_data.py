"""The objects of tests/data/features: loaded whole, or a program of one, and compared with what libbpf made of the same file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from bpfload.elf import read
from bpfload.load import LoadOptions, Object, load
from bpfload.spec import ObjectSpec
from bpfload.syscall import bpf
from support.libbpf import Libbpf, Outcome, describe_map
from support.paths import DATA

FEATURES = DATA / "features"
PACKET = bytes(64)


def path(name: str) -> Path:
    return FEATURES / f"{name}.bpf.o"


def spec_of(name: str) -> ObjectSpec:
    return read(path(name))


def only(*programs: str, **options: Any) -> LoadOptions:
    """Options for a load of these programs alone, which pins nothing."""
    return LoadOptions(programs=frozenset(programs), **({"pin_root": None} | options))


def load_only(name: str, *programs: str, **options: Any) -> Object:
    return load(path(name), only(*programs, **options))


def run(live: Object, program: str) -> int:
    """Run a program over a packet and return what it returned."""
    return bpf.prog_test_run(live.program(program).fd, PACKET)[0]


def run_tracing(live: Object, program: str) -> None:
    """Run a raw tracepoint program once."""
    bpf.prog_test_run(live.program(program).fd, context=bytes(16))


def returned(name: str, program: str) -> int:
    """Load one program of an object, run it, and return what it returned."""
    with load_only(name, program) as live:
        return run(live, program)


def assert_same_as_libbpf(live: Object, theirs: Outcome, *, maps: bool = True) -> None:
    """The same programs with the same tags and lengths; maps that the kernel describes alike."""
    assert theirs.errno == 0
    loaded = {name: (seen.type, seen.tag, seen.insns) for name, seen in theirs.programs.items() if seen.tag}
    infos = {name: program.info() for name, program in live.programs.items()}
    assert {name: (info.type, info.tag, info.xlated_prog_len // 8) for name, info in infos.items()} == loaded
    if maps:
        mine = {name: describe_map(entry.fd) for name, entry in live.maps.items()}
        # libbpf calls a map of global data by the name that it gives to the kernel.
        names = {spec.name: spec.kernel_name for spec in live.spec.maps.values() if spec.kind in ("data", "kconfig")}
        assert {names.get(name, name): seen for name, seen in mine.items()} == dict(theirs.maps)


def theirs(libbpf: Libbpf, name: str, *programs: str, **options: Any) -> Outcome:
    """What libbpf makes of an object's programs; all that SEC() switches on if none is named."""
    wanted = frozenset(programs) or None
    return libbpf.load(path(name).read_bytes(), name=name, programs=wanted, **options)


def same_in_both(libbpf: Libbpf, name: str, *programs: str, options: LoadOptions | None = None, **others: Any) -> None:
    """Load with both, one after the other, and compare."""
    chosen = replace(options or LoadOptions(pin_root=None), programs=frozenset(programs) or None)
    with load(path(name), chosen) as live:
        assert_same_as_libbpf(live, theirs(libbpf, name, *programs, **others))
