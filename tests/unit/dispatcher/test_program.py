"""bpfload.dispatcher.program: the dispatcher that is made here, as far as it can be seen without a kernel."""

from __future__ import annotations

import pytest

from bpfload.btf import types as t
from bpfload.dispatcher.program import dispatcher_spec, slot_function
from bpfload.dispatcher.protocol import Config, Slot
from bpfload.insn.disasm import disassemble
from bpfload.linker import link


def config(count: int, version: int = 2) -> Config:
    return Config(tuple(Slot(number) for number in range(count)), version)


@pytest.mark.parametrize("count", [0, 1, 2, 10])
@pytest.mark.parametrize("version", [2, 3])
def test_its_types_are_sound_and_name_every_function(count: int, version: int) -> None:
    spec = dispatcher_spec(config(count, version))
    assert spec.btf is not None
    spec.btf.validate()
    for name in ["xdp_dispatcher", *(slot_function(number) for number in range(count))]:
        function = spec.btf.type(spec.btf.find(name, t.KIND_FUNC))
        assert function.linkage == t.LINKAGE_GLOBAL
        (context,) = spec.btf.type(function.type_id).params
        assert spec.btf.type(spec.btf.type(context.type_id).type_id).name == "xdp_md"
    assert not spec.btf.find(slot_function(count), t.KIND_FUNC)


@pytest.mark.parametrize("version", [2, 3])
def test_its_struct_is_as_large_as_the_value(version: int) -> None:
    settings = config(1, version)
    btf = dispatcher_spec(settings).btf
    assert btf is not None
    struct = btf.type(btf.find("xdp_dispatcher_config", t.KIND_STRUCT))
    assert struct.size == len(settings.pack())
    assert [member.name for member in struct.members][:4] == ["magic", "dispatcher_version", "num_progs_enabled", "is_xdp_frags"]
    metadata = btf.type(btf.find("dispatcher_version", t.KIND_VAR))
    assert btf.type(btf.type(metadata.type_id).type_id).nelems == version


def test_each_slot_is_called_and_tested_in_turn() -> None:
    spec = dispatcher_spec(config(2))
    linked = link(spec, spec.program("xdp_dispatcher"))
    assert [function.name for _, function in linked.functions] == ["xdp_dispatcher", "prog0", "prog1"]
    assert len(linked.func_info) == 3 * 8
    lines = [line.partition(") ")[2] for line in text_of(bytes(linked.insns))]
    assert lines[:12] == [
        "r6 = r1",
        "r7 = 0x0",
        "r1 = r6",
        "call pc+14",
        "w2 = 1",
        "w2 <<= w0",
        "r1 = *(u32 *)(r7 +4)",
        "w2 &= w1",
        "if w2 == 0x0 goto pc+8",
        "r1 = r6",
        "call pc+11",
        "w2 = 1",
    ]
    assert lines[-4:] == ["r2 = 0", "call bpf_xdp_adjust_tail#65", "r0 = 31", "exit"]


def text_of(insns: bytes) -> list[str]:
    return [line.text for line in disassemble(insns)]


def test_frags_are_asked_for_at_the_load() -> None:
    assert dispatcher_spec(Config((), frags=True)).program("xdp_dispatcher").flags == 32
    assert dispatcher_spec(Config(())).program("xdp_dispatcher").flags == 0
