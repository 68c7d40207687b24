"""Names of data maps."""

from __future__ import annotations

import pytest

from bpfload.elf.datamaps import kernel_name


@pytest.mark.parametrize(
    ("name", "section", "expected"),
    [
        ("hello", ".bss", "hello.bss"),
        ("hello", ".rodata", "hello.rodata"),
        ("my_object_name", ".rodata", "my_objec.rodata"),
        ("my_object_name", ".bss", "my_objec.bss"),
        ("my_object_name", ".kconfig", "my_obje.kconfig"),
        ("any", ".rodata.abracadabra", ".rodata.abracad"),
        ("any", ".data.x", ".data.x"),
        ("hello-func", ".rodata", "hello_fu.rodata"),
        ("grüße", ".data", "gr__e.data"),
    ],
)
def test_kernel_name(name: str, section: str, expected: str) -> None:
    assert kernel_name(name, section) == expected
