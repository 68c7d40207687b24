"""The SEC() table."""

from __future__ import annotations

import pytest

from bpfload.abi import consts as c
from bpfload.elf.sections import SECTION_DEFINITIONS, attach_target, find_definition


def test_there_are_all_definitions_once() -> None:
    names = [row[0] for row in SECTION_DEFINITIONS]
    assert len(names) == len(set(names)) == 116


@pytest.mark.parametrize("row", SECTION_DEFINITIONS, ids=[row[0] for row in SECTION_DEFINITIONS])
def test_each_definition_is_found_by_its_name(row: tuple[str, int, int, int, str]) -> None:
    name = row[0].removesuffix("+")
    definition = find_definition(name)
    assert definition is not None
    assert (definition.name, definition.type, definition.attach_type) == (name, row[1], row[2])
    assert find_definition("?" + name) is definition
    with_extras = find_definition(name + "/some/thing")
    assert (with_extras is definition) == (row[0][-1] == "+")


@pytest.mark.parametrize(
    ("section", "name", "target"),
    [
        ("kprobe/do_unlinkat+8", "kprobe", "do_unlinkat+8"),
        ("kprobe", "kprobe", ""),
        ("uprobe.multi.s//proc/self/exe:f*", "uprobe.multi.s", "/proc/self/exe:f*"),
        ("?tp/syscalls/sys_enter_open", "tp", "syscalls/sys_enter_open"),
        ("raw_tp/", "raw_tp", ""),
        ("tc/ingress", "tc/ingress", ""),
        ("xdp.frags/cpumap", "xdp.frags/cpumap", ""),
        ("lsm_cgroup/socket_post_create", "lsm_cgroup", "socket_post_create"),
        ("cgroup/connect_unix", "cgroup/connect_unix", ""),
        ("struct_ops.s/init", "struct_ops.s", "init"),
    ],
)
def test_names_with_extras(section: str, name: str, target: str) -> None:
    definition = find_definition(section)
    assert definition is not None
    assert definition.name == name
    assert attach_target(section, definition) == target


@pytest.mark.parametrize(
    "section", ["", "?", "xd", "xdpx", "xdp/", "xdp/other", "tc/other", "kprobes", "lsmx/y", ".text", "??xdp"]
)
def test_names_that_match_nothing(section: str) -> None:
    assert find_definition(section) is None


def test_flags() -> None:
    fentry = find_definition("fentry.s/x")
    usdt = find_definition("usdt")
    frags = find_definition("xdp.frags")
    xdp = find_definition("xdp")
    assert fentry
    assert (fentry.needs_btf_id, fentry.sleepable, fentry.attachable, fentry.hook) == (True, True, True, "tracing")
    assert usdt
    assert (usdt.needs_btf_id, usdt.hook) == (False, "usdt")
    assert frags
    assert (frags.frags, frags.optional_attach_type) == (True, False)
    assert xdp
    assert (xdp.frags, xdp.optional_attach_type, xdp.attachable) == (False, True, False)
    multi = find_definition("fsession.multi.s/bpf_*")
    assert multi
    assert (multi.attach_type, multi.needs_btf_id) == (c.BPF_TRACE_FSESSION_MULTI, False)
