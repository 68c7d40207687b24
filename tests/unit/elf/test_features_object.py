"""A compiled object with a little of everything: what the reader makes of it. Source: tests/data/elf/features.bpf.c."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpfload.abi import consts as c
from bpfload.btf import types as t
from bpfload.elf import read
from bpfload.spec import ObjectSpec

DATA = Path(__file__).parents[2] / "data" / "elf"


@pytest.fixture(scope="module")
def spec() -> ObjectSpec:
    return read(DATA / "features.bpf.o")


def test_object(spec: ObjectSpec) -> None:
    assert (spec.name, spec.license, spec.version) == ("features", "GPL", 0x61200)
    assert spec.warnings == []


def test_programs_by_section_and_offset(spec: ObjectSpec) -> None:
    assert [(program.name, program.section, program.is_subprog) for program in spec.programs] == [
        ("global_sub", ".text", True),
        ("local_sub", ".text", True),
        ("hidden_sub", ".text", True),
        ("weak_sub", ".text", True),
        ("each", ".text", True),
        ("on_exception", ".text", True),
        ("tail", "xdp.frags/devmap", False),
        ("ops_first", "struct_ops/first", False),
        ("ops_second", "struct_ops.s", False),
        ("count", "xdp", False),
        ("optional_program", "?fentry.s/do_nanosleep", False),
        ("throws", "tc/ingress", False),
        ("unknown_section", "mystery", False),
    ]


def test_types_targets_and_flags_from_sections(spec: ObjectSpec) -> None:
    tail, count = spec.program("tail"), spec.program("count")
    assert (tail.type, tail.attach_type, tail.flags) == (c.BPF_PROG_TYPE_XDP, c.BPF_XDP_DEVMAP, c.BPF_F_XDP_HAS_FRAGS)
    assert (count.type, count.attach_type, count.autoload) == (c.BPF_PROG_TYPE_XDP, c.BPF_XDP, True)
    optional = spec.program("optional_program")
    assert (optional.type, optional.attach_type) == (c.BPF_PROG_TYPE_TRACING, c.BPF_TRACE_FENTRY)
    assert (optional.attach_target, optional.autoload, optional.flags) == ("do_nanosleep", False, c.BPF_F_SLEEPABLE)
    assert spec.program("ops_first").attach_target == "first"
    assert spec.program("unknown_section").sec is None
    assert spec.program("unknown_section").type == c.BPF_PROG_TYPE_UNSPEC


def test_bindings(spec: ObjectSpec) -> None:
    by_name = {program.name: program for program in spec.programs}
    assert [by_name[name].is_global for name in ("local_sub", "global_sub", "hidden_sub", "weak_sub")] == [
        False,
        True,
        True,
        True,
    ]
    assert [name for name, program in by_name.items() if program.hidden] == ["hidden_sub"]
    assert [name for name, program in by_name.items() if program.weak] == ["weak_sub"]


def test_exception_callback(spec: ObjectSpec) -> None:
    assert {program.name: program.exception_callback for program in spec.programs if program.exception_callback} == {
        "throws": "on_exception"
    }


def test_maps_in_libbpfs_order(spec: ObjectSpec) -> None:
    assert list(spec.maps) == [
        "inner_one", "inner_two", "outer", "jumps", "counts", "a_map_with_a_long_name",
        ".data", ".rodata", ".data.custom", ".rodata.custom", ".bss.custom", ".bss", ".kconfig",
        "linked", "optional_ops", "optional_too",
    ]  # fmt: skip


def test_btf_defined_maps(spec: ObjectSpec) -> None:
    counts = spec.maps["counts"]
    assert (counts.type, counts.key_size, counts.value_size) == (c.BPF_MAP_TYPE_HASH, 4, 16)
    assert (counts.max_entries, counts.flags, counts.pinning) == (1000, c.BPF_F_NO_PREALLOC, 1)
    assert spec.btf is not None
    assert spec.btf.type(spec.btf.resolve(counts.key_type_id)).name == "unsigned int"
    assert spec.btf.type(counts.value_type_id).name == "value"
    bloom = spec.maps["a_map_with_a_long_name"]
    assert (bloom.extra, bloom.key_size, bloom.value_size, bloom.kernel_name) == (3, 0, 8, "a_map_with_a_lo")


def test_maps_of_maps_and_program_arrays_with_initial_values(spec: ObjectSpec) -> None:
    outer = spec.maps["outer"]
    assert outer.inner is not None
    assert (outer.inner.name, outer.inner.type, outer.inner.max_entries) == ("outer.inner", c.BPF_MAP_TYPE_ARRAY, 2)
    assert [(slot.index, slot.symbol, slot.kind) for slot in outer.slots] == [(0, "inner_one", "map"), (3, "inner_two", "map")]
    assert [(slot.index, slot.symbol, slot.kind) for slot in spec.maps["jumps"].slots] == [(2, "tail", "prog")]


def test_data_maps(spec: ObjectSpec) -> None:
    names = {name: found.kernel_name for name, found in spec.maps.items() if found.kind in ("data", "kconfig")}
    assert names == {
        ".data": "features.data",
        ".rodata": "features.rodata",
        ".data.custom": ".data.custom",
        ".rodata.custom": ".rodata.custom",
        ".bss.custom": ".bss.custom",
        ".bss": "features.bss",
        ".kconfig": "feature.kconfig",
    }
    rodata = spec.maps[".rodata"]
    assert rodata.data == bytearray((100).to_bytes(8, "little"))
    assert rodata.flags == c.BPF_F_RDONLY_PROG | c.BPF_F_MMAPABLE
    assert rodata.read_only
    assert spec.maps[".bss"].flags == c.BPF_F_MMAPABLE
    assert not spec.maps[".bss"].read_only


def test_variables(spec: ObjectSpec) -> None:
    found = {variable.name: variable for variable in spec.variables}
    assert (found["filled"].map_name, found["filled"].offset, found["filled"].size) == (".data", 0, 4)
    assert [found[name].is_static for name in ("filled", "hidden_away", "unseen", "limit")] == [False, True, True, False]
    assert found["in_custom_rodata"].map_name == ".rodata.custom"
    assert found["zeroed"].map_name == ".bss"


def test_struct_ops(spec: ObjectSpec) -> None:
    linked, optional, too = spec.maps["linked"], spec.maps["optional_ops"], spec.maps["optional_too"]
    assert linked.struct_ops is not None
    assert optional.struct_ops is not None
    assert (linked.struct_ops.type_name, linked.struct_ops.link, linked.flags) == ("some_ops", True, c.BPF_F_LINK)
    assert linked.struct_ops.programs == [(0, "ops_first"), (16, "ops_second")]
    assert linked.data is not None
    assert linked.data[8:16] == (42).to_bytes(8, "little")
    assert (optional.flags, optional.struct_ops.programs) == (0, [(16, "ops_second")])
    assert [linked.autocreate, optional.autocreate, too.autocreate] == [True, False, False]


def test_externs(spec: ObjectSpec) -> None:
    assert [(name, extern.value_kind, extern.offset, extern.size, extern.weak) for name, extern in spec.externs.items()][:5] == [
        ("CONFIG_BOGUS", "int", 0, 8, True),
        ("CONFIG_BTRFS_FS", "tristate", 8, 4, True),
        ("LINUX_KERNEL_VERSION", "int", 12, 4, False),
        ("CONFIG_BPF_SYSCALL", "bool", 16, 1, False),
        ("CONFIG_CC_VERSION_TEXT", "string", 17, 32, True),
    ]
    assert [(name, extern.kind, bool(extern.type_id), extern.weak) for name, extern in spec.externs.items()][5:] == [
        ("bpf_nothing___v2", "kfunc", True, True),
        ("bpf_prog_fops", "ksym", False, True),
        ("bpf_rcu_read_lock", "kfunc", True, False),
        ("runqueues", "ksym", True, False),
    ]
    assert spec.externs["bpf_nothing___v2"].essential_name == "bpf_nothing"


def test_relocations_of_every_kind(spec: ObjectSpec) -> None:
    count = spec.program("count")
    assert [relocation.offset for relocation in count.relocations] == sorted(
        relocation.offset for relocation in count.relocations
    )
    kinds = {
        (relocation.kind, relocation.target)
        for program in spec.programs
        for relocation in program.relocations
    }  # fmt: skip
    assert {
        ("map", "counts"), ("map", "jumps"), ("data", ".data"), ("data", ".data.custom"), ("data", ".bss.custom"),
        ("call", ".text"), ("subprog_addr", ".text"), ("extern_ld64", "runqueues"), ("extern_ld64", "CONFIG_BOGUS"),
        ("extern_call", "bpf_rcu_read_lock"),
    } <= kinds  # fmt: skip


def test_btf_is_ready_for_the_kernel(spec: ObjectSpec) -> None:
    btf = spec.btf
    assert btf is not None
    btf.validate()
    sections = {found.name: found for found in btf.types() if found.kind == t.KIND_DATASEC}
    assert sections[".data"].size == 12
    assert [row.offset for row in sections[".data"].variables] == [0, 4, 8]
    assert [btf.type(row.type_id).name for row in sections[".ksyms"].variables].count("dummy_ksym") == 2
    assert (sections[".ksyms"].size, sections[".kconfig"].size) == (16, 49)
    linkages = {found.name: found.linkage for found in btf.types() if found.kind in (t.KIND_VAR, t.KIND_FUNC)}
    assert linkages["hidden_sub"] == linkages["unseen"] == t.LINKAGE_STATIC
    assert linkages["global_sub"] == linkages["CONFIG_BOGUS"] == linkages["bpf_rcu_read_lock"] == t.LINKAGE_GLOBAL


def test_records_of_btf_ext(spec: ObjectSpec) -> None:
    assert spec.btf_ext is not None
    assert spec.btf_ext.func_info[".text"].count == 6
    assert spec.btf_ext.line_info["xdp"].record_size == 16
    assert list(spec.btf_ext.core_relos) == ["?fentry.s/do_nanosleep"]


def test_arena() -> None:
    spec = read(DATA / "arena.bpf.o")
    arena = spec.maps["arena"]
    assert (arena.kind, arena.type, arena.extra, arena.data) == ("arena", c.BPF_MAP_TYPE_ARENA, 1 << 44, bytearray(b"M\0\0\0"))
    assert [(variable.name, variable.map_name) for variable in spec.variables] == [("in_arena", "arena")]
    assert {(relocation.kind, relocation.target) for relocation in spec.program("touch").relocations} == {("data", "arena")}


def test_legacy_maps_and_globals_without_btf() -> None:
    spec = read(DATA / "legacy.bpf.o")
    plain, nest, nested = spec.maps["plain"], spec.maps["nest"], spec.maps["nested"]
    assert (plain.kind, plain.type, plain.key_size, plain.value_size) == ("legacy", c.BPF_MAP_TYPE_HASH, 4, 8)
    assert (plain.max_entries, plain.flags, plain.pinning) == (16, c.BPF_F_NO_PREALLOC, 0)
    assert nest.inner is not None
    assert (nest.inner.type, nest.inner.max_entries, nest.pinning) == (c.BPF_MAP_TYPE_ARRAY, 1, 1)
    assert [(slot.index, slot.symbol) for slot in nest.slots] == [(1, "nested")]
    assert nested.inner is None
    assert spec.btf is None
    assert [(variable.name, variable.map_name, variable.size) for variable in spec.variables] == [("counter", ".data", 4)]
    assert [relocation.target for relocation in spec.program("use").relocations] == [".data", "plain", "nest"]
