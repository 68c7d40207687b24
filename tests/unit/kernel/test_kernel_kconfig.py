"""A kernel's configuration: finding options, and their values as bytes of variables, with the limits of each type."""

from __future__ import annotations

import errno
import gzip
import sys
from pathlib import Path

import pytest

from bpfload.errors import LinkError, NotFoundError
from bpfload.kernel import kconfig, version

CONFIG = b"""#
# Automatically generated file; DO NOT EDIT.
#
CONFIG_BPF=y
# CONFIG_NOT is not set
CONFIG_BPF_SYSCALL=m
CONFIG_HZ=250
CONFIG_NAME="(none)"
CONFIG_EMPTY=
CONFIG_BPF=n
CONFIG_LAST=0x10"""


def test_find() -> None:
    assert kconfig.find(CONFIG, "CONFIG_BPF") == "y"
    assert kconfig.find(CONFIG, "CONFIG_BPF_SYSCALL") == "m"
    assert kconfig.find(CONFIG, "CONFIG_NAME") == '"(none)"'
    assert kconfig.find(CONFIG, "CONFIG_LAST") == "0x10"
    assert kconfig.find(b"CONFIG_A=1\n", "CONFIG_A") == "1"
    for name in ("CONFIG_NOT", "CONFIG_BP", "CONFIG_EMPTY", "ONFIG_BPF"):
        assert kconfig.find(CONFIG, name) is None


def test_parse() -> None:
    options = kconfig.parse('# comment\nCONFIG_A=y\nCONFIG_B="x=y"\nOTHER\nCONFIG_A=n')
    assert options == {"CONFIG_A": "y", "CONFIG_B": '"x=y"'}


@pytest.mark.parametrize("text", ["CONFIG_A", "CONFIG_A=", "CONFIG_A y\nCONFIG_B=y"])
def test_parse_refuses(text: str) -> None:
    with pytest.raises(LinkError, match="sets no option"):
        kconfig.parse(text)


def number(value: int, size: int) -> bytes:
    return (value & (1 << 8 * size) - 1).to_bytes(size, sys.byteorder)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "kind", "size", "signed", "expected"),
    [
        ("y", "bool", 1, False, b"\1"),
        ("n", "bool", 1, False, b"\0"),
        ("yes", "bool", 1, False, b"\1"),
        ("n", "tristate", 4, False, number(0, 4)),
        ("y", "tristate", 4, False, number(1, 4)),
        ("m", "tristate", 4, False, number(2, 4)),
        ("m", "char", 1, True, b"m"),
        ("250", "int", 4, False, number(250, 4)),
        ("0x10", "int", 2, False, number(16, 2)),
        ("010", "int", 8, False, number(8, 8)),
        ("0", "int", 8, False, number(0, 8)),
        ("-5", "int", 4, True, number(-5, 4)),
        ("-5", "int", 8, False, number(-5, 8)),
        ("127", "char", 1, True, b"\x7f"),
        ("255", "char", 1, False, b"\xff"),
        ("-128", "char", 1, True, b"\x80"),
        ("0xffffffffffffffff", "int", 8, False, b"\xff" * 8),
        ('"abc"', "string", 6, False, b"abc\0\0\0"),
        ('""', "string", 2, False, b"\0\0"),
        ('"abcdef"', "string", 4, False, b"abc\0"),
        ('"abc"', "string", 4, False, b"abc\0"),
    ],
)
def test_encode(text: str, kind: str, size: int, signed: bool, expected: bytes) -> None:
    assert kconfig.encode("CONFIG_X", text, kind, size, signed=signed) == expected


@pytest.mark.parametrize(
    ("text", "kind", "size", "signed", "code"),
    [
        ("m", "bool", 1, False, errno.EINVAL),
        ("y", "int", 4, False, errno.EINVAL),
        ("y", "string", 4, False, errno.EINVAL),
        ("1", "bool", 1, False, errno.EINVAL),
        ("1", "tristate", 4, False, errno.EINVAL),
        ("1", "string", 4, False, errno.EINVAL),
        ('"a"', "int", 4, False, errno.EINVAL),
        ('"a"', "char", 1, False, errno.EINVAL),
        ('"a', "string", 4, False, errno.EINVAL),
        ('"', "string", 4, False, errno.EINVAL),
        ("12x", "int", 4, False, errno.EINVAL),
        ("0x", "int", 4, False, errno.EINVAL),
        ("08", "int", 4, False, errno.EINVAL),
        ("1_000", "int", 4, False, errno.EINVAL),
        ("\u0661", "int", 4, False, errno.EINVAL),
        ("0x10000000000000000", "int", 8, False, errno.EINVAL),
        ("65536", "int", 2, False, errno.ERANGE),
        ("-1", "int", 4, False, errno.ERANGE),
        ("128", "char", 1, True, errno.ERANGE),
        ("-129", "char", 1, True, errno.ERANGE),
        ("2147483648", "int", 4, True, errno.ERANGE),
    ],
)
def test_encode_refuses(text: str, kind: str, size: int, signed: bool, code: int) -> None:
    with pytest.raises(LinkError, match="CONFIG_X") as caught:
        kconfig.encode("CONFIG_X", text, kind, size, signed=signed)
    assert caught.value.errno_code == code


def test_virtual_values_may_be_bool() -> None:
    assert kconfig.encode_number("LINUX_HAS", 1, "bool", 1) == b"\1"
    with pytest.raises(LinkError, match="neither 0 nor 1"):
        kconfig.encode_number("LINUX_HAS", 2, "bool", 1)
    with pytest.raises(LinkError, match="declared as tristate"):
        kconfig.encode_number("LINUX_HAS", 1, "tristate", 4)


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Path, Path]:
    """Where the configuration is looked for: (in /boot, in /proc)."""
    boot, proc = tmp_path / "boot", tmp_path / "proc"
    monkeypatch.setattr(kconfig, "_PLACES", (str(boot), str(proc)))
    monkeypatch.setattr(version, "release", lambda: "1.2.3")
    kconfig.read.cache_clear()
    monkeypatch.setattr(kconfig, "read", kconfig.read.__wrapped__)
    return boot, proc


def test_boot_comes_first(places: tuple[Path, Path]) -> None:
    places[0].write_bytes(b"CONFIG_A=1\n")
    places[1].write_bytes(gzip.compress(b"CONFIG_A=2\n"))
    assert kconfig.value("CONFIG_A") == "1"


def test_compressed(places: tuple[Path, Path]) -> None:
    places[1].write_bytes(gzip.compress(b"CONFIG_A=2\n"))
    assert kconfig.value("CONFIG_A") == "2"


def test_nowhere(places: tuple[Path, Path]) -> None:
    places[1].write_bytes(b"\x1f\x8bbroken")
    with pytest.raises(NotFoundError, match="configuration is not known"):
        kconfig.read()
