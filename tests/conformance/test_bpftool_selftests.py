"""bpftool's own tests, from the kernel's source, with bpfload in bpftool's place: what passes with the one passes with the other.

The sources are those that `make conformance` unpacks; nothing of them is kept here. Of the tests there, test_bpftool_build.sh
builds bpftool and test_bpftool_synctypes.py compares lists in its sources, neither of which is about the program.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from conftest import lacking
from support.paths import cache_directory
from support.process import Result, bpfload_command, bpftool_command, find_tool, run

pytestmark = [pytest.mark.needs_root, pytest.mark.usefixtures("bpftool", "private_mounts")]

_SELFTESTS = "tools/testing/selftests/bpf"
_RESULT = re.compile(r"^(test_\w+) .*\.\.\. (.*)$", re.MULTILINE)


@pytest.fixture(scope="module")
def source() -> Path:
    """The kernel's source, as far as it is unpacked."""
    for path in sorted(cache_directory().glob("conformance/source-*"), reverse=True):
        if (path / _SELFTESTS / "test_bpftool.py").exists():
            return path
    lacking("the kernel's source isn't unpacked (make conformance)")
    raise AssertionError("unreachable")


def _stage(place: Path, source: Path, test: str, command: list[str]) -> Path:
    """Lay a test out as in the kernel's tree, where it finds `command` under the name of bpftool; return its directory."""
    tool = place / "tools/bpf/bpftool/bpftool"
    tool.parent.mkdir(parents=True)
    tool.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    tool.chmod(0o755)
    directory = place / _SELFTESTS
    directory.mkdir(parents=True)
    shutil.copy(source / _SELFTESTS / test, directory)
    return directory


def _run(directory: Path, *words: str) -> Result:
    path = f"{directory.parents[2] / 'bpf/bpftool'}:{os.environ['PATH']}"
    return run(*words, cwd=directory, env={"PATH": path, "PYTHONDONTWRITEBYTECODE": "1"}, check=False, timeout=300)


def _both(tmp_path: Path, source: Path, test: str) -> list[Path]:
    peer = bpftool_command()
    assert peer
    ours = _stage(tmp_path / "ours", source, test, bpfload_command())
    return [ours, _stage(tmp_path / "theirs", source, test, [peer])]


def test_test_bpftool(tmp_path: Path, source: Path) -> None:
    ours, theirs = (
        _run(directory, sys.executable, "-m", "unittest", "-v", "test_bpftool")
        for directory in _both(tmp_path, source, "test_bpftool.py")
    )
    expected, found = dict(_RESULT.findall(theirs.stderr)), dict(_RESULT.findall(ours.stderr))
    assert expected, theirs
    passed = {name for name, result in expected.items() if result == "ok"}
    assert passed, theirs
    assert passed <= {name for name, result in found.items() if result == "ok"}, ours


@pytest.mark.parametrize(
    ("test", "objects"),
    [
        ("test_bpftool_metadata.sh", ("metadata_used", "metadata_unused")),
        # Came with Linux 6.15.
        ("test_bpftool_map.sh", ("security_bpf_map",)),
    ],
)
def test_scripts(tmp_path: Path, source: Path, bpffs: Path, test: str, objects: tuple[str, ...]) -> None:
    if not (source / _SELFTESTS / test).exists():
        pytest.skip(f"feature: {source.name} has no {test}")
    directories = _both(tmp_path, source, test)
    for directory in directories:
        for name in objects:
            _compile(source, name, directory / f"{name}.bpf.o")
    ours, theirs = (_run(directory, "sh", test) for directory in directories)
    if "[SKIP]" in theirs.stdout:
        pytest.skip(f"feature: {theirs.stdout.strip()}")
    assert "[PASS]" in theirs.stdout, theirs
    assert "[PASS]" in ours.stdout, ours
    assert ours.status == 0


def _compile(source: Path, name: str, into: Path) -> None:
    """Compile a selftest's program."""
    clang = find_tool("clang-19") or find_tool("clang")
    if clang is None:
        lacking("no clang (make peers)")
    code = source / _SELFTESTS / "progs" / f"{name}.c"
    include = source / "libbpf/include"
    run(
        clang,
        "-g",
        "-O2",
        "--target=bpf",
        f"-I{include}",
        f"-I/usr/include/{os.uname().machine}-linux-gnu",
        "-c",
        code,
        "-o",
        into,
    )
