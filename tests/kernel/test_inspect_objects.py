"""Programs, maps, links and BTF objects held by fds, and what the kernel says of them."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from struct import pack

import pytest

from bpfload.abi import consts
from bpfload.errors import KernelError, NotFoundError, NotSupportedError, PinError, UsageError
from bpfload.inspect import elements, maps, programs
from bpfload.kernel import cpus, kallsyms
from bpfload.load import load
from bpfload.objects import BtfObject, Link, Map, Program
from bpfload.syscall import bpf
from support import system
from support.paths import HELLO, HELLO_FUNC
from support.programs import load_spec, program_spec, small_program


def test_program_info_and_its_arrays() -> None:
    with load(HELLO_FUNC) as loaded:
        (program,) = loaded.programs.values()
        bare = program.info()
        assert (bare.name, bare.xlated_prog_len, bare.gpl_compatible) == ("hello", 80, True)
        assert (bare.map_ids, bare.func_info, bare.xlated_prog_insns) == ((), b"", b"")
        full = program.info("map_ids", "func_info", "line_info", "xlated_prog_insns", "jited_ksyms", "prog_tags")
        assert len(full.map_ids) == full.nr_map_ids == 1
        assert len(full.func_info) == 2 * full.func_info_rec_size
        assert len(full.line_info) == full.nr_line_info * full.line_info_rec_size
        assert len(full.xlated_prog_insns) == 80
        assert len(full.prog_tags) == 8 * full.nr_prog_tags == 16
        assert program.info("map_ids").map_ids == full.map_ids
        with Program.from_id(full.id) as again:
            assert again.info().tag == full.tag


def test_a_program_with_many_maps() -> None:
    """More ids than the first call has room for."""
    with load_spec(program_spec("many")) as program:
        held = [Map(bpf.map_create(consts.BPF_MAP_TYPE_ARRAY, 4, 4, 1)) for _ in range(70)]
        for item in held:
            bpf.prog_bind_map(program.fd, item.fd)
        assert set(program.info("map_ids").map_ids) == {item.info().id for item in held}
        for item in held:
            item.close()


def test_what_is_not_there() -> None:
    for kind in (Program, Map, Link, BtfObject):
        with pytest.raises(NotFoundError, match="has id 4294967294"):
            kind.from_id(0xFFFFFFFE)  # type: ignore[attr-defined]


def test_pins(bpffs: Path, tmp_path: Path) -> None:
    with small_program() as program:
        bpf.obj_pin(program.fd, str(bpffs / "here"))
        with Program.from_pin(bpffs / "here") as again:
            assert again.info().id == program.info().id
    with pytest.raises(PinError, match="holds a program, not a map"):
        Map.from_pin(bpffs / "here")
    with pytest.raises(PinError, match="nothing is pinned"):
        Link.from_pin(bpffs / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(PinError, match="not on a BPF file system"):
        Program.from_pin(tmp_path / "file")


def test_elements_of_a_hash() -> None:
    with Map(bpf.map_create(consts.BPF_MAP_TYPE_HASH, 4, 8, 500)) as item:
        assert item.get(pack("=I", 1)) is None
        with pytest.raises(KernelError) as missing:
            item.lookup(pack("=I", 1))
        assert missing.value.errno == errno.ENOENT
        expected = {pack("=I", number): pack("=Q", number * number) for number in range(400)}
        for key, value in expected.items():
            item.update(key, value, consts.BPF_NOEXIST)
        assert dict(item.items()) == expected
        assert set(item.keys()) == set(expected)
        item.delete(pack("=I", 8))
        assert len(dict(item.items())) == 399


@pytest.mark.needs_feature("hash_lookup_and_delete")
def test_taking_out_of_a_hash() -> None:
    with Map(bpf.map_create(consts.BPF_MAP_TYPE_HASH, 4, 8, 5)) as item:
        item.update(pack("=I", 7), pack("=Q", 49))
        assert item.pop(pack("=I", 7)) == pack("=Q", 49)
        with pytest.raises(KernelError) as missing:
            item.pop(pack("=I", 7))
        assert missing.value.errno == errno.ENOENT


def test_taking_out_where_the_kernel_can_not() -> None:
    """An array's elements stay; before 5.14 a hash map's did too."""
    kinds = [consts.BPF_MAP_TYPE_ARRAY]
    if system.kernel_version() < (5, 14):
        kinds.append(consts.BPF_MAP_TYPE_HASH)
    for kind in kinds:
        with Map(bpf.map_create(kind, 4, 8, 5)) as item:
            item.update(pack("=I", 1), pack("=Q", 49))
            with pytest.raises(NotSupportedError, match=r"no taking out of a map.*\(in Linux since 5.14\).*\(ENOTSUPP\)"):
                item.pop(pack("=I", 1))
            assert item.lookup(pack("=I", 1)) == pack("=Q", 49)


@pytest.mark.needs_feature("batch_operations")
def test_batches_where_one_bucket_holds_everything() -> None:
    """The kernel says ENOSPC where a bucket holds more than the batch, which a table of few entries makes likely."""
    with Map(bpf.map_create(consts.BPF_MAP_TYPE_HASH, 8, 40000, 64)) as item:
        for number in range(64):
            item.update(pack("=Q", number), bytes([number]) * 40000)
        assert sorted(value[0] for _, value in item.items()) == list(range(64))


def test_values_of_each_cpu() -> None:
    with Map(bpf.map_create(consts.BPF_MAP_TYPE_PERCPU_ARRAY, 4, 6, 2)) as item:
        count = cpus.possible()
        values = [bytes([cpu] * 6) for cpu in range(count)]
        item.update(pack("=I", 1), item.join(values))
        assert item.lookup_size == 8 * count
        assert item.split(item.lookup(pack("=I", 1))) == values
        assert [key for key, _ in item.items()] == [pack("=I", 0), pack("=I", 1)]


def test_queues() -> None:
    with Map(bpf.map_create(consts.BPF_MAP_TYPE_QUEUE, 0, 4, 2)) as item:
        item.update(None, b"abcd")
        item.update(None, b"efgh")
        assert [item.pop(), item.pop()] == [b"abcd", b"efgh"]
        with pytest.raises(KernelError):
            list(elements.elements(item))


@pytest.mark.needs_feature("frozen_map")
def test_freezing() -> None:
    with Map(bpf.map_create(consts.BPF_MAP_TYPE_ARRAY, 4, 4, 1)) as item:
        item.freeze()
        with pytest.raises(KernelError) as refused:
            item.update(bytes(4), bytes(4))
        assert refused.value.errno == errno.EPERM


def test_typed_elements() -> None:
    with load(HELLO) as loaded:
        (row,) = elements.elements(loaded.maps[".rodata"])
        assert row.formatted is not None
        assert row.formatted.value is not None
        assert row.formatted.value.python() == {"hello.____fmt": "Hello World %d"}
        assert row.formatted.value.to_data() == {".rodata": [{"hello.____fmt": "Hello World %d"}]}


def test_selectors() -> None:
    name = f"sel{os.getpid()}"
    with load_spec(program_spec(name)) as program:
        (found,) = programs.find("name", name)
        with found:
            assert found.info().id == program.info().id
        for kind, value in (("id", "x"), ("id", "-1"), ("tag", "12"), ("tag", "z" * 16)):
            with pytest.raises(UsageError):
                programs.find(kind, value)
        with pytest.raises(NotFoundError) as near:
            programs.find("name", f"{name}x")
        assert name in near.value.candidates
    with pytest.raises(NotFoundError):
        maps.find("name", name)


@pytest.mark.needs_feature("kernel_btf_object")
def test_kernel_types() -> None:
    with BtfObject.from_id(1) as item:
        info = item.info()
        assert (info.name, info.kernel_btf, info.data) == ("vmlinux", True, b"")
        assert info.btf_size > 1_000_000


def test_kernel_symbols() -> None:
    symbols = kallsyms.load()
    base = symbols.address("__bpf_call_base")
    assert base
    assert symbols.find(base) is not None
    assert kallsyms.addresses(["__bpf_call_base", "no_such_symbol_at_all"]) == {"__bpf_call_base": base}
