"""BTF as C: what is written for types built here, line for line."""

from __future__ import annotations

import shutil
import subprocess
from textwrap import dedent

import pytest

from bpfload.btf import Btf
from bpfload.btf import types as t
from bpfload.btf.cdump import c_header, c_types
from bpfload.btf.writer import BtfBuilder
from bpfload.errors import FormatError


def built() -> tuple[BtfBuilder, int]:
    """Return a builder with ``int`` in it, and its id."""
    builder = BtfBuilder()
    return builder, builder.add_int("int", 4, t.INT_SIGNED)


def text(builder: BtfBuilder, *, sort: bool = False) -> str:
    return c_types(builder.build(), sort=sort)


def expect(builder: BtfBuilder, expected: str, *, sort: bool = False) -> None:
    assert text(builder, sort=sort) == dedent(expected).replace("    ", "\t")


def declared(builder: BtfBuilder, type_id: int, name: str = "x") -> str:
    """Return how a member of that type is declared."""
    builder.add_struct("holder", 8, [(name, type_id, 0)])
    lines = text(builder).splitlines()
    return lines[lines.index("struct holder {") + 1].strip()


# --- definitions ------------------------------------------------------------------------------------------------------


def test_a_struct_stands_after_what_it_embeds() -> None:
    builder, number = built()
    builder.add_struct("outer", 8, [("a", number, 0), ("b", 3, 32)])
    builder.add_struct("inner", 4, [("c", number, 0)])
    expect(
        builder,
        """\
        struct inner {
            int c;
        };

        struct outer {
            int a;
            struct inner b;
        };

        """,
    )


def test_two_structs_that_point_to_each_other_need_a_forward_declaration() -> None:
    builder, _ = built()
    builder.add_struct("first", 8, [("second", 3, 0)])
    builder.add_pointer(4)
    builder.add_struct("second", 8, [("first", 5, 0)])
    builder.add_pointer(2)
    expect(
        builder,
        """\
        struct second;

        struct first {
            struct second *second;
        };

        struct second {
            struct first *first;
        };

        """,
    )


def test_a_struct_that_points_to_itself_needs_none() -> None:
    builder, _ = built()
    builder.add_struct("node", 8, [("next", 3, 0)])
    builder.add_pointer(2)
    expect(builder, "struct node {\n\tstruct node *next;\n};\n\n")


def test_a_typedef_of_a_pointer_into_the_struct_that_uses_it() -> None:
    builder, _ = built()
    builder.add_struct("node", 8, [("next", 3, 0)])
    builder.add_typedef("link_t", 4)
    builder.add_pointer(2)
    expect(builder, "struct node;\n\ntypedef struct node *link_t;\n\nstruct node {\n\tlink_t next;\n};\n\n")


def test_structs_unions_and_enums_without_a_tag_stand_where_they_are_used() -> None:
    builder, number = built()
    enum = builder.add_enum("", [("RED", 0), ("GREEN", 1)])
    union = builder.add_union("", 4, [("number", number, 0), ("colour", enum, 0)])
    builder.add_struct("holder", 4, [("", union, 0)])
    builder.add_enum("", [("ALONE", -1)])
    expect(
        builder,
        """\
        struct holder {
            union {
                int number;
                enum {
                    RED = 0,
                    GREEN = 1,
                } colour;
            };
        };

        enum {
            ALONE = -1,
        };

        """,
    )


def test_an_empty_struct_and_a_forward_declaration() -> None:
    builder = BtfBuilder()
    builder.add_struct("empty", 0)
    builder.add_fwd("elsewhere")
    builder.add_fwd("either", union=True)
    expect(builder, "struct empty {};\n\nstruct elsewhere;\n\nunion either;\n\n")


@pytest.mark.parametrize(
    ("kind", "values", "size", "expected"),
    [
        ("enum", [("A", 0xFFFFFFFF)], 4, "\tA = 4294967295,\n}"),
        ("enum", [("A", -2)], 4, "\tA = -2,\n}"),
        ("enum", [("A", 1)], 1, "\tA = 1,\n} __attribute__((mode(byte)))"),
        ("enum", [("A", 1)], 8, "\tA = 1,\n} __attribute__((mode(word)))"),
        ("enum64", [("A", 1 << 40)], 8, "\tA = 1099511627776ULL,\n}"),
        ("enum64", [("A", -1)], 8, "\tA = -1LL,\n}"),
        ("enum64", [("A", 1)], 8, "\tA = 1ULL,\n} __attribute__((mode(word)))"),
    ],
)
def test_enums_keep_sign_and_size(kind: str, values: list[tuple[str, int]], size: int, expected: str) -> None:
    builder = BtfBuilder()
    add = builder.add_enum if kind == "enum" else builder.add_enum64
    add("e", values, size=size)
    expect(builder, f"enum e {{\n{expected};\n\n")


# --- layout -----------------------------------------------------------------------------------------------------------


def test_bit_fields_and_the_gaps_between_them() -> None:
    builder, number = built()
    builder.add_struct("bits", 16, [("a", number, 0, 3), ("b", number, 5, 2), ("c", number, 64, 0)])
    expect(
        builder,
        """\
        struct bits {
            int a: 3;
            char: 2;
            int b: 2;
            long: 0;
            int c;
            long: 0;
        };

        """,
    )


@pytest.mark.parametrize(
    ("size", "members", "lines"),
    [
        (16, [("a", 1, 0), ("b", 1, 64)], ["int a;", "long: 0;", "int b;"]),
        (16, [("a", 1, 0), ("b", 1, 96)], ["int a;", "long: 0;", "int: 32;", "int b;"]),
        (32, [("a", 1, 0)], ["int a;", "long: 64;", "long: 64;", "long: 64;"]),
    ],
)
def test_padding_where_c_would_put_none(size: int, members: list[tuple[str, int, int]], lines: list[str]) -> None:
    builder, _ = built()
    builder.add_int("long", 8, t.INT_SIGNED)
    builder.add_struct("padded", size, members)
    found = [line.strip() for line in text(builder).splitlines() if line.startswith("\t")]
    assert found[: len(lines)] == lines


def test_a_struct_whose_members_are_not_aligned_is_packed() -> None:
    builder, number = built()
    byte = builder.add_int("char", 1)
    builder.add_struct("packed", 5, [("a", byte, 0), ("b", number, 8)])
    expect(builder, "struct packed {\n\tchar a;\n\tint b;\n} __attribute__((packed));\n\n")


# --- declarations -----------------------------------------------------------------------------------------------------


def test_declarations_wind_around_the_name() -> None:
    builder, number = built()
    constant = builder.add_const(number)
    pointer = builder.add_pointer(constant)
    function = builder.add_func_proto(pointer, [("a", number), ("", pointer), ("", 0)])
    callback = builder.add_pointer(function)
    table = builder.add_array(callback, 4, number)
    row = builder.add_array(number, 2, number)
    matrix = builder.add_array(row, 3, number)
    to_row = builder.add_pointer(row)
    taker = builder.add_pointer(builder.add_func_proto(0, [("", to_row), ("", matrix)]))
    fixed = builder.add_const(builder.add_volatile(pointer))
    nested = builder.add_pointer(builder.add_func_proto(callback, []))
    found = {
        type_id: declared(BtfCopy(builder), type_id)
        for type_id in (constant, pointer, callback, table, matrix, to_row, taker, fixed, nested)
    }
    assert list(found.values()) == [
        "const int x;",
        "const int *x;",
        "const int * (*x)(int a, const int *, ...);",
        "const int * (*x[4])(int a, const int *, ...);",
        "int x[3][2];",
        "int (*x)[2];",
        "void (*x)(int(*)[2], int[3][2]);",
        "const int * volatile const x;",
        "const int * (* (*x)(void))(int a, const int *, ...);",
    ]


class BtfCopy(BtfBuilder):
    """A builder that goes on where another one stands."""

    def __init__(self, other: BtfBuilder) -> None:
        super().__init__(base=other.build())


def test_type_tags_are_attributes() -> None:
    builder, number = built()
    tagged = builder.add_pointer(builder.add_type_tag("user", number))
    assert declared(builder, tagged) == 'int __attribute__((btf_type_tag("user"))) *x;'


def test_qualifiers_of_arrays_mean_nothing() -> None:
    builder, number = built()
    array = builder.add_const(builder.add_array(number, 2, number))
    assert declared(builder, array) == "int x[2];"


# --- names ------------------------------------------------------------------------------------------------------------


def test_names_that_are_taken_get_a_number() -> None:
    builder, number = built()
    builder.add_struct("same", 4, [("a", number, 0)])
    builder.add_struct("same", 8, [("a", number, 0), ("b", number, 32)])
    builder.add_typedef("same", number)
    builder.add_enum("", [("same", 1), ("other", 2)])
    found = text(builder)
    assert "struct same {" in found
    assert "struct same___2 {" in found
    assert "typedef int same;" in found, "typedefs have a name space of their own"
    assert "same___2 = 1," in found, "values of enums share it"
    assert "other = 2," in found


def test_types_of_the_compilers_own_are_left_to_the_compiler() -> None:
    builder, _ = built()
    builder.add_typedef("__gnuc_va_list", 0)
    builder.add_typedef("__builtin_va_list", 1)
    poly = builder.add_int("__Poly8_t", 1)
    builder.add_struct("vector", 1, [("x", poly, 0)])
    expect(
        builder,
        """\
        typedef __builtin_va_list __gnuc_va_list;

        typedef unsigned char __Poly8_t;

        struct vector {
            __Poly8_t x;
        };

        """,
    )


def test_a_name_that_is_not_utf_8_comes_out_as_it_was() -> None:
    builder = BtfBuilder()
    builder.add_struct(b"\xff\xfe".decode("utf-8", "surrogateescape"), 0)
    assert text(builder).encode(errors="surrogateescape") == b"struct \xff\xfe {};\n\n"


# --- order ------------------------------------------------------------------------------------------------------------


def test_sorted_by_kind_then_name_whatever_the_ids() -> None:
    builder, number = built()
    builder.add_struct("zebra", 4, [("a", number, 0)])
    builder.add_typedef("alias", number)
    builder.add_fwd("later")
    builder.add_struct("ant", 4, [("a", number, 0)])
    builder.add_enum("colour", [("RED", 1)])
    builder.add_enum("", [("LOOSE", 1)])
    heads = [block.split(" {")[0].split(";")[0] for block in text(builder, sort=True).split("\n\n") if block]
    assert heads == ["enum", "enum colour", "typedef int alias", "struct ant", "struct zebra", "struct later"]


def test_types_of_one_name_are_sorted_by_what_is_in_them() -> None:
    """Another order of ids gives the same header."""
    shapes = [[("a", 1, 0)], [("b", 1, 0)], [("c", 1, 0)]]
    texts = set()
    for order in (shapes, shapes[::-1]):
        builder, _ = built()
        for members in order:
            builder.add_struct("same", 4, members)
        texts.add(text(builder, sort=True))
    assert len(texts) == 1


def test_what_only_a_function_needs_is_there_too() -> None:
    """A forward declaration that is reached through the parameters of a function comes before one that nothing reaches."""
    builder, _ = built()
    builder.add_fwd("aaa")
    used = builder.add_pointer(builder.add_fwd("zzz"))
    builder.add_func("f", builder.add_func_proto(0, [("p", used)]))
    assert text(builder, sort=True) == "struct zzz;\n\nstruct aaa;\n\n"


def test_roots_bring_only_what_they_need() -> None:
    builder, number = built()
    inner = builder.add_struct("inner", 4, [("a", number, 0)])
    outer = builder.add_struct("outer", 4, [("b", inner, 0)])
    builder.add_struct("unrelated", 4, [("a", number, 0)])
    found = c_header(builder.build(), [outer])
    assert "struct inner {" in found
    assert "struct outer {" in found
    assert "unrelated" not in found
    assert "kfuncs" not in found


def test_split_btf_brings_its_base() -> None:
    base, number = built()
    base.add_struct("of_kernel", 4, [("a", number, 0)])
    module = BtfBuilder(base=base.build())
    module.add_struct("of_module", 4, [("b", 2, 0)])
    found = c_types(module.build())
    assert found == "struct of_kernel {\n\tint a;\n};\n\nstruct of_module {\n\tstruct of_kernel b;\n};\n\n"


def test_prototypes_of_kfuncs() -> None:
    builder, number = built()
    function = builder.add_func("bpf_take", builder.add_func_proto(number, [("what", number)]))
    builder.add_decl_tag("bpf_kfunc", function)
    builder.add_decl_tag("bpf_kfunc", function, 0)
    builder.add_func("not_one", builder.add_func_proto(number))
    found = c_header(builder.build())
    assert found.count("extern") == 1
    assert "extern int bpf_take(int what) __weak __ksym;\n#endif\n" in found


# --- what C can't say, and hostile input ---------------------------------------------------------------------------


def recursive() -> Btf:
    builder = BtfBuilder()
    builder.add_struct("own", 4, [("itself", 1, 0)])
    return builder.build()


def missing() -> Btf:
    builder = BtfBuilder()
    builder.add_struct("s", 4, [("a", 99, 0)])
    return builder.build()


def function_member() -> Btf:
    builder, _ = built()
    function = builder.add_func("f", builder.add_func_proto(0))
    builder.add_struct("s", 4, [("a", function, 0)])
    return builder.build()


def circle() -> Btf:
    builder = BtfBuilder()
    builder.add_pointer(2)
    builder.add_const(1)
    builder.add_struct("s", 8, [("a", 1, 0)])
    return builder.build()


def gap() -> Btf:
    builder, number = built()
    builder.add_struct("s", 0x0FFFFFFF, [("a", number, 0)])
    return builder.build()


def doubling() -> Btf:
    """Each of 40 structs without a tag holds the one before twice: 2**40 lines."""
    builder, number = built()
    inner = number
    for level in range(40):
        size = 4 << min(level + 1, 20)
        inner = builder.add_struct("", size, [("a", inner, 0), ("b", inner, size * 4)])
    builder.add_typedef("all", inner)
    return builder.build()


def deep() -> Btf:
    builder, number = built()
    inner = number
    for _ in range(2000):
        inner = builder.add_struct("", 4, [("a", inner, 0)])
    builder.add_typedef("all", inner)
    return builder.build()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (recursive, "BTF type 1: it contains itself"),
        (missing, "doesn't exist"),
        (function_member, "a FUNC can't be part of a declaration"),
        (circle, "nested too deeply"),
        (gap, "a gap of 2147483576 bits is too large"),
        (deep, "nested too deeply"),
    ],
)
def test_what_c_can_not_say(make: object, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        c_header(make())  # type: ignore[operator]


def test_lines_without_end_are_refused_in_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bpfload.btf.cdump.emit.MAX_LINES", 10_000)
    with pytest.raises(FormatError, match="nested too often"):
        c_header(doubling())


# --- compiling --------------------------------------------------------------------------------------------------------


def test_the_header_compiles(tmp_path: object) -> None:
    clang = shutil.which("clang")
    if not clang:
        pytest.skip("feature: no clang")
    builder, number = built()
    builder.add_struct("s", 16, [("a", number, 0, 3), ("b", number, 5, 2), ("c", number, 64, 0)])
    done = subprocess.run(
        [clang, "-target", "bpf", "-x", "c", "-fsyntax-only", "-"],
        input=c_header(builder.build()) + '_Static_assert(sizeof(struct s) == 16 && __builtin_offsetof(struct s, c) == 8, "");\n',
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
