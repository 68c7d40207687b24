from __future__ import annotations

import json
import struct
from typing import Any

import pytest

from bpfload.btf import types as t
from bpfload.btf.encode import encode
from bpfload.btf.values import JSON, PLAIN, PYTHON, Decoder, Raw, decode, pretty
from bpfload.btf.writer import BtfBuilder
from bpfload.errors import FormatError


def scalar(kind: str) -> tuple[BtfBuilder, int]:
    builder = BtfBuilder(little_endian=True)
    index = builder.add_int("unsigned int", 4)
    makers = {
        "u8": lambda: builder.add_int("u8", 1),
        "s8": lambda: builder.add_int("s8", 1, t.INT_SIGNED),
        "u32": lambda: index,
        "s32": lambda: builder.add_int("s32", 4, t.INT_SIGNED),
        "u64": lambda: builder.add_int("u64", 8),
        "s64": lambda: builder.add_int("s64", 8, t.INT_SIGNED),
        "u128": lambda: builder.add_int("u128", 16),
        "s128": lambda: builder.add_int("s128", 16, t.INT_SIGNED),
        "bool": lambda: builder.add_int("bool", 1, t.INT_BOOL),
        "char": lambda: builder.add_int("char", 1, t.INT_CHAR),
        "24 bits": lambda: builder.add_int("odd", 4, bits=24),
        "5 bits": lambda: builder.add_int("odd", 4, t.INT_SIGNED, bits=5, bit_offset=2),
        "pointer": lambda: builder.add_pointer(0),
        "enum": lambda: builder.add_enum("e", [("A", 1), ("ALSO_A", 1), ("MINUS", -1)]),
        "unsigned enum": lambda: builder.add_enum("e", [("HIGH", 0xFFFFFFF0)]),
        "small enum": lambda: builder.add_enum("e", [("A", 1), ("MINUS", -2)], size=1),
        "enum64": lambda: builder.add_enum64("e", [("HUGE", 1 << 40)]),
        "float": lambda: builder.add_float("float", 4),
        "double": lambda: builder.add_float("double", 8),
        "text": lambda: builder.add_array(builder.add_const(builder.add_int("char", 1, t.INT_SIGNED)), 4, index),
        "u32[2]": lambda: builder.add_array(builder.add_typedef("u32", index), 2, index),
        "bool[2]": lambda: builder.add_array(builder.add_int("bool", 1, t.INT_BOOL), 2, index),
        "empty": lambda: builder.add_array(index, 0, index),
    }
    return builder, makers[kind]()


@pytest.mark.parametrize(
    ("kind", "data", "python", "formatted", "plain"),
    [
        ("u8", b"\xff", 255, 255, "255"),
        ("s8", b"\xff", -1, -1, "-1"),
        ("u32", b"\xff\xff\xff\xff", 0xFFFFFFFF, 0xFFFFFFFF, "4294967295"),
        ("s32", b"\xfb\xff\xff\xff", -5, -5, "-5"),
        ("u64", b"\xff" * 8, (1 << 64) - 1, (1 << 64) - 1, "18446744073709551615"),
        ("s64", b"\xfe" + b"\xff" * 7, -2, -2, "-2"),
        ("u128", b"\1" + bytes(15), 1, "0x1", "0x1"),
        ("s128", b"\xff" * 16, -1, "0x" + "f" * 32, "0x" + "f" * 32),
        ("bool", b"\2", True, True, "true"),
        ("char", b"x", 120, "x", '"x"'),
        ("char", b"\x05", 5, "\x05", "0x5"),
        ("char", b"\xff", 255, "\xff", "0xff"),
        ("24 bits", b"\1\2\3\4", 0x030201, "0x30201", "0x30201"),
        ("5 bits", b"\x7c\0\0\0", -1, "0x1f", "0x1f"),
        ("pointer", bytes(8), 0, 0, '"(nil)"'),
        ("pointer", b"\0\1" + bytes(6), 256, 256, '"0x100"'),
        ("enum", b"\1\0\0\0", "A", "A", '"A"'),
        ("enum", b"\xff" * 4, "MINUS", "MINUS", '"MINUS"'),
        ("enum", b"\7\0\0\0", 7, 7, "7"),
        ("unsigned enum", b"\xf0\xff\xff\xff", "HIGH", "HIGH", '"HIGH"'),
        ("unsigned enum", b"\xf1\xff\xff\xff", 0xFFFFFFF1, -15, "-15"),
        ("small enum", b"\xfe", "MINUS", "MINUS", '"MINUS"'),
        ("enum64", struct.pack("<Q", 1 << 40), "HUGE", "HUGE", '"HUGE"'),
        ("enum64", b"\xff" * 8, (1 << 64) - 1, -1, "-1"),
        ("float", struct.pack("<f", 1.5), 1.5, 1.5, "1.5"),
        ("double", struct.pack("<d", -2.25), -2.25, -2.25, "-2.25"),
        ("text", b"ab\0\0", "ab", "ab", '"ab"'),
        ("text", b'a"\\\0', 'a"\\', 'a"\\', '"a\\"\\\\"'),
        ("text", bytes(4), "", "", '""'),
        ("text", b"abcd", b"abcd", [97, 98, 99, 100], "[97,98,99,100\n]"),
        ("text", b"a\n\0\0", b"a\n\0\0", [97, 10, 0, 0], "[97,10,0,0\n]"),
        ("u32[2]", b"\1\0\0\0\2\0\0\0", [1, 2], [1, 2], "[1,2\n]"),
        ("bool[2]", b"\1\0", [True, False], [True, False], "[true,false\n]"),
        ("empty", b"", [], [], "[]"),
    ],
)
def test_single_values(kind: str, data: bytes, python: Any, formatted: Any, plain: str) -> None:
    builder, type_id = scalar(kind)
    btf = builder.build()
    assert decode(btf, type_id, data) == python
    assert type(decode(btf, type_id, data)) is type(python)
    assert decode(btf, type_id, data, style=JSON) == formatted
    assert pretty(decode(btf, type_id, data, style=PLAIN)) == plain
    assert decode(btf, type_id, encode(btf, type_id, python)) == python


def _record() -> tuple[BtfBuilder, int]:
    builder = BtfBuilder(little_endian=True)
    integer = builder.add_int("int", 4, t.INT_SIGNED)
    byte = builder.add_int("u8", 1)
    flag = builder.add_int("bool", 1, t.INT_BOOL)
    color = builder.add_enum("color", [("RED", 0), ("BLUE", 3)])
    first = builder.add_union("", 4, [("i", integer, 0), ("low", byte, 0)])
    second = builder.add_struct("", 8, [("x", integer, 0), ("y", integer, 32)])
    inner = builder.add_struct("inner", 4, [("a", integer, 0, 3), ("b", integer, 3, 7), ("f", flag, 16, 1), ("c", color, 17, 4)])
    record = builder.add_struct("record", 16, [("", first, 0), ("", second, 32), ("in", inner, 96)])
    return builder, record


def test_members() -> None:
    builder, record = _record()
    btf = builder.build()
    data = struct.pack("<iiiI", 513, -1, 7, 0b101 | 5 << 3 | 1 << 16 | 3 << 17)
    inner = {"a": -3, "b": 5, "f": True, "c": "BLUE"}
    assert decode(btf, record, data) == {"i": 513, "low": 1, "x": -1, "y": 7, "in": inner}
    formatted = decode(btf, record, data, style=JSON)
    assert formatted == {"": {"x": -1, "y": 7}, "in": {"a": "0x5", "b": "0x5", "f": "0x1", "c": "0x3"}}
    assert json.dumps(formatted, separators=(",", ":")) == (
        '{"":{"i":513,"low":1},"":{"x":-1,"y":7},"in":{"a":"0x5","b":"0x5","f":"0x1","c":"0x3"}}'
    )
    assert pretty(decode(btf, record, data, style=PLAIN)).splitlines() == [
        "{",
        '    "": {',
        '        "i": 513,',
        '        "low": 1',
        "    },",
        '    "": {',
        '        "x": -1,',
        '        "y": 7',
        "    },",
        '    "in": {',
        '        "a": 0x5,',
        '        "b": 0x5,',
        '        "f": 0x1,',
        '        "c": 0x3',
        "    }",
        "}",
    ]


def test_sections() -> None:
    builder = BtfBuilder()
    integer = builder.add_int("int", 4, t.INT_SIGNED)
    section = builder.add_datasec(".bss", 12, [(builder.add_var("a", integer), 0, 4), (builder.add_var("b", integer), 8, 4)])
    btf = builder.build()
    data = struct.pack("=iii", 1, 2, 3)
    assert decode(btf, section, data) == {"a": 1, "b": 3}
    assert decode(btf, section, data, style=JSON) == {".bss": [{"a": 1}, {"b": 3}]}
    assert pretty(decode(btf, section, data, style=PLAIN), 1) == (
        '{\n        ".bss": [{\n                "a": 1\n            },{\n                "b": 3\n            }\n        ]\n    }'
    )


@pytest.mark.parametrize("little_endian", [True, False])
def test_both_byte_orders(little_endian: bool) -> None:
    builder = BtfBuilder(little_endian=little_endian)
    word = builder.add_int("unsigned int", 4)
    record = builder.add_struct("s", 8, [("n", word, 0), ("hi", word, 32, 4), ("lo", word, 36, 12)])
    btf = builder.build()
    value = {"n": 0x01020304, "hi": 0xA, "lo": 0xBCD}
    data = encode(btf, record, value)
    assert data[:6] == (b"\4\3\2\1\xda\xbc" if little_endian else b"\1\2\3\4\xab\xcd")
    assert decode(btf, record, data) == value


def test_function_pointers_of_struct_ops() -> None:
    builder = BtfBuilder()
    integer = builder.add_int("int", 4, t.INT_SIGNED)
    hook = builder.add_pointer(builder.add_func_proto(integer, [("", integer)]))
    ops = builder.add_struct("ops", 32, [("a", hook, 0), ("b", hook, 64), ("c", hook, 128), ("p", builder.add_pointer(0), 192)])
    data = struct.pack("=4Q", 0, 7, 1 << 40, 9)
    decoder = Decoder(builder.build(), style=JSON, program_name=lambda _: "pick")
    assert decoder.decode(ops, data) == {"a": "int (int) 0", "b": "int (int) pick/prog_id:7", "c": 1 << 40, "p": 9}
    nameless = Decoder(builder.build(), style=PLAIN, program_name=lambda _: "")
    assert nameless.decode(ops, data)["b"] == "int (int) <unknown_prog_name>/prog_id:7"


def test_what_holds_no_value_is_refused() -> None:
    builder = BtfBuilder()
    proto = builder.add_func_proto(0)
    fwd = builder.add_fwd("later")
    btf = builder.build()
    for type_id in (0, proto, fwd):
        with pytest.raises(FormatError, match="has no values"):
            decode(btf, type_id, b"")


def test_too_few_bytes_are_refused() -> None:
    builder, record = _record()
    with pytest.raises(FormatError, match="takes 16 bytes, there are only 15"):
        decode(builder.build(), record, bytes(15))


def test_members_outside_their_struct_are_refused() -> None:
    builder = BtfBuilder()
    integer = builder.add_int("int", 4)
    record = builder.add_struct("s", 4, [("m", integer, 800)])
    bits = builder.add_struct("b", 4, [("m", integer, 800, 3)])
    for type_id in (record, bits):
        with pytest.raises(FormatError, match="outside the value"):
            decode(builder.build(), type_id, bytes(4))


@pytest.mark.parametrize("style", [PYTHON, JSON, PLAIN])
def test_types_made_to_take_time_are_refused(style: str) -> None:
    builder = BtfBuilder()
    inner = builder.add_int("int", 4)
    for depth in range(40):
        inner = builder.add_union(f"u{depth}", 4, [("a", inner, 0), ("b", inner, 0)])
    empty = builder.add_array(builder.add_struct("nothing", 0), 1 << 31, 1)
    itself = len(builder)
    builder.add_struct("self", 4, [("s", itself, 0)])
    btf = builder.build()
    for type_id in (inner, empty, itself):
        with pytest.raises(FormatError):
            decode(btf, type_id, bytes(4), style=style)


def test_raw_is_text() -> None:
    assert pretty([Raw("0x1"), "0x1", None, 1.5]) == '[0x1,"0x1",null,1.5\n]'
