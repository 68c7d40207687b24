"""Static linking: what becomes of symbols, sections, relocations and types; what can't be linked."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from bpfload.btf import Btf
from bpfload.btf import types as t
from bpfload.btf.writer import BtfBuilder
from bpfload.elf import read
from bpfload.elf.file import SHN_UNDEF, SHT_SYMTAB, STB_LOCAL, STB_WEAK, ElfFile, Symbol
from bpfload.errors import BpfError, FormatError, LinkError, NotFoundError, UsageError
from bpfload.gen.object import Linker, link_objects, write_object
from support.elfbuilder import ALLOC, EXEC, EXIT, FUNC, HIDDEN, LOCAL, NOBITS, SECTION, WEAK, WRITE, ElfBuilder, call
from support.paths import DATA, HELLO, PACKET_COUNTER

ONE, TWO = DATA / "linked" / "one.bpf.o", DATA / "linked" / "two.bpf.o"
STATIC, GLOBAL_VAR, EXTERN_VAR = t.LINKAGE_STATIC, t.LINKAGE_GLOBAL, t.LINKAGE_EXTERN


def link(*objects: bytes) -> ElfFile:
    linker = Linker()
    for number, data in enumerate(objects):
        linker.add(f"{'abc'[number]}.o", data)
    return ElfFile("out", linker.finish())


def symbols(elf: ElfFile) -> dict[str, Symbol]:
    table = next(section for section in elf.sections if section.type == SHT_SYMTAB)
    elf.set_symbol_names(elf.sections[table.link])
    return {elf.symbol_name(symbol) or "": symbol for symbol in elf.symbols(table)}


def content(elf: ElfFile, name: str) -> bytes:
    section = elf.find(name)
    assert section is not None, name
    return elf.content(section)


def variable(
    name: str = "x",
    *,
    type_name: str = "int",
    size: int = 4,
    data: bytes | None = b"\1\0\0\0",
    bind: int = 1,
    visibility: int = 0,
    section: str = ".data",
    little: bool = True,
) -> bytes:
    """Return an object with a global variable; without `data` an extern."""
    elf, btf = ElfBuilder(byte_order=1 if little else 2), BtfBuilder(little_endian=True)
    linkage = EXTERN_VAR if data is None else GLOBAL_VAR
    var = btf.add_var(name, btf.add_int(type_name, size), linkage)
    btf.add_datasec(".extern" if data is None else section, 0, [(var, 0, size)])
    if data is None:
        elf.extern(name, weak=bind == WEAK)
    else:
        elf.symbol(name, elf.section(section, data, flags=ALLOC | WRITE), 0, size, bind=bind, visibility=visibility)
    elf.section(".BTF", btf.bytes(), flags=0)
    return elf.build()


def test_an_extern_finds_its_definition_in_either_order() -> None:
    for objects in ((variable(data=None), variable()), (variable(), variable(data=None))):
        elf = link(*objects)
        symbol = symbols(elf)["x"]
        assert elf.sections[symbol.section].name == ".data"
        btf = Btf.parse(content(elf, ".BTF"))
        assert [each.linkage for each in btf.types() if each.kind == t.KIND_VAR] == [GLOBAL_VAR]
        assert [(each.name, len(each.variables)) for each in btf.types() if each.kind == t.KIND_DATASEC] == [(".data", 1)]


def test_an_extern_that_nobody_defines_stays_one() -> None:
    assert symbols(link(variable(data=None), variable(data=None)))["x"].section == SHN_UNDEF


def test_the_strong_one_of_two_definitions_counts_and_of_weak_ones_the_first() -> None:
    weak, strong = variable(data=b"\1\0\0\0", bind=WEAK), variable(data=b"\2\0\0\0")
    for objects, value, bind in (
        ((weak, strong), 2, 1),
        ((strong, weak), 2, 1),
        ((weak, variable(data=b"\3\0\0\0", bind=WEAK)), 1, STB_WEAK),
    ):
        elf = link(*objects)
        symbol = symbols(elf)["x"]
        assert content(elf, ".data")[symbol.value] == value
        assert symbol.bind == bind
        btf = Btf.parse(content(elf, ".BTF"))
        section = btf.type(btf.find(".data"))
        assert [row.offset for row in section.variables] == [symbol.value]
        assert section.size == 12, "the second starts at a multiple of 8, as its section wants"


def test_two_strong_definitions_are_refused() -> None:
    with pytest.raises(LinkError, match=r"'x' is defined in a.o and again in b.o\nOne of them may be __weak or static"):
        link(variable(), variable())


def test_what_is_hidden_in_one_file_is_hidden() -> None:
    assert symbols(link(variable(data=None), variable(visibility=HIDDEN)))["x"].is_hidden


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 8, "data": bytes(8)}, "int has 4 bytes there, 8 here"),
        ({"section": ".data.other", "data": bytes(4), "bind": WEAK}, ""),
    ],
)
def test_one_name_for_two_things(options: dict[str, object], message: str) -> None:
    if not message:
        link(variable(), variable(**options))  # type: ignore[arg-type]  # the weak one is not used
        return
    with pytest.raises(LinkError, match=f"'x' is not the same in a.o and b.o: {message}"):
        link(variable(data=None), variable(**options))  # type: ignore[arg-type]  # as the parameters say


def test_types_behind_pointers_need_only_the_same_name() -> None:
    def pointer(target: str, *, extern: bool, defined: bool) -> bytes:
        elf, btf = ElfBuilder(), BtfBuilder(little_endian=True)
        number = btf.add_int("int", 4)
        struct = btf.add_struct(target, 4, [("pid", number, 0)]) if defined else btf.add_fwd(target)
        var = btf.add_var("p", btf.add_pointer(struct), EXTERN_VAR if extern else GLOBAL_VAR)
        btf.add_datasec(".extern" if extern else ".bss", 0, [(var, 0, 8)])
        if extern:
            elf.extern("p")
        else:
            elf.symbol("p", elf.section(".bss", type=NOBITS, size=8, flags=ALLOC | WRITE), 0, 8)
        elf.section(".BTF", btf.bytes(), flags=0)
        return elf.build()

    out = link(pointer("task", extern=True, defined=False), pointer("task", extern=False, defined=True))
    assert [each.name for each in Btf.parse(content(out, ".BTF")).types() if each.kind == t.KIND_STRUCT] == ["task"]
    assert not [each for each in Btf.parse(content(out, ".BTF")).types() if each.kind == t.KIND_FWD]
    with pytest.raises(LinkError, match="struct task there, struct file here"):
        link(pointer("task", extern=True, defined=False), pointer("file", extern=False, defined=True))


def program(name: str, section: str, *, license: str = "GPL", static: str = "") -> bytes:
    """Return an object with a program that calls a static function of .text, by the section's symbol."""
    elf, btf = ElfBuilder(), BtfBuilder(little_endian=True)
    text = elf.section(".text", EXIT, flags=ALLOC | EXEC)
    elf.symbol("helper", text, 0, len(EXIT), type=FUNC, bind=LOCAL)
    start = elf.symbol("", text, type=SECTION, bind=LOCAL)
    code = elf.program(section, name, call() + EXIT)
    elf.relocation(code, 0, start)
    licence = elf.license(license)
    elf.symbol("_license", licence, 0, len(license) + 1)
    proto = btf.add_func_proto(btf.add_int("int", 4, 1))
    btf.add_func(name, proto, t.LINKAGE_GLOBAL)
    btf.add_datasec("license", 0, [(btf.add_var("_license", 1), 0, len(license) + 1)])
    elf.section(".BTF", btf.bytes(), flags=0)
    return elf.build()


def test_calls_of_static_functions_move_with_their_section() -> None:
    elf = link(program("one", "xdp"), program("two", "tc"))
    assert len(content(elf, ".text")) == 2 * len(EXIT)
    assert int.from_bytes(content(elf, "xdp")[4:8], "little", signed=True) == -1
    assert int.from_bytes(content(elf, "tc")[4:8], "little", signed=True) == 1, "two instructions on"
    assert len([each for each in elf.sections if each.name == "license"]) == 1


def test_two_licences_are_refused() -> None:
    with pytest.raises(FormatError, match=r"b.o, section license: the license is 'MIT'; in the files before it is 'GPL'"):
        link(program("one", "xdp"), program("two", "tc", license="MIT"))


def test_sections_of_one_name_and_different_kinds_are_refused() -> None:
    with pytest.raises(FormatError, match=r"section xdp: the section has another type or other flags"):
        link(program("one", "xdp"), variable(section="xdp"))


def test_other_files_are_refused() -> None:
    with pytest.raises(FormatError, match="big-endian"):
        link(variable(), variable(little=False))
    with pytest.raises(FormatError, match=r"b\.o: not an ELF file"):
        link(variable(), b"text")
    elf = ElfBuilder()
    elf.program("xdp", "lonely")
    with pytest.raises(FormatError, match=r"symbol 'lonely' can't be linked without BTF\nCompile with -g"):
        link(elf.build())


def test_a_relocation_that_leads_nowhere_is_refused() -> None:
    elf = ElfBuilder()
    elf.relocation(elf.section("xdp", EXIT, flags=ALLOC | EXEC), 0, 99)
    with pytest.raises(FormatError, match="symbol 99, which doesn't exist"):
        link(elf.build())
    elf = ElfBuilder()
    code = elf.section("xdp", EXIT, flags=ALLOC | EXEC)
    elf.relocation(code, 4, elf.symbol("f", code, type=FUNC, bind=LOCAL))
    with pytest.raises(FormatError, match="at 0x4, where nothing can be relocated"):
        link(elf.build())


# Files


def test_real_files_become_one(tmp_path: Path) -> None:
    data = link_objects([ONE, TWO])
    out = tmp_path / "both.bpf.o"
    write_object(out, data)
    spec = read(out)
    assert [each.name for each in spec.entry_programs] == ["first", "second"]
    assert set(spec.maps) >= {"flows", "counts", ".data", ".bss"}
    assert (spec.value("weight"), spec.value("total"), spec.value("which")) == (3, 1000, 1), "of weak ones the first"
    assert spec.btf is not None
    assert [each.name for each in spec.btf.types() if each.kind == t.KIND_STRUCT and each.name == "secret"] == ["secret"]
    assert link_objects([out]) == data, "linking it again changes nothing"
    elf = ElfFile("both", data)
    bindings = [symbol.bind == STB_LOCAL for symbol in symbols(elf).values()]
    assert bindings == sorted(bindings, reverse=True), "local symbols come first"


def test_an_object_by_itself_stays_what_it_is() -> None:
    for path in (HELLO, PACKET_COUNTER):
        linked, given = read("x", data=link_objects([path])), read(path)
        assert [(each.name, each.insns) for each in linked.programs] == [(each.name, each.insns) for each in given.programs]
        assert linked.maps.keys() == given.maps.keys()


def test_a_map_that_two_files_define_differently() -> None:
    def table(entries: int, *, extern: bool) -> bytes:
        elf, btf = ElfBuilder(), BtfBuilder(little_endian=True)
        number = btf.add_int("int", 4, 1)

        def setting(value: int) -> int:
            return btf.add_pointer(btf.add_array(number, value, number))

        members = [("type", setting(2), 0), ("max_entries", setting(entries), 64), ("key_size", setting(4), 128)]
        definition = btf.add_struct("", 24, members)
        var = btf.add_var("table", definition, EXTERN_VAR if extern else GLOBAL_VAR)
        btf.add_datasec(".maps", 0, [(var, 0, 24)])
        section = elf.section(".maps", bytes(24), flags=ALLOC | WRITE)
        if extern:
            elf.extern("table")
        else:
            elf.symbol("table", section, 0, 24)
        elf.section(".BTF", btf.bytes(), flags=0)
        return elf.build()

    link(table(4, extern=True), table(4, extern=False))
    with pytest.raises(LinkError, match=r"'table' is not the same in a\.o and b\.o: the map's max_entries is 4 there, 8 here"):
        link(table(4, extern=True), table(8, extern=False))


def test_what_can_not_be_read_or_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no object file is given"):
        link_objects([])
    with pytest.raises(NotFoundError, match=r"missing\.o: no such file"):
        link_objects([tmp_path / "missing.o"])
    with pytest.raises(BpfError, match="Is a directory"):
        link_objects([tmp_path])
    with pytest.raises(BpfError, match="can't be written: No such file or directory"):
        write_object(tmp_path / "no" / "out.o", b"")
    target = tmp_path / "out.o"
    target.write_bytes(b"old")
    write_object(target, b"new")
    assert target.read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["out.o"]


def test_damaged_files_are_refused_and_nothing_worse() -> None:
    given = ONE.read_bytes()
    for place in range(64, len(given), 13):
        damaged = bytearray(given)
        damaged[place] ^= 0x81
        linker = Linker()
        with contextlib.suppress(BpfError):
            linker.add("damaged.o", bytes(damaged))
            linker.add("two.o", TWO.read_bytes())
            linker.finish()
