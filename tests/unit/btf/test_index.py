from __future__ import annotations

import random
import struct
import sys

import pytest

from bpfload.btf import Btf
from bpfload.btf import types as t
from bpfload.btf.names_index import essential_name
from bpfload.btf.writer import BtfBuilder
from bpfload.errors import FormatError

LITTLE = sys.byteorder == "little"


def sample(*, little_endian: bool = LITTLE) -> BtfBuilder:
    builder = BtfBuilder(little_endian=little_endian)
    integer = builder.add_int("int", 4, t.INT_SIGNED)  # 1
    builder.add_struct("point", 8, [("x", integer, 0), ("y", integer, 32)])  # 2
    builder.add_pointer(2)  # 3
    builder.add_enum("state", [("OFF", 0), ("ON", 1), ("BROKEN", -1)])  # 4
    builder.add_func_proto(integer, [("at", 3), ("", 0)])  # 5
    builder.add_func("move", 5, t.LINKAGE_GLOBAL)  # 6
    builder.add_array(2, 7, integer)  # 7
    builder.add_var("points", 7, t.LINKAGE_STATIC)  # 8
    builder.add_datasec(".data", 56, [(8, 0, 56)])  # 9
    builder.add_enum64("wide", [("HUGE", 1 << 40), ("ALL", (1 << 64) - 1)])  # 10
    builder.add_struct("flags", 4, [("a", integer, 0, 3), ("b", integer, 3, 29)])  # 11
    builder.add_fwd("later", union=True)  # 12
    builder.add_decl_tag("tagged", 2, 1)  # 13
    builder.add_typedef("point", 2)  # 14
    builder.add_float("double", 8)  # 15
    return builder


@pytest.mark.parametrize("little_endian", [True, False])
def test_every_kind_is_decoded_in_both_byte_orders(little_endian: bool) -> None:
    btf = sample(little_endian=little_endian).build()
    assert btf.little_endian == little_endian
    assert len(btf) == 16
    assert [found.id for found in btf.types()] == list(range(1, 16))
    assert btf.type(0).name == "void"
    integer = btf.type(1)
    assert (integer.name, integer.size, integer.bits, integer.encoding) == ("int", 4, 32, t.INT_SIGNED)
    assert [(m.name, m.type_id, m.offset_bits, m.bitfield_size) for m in btf.type(2).members] == [("x", 1, 0, 0), ("y", 1, 32, 0)]
    assert btf.type(3).type_id == 2
    assert [(v.name, v.value) for v in btf.type(4).values] == [("OFF", 0), ("ON", 1), ("BROKEN", -1)]
    assert [(p.name, p.type_id) for p in btf.type(5).params] == [("at", 3), ("", 0)]
    assert (btf.type(6).linkage, btf.type(6).type_id) == (t.LINKAGE_GLOBAL, 5)
    assert (btf.type(7).elem, btf.type(7).index, btf.type(7).nelems) == (2, 1, 7)
    assert (btf.type(8).linkage, btf.type(8).type_id) == (t.LINKAGE_STATIC, 7)
    assert [(v.type_id, v.offset, v.size) for v in btf.type(9).variables] == [(8, 0, 56)]
    assert [(v.name, v.value) for v in btf.type(10).values] == [("HUGE", 1 << 40), ("ALL", (1 << 64) - 1)]
    assert [(m.offset_bits, m.bitfield_size) for m in btf.type(11).members] == [(0, 3), (3, 29)]
    assert btf.type(12).kind_flag
    assert btf.type(13).component_idx == 1
    assert btf.type(15).size == 8
    btf.validate()


def test_parts_of_other_kinds_are_empty() -> None:
    pointer = sample().build().type(3)
    assert (pointer.members, pointer.values, pointer.params, pointer.variables) == ((), (), (), ())
    assert (pointer.encoding, pointer.elem, pointer.nelems, pointer.linkage, pointer.component_idx, pointer.size) == (0,) * 6


def test_a_type_is_decoded_once() -> None:
    btf = sample().build()
    assert btf.type(2) is btf.type(2)
    assert btf.type(2).members is btf.type(2).members


def test_find_by_name_and_kind() -> None:
    btf = sample().build()
    assert btf.find("point") == 2
    assert btf.find("point", t.KIND_TYPEDEF) == 14
    assert btf.find("point", t.KIND_UNION) == 0
    assert btf.find_all("point") == [2, 14]
    assert btf.find("poin") == 0
    assert btf.find("") == 0
    assert btf.find("x\0y") == 0


def test_a_found_list_is_the_callers_own() -> None:
    btf = sample().build()
    btf.find_all("point").append(99)
    assert btf.find_all("point") == [2, 14]


def test_candidates_have_the_essential_name() -> None:
    builder = BtfBuilder()
    for name in ("task", "task___old", "task___new", "task___a___b", "mytask", "task__x"):
        builder.add_struct(name, 4)
    btf = builder.build()
    assert btf.candidates("task") == [1, 2, 3]
    assert btf.candidates("task___a") == [4]
    assert btf.candidates("nothing") == []


@pytest.mark.parametrize(
    ("name", "essential"),
    [
        ("task_struct", "task_struct"),
        ("task_struct___old", "task_struct"),
        ("a___b___c", "a___b"),
        ("a____b", "a____b"),
        ("___b", "___b"),
        ("a___", "a___"),
        ("a___b_", "a"),
        ("a___b___", "a"),
        ("", ""),
    ],
)
def test_essential_name(name: str, essential: str) -> None:
    assert essential_name(name) == essential


def _random_names(builder: BtfBuilder, count: int) -> dict[str, list[int]]:
    chooser = random.Random(7)
    names: dict[str, list[int]] = {}
    for _ in range(count):
        name = chooser.choice("abc") + "_" * chooser.randrange(4) + str(chooser.randrange(count // 2))
        names.setdefault(name, []).append(builder.add_typedef(name, 0))
    return names


@pytest.mark.parametrize("tables", [False, True])
def test_search_and_tables_find_the_same(tables: bool) -> None:
    builder = BtfBuilder()
    names = _random_names(builder, 300)
    btf = builder.build()
    if tables:
        btf.names.make_tables()
    else:
        btf.names._searches = -(1 << 30)
    assert {name: btf.find_all(name) for name in names} == names
    assert btf.find_all("absent") == []


@pytest.mark.parametrize("tables", [False, True])
def test_names_that_are_tails_or_repeated_are_found(tables: bool) -> None:
    strings = b"\0struct_foo\0foo\0bar\0"
    rows = [(8, 8 << 24, 0), (12, 8 << 24, 0), (16, 8 << 24, 0), (1, 8 << 24, 0)]
    words = struct.pack("=12I", *[word for row in rows for word in row])
    header = struct.pack("=HBB5I", 0xEB9F, 1, 0, 24, 0, len(words), len(words), len(strings))
    btf = Btf.parse(header + words + strings)
    if tables:
        btf.names.make_tables()
    assert [found.name for found in btf.types()] == ["foo", "foo", "bar", "struct_foo"]
    assert btf.find_all("foo") == [1, 2]
    assert btf.find_all("struct_foo") == [4]
    assert btf.find_all("oo") == []


def test_split_btf_continues_its_base() -> None:
    base = sample().build("vmlinux")
    builder = BtfBuilder(base=base)
    again = builder.add_typedef("point", 2)
    own = builder.add_struct("own___mine", 8, [("p", 2, 0)])
    split = builder.build("module")
    split.validate()
    assert split.start_id == len(base) == again
    assert split.type(2) is base.type(2)
    assert split.type(own).members[0].type_id == 2
    assert split.find_all("point") == [2, 14, again]
    assert split.candidates("own") == [own]
    assert split.candidates("point", own=True) == [again]
    assert split.size_of(own) == 8
    assert [found.id for found in split.types()] == [again, own]
    assert base.find("own___mine") == 0


def test_resolve_skips_names_and_qualifiers() -> None:
    builder = BtfBuilder()
    integer = builder.add_int("int", 4, t.INT_SIGNED)
    typedef = builder.add_typedef("counter", builder.add_const(integer))
    outer = builder.add_volatile(builder.add_type_tag("user", typedef))
    btf = builder.build()
    assert btf.resolve(outer) == integer
    assert btf.skip_modifiers(outer) == typedef
    assert btf.resolve(0) == 0


def test_unknown_ids_and_strings_are_refused() -> None:
    btf = sample().build()
    for bad in (16, -1, 1 << 32):
        with pytest.raises(FormatError, match="doesn't exist"):
            btf.type(bad)
        with pytest.raises(FormatError, match="doesn't exist"):
            btf.kind(bad)
    with pytest.raises(FormatError, match="outside the strings"):
        btf.string(1 << 20)
    with pytest.raises(FormatError):
        btf.string(-1)


def _header(**changes: int) -> bytes:
    """A BTF of one INT, with parts of the header changed."""
    types = struct.pack("=4I", 1, 1 << 24, 4, 32)
    strings = b"\0int\0"
    fields = {"magic": 0xEB9F, "hdr_len": 24, "type_off": 0, "type_len": 16, "str_off": 16, "str_len": 5} | changes
    return struct.pack("=HBB5I", fields.pop("magic"), 1, 0, *fields.values()) + types + strings


def test_the_unchanged_header_is_accepted() -> None:
    assert len(Btf.parse(_header())) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"magic": 0x1234},
        {"hdr_len": 46},
        {"hdr_len": 0xFFFFFFFF},
        {"type_off": 1},
        {"type_len": 15},
        {"type_len": 20},
        {"type_len": 12, "str_off": 12},
        {"str_off": 12},
        {"str_off": 0xFFFFFFFF},
        {"str_len": 6},
        {"str_len": 0xFFFFFFFF},
        {"str_len": 0},
        {"str_len": 4},
        {"str_off": 17, "str_len": 4},
    ],
)
def test_bad_headers_are_refused(changes: dict[str, int]) -> None:
    with pytest.raises(FormatError):
        Btf.parse(_header(**changes))


def test_truncation_anywhere_is_refused() -> None:
    data = sample().bytes()
    for size in range(len(data)):
        with pytest.raises(FormatError):
            Btf.parse(data[:size])


def test_no_types_at_all_is_fine() -> None:
    btf = BtfBuilder().build()
    btf.validate()
    assert len(btf) == 1
    assert btf.find("int") == 0


@pytest.mark.parametrize("kind", [0, 20, 31])
def test_unknown_kinds_are_refused(kind: int) -> None:
    builder = BtfBuilder()
    builder.add_type(kind)
    with pytest.raises(FormatError, match=f"type 1: unknown kind {kind}"):
        builder.build()


def test_a_table_that_runs_over_the_end_is_refused() -> None:
    builder = BtfBuilder()
    builder.add_type(t.KIND_STRUCT, "s", 4, [], vlen=0xFFFF)
    with pytest.raises(FormatError, match="runs over the end"):
        builder.build()


def test_cycles_are_refused() -> None:
    builder = BtfBuilder()
    builder.add_typedef("a", 2)
    builder.add_const(1)
    builder.add_array(3, 2, 1)
    builder.add_struct("s", 4, [("s", 4, 0)])
    btf = builder.build()
    btf.validate()
    for method in (btf.resolve, btf.size_of, btf.align_of):
        with pytest.raises(FormatError, match="refers to itself"):
            method(1)
    with pytest.raises(FormatError):
        btf.size_of(3)
    with pytest.raises(FormatError, match="contains itself"):
        btf.align_of(4)
    assert btf.size_of(4) == 4


def test_bytes_that_are_not_utf8_don_t_stop_the_reader() -> None:
    data = BtfBuilder()
    data.add_typedef("a\udcffb", 0)
    btf = data.build()
    assert btf.type(1).name == "a\\xffb"
    assert btf.string_bytes(1) == b"a\xffb"
    assert btf.find("a\udcffb") == 1
