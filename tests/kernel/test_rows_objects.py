"""What an object consists of and how its parts refer to each other: each program returns what it could know only so."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from bpfload.abi import consts
from bpfload.errors import KernelError, NotSupportedError
from bpfload.linker import LinkedProgram
from bpfload.load import LoadOptions, jumptables, load
from bpfload.objects.map import Map
from bpfload.spec import RELOC_INSN_ARRAY, ObjectSpec, ProgramSpec, Relocation
from bpfload.syscall import bpf
from support.features_data import (
    assert_same_as_libbpf,
    load_only,
    path,
    returned,
    run,
    same_in_both,
    spec_of,
    theirs,
)
from support.libbpf import Libbpf
from support.rows import row

pytestmark = pytest.mark.needs_feature("global_data", "btf")


@row("license", "version")
def test_license_and_version(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[bytes, int]] = []
    real = bpf.prog_load

    def spy(kind: int, insns: bytearray, license: bytes, **fields: Any) -> int:
        given.append((license, fields["kern_version"]))
        return real(kind, insns, license, **fields)

    monkeypatch.setattr(bpf, "prog_load", spy)
    with load_only("basics", "map_reference") as live:
        assert live.program().info().gpl_compatible
    assert given == [(b"GPL", 0x01020304)]


@row(".text", ".maps", ".BTF and .BTF.ext")
@pytest.mark.needs_feature("bpf_loop")
def test_all_parts_as_libbpf_has_them(libbpf: Libbpf) -> None:
    same_in_both(libbpf, "basics")
    with load_only("basics", "subprogram_call") as live:
        info = live.program().info("func_info", "line_info")
        assert (info.nr_func_info, info.btf_id > 0, info.nr_line_info > 5) == (3, True, True)


@row("legacy maps, bpf_map_def")
def test_legacy_maps(libbpf: Libbpf) -> None:
    assert theirs(libbpf, "legacy").errno == errno.EOPNOTSUPP
    with load_only("legacy", "use") as live:
        assert run(live, "use") == 33
        counts, slots = live.map("counts").info(), live.map("slots").info()
        assert (counts.type, counts.key_size, counts.value_size, counts.max_entries) == (consts.BPF_MAP_TYPE_HASH, 4, 8, 16)
        assert (counts.map_flags, slots.type, slots.max_entries) == (consts.BPF_F_NO_PREALLOC, consts.BPF_MAP_TYPE_ARRAY, 2)
        assert live.map("slots").lookup(b"\1\0\0\0") == (33).to_bytes(8, "little")


@row("legacy maps, bpf_elf_map")
def test_iproute2_maps() -> None:
    with load_only("iproute2", "use") as live:
        assert run(live, "use") == 44
        outer = live.map("outer")
        assert outer.lookup(b"\1\0\0\0") == live.map("inner").info().id.to_bytes(4, "little")
        assert outer.get(b"\2\0\0\0") is None


@row(".data .rodata .bss", "data reference")
def test_global_variables() -> None:
    with load_only("basics", "data_reference") as live:
        assert [run(live, "data_reference") for _ in range(2)] == [7 + 1 + 11, 7 + 2 + 11]
        assert live.value("zeroed") == 2
        assert live.map(".rodata").info().map_flags & consts.BPF_F_RDONLY_PROG


@row(".data.foo .rodata.foo .bss.foo")
def test_custom_sections() -> None:
    with load_only("basics", "custom_sections") as live:
        assert run(live, "custom_sections") == 100 + 10000 + 1000
        assert {name: live.map(name).info().name for name in (".data.foo", ".rodata.foo", ".bss.foo")} == {
            ".data.foo": ".data.foo",
            ".rodata.foo": ".rodata.foo",
            ".bss.foo": ".bss.foo",
        }
        with pytest.raises(KernelError):
            live.map(".rodata.foo").update(bytes(4), bytes(4))


@row(".rodata.str1.1")
@pytest.mark.needs_feature("strncmp", since="5.17")
def test_string_sections() -> None:
    with load_only("basics", "string_section") as live:
        assert run(live, "string_section") == 21
        held = live.map(".rodata.str1.1").lookup(bytes(4))
        assert sorted(held.rstrip(b"\0").split(b"\0")) == [b"sesame", b"simsim"]


@row(".addr_space.1")
@pytest.mark.needs_feature("arena")
def test_arena_variables(libbpf: Libbpf) -> None:
    with load_only("arena", "touch") as live:
        fd = live.program().fd
        assert [bpf.prog_test_run(fd)[0] for _ in range(3)] == [79, 83, 89]
        assert live.map("arena").info().type == consts.BPF_MAP_TYPE_ARENA
    same_in_both(libbpf, "arena")


@row(".jumptables")
def test_jump_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table's entries are offsets in the section, the map's are slots of the linked program; kernels before 6.19 have none."""
    function = ProgramSpec("f", "xdp", 16, bytes(10 * 8), type=consts.BPF_PROG_TYPE_XDP)
    relocation = Relocation(0, RELOC_INSN_ARRAY, ".BPF.JT.0.0", "", value=8, size=16)
    linked = LinkedProgram(function, bytearray(function.insns), [(0, function)], [(0, relocation)])
    tables = b"".join(value.to_bytes(8, "little") for value in (0, 16 + 24, 16 + 72))
    assert jumptables.table_slots(tables, linked, 0, relocation) == [3, 9]
    spec = ObjectSpec("tables", license="GPL", programs=[function], jumptables=tables)
    function.insns = bytes.fromhex("1801000000000000000000000000000095000000000000009500000000000000")
    function.relocations = (Relocation(0, RELOC_INSN_ARRAY, ".BPF.JT.0.0", "", value=0, size=8),)
    spec.jumptables = (16 + 16).to_bytes(8, "little")

    def refuses(kind: int, *sizes: int, **fields: Any) -> int:
        assert (kind, sizes) == (consts.BPF_MAP_TYPE_INSN_ARRAY, (4, 16, 1))
        raise KernelError("BPF_MAP_CREATE", errno.EINVAL)

    monkeypatch.setattr(bpf, "map_create", refuses)
    with pytest.raises(NotSupportedError, match=r"no jump tables \(INSN_ARRAY maps\) \(in Linux since 6.19\)"):
        load(spec)


@row(".struct_ops", ".struct_ops.link", "? forms of .struct_ops")
@pytest.mark.needs_feature("struct_ops_link")
def test_struct_ops(libbpf: Libbpf) -> None:
    spec = spec_of("structops")
    with load(spec) as live:
        assert_same_as_libbpf(live, theirs(libbpf, "structops"))
        assert list(live.programs) == ["ssthresh", "cong_avoid", "undo_cwnd"]
        assert list(live.maps) == ["plain", "linked"]
        plain, linked = live.map("plain").info(), live.map("linked").info()
        assert plain.type == linked.type == consts.BPF_MAP_TYPE_STRUCT_OPS
        assert (plain.map_flags, linked.map_flags) == (0, consts.BPF_F_LINK)
        register(live.map("plain"), live, "plain")
        names = Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().split()
        live.map("plain").delete(bytes(4))
        assert "bpfload_plain" in names
    spec = spec_of("structops")
    spec.maps["optional"].autocreate = True
    with load(spec) as live:
        assert list(live.maps) == ["plain", "linked", "optional"]
        assert "only_of_optional" in live.programs


def register(entry: Map, live: Any, name: str) -> None:
    ready = live.struct_ops[name]
    data = bytearray(ready.data)
    for offset, program in ready.functions:
        data[offset : offset + 8] = live.program(program).fd.to_bytes(8, "little")
    entry.update(bytes(4), bytes(data))


@row("?SEC")
@pytest.mark.needs_feature("bpf_loop")
def test_programs_that_are_loaded_only_if_asked_for(libbpf: Libbpf) -> None:
    with load(path("basics")) as live:
        assert "only_if_asked" not in live.programs
    assert not theirs(libbpf, "basics").programs["only_if_asked"].autoload
    assert returned("basics", "only_if_asked") == 77
    spec = spec_of("basics")
    spec.program("only_if_asked").autoload = True
    with load(spec) as live:
        assert "only_if_asked" in live.programs


@row("map reference")
def test_map_reference() -> None:
    assert returned("basics", "map_reference") == 55


@row("subprogram call")
def test_subprogram_call() -> None:
    """A global function that calls a static one, which reads a static variable."""
    assert returned("basics", "subprogram_call") == 10 * 2 + 13 + 1


@row("subprogram address")
@pytest.mark.needs_feature("bpf_loop")
def test_subprogram_address() -> None:
    assert returned("basics", "subprogram_address") == sum(range(10))


@row("automatic attach")
@pytest.mark.needs_feature("raw_tracepoint_link")
def test_automatic_attach() -> None:
    """SEC() says all that attaching takes; the links are removed with their fds. Each hook has tests of its own."""
    from bpfload.links import attach, attaches_by_itself

    spec = spec_of("programs")
    chosen = spec.program("attaches_itself")
    assert attaches_by_itself(chosen)
    assert not attaches_by_itself(spec.program("target"))
    with load(spec, LoadOptions(programs=frozenset(("attaches_itself",)))) as live:
        assert live.value("entered") == 0
        with attach(live.program("attaches_itself"), chosen):
            Path("/proc/self/comm").read_text()
        entered = live.value("entered")
        assert entered > 0
        Path("/proc/self/comm").read_text()
        assert live.value("entered") == entered
