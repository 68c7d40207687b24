"""CO-RE relocations and externs on the real kernel: a program that was fitted to it says what it sees."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from bpfload import elf
from bpfload.btf import values
from bpfload.btf.writer import BtfBuilder
from bpfload.errors import LinkError, VerifierError
from bpfload.kernel import btf as kernel_btf
from bpfload.kernel import kallsyms, kconfig, version
from bpfload.load import LoadOptions, load
from bpfload.syscall import bpf
from support.paths import DATA

OBJECT = DATA / "relocations.bpf.o"

pytestmark = [
    pytest.mark.usefixtures("no_fd_leak"),
    pytest.mark.needs_feature("vmlinux_btf"),
    pytest.mark.needs_feature("raw_tracepoint_test_run", since="5.10", config="CONFIG_BPF_EVENTS"),
]


def run(name: str, **options: Any) -> dict[str, Any]:
    """Load one program of the object, run it once, and return the object's global variables."""
    with load(OBJECT, LoadOptions(programs=frozenset((name,)), **options)) as live:
        bpf.prog_test_run(live.program(name).fd, context=bytes(16))
        section = live.map(".bss")
        data = bpf.map_lookup_elem(section.fd, bytes(4), section.info().value_size)
    spec = elf.read(OBJECT)
    assert spec.btf is not None
    return {
        variable.name: values.decode(spec.btf, variable.type_id, data[variable.offset : variable.offset + variable.size])
        for variable in spec.variables
        if variable.map_name == ".bss"
    }


@pytest.fixture(scope="module")
def seen() -> dict[str, Any]:
    return run("facts")


def test_kconfig(seen: dict[str, Any]) -> None:
    assert seen["hz"] == int(kconfig.value("CONFIG_HZ") or 0)
    assert seen["kernel_version"] == version.code()
    assert seen["no_option"] == 0
    assert seen["bpf_syscall"] == 1


def test_overlay() -> None:
    assert run("facts", kconfig="CONFIG_NO_SUCH_OPTION=-7\nCONFIG_HZ=0x64\n")["no_option"] == -7


def test_symbols(seen: dict[str, Any]) -> None:
    assert seen["symbol"] == kallsyms.load().address("ksys_write")
    assert seen["no_symbol"] == 0


def test_members(seen: dict[str, Any]) -> None:
    assert seen["tgid"] == seen["leader"] == os.getpid()
    with open("/proc/self/comm", encoding="ascii") as file:
        assert seen["comm"] == file.read().strip()
    kernel = kernel_btf.vmlinux()
    task = kernel.type(kernel.find("task_struct"))
    assert seen["offset"] == next(member.offset_bits for member in task.members if member.name == "tgid") // 8
    assert (seen["member_exists"], seen["missing_exists"]) == (1, 0)


def test_types(seen: dict[str, Any]) -> None:
    kernel = kernel_btf.vmlinux()
    there = kernel.find("task_struct")
    assert seen["kernel_id"] == there
    assert seen["type_size"] == kernel.size_of(there)
    assert (seen["type_exists"], seen["no_type_exists"], seen["matches"]) == (1, 0, 1)
    spec = elf.read(OBJECT)
    assert spec.btf is not None
    assert spec.btf.type(seen["local_id"]).name == "task_struct"


@pytest.mark.needs_feature("ringbuf")
def test_enums(seen: dict[str, Any]) -> None:
    assert (seen["value"], seen["value_exists"], seen["no_value_exists"]) == (27, 1, 0)


@pytest.mark.needs_feature("bpf_rcu_read_lock", since="6.2")
def test_kernel_functions() -> None:
    assert run("calls_function")["locked"] == 1


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("without_member", "struct task_struct has no member no_such_member in vmlinux"),
        ("without_type", "there is no struct no_such_struct in the kernel's BTF"),
        ("without_function", "no_such_function"),
    ],
)
def test_what_is_missing_is_named(name: str, reason: str) -> None:
    with pytest.raises(VerifierError) as caught:
        load(OBJECT, LoadOptions(programs=frozenset((name,))))
    assert reason in str(caught.value)
    assert "unknown#" not in caught.value.message


def test_another_kernel(tmp_path: Path) -> None:
    builder = BtfBuilder()
    builder.add_struct("task_struct", 8, [("tgid", builder.add_int("int", 4, 1), 32)])
    path = tmp_path / "types"
    path.write_bytes(builder.bytes())
    with pytest.raises(VerifierError, match="struct task_struct has no member group_leader in types"):
        load(OBJECT, LoadOptions(kernel_btf=str(path)))


def test_strong_externs_must_be_there() -> None:
    spec = elf.read(OBJECT)
    spec.externs["CONFIG_NO_SUCH_OPTION"].weak = False
    with pytest.raises(LinkError, match="CONFIG_NO_SUCH_OPTION") as caught:
        load(spec)
    assert caught.value.errno_code == errno.ESRCH
