"""Symbols that BPF programs refer to by name, and the names of system calls."""

from __future__ import annotations

import pytest

from bpfload.errors import NotFoundError
from bpfload.kernel import kallsyms, syscalls
from bpfload.kernel.kallsyms import Kallsyms

TEXT = b"""ffffffff81000000 T _stext
ffffffff81000010 t twice
ffffffff81000020 T __x64_sys_bpf
ffffffff82000000 D jiffies
ffffffff82000010 d renamed.llvm.1234
ffffffff82000020 D other.llvm.99
ffffffff82000030 d twice\t[some_module]
ffffffff82000040 D same
ffffffff82000040 D same
"""


def test_addresses_of_variables() -> None:
    table = Kallsyms(TEXT)
    assert not table.empty
    assert table.variable_addresses("jiffies") == (0xFFFFFFFF82000000,)
    assert table.variable_addresses("jiffies") == (0xFFFFFFFF82000000,)
    assert table.variable_addresses("twice") == (0xFFFFFFFF81000010, 0xFFFFFFFF82000030)
    assert table.variable_addresses("same") == (0xFFFFFFFF82000040,)
    assert table.variable_addresses("renamed") == (0xFFFFFFFF82000010,)
    assert table.variable_addresses("other") == ()
    assert table.variable_addresses("jiff") == ()
    assert Kallsyms(b"").empty


@pytest.mark.parametrize(("setting", "expected"), [("y", True), (None, False)])
def test_wrapper_by_configuration(monkeypatch: pytest.MonkeyPatch, setting: str | None, expected: bool) -> None:
    monkeypatch.setattr(syscalls.kconfig, "value", lambda name: setting)
    assert syscalls.has_wrapper.__wrapped__() is expected


@pytest.mark.parametrize(("text", "expected"), [(TEXT, True), (b"ffffffff81000020 T sys_bpf\n", False)])
def test_wrapper_by_symbol(monkeypatch: pytest.MonkeyPatch, text: bytes, expected: bool) -> None:
    def unknown(name: str) -> str:
        raise NotFoundError("no configuration")

    monkeypatch.setattr(syscalls.kconfig, "value", unknown)
    monkeypatch.setattr(syscalls, "prefix", lambda: "x64")
    monkeypatch.setattr(kallsyms, "load", lambda: Kallsyms(text))
    assert syscalls.has_wrapper.__wrapped__() is expected


def test_function_of_a_system_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syscalls, "prefix", lambda: "x64")
    monkeypatch.setattr(syscalls, "has_wrapper", lambda: True)
    assert syscalls.function("openat") == "__x64_sys_openat"
    monkeypatch.setattr(syscalls, "has_wrapper", lambda: False)
    assert syscalls.function("openat") == "__se_sys_openat"
