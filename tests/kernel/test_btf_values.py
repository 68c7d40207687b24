"""Values of a real map with BTF, decoded here and by bpftool: the same JSON, and the same text line for line."""

from __future__ import annotations

import json
import os
import random
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bpfload.abi import consts
from bpfload.btf import Btf
from bpfload.btf import types as t
from bpfload.btf.sanitize import FEATURES, sanitize
from bpfload.btf.values import JSON, PLAIN, Decoder, pretty
from bpfload.btf.writer import BtfBuilder
from bpfload.syscall import bpf
from support import system

ENTRIES = 16
#: Bytes that make text, numbers, enum values and pointers of interest. No quote and no backslash: bpftool doesn't escape a char.
PIECES = (
    bytes(8),
    b"abc\0def\0",
    b"\n\x7f\x80a\0\0\0\0",
    struct.pack("=q", -3),
    struct.pack("=q", 5),
    struct.pack("=q", 1 << 33),
)


def _record(b: BtfBuilder) -> tuple[int, int, int]:
    """Add a struct with members of every kind, and return the ids of the key, of the struct, and the struct's size."""
    u32 = b.add_int("unsigned int", 4)
    s32 = b.add_int("int", 4, t.INT_SIGNED)
    u64 = b.add_int("unsigned long", 8)
    s64 = b.add_int("long", 8, t.INT_SIGNED)
    char = b.add_int("char", 1, t.INT_SIGNED)
    letter = b.add_int("letter", 1, t.INT_CHAR)
    truth = b.add_int("_Bool", 1, t.INT_BOOL)
    bits = b.add_struct("bits", 8, [("a", u32, 0, 3), ("b", s32, 3, 7), ("c", truth, 10, 1), ("wide", u64, 11, 40)])
    old_bits = b.add_struct(
        "old_bits",
        4,
        [("a", b.add_int("b3", 4, bits=3), 0), ("b", b.add_int("b7", 4, 1, bits=7), 3), ("c", b.add_int("b12", 4, bits=12), 10)],
    )
    inner = b.add_struct("inner", 4, [("l", letter, 0), ("t", truth, 8), ("name", b.add_array(char, 2, u32), 16)])
    members = [
        ("number", s32, 4),
        ("unsigned", u32, 4),
        ("", b.add_union("", 8, [("q", u64, 0), ("i", s32, 0)]), 8),
        ("", b.add_struct("", 8, [("x", s32, 0), ("y", u32, 32)]), 8),
        ("text", b.add_array(b.add_const(char), 8, u32), 8),
        ("letters", b.add_array(letter, 8, u32), 8),
        ("not_text", b.add_array(b.add_typedef("char_t", char), 8, u32), 8),
        ("bits", bits, 8),
        ("old_bits", old_bits, 4),
        ("odd", b.add_int("odd", 4, bits=24), 4),
        ("inners", b.add_array(inner, 2, u32), 8),
        ("grid", b.add_array(b.add_array(s32, 2, u32), 2, u32), 16),
        ("pointer", b.add_pointer(0), 8),
        ("pointers", b.add_array(b.add_pointer(inner), 2, u32), 16),
        ("hook", b.add_pointer(b.add_func_proto(s32, [("x", u32)])), 8),
        ("wide", b.add_enum64("wide", [("BIT33", 1 << 33), ("ZERO", 0)]), 8),
        ("color", b.add_enum("color", [("RED", 0), ("BLUE", 5), ("NONE", -3)]), 4),
        ("flags", b.add_enum("flags", [("TOP", 0xFFFFFFFF)]), 4),
        ("signed", b.add_volatile(s64), 8),
        ("small", b.add_enum("small", [("S", 5)], size=2), 2),
        ("none", b.add_array(u32, 0, u32), 0),
        ("truths", b.add_array(truth, 6, u32), 6),
        ("u128", b.add_int("u128", 16), 16),
        ("s128", b.add_int("s128", 16, t.INT_SIGNED), 16),
    ]
    rows = []
    at = 0
    for name, type_id, size in members:
        rows.append((name, type_id, at * 8))
        at += size
    return u32, b.add_struct("record", at, rows), at


def _version(text: str) -> tuple[int, int]:
    major, minor = text.split(".")
    return int(major), int(minor)


@pytest.fixture
def filled_map() -> Iterator[tuple[int, Btf, int, int, dict[bytes, bytes]]]:
    """A hash map of such structs: (id of the map, BTF, type ids of key and value, contents)."""
    builder = BtfBuilder()
    key, value, size = _record(builder)
    # As in a load: what this kernel doesn't know yet becomes an older kind, and both decode that.
    lacking = frozenset(name for name, since in FEATURES.items() if system.kernel_version() < _version(since))
    btf = Btf.parse(sanitize(builder.build(), lacking))
    btf_fd = bpf.btf_load(btf.raw)
    map_fd = bpf.map_create(
        consts.BPF_MAP_TYPE_HASH, 4, size, ENTRIES, name="values", btf_fd=btf_fd, btf_key_type_id=key, btf_value_type_id=value
    )
    chooser = random.Random(20)
    contents = {}
    try:
        for index in range(ENTRIES):
            raw = b"".join(chooser.choice(PIECES) for _ in range(size // 8 + 1))[:size]
            contents[struct.pack("=I", index)] = raw
            bpf.map_update_elem(map_fd, struct.pack("=I", index), raw)
        info = bytearray(128)
        bpf.obj_get_info_by_fd(map_fd, info)
        yield struct.unpack_from("=I", info, 4)[0], btf, key, value, contents
    finally:
        os.close(map_fd)
        os.close(btf_fd)


def test_bpftool_decodes_the_same(filled_map: tuple[int, Btf, int, int, dict[bytes, bytes]], bpftool: Callable[..., Any]) -> None:
    ident, btf, key_type, value_type, contents = filled_map
    theirs = bpftool("-j", "map", "dump", "id", str(ident)).json()
    assert len(theirs) == ENTRIES
    json_style = Decoder(btf, style=JSON)
    plain_style = Decoder(btf, style=PLAIN)
    lines = []
    for entry in theirs:
        key = bytes(int(byte, 16) for byte in entry["key"])
        mine = {"key": json_style.decode(key_type, key), "value": json_style.decode(value_type, contents[key])}
        assert json.loads(json.dumps(mine)) == entry["formatted"]
        lines.append({"key": plain_style.decode(key_type, key), "value": plain_style.decode(value_type, contents[key])})
    text = bpftool("map", "dump", "id", str(ident)).stdout
    # bpftool before 7.3 printed a null pointer without quotes.
    assert (
        pretty(lines).splitlines()
        == text.replace(" (nil)", ' "(nil)"').replace("[(nil)", '["(nil)"').replace(",(nil)", ',"(nil)"').splitlines()
    )
