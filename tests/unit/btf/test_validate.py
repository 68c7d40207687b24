from __future__ import annotations

from collections.abc import Callable

import pytest

from bpfload.btf import types as t
from bpfload.btf.writer import BtfBuilder
from bpfload.errors import FormatError

BAD = 99
BAD_STRING = 0x10000

MISTAKES: dict[str, Callable[[BtfBuilder], object]] = {
    "pointer": lambda b: b.add_pointer(BAD),
    "typedef": lambda b: b.add_typedef("x", BAD),
    "const": lambda b: b.add_const(BAD),
    "volatile": lambda b: b.add_volatile(BAD),
    "restrict": lambda b: b.add_restrict(BAD),
    "type tag": lambda b: b.add_type_tag("x", BAD),
    "decl tag": lambda b: b.add_decl_tag("x", BAD),
    "variable": lambda b: b.add_var("x", BAD),
    "array element": lambda b: b.add_array(BAD, 1, 1),
    "array index": lambda b: b.add_array(1, 1, BAD),
    "member": lambda b: b.add_struct("x", 4, [("a", 1, 0), ("m", BAD, 0)]),
    "union member": lambda b: b.add_union("x", 4, [("m", BAD, 0)]),
    "parameter": lambda b: b.add_func_proto(0, [("p", BAD)]),
    "section variable": lambda b: b.add_datasec("x", 4, [(BAD, 0, 4)]),
    "function without type": lambda b: b.add_func("f", BAD),
    "function of an int": lambda b: b.add_func("f", 1),
    "function of void": lambda b: b.add_func("f", 0),
    "name of a member": lambda b: b.add_type(t.KIND_STRUCT, "x", 4, [BAD_STRING, 1, 0], vlen=1),
    "name of a parameter": lambda b: b.add_type(t.KIND_FUNC_PROTO, "", 0, [BAD_STRING, 1], vlen=1),
    "name of a value": lambda b: b.add_type(t.KIND_ENUM, "x", 4, [BAD_STRING, 1], vlen=1),
    "name of a wide value": lambda b: b.add_type(t.KIND_ENUM64, "x", 8, [BAD_STRING, 1, 0], vlen=1),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_found(mistake: str) -> None:
    builder = BtfBuilder()
    builder.add_int("int", 4)
    MISTAKES[mistake](builder)
    btf = builder.build("hello.bpf.o")
    with pytest.raises(FormatError, match=r"hello\.bpf\.o, section \.BTF: BTF type 2: "):
        btf.validate()


def test_what_libbpf_doesn_t_check_passes() -> None:
    """A return type that doesn't exist, an INT of no sense, a datasec of ints: only the kernel refuses them."""
    builder = BtfBuilder()
    builder.add_int("int", 4, bits=200, bit_offset=99)
    builder.add_func_proto(BAD)
    builder.add_datasec("x", 4, [(1, 0, 4)])
    builder.build().validate()
