"""The committed objects are what their sources compile to, and tell nothing of the machine they were compiled on."""

from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path

import pytest

from support.paths import SAMPLE_OBJECTS, SAMPLES
from support.process import find_tool, run

_SHT_PROGBITS = 1
_SHF_EXECINSTR = 4


def _code(path: Path) -> dict[str, bytes]:
    """Return the executable sections of a 64-bit little-endian ELF file: a reader apart from the one under test."""
    data = path.read_bytes()
    offset = struct.unpack_from("<Q", data, 0x28)[0]
    size, count, names = struct.unpack_from("<HHH", data, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", data, offset + index * size) for index in range(count)]
    strings = headers[names][4]

    def name(start: int) -> str:
        return data[strings + start : data.index(0, strings + start)].decode()

    return {
        name(header[0]): data[header[4] : header[4] + header[5]]
        for header in headers
        if header[1] == _SHT_PROGBITS and header[2] & _SHF_EXECINSTR and header[5]
    }


# Whatever clang is there, by version; the committed instructions hold for 14 to 19.
_COMPILERS = ["clang", *filter(find_tool, (f"clang-{version}" for version in range(14, 20)))]


@pytest.mark.parametrize("path", SAMPLE_OBJECTS, ids=lambda path: path.parent.name)
@pytest.mark.parametrize("clang", _COMPILERS)
def test_rebuilt_instructions_are_the_committed_ones(path: Path, clang: str, tmp_path: Path) -> None:
    if not find_tool(clang):
        pytest.skip(f"no {clang}: make peers installs it")
    if not os.path.exists("/usr/include/bpf/bpf_helpers.h"):
        pytest.skip("no libbpf-dev: make peers installs it")
    shutil.copy(SAMPLES / "Makefile", tmp_path)
    copy = tmp_path / path.parent.name
    shutil.copytree(path.parent, copy)
    run("make", "-C", copy, "rebuild", f"CLANG={clang}")
    rebuilt = copy / path.name
    assert _code(rebuilt) == _code(path)
    assert os.fsencode(tmp_path) not in rebuilt.read_bytes()


@pytest.mark.parametrize("path", SAMPLE_OBJECTS, ids=lambda path: path.parent.name)
def test_objects_name_no_folder(path: Path) -> None:
    data = path.read_bytes()
    for prefix in (b"/home", b"/root", b"/usr", b"/tmp", os.fsencode(SAMPLES.parent)):
        assert prefix not in data
    assert path.with_suffix(".c").name.encode() in data, "line info should name the source file"


@pytest.mark.parametrize("path", SAMPLE_OBJECTS, ids=lambda path: path.parent.name)
def test_sources_carry_their_licence(path: Path) -> None:
    assert path.with_suffix(".c").read_text().startswith("// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause\n")
    assert b"Dual BSD/GPL\0" in path.read_bytes()
