from __future__ import annotations

import pytest

from bpfload.btf import Btf
from bpfload.btf import types as t
from bpfload.btf.writer import BtfBuilder, BtfEditor
from bpfload.errors import FormatError


@pytest.fixture(params=[True, False], ids=["little", "big"])
def btf(request: pytest.FixtureRequest) -> Btf:
    builder = BtfBuilder(little_endian=request.param)
    integer = builder.add_int("int", 4, t.INT_SIGNED)  # 1
    builder.add_func_proto(integer, [("", integer)])  # 2
    builder.add_func("f", 2, t.LINKAGE_EXTERN)  # 3
    builder.add_var("a", integer, t.LINKAGE_EXTERN)  # 4
    builder.add_var("b", integer)  # 5
    builder.add_datasec(".data", 0, [(4, 8, 4), (5, 0, 4)])  # 6
    builder.add_struct("s", 4, [("m", integer, 0)])  # 7
    return builder.build()


def test_an_untouched_copy_is_equal(btf: Btf) -> None:
    assert BtfEditor(btf).bytes() == btf.raw


def test_changes_in_place(btf: Btf) -> None:
    editor = BtfEditor(btf)
    editor.set_func_linkage(3, t.LINKAGE_GLOBAL)
    editor.set_var_linkage(4, t.LINKAGE_GLOBAL)
    editor.set_reference(5, 7)
    editor.set_datasec_size(6, 16)
    editor.set_datasec_offset(6, 1, 12)
    editor.set_param_name(2, 0, "dummy")
    editor.set_name(7, "renamed")
    changed = editor.build()
    changed.validate()
    assert changed.type(3).linkage == changed.type(4).linkage == t.LINKAGE_GLOBAL
    assert changed.type(5).type_id == 7
    assert changed.type(6).size == 16
    assert [(v.type_id, v.offset) for v in changed.type(6).variables] == [(4, 8), (5, 12)]
    assert changed.type(2).params[0].name == "dummy"
    assert changed.find("renamed") == 7
    assert btf.type(3).linkage == t.LINKAGE_EXTERN
    assert changed.little_endian == btf.little_endian


def test_section_variables_are_replaced_and_sorted(btf: Btf) -> None:
    editor = BtfEditor(btf)
    added = editor.add_var("c", 1)
    editor.set_datasec_variable(6, 0, variable=added, offset=20, size=2)
    editor.sort_datasec(6)
    assert [(v.type_id, v.offset, v.size) for v in editor.build().type(6).variables] == [(5, 0, 4), (added, 20, 2)]


def test_types_and_strings_are_appended(btf: Btf) -> None:
    editor = BtfEditor(btf)
    first = len(btf)
    assert editor.add_pointer(7) == first
    assert editor.add_typedef("int", first) == first + 1
    changed = editor.build()
    changed.validate()
    assert len(changed) == first + 2
    assert changed.own_strings == btf.own_strings  # "int" is there already
    assert editor.add_string("new") == editor.add_string("new") == len(btf.own_strings)
    assert editor.add_string("") == 0


def test_the_wrong_kind_is_refused(btf: Btf) -> None:
    editor = BtfEditor(btf)
    with pytest.raises(FormatError, match="type 1 is INT, not VAR"):
        editor.set_var_linkage(1, 0)
    with pytest.raises(FormatError, match="refers to no type"):
        editor.set_reference(1, 0)
    with pytest.raises(FormatError, match="no member 2"):
        editor.set_datasec_offset(6, 2, 0)
    with pytest.raises(FormatError, match="can't be changed"):
        editor.set_name(99, "x")
    with pytest.raises(FormatError, match="zero byte"):
        editor.add_string("a\0b")
    with pytest.raises(FormatError, match="65536 members"):
        editor.add_type(t.KIND_STRUCT, vlen=0x10000)


def test_split_btf_shares_the_base_s_strings() -> None:
    builder = BtfBuilder()
    builder.add_int("int", 4)
    base = builder.build()
    split = BtfBuilder(base=base)
    assert split.add_string("int") == 1
    assert split.add_string("other") == base.string_end + 1
    assert split.add_typedef("int", 1) == 2
    assert split.build().type(2).name == "int"
    assert BtfEditor(split.build()).bytes() == split.bytes()
