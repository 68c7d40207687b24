"""The same types said twice become one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bpfload.btf import Btf
from bpfload.btf import types as t
from bpfload.btf.dedup import deduplicate
from bpfload.btf.rows import TypeTable, references_in
from bpfload.btf.writer import BtfBuilder
from bpfload.errors import FormatError

Fill = Callable[[BtfBuilder], object]


def merged(*fills: Fill) -> tuple[Btf, list[int]]:
    """Return what is left of several BTFs one behind the other, and by old id the new one."""
    table = TypeTable()
    for fill in fills:
        builder = BtfBuilder(little_endian=True)
        fill(builder)
        btf = builder.build()
        start = len(table) - 1
        for type_id in range(1, len(btf)):
            row = table.row_of(btf, type_id)
            for place in references_in(row):
                row[place] += start if row[place] else 0
            table.add(row)
    outcome, ids = deduplicate(table)
    result = Btf.parse(outcome.bytes())
    result.validate()
    return result, ids


def kinds(btf: Btf) -> list[tuple[str, str]]:
    return [(t.KIND_NAMES[each.kind], each.name) for each in btf.types()]


def listed(builder: BtfBuilder) -> None:
    """A list: a struct that points to itself."""
    builder.add_struct("node", 16, [("next", 2, 0), ("value", 3, 64)])
    builder.add_pointer(1)
    builder.add_int("int", 4, 1)


def test_equal_types_are_found_through_cycles() -> None:
    btf, ids = merged(listed, listed)
    assert kinds(btf) == [("STRUCT", "node"), ("PTR", ""), ("INT", "int")]
    assert ids == [0, 1, 2, 3, 1, 2, 3]


def test_structs_that_differ_far_down_stay_two() -> None:
    def outer(size: int) -> Fill:
        def fill(builder: BtfBuilder) -> None:
            number = builder.add_int(f"u{size * 8}", size)
            inner = builder.add_struct("inner", 8, [("value", number, 0)])
            builder.add_struct("outer", 8, [("inner", builder.add_pointer(inner), 0)])

        return fill

    assert len(merged(outer(4), outer(8))[0]) == 9
    assert len(merged(outer(4), outer(4))[0]) == 5


def test_a_declaration_becomes_the_struct_when_the_rest_agrees() -> None:
    def user(*, defined: bool) -> Fill:
        def fill(builder: BtfBuilder) -> None:
            if defined:
                target = builder.add_struct("task", 4, [("pid", builder.add_int("int", 4, 1), 0)])
            else:
                target = builder.add_fwd("task")
            builder.add_struct("user", 8, [("task", builder.add_pointer(target), 0)])

        return fill

    for fills in ((user(defined=False), user(defined=True)), (user(defined=True), user(defined=False))):
        btf, _ = merged(*fills)
        assert sorted(kinds(btf)) == [("INT", "int"), ("PTR", ""), ("STRUCT", "task"), ("STRUCT", "user")]
    assert ("FWD", "task") in kinds(merged(user(defined=False), user(defined=False))[0])


def test_a_declaration_by_itself_becomes_the_only_struct_of_its_name() -> None:
    def struct(name: str, size: int, *, union: bool = False) -> Fill:
        return lambda builder: builder.add_struct(name, size, union=union)

    def pointer(builder: BtfBuilder) -> None:
        builder.add_pointer(builder.add_fwd("thing"))

    assert kinds(merged(pointer, struct("thing", 4))[0]) == [("PTR", ""), ("STRUCT", "thing")]
    assert ("FWD", "thing") in kinds(merged(pointer, struct("thing", 4), struct("thing", 8))[0]), "which of them?"
    assert ("FWD", "thing") in kinds(merged(pointer, struct("thing", 4, union=True))[0]), "a union is no struct"


def test_enums() -> None:
    def enum(*names: str) -> Fill:
        return lambda builder: builder.add_enum("state", [(name, value) for value, name in enumerate(names)])

    assert len(merged(enum("A", "B"), enum("A", "B"))[0]) == 2
    assert len(merged(enum("A", "B"), enum("A", "C"))[0]) == 3
    for order in ((enum(), enum("A")), (enum("A"), enum())):
        btf, ids = merged(*order)
        assert len(btf) == 2
        assert btf.type(1).vlen == 1, "the declaration gave way"
        assert ids == [0, 1, 1]


def test_functions_prototypes_and_arrays() -> None:
    def function(name: str, parameter: str) -> Fill:
        def fill(builder: BtfBuilder) -> None:
            number = builder.add_int("int", 4, 1)
            builder.add_array(builder.add_const(number), 3, number)
            builder.add_func(name, builder.add_func_proto(number, [(parameter, number)]))

        return fill

    assert len(merged(function("f", "x"), function("f", "x"))[0]) == 6
    assert len(merged(function("f", "x"), function("g", "x"))[0]) == 7, "one prototype for both"
    assert len(merged(function("f", "x"), function("f", "y"))[0]) == 8


def test_variables_and_sections_are_never_the_same() -> None:
    def variable(builder: BtfBuilder) -> None:
        builder.add_datasec(".bss", 4, [(builder.add_var("x", builder.add_int("int", 4, 1), t.LINKAGE_STATIC), 0, 4)])

    btf, _ = merged(variable, variable)
    assert [kind for kind, _ in kinds(btf)] == ["INT", "VAR", "DATASEC", "VAR", "DATASEC"]
    assert btf.type(5).variables[0].type_id == 4


def test_a_chain_that_bites_its_tail_is_refused() -> None:
    def cycle(builder: BtfBuilder) -> None:
        builder.add_typedef("a", 2)
        builder.add_typedef("b", 1)

    with pytest.raises(FormatError, match="refers to itself"):
        merged(cycle)


def test_strings_are_kept_once() -> None:
    btf, _ = merged(listed, listed)
    assert sorted(btf.own_strings.split(b"\0")) == [b"", b"", b"int", b"next", b"node", b"value"]
