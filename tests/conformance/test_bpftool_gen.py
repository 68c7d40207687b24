"""`gen object` beside bpftool: the same types from the same files, and programs that load with the same tags.

Differences that are meant: variables of a section are in the order of their places, and the place of a map or variable that was
an extern at first is that of its definition. bpftool leaves 0 there, so that libbpf refuses what it has linked until it is
linked again; the peer's outcome is therefore linked twice.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import bpfload
from bpfload.errors import BpfError
from bpfload.gen.object import link_objects
from support.paths import DATA, HELLO, PACKET_COUNTER, cache_directory
from support.peer import bpftool, recent_peer

pytestmark = [pytest.mark.needs_root, pytest.mark.usefixtures("bpftool"), recent_peer]

_ROW = re.compile(r"^\ttype_id=\d+ offset=(\d+) size=", re.MULTILINE)


def prepared(*names: str) -> list[Path]:
    """Return objects of the kernel's selftests, nothing where they aren't prepared."""
    found = [path for name in names for path in sorted(cache_directory().glob(f"conformance/objects-*/{name}.bpf.o"))[:1]]
    return found if len(found) == len(names) else []


def together() -> list[list[Path]]:
    """Return the files that make one object each, ours and the selftests'."""
    selftests = [
        prepared("linked_funcs1", "linked_funcs2"),
        prepared("linked_maps1", "linked_maps2"),
        prepared("linked_vars1", "linked_vars2"),
        prepared("test_static_linked1", "test_static_linked2"),
        prepared("test_subskeleton_lib2", "test_subskeleton_lib", "test_subskeleton"),
        prepared("test_usdt", "test_usdt_multispec"),
    ]
    return [[DATA / "linked" / "one.bpf.o", DATA / "linked" / "two.bpf.o"], *filter(None, selftests)]


def alone() -> list[Path]:
    own = [HELLO, PACKET_COUNTER, DATA / "skeleton.bpf.o", DATA / "looked-at.bpf.o", DATA / "features" / "core.bpf.o"]
    return own + sorted(cache_directory().glob("conformance/objects-*/*.o"))[5::40]


def link_with_peer(paths: list[Path], directory: Path) -> Path:
    """Return what bpftool makes of files, linked twice."""
    first, second = directory / "first.bpf.o", directory / "second.bpf.o"
    bpftool("gen", "object", first, *paths)
    bpftool("gen", "object", second, first)
    return second


def types(path: Path) -> list[str]:
    """Return the types of a file as bpftool shows them, the variables of a section in the order of their places."""
    lines: list[str] = []
    rows: list[str] = []
    for line in [*bpftool("btf", "dump", "file", path).lines, ""]:
        if _ROW.match(line):
            rows.append(line)
            continue
        lines += sorted(rows, key=lambda row: int(_ROW.match(row)[1]))  # type: ignore[index]  # it matched before
        rows = []
        lines.append(line)
    return lines


def loaded(path: Path) -> object:
    """Return tags, maps and initial values of an object, or why the kernel won't have it."""
    try:
        spec = bpfload.read(path)
        values = {
            (each.map_name, each.offset): (each.name, spec.value(each.name)) for each in spec.variables if not each.is_static
        }
        with bpfload.load(spec, bpfload.LoadOptions(pin_root=None)) as live:
            tags = {name: program.info().tag for name, program in live.programs.items()}
            infos = {name: entry.info() for name, entry in live.maps.items()}
            maps = {name: (each.type, each.key_size, each.value_size, each.max_entries) for name, each in infos.items()}
            return tags, maps, values
    except BpfError as error:
        return type(error), error.errno_code


@pytest.mark.parametrize("paths", together(), ids=lambda paths: "+".join(path.name.partition(".")[0] for path in paths))
def test_the_same_object(paths: list[Path], tmp_path: Path, bpffs: Path) -> None:
    ours = tmp_path / "ours.bpf.o"
    ours.write_bytes(link_objects(paths))
    theirs = link_with_peer(paths, tmp_path)
    assert types(ours) == types(theirs)
    assert loaded(ours) == loaded(theirs)
    verdicts = [bpftool("prog", "loadall", path, bpffs / path.stem, check=False) for path in (ours, theirs)]
    assert verdicts[0].status == verdicts[1].status, f"libbpf takes both or none: {verdicts[0]}"


@pytest.mark.parametrize("path", alone(), ids=lambda path: path.name)
def test_an_object_by_itself(path: Path, tmp_path: Path) -> None:
    ours = tmp_path / path.name
    ours.write_bytes(link_objects([path]))
    theirs = tmp_path / "peer.bpf.o"
    bpftool("gen", "object", theirs, path)
    assert types(ours) == types(theirs)
    before, after = bpfload.read(path), bpfload.read(ours)
    assert {each.name: each.insns for each in after.programs} == {each.name: each.insns for each in before.programs}
    assert list(after.maps) == list(before.maps)


def test_the_peer_loads_what_it_has_linked_only_when_it_has_linked_it_twice(tmp_path: Path, bpffs: Path) -> None:
    paths = [DATA / "linked" / "one.bpf.o", DATA / "linked" / "two.bpf.o"]
    ours, theirs = tmp_path / "ours.bpf.o", tmp_path / "theirs.bpf.o"
    ours.write_bytes(link_objects(paths))
    bpftool("gen", "object", theirs, *paths)
    assert bpftool("prog", "loadall", ours, bpffs / "ours").status == 0
    assert bpftool("prog", "loadall", theirs, bpffs / "theirs", check=False).status != 0
