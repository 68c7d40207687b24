from __future__ import annotations

import pytest

from bpfload.btf import types as t
from bpfload.btf.writer import BtfBuilder
from bpfload.errors import FormatError


def test_sizes() -> None:
    builder = BtfBuilder()
    integer = builder.add_int("int", 4, t.INT_SIGNED)
    array = builder.add_array(integer, 6, integer)
    matrix = builder.add_array(builder.add_const(array), 2, integer)
    typedef = builder.add_typedef("m", matrix)
    variable = builder.add_var("v", typedef)
    pointer = builder.add_pointer(0)
    empty = builder.add_array(integer, 0, integer)
    proto = builder.add_func_proto(0)
    section = builder.add_datasec(".bss", 123)
    btf = builder.build()
    assert [btf.size_of(i) for i in (array, matrix, typedef, variable, pointer, empty, section)] == [24, 48, 48, 48, 8, 0, 123]
    for bad in (0, proto):
        with pytest.raises(FormatError, match="has no size"):
            btf.size_of(bad)


def test_too_large_arrays_are_refused() -> None:
    builder = BtfBuilder()
    integer = builder.add_int("int", 4)
    large = builder.add_array(integer, 1 << 30, integer)
    larger = builder.add_array(builder.add_array(integer, 1 << 20, integer), 1 << 20, integer)
    btf = builder.build()
    for bad in (large, larger):
        with pytest.raises(FormatError, match="too large") as caught:
            btf.size_of(bad)
        assert caught.value.errno_code == 7


def test_alignments() -> None:
    builder = BtfBuilder()
    byte = builder.add_int("char", 1)
    word = builder.add_int("long", 8, t.INT_SIGNED)
    huge = builder.add_int("__int128", 16)
    plain = builder.add_struct("plain", 16, [("a", byte, 0), ("b", word, 64)])
    packed = builder.add_struct("packed", 9, [("a", byte, 0), ("b", word, 8)])
    short = builder.add_struct("short", 12, [("b", word, 0)])
    nested = builder.add_struct("nested", 24, [("p", plain, 0), ("c", byte, 128)])
    bits = builder.add_struct("bits", 8, [("a", word, 0, 3), ("b", word, 3, 5)])
    array = builder.add_array(builder.add_typedef("t", word), 3, word)
    btf = builder.build()
    assert [btf.align_of(i) for i in (byte, word, huge, plain, packed, short, nested, bits, array)] == [1, 8, 8, 8, 1, 1, 8, 8, 8]
    with pytest.raises(FormatError, match="has no alignment"):
        btf.align_of(0)


@pytest.mark.parametrize(
    ("name", "size", "pointer"), [("long unsigned int", 4, 4), ("long", 8, 8), ("long", 2, 8), ("int", 4, 8)]
)
def test_the_size_of_long_tells_the_size_of_pointers(name: str, size: int, pointer: int) -> None:
    builder = BtfBuilder()
    builder.add_int(name, size)
    builder.add_pointer(0)
    btf = builder.build()
    assert btf.pointer_size == btf.size_of(2) == pointer


def test_deep_nesting_ends() -> None:
    builder = BtfBuilder()
    inner = builder.add_int("int", 4)
    for depth in range(2000):
        inner = builder.add_struct(f"s{depth}", 4, [("m", inner, 0), ("n", inner, 0)])
    btf = builder.build()
    with pytest.raises(FormatError, match="nested too deeply"):
        btf.align_of(inner)
    assert btf.align_of(60) == 4
    assert [btf.align_of(i) for i in range(2, 2002)] == [4] * 2000  # each level is looked at once
