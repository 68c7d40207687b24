"""Maps as their definitions say: every field, inner maps, static slots, pinning by name, sizes that the loader adjusts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bpfload.abi import consts
from bpfload.elf import read
from bpfload.errors import LinkError
from bpfload.kernel import cpus
from bpfload.load import LoadOptions, Object, load
from bpfload.objects.map import Map
from support.features_data import assert_same_as_libbpf, path, run, spec_of, theirs
from support.libbpf import Libbpf
from support.rows import row

# The object has a bloom filter, whose definition has a map_extra.
pytestmark = pytest.mark.needs_feature("map_extra", since="5.16")


def loaded() -> Object:
    return load(path("maps"), LoadOptions(pin_root=None))


@row("BTF map fields")
def test_fields() -> None:
    spec = spec_of("maps")
    with loaded() as live:
        typed, sized, extra = (live.map(name).info() for name in ("by_type", "by_size", "with_extra"))
        assert (typed.type, typed.key_size, typed.value_size, typed.max_entries) == (consts.BPF_MAP_TYPE_HASH, 4, 16, 100)
        assert typed.map_flags == consts.BPF_F_NO_PREALLOC | consts.BPF_F_NUMA_NODE
        assert spec.btf is not None
        assert spec.btf.type(typed.btf_value_type_id).name == "value"
        assert spec.btf.size_of(typed.btf_key_type_id) == 4
        assert (sized.type, sized.key_size, sized.value_size, sized.max_entries) == (consts.BPF_MAP_TYPE_LRU_HASH, 12, 20, 64)
        assert (sized.btf_key_type_id, sized.btf_value_type_id) == (0, 0)
        assert (extra.type, extra.key_size, extra.value_size, extra.map_extra) == (consts.BPF_MAP_TYPE_BLOOM_FILTER, 0, 8, 3)


@row("BTF map fields")
def test_all_maps_as_libbpf_makes_them(libbpf: Libbpf, bpffs: Path, tmp_path: Path) -> None:
    """Every map of the object, by what the kernel says of it, and the programs' tags."""
    (bpffs / "theirs").mkdir()
    with loaded() as live:
        assert_same_as_libbpf(live, theirs(libbpf, "maps", pin_root=str(bpffs / "theirs")))


@row("BTF map fields")
def test_a_numa_node_that_is_not_there_is_refused() -> None:
    """So that the field is seen to arrive."""
    spec = spec_of("maps")
    spec.maps["by_type"].numa_node = 999
    with pytest.raises(OSError, match="map 'by_type': can't create it"):
        load(spec, LoadOptions(pin_root=None))


@row("inner map definition")
def test_inner_maps() -> None:
    """The kernel takes only inner maps of the form that was defined."""
    with loaded() as live:
        outer = live.map("outer_hash")
        fitting = Map.from_id(live.map("inner_one").info().id)
        with fitting, pytest.raises(OSError, match="EINVAL"):
            outer.update(bytes(4), fitting.fd.to_bytes(4, "little"))
    spec = spec_of("maps")
    inner = spec.maps["outer_hash"].inner
    assert inner is not None
    assert (inner.type, inner.key_size, inner.value_size, inner.max_entries) == (consts.BPF_MAP_TYPE_HASH, 8, 16, 5)


@row("static map-in-map slots")
def test_static_slots_of_maps_of_maps() -> None:
    with loaded() as live:
        live.map("inner_two").update(b"\2\0\0\0", (34).to_bytes(8, "little"))
        assert run(live, "nested") == 2 * 100 + 34


@row("static prog_array slots")
def test_static_slots_of_program_arrays() -> None:
    with loaded() as live:
        assert run(live, "jump") == 99


@row("LIBBPF_PIN_BY_NAME", "reuse of a pinned map")
def test_pinned_by_name_and_reused_by_both_loaders(bpffs: Path, libbpf: Libbpf) -> None:
    """What one of the two loaders pinned, the other takes up."""
    options = LoadOptions(pin_root=str(bpffs))
    with load(path("maps"), options) as live:
        live.map("shared").update(b"\1\0\0\0", (5).to_bytes(8, "little"))
        ident = live.map("shared").info().id
    assert os.listdir(bpffs) == ["shared"]
    assert theirs(libbpf, "maps", pin_root=str(bpffs)).errno == 0
    with load(path("maps"), options) as live:
        assert live.map("shared").info().id == ident
        assert live.map("shared").lookup(b"\1\0\0\0") == (5).to_bytes(8, "little")


@row("LIBBPF_PIN_BY_NAME", "reuse of a pinned map")
def test_what_libbpf_pinned_is_reused(bpffs: Path, libbpf: Libbpf) -> None:
    assert theirs(libbpf, "maps", pin_root=str(bpffs)).errno == 0
    with Map.from_pin(bpffs / "shared") as pinned, load(path("maps"), LoadOptions(pin_root=str(bpffs))) as live:
        assert live.map("shared").info().id == pinned.info().id


@row("compatibility check")
@pytest.mark.parametrize(("field", "value"), [("value_size", 16), ("key_size", 8), ("max_entries", 3), ("flags", 1), ("type", 1)])
def test_a_pinned_map_of_another_form(bpffs: Path, field: str, value: int) -> None:
    load(path("maps"), LoadOptions(pin_root=str(bpffs))).close()
    spec = read(path("maps"))
    spec.maps["shared"].key_type_id = spec.maps["shared"].value_type_id = 0
    setattr(spec.maps["shared"], field, value)
    with pytest.raises(LinkError, match=f"shared can't be reused: {'map_flags' if field == 'flags' else field} is"):
        load(spec, LoadOptions(pin_root=str(bpffs)))


@row("ring buffer size")
def test_ring_buffers_are_rounded_up() -> None:
    page = os.sysconf("SC_PAGE_SIZE")
    with loaded() as live:
        assert live.map("ring").info().max_entries == (2 * page if page < 5000 else page)


@row("perf_event_array size")
def test_perf_event_arrays_have_an_entry_for_each_cpu() -> None:
    with loaded() as live:
        assert live.map("events").info().max_entries == cpus.possible()
