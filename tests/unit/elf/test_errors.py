"""What the reader says of files that it refuses, with the errno that libbpf gives for the same."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from bpfload.btf.types import INT_SIGNED, LINKAGE_EXTERN, LINKAGE_STATIC
from bpfload.btf.writer import BtfBuilder
from bpfload.elf import read
from bpfload.errors import LIBBPF_ENDIAN, LIBBPF_FORMAT, LIBBPF_RELOC, BpfError, FormatError, NotFoundError
from support import elfbuilder as e
from support.elfbuilder import ElfBuilder

ROOT = Path(__file__).parents[3]
HELLO = (ROOT / "samples" / "hello" / "hello.bpf.o").read_bytes()


def refused(data: bytes, errno_code: int, *words: str) -> FormatError:
    """Read, and check errno and message."""
    with pytest.raises(FormatError) as caught:
        read("some.bpf.o", data=data)
    message = str(caught.value)
    assert caught.value.errno_code == errno_code, message
    assert "some.bpf.o" in message
    for word in words:
        assert word in message
    return caught.value


def simple() -> ElfBuilder:
    builder = ElfBuilder()
    builder.license()
    builder.program("xdp", "main")
    return builder


def test_smallest_object() -> None:
    spec = read("dir/some.more.bpf.o", data=simple().build())
    assert spec.name == "some"
    assert [(program.name, program.insn_count) for program in spec.programs] == [("main", 2)]
    assert (spec.btf, spec.btf_ext, spec.maps, spec.license) == (None, None, {}, "GPL")


def test_object_name_is_cut_as_libbpf_cuts_it() -> None:
    assert read("a_very_long_object_name.bpf.o", data=simple().build()).name == "a_very_long_obj"


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such file") as caught:
        read(tmp_path / "nothing.bpf.o")
    assert caught.value.errno_code == errno.ENOENT


def test_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(BpfError, match="can't be read") as caught:
        read(tmp_path)
    assert caught.value.errno_code == errno.EISDIR


# The container


def test_empty_and_foreign_files() -> None:
    refused(b"", LIBBPF_FORMAT, "empty")
    refused(b"#!/bin/sh\n" * 20, LIBBPF_FORMAT, "not an ELF file", "clang")
    refused(b"!<arch>\n" * 20, LIBBPF_FORMAT, "not an ELF file")


@pytest.mark.parametrize("length", [4, 16, 63, 64, 100, 0x590, len(HELLO) - 1])
def test_truncated(length: int) -> None:
    refused(HELLO[:length], LIBBPF_FORMAT, "truncated")


def test_truncated_anywhere() -> None:
    read_whole = []
    for length in range(0, len(HELLO), 7):
        try:
            read("some.bpf.o", data=HELLO[:length])
        except FormatError:
            continue
        read_whole.append(length)
    assert not read_whole


def test_another_machine() -> None:
    refused(ElfBuilder(machine=62).build(), LIBBPF_FORMAT, "x86-64")
    refused(ElfBuilder(machine=183).build(), LIBBPF_FORMAT, "arm64")
    refused(ElfBuilder(machine=243).build(), LIBBPF_FORMAT, "RISC-V")
    refused(ElfBuilder(machine=0x1234).build(), LIBBPF_FORMAT, "4660")


def test_python_itself_is_no_bpf_object() -> None:
    import sys

    refused(Path(sys.executable).read_bytes(), LIBBPF_FORMAT, "not for BPF")


def test_no_machine_is_fine() -> None:
    builder = simple()
    builder.machine = 0
    assert read("some.bpf.o", data=builder.build()).programs


def test_wrong_class_order_and_type() -> None:
    refused(ElfBuilder(elf_class=1).build(), LIBBPF_FORMAT, "32-bit")
    refused(ElfBuilder(byte_order=2).build(), LIBBPF_ENDIAN, "big-endian", "bpfel")
    refused(ElfBuilder(type=2).build(), LIBBPF_FORMAT, "ET_EXEC")


def test_stripped() -> None:
    builder = simple()
    builder.with_symbols = False
    refused(builder.build(), errno.ENOENT, "no symbol table", "strip")


# Sections and programs


def test_license_and_version() -> None:
    builder = ElfBuilder()
    builder.section("license", b"Dual MIT/GPL\0GPL\0")
    builder.section("version", b"\1\2\3\0")
    spec = read("some.bpf.o", data=builder.build())
    assert (spec.license, spec.version) == ("Dual MIT/GPL", 0x30201)
    builder = ElfBuilder()
    builder.section("version", b"\1\2")
    refused(builder.build(), LIBBPF_FORMAT, "version")
    builder = ElfBuilder()
    builder.section("license", size=8, type=e.NOBITS)
    refused(builder.build(), LIBBPF_FORMAT, "license")


def test_static_program() -> None:
    builder = ElfBuilder()
    builder.program("xdp", "main", bind=e.LOCAL)
    refused(builder.build(), errno.ENOTSUP, "'main' is static", "subprogram")


@pytest.mark.parametrize(
    ("start", "size", "code"), [(0, 24, LIBBPF_FORMAT), (8, 16, LIBBPF_FORMAT), (0, 7, 22), (4, 8, 22), (0, 0, 22)]
)
def test_functions_in_odd_places(start: int, size: int, code: int) -> None:
    builder = ElfBuilder()
    index = builder.section("xdp", e.EXIT, flags=e.ALLOC | e.EXEC)
    builder.symbol("main", index, start, size, type=e.FUNC)
    refused(builder.build(), code, "main", "section xdp")


def test_too_much_overlap() -> None:
    builder = ElfBuilder()
    index = builder.section("xdp", e.EXIT * 1000, flags=e.ALLOC | e.EXEC)
    for number in range(500):
        builder.symbol(f"alias{number}", index, 0, 16000, type=e.FUNC)
    refused(builder.build(), errno.EINVAL, "overlap")


def test_aliases_are_fine() -> None:
    builder = ElfBuilder()
    index = builder.program("xdp", "main")
    builder.symbol("alias", index, 0, len(e.EXIT), type=e.FUNC)
    assert len(read("some.bpf.o", data=builder.build()).programs) == 2


def test_zeroed_variables_by_the_terabyte() -> None:
    builder = simple()
    builder.section(".bss", size=1 << 42, type=e.NOBITS, flags=e.ALLOC | e.WRITE)
    refused(builder.build(), errno.ENOMEM, "section .bss")


# Relocations


def related(code: bytes, add: Callable[[ElfBuilder], int], offset: int = 0) -> bytes:
    """Return an object whose program refers to what `add` adds."""
    builder = ElfBuilder()
    index = builder.program("xdp", "main", code + e.EXIT)
    builder.relocation(index, offset, add(builder))
    return builder.build()


def test_reference_to_nothing() -> None:
    refused(related(e.load64(), lambda b: b.symbol("nowhere")), LIBBPF_RELOC, "nowhere", "program 'main'")
    refused(related(e.load64(), lambda b: 77), LIBBPF_FORMAT, "symbol 77")
    refused(related(e.load64(), lambda b: b.symbol("x", 0xFFF1)), LIBBPF_FORMAT, "section 65521")
    refused(related(e.load64(), lambda b: b.symbol("x", b.section("foo", b"1234"))), LIBBPF_RELOC, "'foo'")
    refused(related(e.EXIT, lambda b: b.symbol("x", b.section(".data", b"1234"))), LIBBPF_RELOC, "only loads and calls")
    refused(related(e.load64(), lambda b: b.symbol("x", b.section(".data", b"1234")), 4), LIBBPF_FORMAT, "nothing to relocate")


def test_bad_calls() -> None:
    refused(related(e.call(), lambda b: b.symbol("f", b.program("tc", "other"))), LIBBPF_RELOC, ".text")
    refused(related(e.call(source=0), lambda b: b.symbol("f", b.program(".text", "f"))), LIBBPF_RELOC, "call")
    refused(related(e.call(), lambda b: b.symbol("g", b.program(".text", "f"), 4)), LIBBPF_RELOC, "inside an instruction")


def test_data_call_and_callback() -> None:
    builder = ElfBuilder()
    text = builder.program(".text", "sub")
    data = builder.section(".data", bytes(16), flags=e.ALLOC | e.WRITE)
    function = builder.symbol("sub2", text, 8, 8, type=e.FUNC)
    variable = builder.symbol("variable", data, 8, 4)
    main = builder.program("xdp", "main", e.load64() + e.call() + e.load64() + e.EXIT)
    builder.relocation(main, 24, function)
    builder.relocation(main, 16, function)
    builder.relocation(main, 0, variable)
    spec = read("some.bpf.o", data=builder.build())
    found = [(r.offset, r.kind, r.symbol, r.target, r.value) for r in spec.program("main").relocations]
    assert found == [
        (0, "data", "variable", ".data", 8),
        (16, "call", "sub2", ".text", 8),
        (24, "subprog_addr", "sub2", ".text", 8),
    ]
    assert [(v.name, v.offset, v.size, v.type_id) for v in spec.variables] == [("variable", 8, 4, 0)]


def test_jump_tables() -> None:
    builder = ElfBuilder()
    tables = builder.section(".jumptables", bytes(32))
    table = builder.symbol("BPF.JT.0.0", tables, 16, 16, bind=e.LOCAL)
    builder.relocation(builder.program("xdp", "main", e.load64() + e.EXIT), 0, table)
    spec = read("some.bpf.o", data=builder.build())
    relocation = spec.program("main").relocations[0]
    assert (relocation.kind, relocation.target, relocation.value, relocation.size) == ("insn_array", ".jumptables", 16, 16)
    assert spec.jumptables == bytes(32)


def test_overridden_weak_function() -> None:
    builder = ElfBuilder()
    index = builder.section("xdp", e.load64() + e.EXIT + e.EXIT, flags=e.ALLOC | e.EXEC)
    builder.symbol("main", index, 32, 16, type=e.FUNC)
    builder.relocation(index, 0, builder.symbol("x", builder.section(".data", b"1234")))
    assert read("some.bpf.o", data=builder.build()).program("main").relocations == ()


# BTF


class Definitions:
    """BTF of map definitions."""

    def __init__(self) -> None:
        self.btf = BtfBuilder()
        self.int = self.btf.add_int("int", 4, INT_SIGNED)
        self.rows: list[tuple[int, int, int]] = []

    def number(self, value: int) -> int:
        return self.btf.add_pointer(self.btf.add_array(self.int, value, self.int))

    def pointer(self, type_id: int) -> int:
        return self.btf.add_pointer(type_id)

    def map(self, name: str, members: list[tuple[str, int]], linkage: int = 1, size: int | None = None) -> None:
        width = 8 * len(members)
        struct_id = self.btf.add_struct("", width, [(member, type_id, 64 * i) for i, (member, type_id) in enumerate(members)])
        variable = self.btf.add_var(name, struct_id, linkage)
        self.rows.append((variable, 0, width if size is None else size))

    def build(self, section_size: int = 64) -> bytes:
        self.btf.add_datasec(".maps", section_size, self.rows)
        builder = simple()
        maps = builder.section(".maps", bytes(section_size), flags=e.ALLOC | e.WRITE)
        for name in ("m", "n"):
            builder.symbol(name, maps, 0, section_size)
        builder.section(".BTF", self.btf.bytes(), flags=0)
        return builder.build()


def test_map_without_btf() -> None:
    builder = simple()
    builder.section(".maps", bytes(32))
    refused(builder.build(), errno.ENOENT, "BTF", "-g")


def test_broken_btf_matters_only_where_it_is_needed() -> None:
    builder = simple()
    builder.section(".BTF", b"broken" * 9, flags=0)
    spec = read("some.bpf.o", data=builder.build())
    assert spec.btf is None
    assert "not BTF" in spec.warnings[0]
    builder.section(".maps", bytes(32))
    refused(builder.build(), errno.EINVAL, "not BTF")


def test_extern_without_btf() -> None:
    builder = simple()
    builder.extern("bpf_something")
    refused(builder.build(), errno.ESRCH, "bpf_something", "-g")


def test_extern_that_is_in_no_btf() -> None:
    builder = simple()
    builder.extern("strlen")
    btf = BtfBuilder()
    btf.add_int("int", 4)
    builder.section(".BTF", btf.bytes(), flags=0)
    refused(builder.build(), errno.ENOENT, "strlen", "C library")


def test_extern_of_an_odd_type() -> None:
    builder = simple()
    builder.extern("CONFIG_X")
    btf = BtfBuilder()
    thing = btf.add_struct("thing", 4, [("a", btf.add_int("int", 4), 0)])
    btf.add_datasec(".kconfig", 0, [(btf.add_var("CONFIG_X", thing, LINKAGE_EXTERN), 0, 4)])
    builder.section(".BTF", btf.bytes(), flags=0)
    refused(builder.build(), errno.ENOTSUP, "CONFIG_X", "tristate")


def test_map_fields() -> None:
    d = Definitions()
    d.map("m", [("type", d.number(2)), ("max_entries", d.number(9)), ("key_size", d.number(4)), ("value", d.pointer(d.int))])
    spec = read("some.bpf.o", data=d.build())
    found = spec.maps["m"]
    assert (found.type, found.max_entries, found.key_size, found.value_size, found.key_type_id) == (2, 9, 4, 4, 0)
    assert found.value_type_id == d.int


@pytest.mark.parametrize(
    ("members", "code", "words"),
    [
        (lambda d: [("max_entries", d.number(1))], errno.EINVAL, "no type"),
        (lambda d: [("type", d.number(1)), ("colour", d.number(1))], errno.ENOTSUP, "'colour'"),
        (lambda d: [("type", d.int)], errno.EINVAL, "'type' is INT"),
        (lambda d: [("type", d.pointer(d.int))], errno.EINVAL, "__uint"),
        (lambda d: [("type", d.number(1)), ("key", d.int)], errno.EINVAL, "'key' is INT"),
        (lambda d: [("type", d.number(1)), ("key", d.pointer(0))], errno.EINVAL, "no size"),
        (lambda d: [("type", d.number(1)), ("key_size", d.number(8)), ("key", d.pointer(d.int))], errno.EINVAL, "both 8 and 4"),
        (lambda d: [("type", d.number(1)), ("pinning", d.number(2))], errno.EINVAL, "pinning"),
        (lambda d: [("type", d.number(1)), ("values", d.number(0))], errno.ENOTSUP, "maps of maps"),
        (lambda d: [("type", d.number(12)), ("values", d.number(0)), ("key_size", d.number(4))], errno.EINVAL, "last"),
        (lambda d: [("type", d.number(12)), ("values", d.number(0))], errno.EINVAL, "length 0"),
        (lambda d: [("type", d.number(1)), ("map_extra", d.int)], errno.EINVAL, "__ulong"),
    ],
)  # fmt: skip
def test_wrong_map_definitions(members: Callable[[Definitions], list[tuple[str, int]]], code: int, words: str) -> None:
    d = Definitions()
    d.map("m", members(d))
    refused(d.build(), code, words, "map 'm'")


def test_map_variables_that_are_none() -> None:
    d = Definitions()
    d.map("m", [("type", d.number(1))], linkage=LINKAGE_STATIC)
    refused(d.build(), errno.ENOTSUP, "'m' is static")
    d = Definitions()
    d.map("m", [("type", d.number(1))], size=4)
    refused(d.build(), errno.EINVAL, "cut off")
    d = Definitions()
    d.map("m", [("type", d.number(1))], size=100)
    refused(d.build(), errno.EINVAL, "over the end")


def test_two_arenas() -> None:
    d = Definitions()
    d.map("m", [("type", d.number(33))])
    d.map("n", [("type", d.number(33))])
    refused(d.build(), errno.EINVAL, "'m'", "'n'", "arena")


def test_arena_variables_without_an_arena() -> None:
    builder = simple()
    builder.section(".addr_space.1", b"1234", flags=e.ALLOC | e.WRITE)
    refused(builder.build(), errno.ENOENT, "arena", "BPF_MAP_TYPE_ARENA")


def test_typedefs_in_a_circle() -> None:
    d = Definitions()
    first = len(d.btf)
    d.btf.add_typedef("a", first + 1)
    d.btf.add_typedef("b", first)
    d.map("m", [("type", first)])
    refused(d.build(), errno.EINVAL, "chain")


def test_variables_that_the_symbols_lack() -> None:
    builder = simple()
    builder.section(".data", bytes(8))
    btf = BtfBuilder()
    btf.add_datasec(".data", 0, [(btf.add_var("gone", btf.add_int("int", 4)), 0, 4)])
    builder.section(".BTF", btf.bytes(), flags=0)
    refused(builder.build(), errno.ENOENT, "'gone'")
    btf.add_datasec(".absent", 0, [])
    builder = simple()
    builder.symbol("gone", builder.section(".data", bytes(8)), 0, 4)
    builder.section(".BTF", btf.bytes(), flags=0)
    refused(builder.build(), errno.ENOENT, "'.absent'")
