from __future__ import annotations

import pytest

from bpfload.btf import Btf
from bpfload.btf import types as t
from bpfload.btf.sanitize import FEATURES, sanitize
from bpfload.btf.writer import BtfBuilder


@pytest.fixture
def btf() -> Btf:
    builder = BtfBuilder()
    integer = builder.add_int("int", 4, t.INT_SIGNED)  # 1
    double = builder.add_float("double", 8)  # 2
    builder.add_pointer(builder.add_type_tag("user", integer))  # 3, 4
    proto = builder.add_func_proto(integer, [("a", integer), ("p", 4)])  # 5
    builder.add_func("f", proto, t.LINKAGE_GLOBAL)  # 6
    builder.add_enum("e", [("NEGATIVE", -1)])  # 7
    builder.add_enum64("wide", [("HUGE", 1 << 40)])  # 8
    builder.add_var("v", integer)  # 9
    builder.add_var("w", double)  # 10
    builder.add_datasec("?.data.x", 16, [(9, 0, 4), (10, 8, 8)])  # 11
    builder.add_decl_tag("tag", 9)  # 12
    return builder.build()


def kinds(btf: Btf) -> list[str]:
    return [t.KIND_NAMES[found.kind] for found in btf.types()]


def test_nothing_missing_changes_nothing(btf: Btf) -> None:
    assert sanitize(btf, frozenset()) == btf.raw
    assert sanitize(bytes(btf.raw), frozenset()) == btf.raw


def test_everything_missing_leaves_the_oldest_kinds(btf: Btf) -> None:
    old = Btf.parse(sanitize(btf, frozenset(FEATURES)))
    old.validate()
    assert kinds(old) == (
        ["INT", "STRUCT", "CONST", "PTR", "ENUM", "TYPEDEF", "ENUM", "UNION", "INT", "INT", "STRUCT", "INT", "INT"]
    )  # fmt: skip
    assert old.type(11).name == "__data_x"
    assert [(m.name, m.type_id, m.offset_bits) for m in old.type(11).members] == [("v", 9, 0), ("w", 10, 64)]
    assert (old.type(9).size, old.type(9).bits) == (1, 8)
    assert (old.type(2).name, old.type(2).size) == ("", 8)
    assert [m.type_id for m in old.type(8).members] == [13]
    assert old.type(13).name == "enum64_placeholder"
    assert not old.type(7).kind_flag


@pytest.mark.parametrize(
    ("missing", "type_id", "kind"),
    [
        ("func", 5, t.KIND_ENUM),
        ("func", 6, t.KIND_TYPEDEF),
        ("func_global", 6, t.KIND_FUNC),
        ("datasec", 9, t.KIND_INT),
        ("datasec", 11, t.KIND_STRUCT),
        ("qmark_datasec", 11, t.KIND_DATASEC),
        ("float", 2, t.KIND_STRUCT),
        ("decl_tag", 12, t.KIND_INT),
        ("type_tag", 3, t.KIND_CONST),
        ("enum64", 8, t.KIND_UNION),
    ],
)
def test_only_what_is_missing_changes(btf: Btf, missing: str, type_id: int, kind: int) -> None:
    old = Btf.parse(sanitize(btf, frozenset([missing])))
    old.validate()
    assert old.type(type_id).kind == kind
    changed = {
        found.id
        for found in btf.types()
        if repr(found) != repr(old.type(found.id)) or found.linkage != old.type(found.id).linkage
    }
    assert type_id in changed
    assert len(changed) <= 3


def test_a_question_mark_becomes_an_underscore(btf: Btf) -> None:
    assert Btf.parse(sanitize(btf, frozenset(["qmark_datasec"]))).type(11).name == "_.data.x"


def test_unknown_features_are_a_mistake(btf: Btf) -> None:
    with pytest.raises(ValueError, match="enum65"):
        sanitize(btf, frozenset(["enum65"]))
