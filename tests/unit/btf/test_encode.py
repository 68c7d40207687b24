from __future__ import annotations

import struct
from typing import Any

import pytest

from bpfload.btf import Btf
from bpfload.btf import types as t
from bpfload.btf.encode import encode
from bpfload.btf.writer import BtfBuilder
from bpfload.errors import BpfError, UsageError


@pytest.fixture(scope="module")
def btf() -> Btf:
    b = BtfBuilder(little_endian=True)
    u32 = b.add_int("u32", 4)  # 1
    s8 = b.add_int("s8", 1, t.INT_SIGNED)  # 2
    b.add_int("bool", 1, t.INT_BOOL)  # 3
    b.add_enum("mode", [("FAST", 1), ("SLOW", 2)])  # 4
    b.add_array(b.add_int("char", 1, t.INT_SIGNED), 8, u32)  # 5, 6
    b.add_array(u32, 3, u32)  # 7
    anonymous = b.add_union("", 4, [("n", u32, 0), ("m", 4, 0)])  # 8
    b.add_struct(
        "conf", 20, [("", anonymous, 0), ("name", 6, 32), ("low", u32, 96, 4), ("high", u32, 100, 4), ("at", u32, 128)]
    )  # 9
    b.add_pointer(0)  # 10
    b.add_float("double", 8)  # 11
    b.add_var("conf", b.add_const(9))  # 12, 13
    b.add_datasec(".data", 24, [(13, 0, 20)])  # 14
    assert s8 == 2
    return b.build()


@pytest.mark.parametrize(
    ("type_id", "value", "data"),
    [
        (1, 5, b"\5\0\0\0"),
        (1, "0x10", b"\x10\0\0\0"),
        (1, True, b"\1\0\0\0"),
        (2, -1, b"\xff"),
        (3, True, b"\1"),
        (3, "false", b"\0"),
        (4, "SLOW", b"\2\0\0\0"),
        (4, 9, b"\x09\0\0\0"),
        (4, "1", b"\1\0\0\0"),
        (5, "x", b"x"),
        (5, 200, b"\xc8"),
        (6, "hello", b"hello\0\0\0"),
        (6, b"hi", b"hi\0\0\0\0\0\0"),
        (6, [104, "i"], b"hi\0\0\0\0\0\0"),
        (7, [1, 2], b"\1\0\0\0\2\0\0\0\0\0\0\0"),
        (7, bytes(range(12)), bytes(range(12))),
        (10, 256, b"\0\1" + bytes(6)),
        (10, None, bytes(8)),
        (11, 1, struct.pack("<d", 1.0)),
        (9, {"m": "FAST", "name": "a", "high": 15, "at": 3}, b"\1\0\0\0a" + bytes(7) + b"\xf0\0\0\0\3\0\0\0"),
        (13, {"n": 7}, b"\7" + bytes(19)),
        (14, {"conf": {"at": 1}}, bytes(16) + b"\1" + bytes(7)),
    ],
)
def test_values(btf: Btf, type_id: int, value: Any, data: bytes) -> None:
    assert encode(btf, type_id, value) == data


def test_what_is_left_out_keeps_its_bytes(btf: Btf) -> None:
    assert encode(btf, 7, [9], initial=b"\1" * 12) == b"\x09\0\0\0" + b"\1" * 8
    assert encode(btf, 9, {"low": 2}, initial=b"\xff" * 20)[12:16] == b"\xf2\xff\xff\xff"


@pytest.mark.parametrize(
    ("type_id", "value", "message"),
    [
        (1, 1 << 32, "size: 4294967296 is out of range, 0 to 4294967295"),
        (1, -1, "size: -1 is out of range"),
        (1, "many", r"size: a number \(u32\) is needed, not 'many'"),
        (1, 1.5, "is needed, not 1.5"),
        (1, None, "is needed, not None"),
        (2, 128, "out of range, -128 to 127"),
        (3, 2, "out of range, 0 to 1"),
        (4, "FST", r"a name of enum mode \(FAST, SLOW\) is needed"),
        (6, "too long", "text of up to 7 bytes fits, not 8"),
        (7, [1, 2, 3, 4], "at most 3 elements fit, not 4"),
        (7, [1, "x"], r"size\[1\]: a number"),
        (7, "text", "a list of up to 3 elements is needed"),
        (7, 5, "a list of up to 3 elements is needed"),
        (7, b"1", "12 bytes are needed, not 1"),
        (9, {"nam": 1}, "struct conf has no member 'nam'\nDid you mean name"),
        (9, {"name": ["x", 300]}, r"size\.name\[1\]: 300 is out of range"),
        (9, {"low": 16}, r"size\.low: 16 is out of range, 0 to 15"),
        (9, [1], "a mapping of members"),
        (9, b"123", "20 bytes are needed, not 3"),
        (10, "there", "an address is needed"),
        (11, "pi", r"a number \(double\) is needed"),
        (14, {"config": {}}, "section .data has no variable 'config'\nDid you mean conf"),
    ],
)
def test_what_doesn_t_fit_is_named(btf: Btf, type_id: int, value: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        encode(btf, type_id, value, name="size")


def test_initial_bytes_of_another_size(btf: Btf) -> None:
    with pytest.raises(UsageError, match="the type has 4 bytes, the initial value 3"):
        encode(btf, 1, 1, initial=b"123")


def test_hostile_types_end() -> None:
    b = BtfBuilder()
    inner = b.add_int("int", 4)
    for _ in range(40):
        inner = b.add_union("", 4, [("", inner, 0), ("", inner, 0)])
    b.add_struct("outside", 4, [("x", 1, 3200), ("y", 1, 3200, 3)])
    btf = b.build()
    with pytest.raises(BpfError, match="too many members"):
        encode(btf, inner, {"a": 1})
    for name in "xy":
        with pytest.raises(BpfError, match="outside the value"):
            encode(btf, inner + 1, {name: 1})
    with pytest.raises(BpfError):
        encode(btf, 0, 1)
