"""`btf dump`, `gen min_core_btf`: what bpftool makes of the same types.

Differences that are meant:

- Sorted C: bpftool 7.5 skips the first type of the order, which is void's place before sorting; if nothing else needs that type,
  it is missing in its header, or comes late. Ours begins with it.
- JSON: bpftool prints values of unsigned enums from 2**31 on as if they were negative 64-bit numbers.
- `-j … format c` is refused by bpftool; ours is {"c": "…"}.
- The types of a module, by id: bpftool warns that it takes the running kernel's as their base; ours just does.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bpfload.btf import Btf
from bpfload.btf.core import CoreResolver
from bpfload.btf.rawdump import raw_text
from bpfload.elf.btfext import parse_btf_ext
from bpfload.errors import FormatError
from bpfload.gen.min_core_btf import min_core_btf
from bpfload.kernel.btf import load_file
from bpfload.kernel.image import read_section
from bpfload.objects import Program
from support.paths import DATA, SAMPLES, cache_directory
from support.peer import bpfload, bpftool, recent_peer, same_text

pytestmark = [pytest.mark.needs_root, pytest.mark.usefixtures("bpftool"), recent_peer]

VMLINUX = Path("/sys/kernel/btf/vmlinux")


def objects() -> list[Path]:
    """Return object files: our own, and some of the kernel's selftests where they are prepared."""
    own = sorted([*DATA.rglob("*.bpf.o"), *SAMPLES.rglob("*.bpf.o")])
    return own + sorted(cache_directory().glob("conformance/objects-*/*.o"))[::60]


each_object = pytest.mark.parametrize("path", objects(), ids=lambda path: path.name)


def same_header(*words: object) -> None:
    """Both write the same definitions; ours may begin with one that is missing there, or comes later."""
    ours, theirs = ([*command(*words).stdout.split("\n\n")] for command in (bpfload, bpftool))
    if ours == theirs:
        return
    place = next(place for place, (one, other) in enumerate(zip(ours, theirs, strict=False)) if one != other)
    first = ours.pop(place)
    assert all(block.startswith("#") for block in ours[:place]), "only the first definition may differ"
    if first in theirs:
        theirs.remove(first)
    assert ours == theirs


def without_sign_extension(value: Any) -> Any:
    """Repair what bpftool makes of the values of unsigned enums."""
    for item in value["types"]:
        if item["kind"] == "ENUM" and item["encoding"] == "UNSIGNED":
            for row in item["values"]:
                row["val"] &= 0xFFFFFFFF
    return value


@each_object
def test_types_of_an_object(path: Path) -> None:
    words = ("btf", "dump", "file", path)
    same_text(*words)
    if bpftool(*words, check=False).status:
        return  # without BTF; and so is ours: same_text() compares the status
    same_text(*words, "format", "raw")
    same_text(*words, "format", "c", "unsorted")
    same_header(*words, "format", "c")
    expected = without_sign_extension(bpftool("-j", *words).json())
    assert bpfload("-j", *words).json() == expected
    assert json.dumps(bpfload("-p", *words).json()) == json.dumps(expected), "the keys in the same order"


def test_types_of_the_kernel() -> None:
    words = ("btf", "dump", "file", VMLINUX)
    same_text(*words)
    same_text(*words, "format", "c", "unsorted")
    same_header(*words, "format", "c")
    theirs = without_sign_extension(bpftool("-j", *words).json())
    assert bpfload("-j", *words).json() == theirs


def test_types_of_what_is_in_the_kernel(bpffs: Path) -> None:
    bpftool("prog", "loadall", DATA / "looked-at.bpf.o", bpffs / "programs", "pinmaps", bpffs / "maps")
    with Program.from_pin(next((bpffs / "programs").iterdir())) as program:
        info = program.info()
    sources: list[tuple[object, ...]] = [("prog", "id", info.id), ("id", info.btf_id)]
    for name in ("typed_hash", "colours"):
        sources += [("map", "pinned", bpffs / "maps" / name, *part) for part in ((), ("key",), ("value",), ("kv",), ("all",))]
    for source in sources:
        same_text("btf", "dump", *source)
        same_text("btf", "dump", *source, "format", "c", "unsorted")
        same_header("btf", "dump", *source, "format", "c")


@pytest.mark.parametrize(
    "words",
    [
        ("btf", "dump"),
        ("btf", "dump", "file"),
        ("btf", "dump", "file", "/nonexistent"),
        ("btf", "dump", "file", "/etc/passwd"),
        ("btf", "dump", "id", "999999"),
        ("btf", "dump", "id", "x"),
        ("btf", "dump", "elsewhere", "x"),
        ("btf", "dump", "file", VMLINUX, "format", "pascal"),
        ("btf", "dump", "file", VMLINUX, "format"),
        ("btf", "dump", "file", VMLINUX, "more"),
        ("gen", "min_core_btf", VMLINUX, "/tmp/x"),
        ("gen", "min_core_btf", "/nonexistent", "/tmp/x", DATA / "elf/features.bpf.o"),
        ("-B", "/nonexistent", "btf", "dump", "file", VMLINUX),
    ],
)
def test_both_refuse(words: tuple[object, ...]) -> None:
    ours, theirs = bpfload(*words), bpftool(*words, check=False)
    assert ours.status != 0
    assert theirs.status != 0
    assert "Traceback" not in ours.stderr
    assert ours.stderr.startswith("Error: ")


# --- gen min_core_btf ---------------------------------------------------------------------------------------------------


@each_object
def test_the_types_that_an_object_needs(path: Path, tmp_path: Path) -> None:
    """The same types in the same order; and the object's relocations come out against them as against the kernel's own."""
    ours, theirs = tmp_path / "ours.btf", tmp_path / "theirs.btf"
    peer = bpftool("gen", "min_core_btf", VMLINUX, theirs, path, check=False)
    result = bpfload("gen", "min_core_btf", VMLINUX, ours, path)
    if peer.status:
        assert result.status, f"bpftool refuses: {peer}"
        return
    assert result.status == 0, result
    assert "".join(raw_text(load_file(ours))) == "".join(raw_text(load_file(theirs)))
    assert outcomes(path, load_file(ours)) == outcomes(path, load_file(VMLINUX))


def test_the_types_that_many_objects_need(tmp_path: Path) -> None:
    paths = []
    for path in objects():
        try:
            min_core_btf(load_file(VMLINUX), [path])
        except FormatError:
            continue  # without relocations at all: .BTF.ext is missing
        paths.append(path)
    ours, theirs = tmp_path / "ours.btf", tmp_path / "theirs.btf"
    bpftool("gen", "min_core_btf", VMLINUX, theirs, *paths)
    assert bpfload("gen", "min_core_btf", VMLINUX, ours, *paths).status == 0
    assert "".join(raw_text(load_file(ours))) == "".join(raw_text(load_file(theirs)))
    assert len(load_file(ours)) > 20


def outcomes(path: Path, target: Btf) -> list[tuple[object, ...]]:
    """Return what each relocation of an object comes to: the ids of types in the target aside, which differ by intent."""
    local = Btf.parse(read_section(str(path), ".BTF"))
    extension = parse_btf_ext(read_section(str(path), ".BTF.ext"), local)
    resolver = CoreResolver(local, (target,))
    found: list[tuple[object, ...]] = []
    for info in extension.core_relos.values():
        for _, type_id, access, kind in info.core_relocations():
            result = resolver.resolve(type_id, local.string(access), kind)
            value = 0 if "target_type_id" in result.text else result.new_val
            found.append((value, result.poison, result.new_sz, result.fail_memsz_adjust))
    return found
