"""`bpfload btf dump` and `bpfload gen min_core_btf` through the installed command."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bpfload.btf.writer import BtfBuilder
from support.paths import DATA
from support.process import Result

CORE = DATA / "features" / "core.bpf.o"
VMLINUX = Path("/sys/kernel/btf/vmlinux")
Command = Callable[..., Result]


@pytest.fixture
def split(tmp_path: Path) -> tuple[Path, Path]:
    """A kernel's BTF and a module's on top of it, as files."""
    base = BtfBuilder()
    base.add_struct("of_kernel", 4, [("a", base.add_int("int", 4, 1), 0)])
    module = BtfBuilder(base=base.build())
    module.add_struct("of_module", 4, [("b", 2, 0)])
    files = tmp_path / "kernel", tmp_path / "module"
    for file, builder in zip(files, (base, module), strict=True):
        file.write_bytes(builder.bytes())
    return files


def test_a_modules_types_need_their_base(bpfload: Command, split: tuple[Path, Path]) -> None:
    kernel, module = split
    expected = "[3] STRUCT 'of_module' size=4 vlen=1\n\t'b' type_id=2 bits_offset=0\n"
    for flag in (["-B", kernel], ["--base-btf", kernel], [f"--base-btf={kernel}"]):
        assert bpfload(*flag, "btf", "dump", "file", module).stdout == expected
    assert bpfload("btf", "dump", "file", module, "-B", kernel).stdout == expected, "flags stand anywhere"
    assert bpfload("-jB", kernel, "btf", "dump", "file", module).json()["types"][0]["id"] == 3
    assert "struct of_kernel b;" in bpfload("-B", kernel, "btf", "dump", "file", module, "format", "c").stdout
    without = bpfload("btf", "dump", "file", module, check=False)
    assert without.status == 1
    assert "these types build on others" in without.stderr
    assert "-B FILE" in without.stderr


def test_the_value_of_a_flag_may_not_be_missing(bpfload: Command) -> None:
    result = bpfload("btf", "list", "-B", check=False)
    assert result.status == 2
    assert result.stderr == "Error: the value of -B is missing\n"


def test_single_types(bpfload: Command, split: tuple[Path, Path]) -> None:
    kernel, _ = split
    raw = bpfload("btf", "dump", "file", kernel, "root_id", 2, "root_id", 1).stdout
    assert [line.split()[0] for line in raw.splitlines() if line.startswith("[")] == ["[2]", "[1]"]
    assert "struct of_kernel {" in bpfload("btf", "dump", "file", kernel, "format", "c", "root_id", 2).stdout
    missing = bpfload("btf", "dump", "file", kernel, "root_id", 99, check=False)
    assert missing.status == 1
    assert "type id 99 doesn't exist" in missing.stderr


def test_c_as_json(bpfload: Command, split: tuple[Path, Path]) -> None:
    words = ("btf", "dump", "file", split[0], "format", "c")
    assert bpfload("-j", *words).json() == {"c": bpfload(*words).stdout}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dump"], "a source of types is missing"),
        (["dump", "file", CORE, "format", "pascal"], "'pascal' is not a format"),
        (["dump", "file", CORE, "sideways"], "'sideways' is one word too many"),
        (["dump", "file", "/nonexistent"], "there is no file /nonexistent"),
        (["dump", "file", DATA / "no-btf.bpf.o"], ".BTF"),
        (["dump", "id", "many"], "'many' is not an id"),
    ],
)
def test_what_is_wrong_is_said(bpfload: Command, words: list[object], message: str) -> None:
    result = bpfload("btf", *words, check=False)
    assert result.status != 0
    assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.skipif(not VMLINUX.exists(), reason="feature: no BTF of the kernel")
def test_the_kernels_header_compiles(bpfload: Command, tmp_path: Path) -> None:
    clang = shutil.which("clang")
    if not clang:
        pytest.skip("feature: no clang")
    for words in ([], ["unsorted"]):
        header = tmp_path / "vmlinux.h"
        header.write_text(bpfload("btf", "dump", "file", VMLINUX, "format", "c", *words).stdout)
        command = [clang, "-target", "bpf", "-fsyntax-only", "-Wno-missing-declarations", "-x", "c", str(header)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[:2000]


@pytest.mark.skipif(not VMLINUX.exists(), reason="feature: no BTF of the kernel")
def test_minimal_types_do_for_what_needs_them(bpfload: Command, tmp_path: Path) -> None:
    minimal = tmp_path / "minimal.btf"
    assert bpfload("gen", "min_core_btf", VMLINUX, minimal, CORE).stdout == ""
    assert minimal.stat().st_size < VMLINUX.stat().st_size / 100
    assert "struct task_struct {" in bpfload("btf", "dump", "file", minimal, "format", "c").stdout
    found = bpfload("-j", "inspect", CORE, "--kernel-btf", minimal).json()
    assert found, "the object's relocations are shown against it"


def test_gen_says_what_is_missing(bpfload: Command, tmp_path: Path) -> None:
    result = bpfload("gen", "min_core_btf", VMLINUX, tmp_path / "out", check=False)
    assert result.status == 2
    assert "an object file is missing" in result.stderr
    assert not (tmp_path / "out").exists()
