from __future__ import annotations

import pytest

from bpfload.btf import Btf
from bpfload.btf import types as t
from bpfload.btf.names import c_type, declaration, prototype
from bpfload.btf.writer import BtfBuilder


@pytest.fixture(scope="module")
def btf() -> Btf:
    b = BtfBuilder()
    integer = b.add_int("int", 4, t.INT_SIGNED)
    char = b.add_int("char", 1, t.INT_SIGNED)
    context = b.add_pointer(b.add_struct("xdp_md", 24))
    b.add_func("hello", b.add_func_proto(integer, [("ctx", context)]))
    text = b.add_pointer(b.add_const(char))
    b.add_func("print", b.add_func_proto(0, [("fmt", text), ("", 0)]))
    b.add_func("unnamed", b.add_func_proto(context, [("", integer), ("", text)]))
    hook = b.add_pointer(b.add_func_proto(integer, [("", context)]))
    b.add_var("hook", hook, t.LINKAGE_STATIC)
    b.add_var("table", b.add_array(b.add_array(hook, 3, integer), 2, integer))
    b.add_var("fixed", b.add_const(b.add_pointer(b.add_volatile(b.add_union("", 8)))))
    b.add_var("grid", b.add_pointer(b.add_array(b.add_typedef("u8", char), 4, integer)))
    b.add_var("state", b.add_restrict(b.add_enum64("state", [])))
    b.add_var("later", b.add_pointer(b.add_fwd("later")))
    b.add_datasec(".bss", 4)
    b.add_var("tagged", b.add_pointer(b.add_type_tag("user", integer)))
    return b.build()


@pytest.mark.parametrize(
    ("name", "bpftool", "c"),
    [
        ("hello", "int hello(struct xdp_md * ctx)", "int hello(struct xdp_md *ctx)"),
        ("print", "void print(const char * fmt, ...)", "void print(const char *fmt, ...)"),
        ("unnamed", "struct xdp_md * unnamed(int, const char *)", "struct xdp_md *unnamed(int, const char *)"),
        ("hook", "static int (struct xdp_md *)*  hook", "int (*hook)(struct xdp_md *)"),
        ("table", "int (struct xdp_md *)* [3][2] table", "int (*table[2][3])(struct xdp_md *)"),
        ("fixed", "const volatile union  *  fixed", "volatile union {...} *const fixed"),
        ("grid", "u8 [4]*  grid", "u8 (*grid)[4]"),
        ("state", "restrict enum state  state", "restrict enum state state"),
        ("later", "struct later *  later", "struct later *later"),
        (".bss", 'section (".bss") ', ".bss"),
        ("tagged", "", "int *tagged"),
    ],
)
def test_words_of_bpftool_and_of_c(btf: Btf, name: str, bpftool: str, c: str) -> None:
    type_id = btf.find_all(name)[-1]
    assert prototype(btf, type_id) == bpftool
    assert declaration(btf, type_id) == c


def test_types_without_a_name(btf: Btf) -> None:
    assert prototype(btf, 0) == "void "
    assert c_type(btf, 0) == "void"
    assert c_type(btf, btf.type(btf.find("table")).type_id) == "int (*[2][3])(struct xdp_md *)"
    assert declaration(btf, btf.find("char"), "letter") == "char letter"


def test_the_limit_of_bpftool_s_buffer(btf: Btf) -> None:
    hello = btf.find("hello")
    length = len("int hello(struct xdp_md * ctx)")
    assert prototype(btf, hello, limit=length + 1)
    assert prototype(btf, hello, limit=length) == ""


def test_types_without_end_end() -> None:
    b = BtfBuilder()
    b.add_pointer(1)
    b.add_func_proto(2, [("a", 2), ("b", 2)])
    b.add_const(3)
    btf = b.build()
    for type_id in (1, 2, 3):
        assert prototype(btf, type_id) == ""
        assert "..." in declaration(btf, type_id, "x")
