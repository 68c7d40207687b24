"""The committed objects of tests/data/features are what their sources compile to."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from bpfload.elf import read
from support.paths import DATA
from support.process import find_tool

FOLDER = DATA / "features"
#: libc.bpf.c can be compiled, but not read.
SOURCES = sorted(set(FOLDER.glob("*.bpf.c")) - {FOLDER / "libc.bpf.c"})


@pytest.mark.parametrize("source", SOURCES, ids=[source.name for source in SOURCES])
def test_rebuilt(source: Path, tmp_path: Path) -> None:
    if not find_tool("clang-19") or not Path("/usr/include/bpf/bpf_helpers.h").exists():
        pytest.skip("no clang-19 or no libbpf-dev")
    target = tmp_path / source.with_suffix(".o").name
    for name in ("Makefile", "common.h", source.name):
        shutil.copy(FOLDER / name, tmp_path)
    subprocess.run(["make", "-s", "STRIP=true", target.name], cwd=tmp_path, check=True)
    mine, committed = read(target), read(source.with_suffix(".o"))
    assert [(program.name, program.section, program.insns) for program in mine.programs] == [
        (program.name, program.section, program.insns) for program in committed.programs
    ]
    assert list(mine.maps) == list(committed.maps)
    assert list(mine.externs) == list(committed.externs)
