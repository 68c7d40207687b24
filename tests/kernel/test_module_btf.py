"""What only a module's BTF describes: a target, a type, a function to call, found on kernels that have modules with BTF."""

from __future__ import annotations

from pathlib import Path
from struct import unpack_from
from typing import Any

import pytest

from bpfload.btf import types as t
from bpfload.inspect import btf as inspect_btf
from bpfload.kernel import btf as kernel_btf
from bpfload.links import attach
from bpfload.syscall import bpf
from support.features_data import assert_same_as_libbpf, load_only, run, run_tracing, theirs
from support.libbpf import Libbpf
from support.namespaces import VethPair

pytestmark = pytest.mark.needs_feature("module_btf", "global_data")


def module(name: str) -> kernel_btf.ModuleBtf:
    """Return a module's BTF; skip where that module isn't one, or isn't loaded."""
    if not Path(kernel_btf.DIRECTORY, name).exists():
        pytest.skip(f"feature: no module {name} with BTF is loaded")
    (found,) = (entry for entry in kernel_btf.modules() if entry.name == name)
    return found


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the kernel was asked for by each BPF_PROG_LOAD."""
    seen: list[dict[str, Any]] = []
    real = bpf.prog_load

    def spy(kind: int, insns: bytearray, license: bytes, **fields: Any) -> int:
        seen.append({"insns": bytes(insns), **fields})
        return real(kind, insns, license, **fields)

    monkeypatch.setattr(bpf, "prog_load", spy)
    return seen


@pytest.mark.needs_feature("fentry")
def test_tracing_a_function(nothing_left_behind: None, veth: VethPair, libbpf: Libbpf, loads: list[dict[str, Any]]) -> None:
    """SEC("fentry/veth_xmit"): loaded, attached, called for each packet, and shown by the function's name."""
    types = module("veth")
    with load_only("modules", "traced") as live:
        program = live.program("traced")
        assert loads[0]["attach_btf_id"] == types.btf.find("veth_xmit", t.KIND_FUNC) >= types.btf.start_id
        info = program.info()
        assert (info.attach_btf_obj_id, info.attach_btf_id) == (types.id, loads[0]["attach_btf_id"])
        assert_same_as_libbpf(live, theirs(libbpf, "modules", "traced"))
        with attach(program, live.spec.program("traced")) as link:
            shown = link.info()
            assert shown.number("target_obj_id") == types.id
            assert inspect_btf.type_name_in(types.id, shown.number("target_btf_id")) == "veth_xmit"
            veth.send(5)
        assert live.value("sent") >= 5


def test_types(libbpf: Libbpf) -> None:
    """CO-RE relocations against a struct that the kernel's own BTF hasn't got."""
    types = module("veth").btf
    assert not kernel_btf.vmlinux().find("veth_priv", t.KIND_STRUCT)
    struct = types.type(types.find("veth_priv", t.KIND_STRUCT))
    (member,) = (member for member in struct.members if member.name == "requested_headroom")
    with load_only("modules", "fields") as live:
        run_tracing(live, "fields")
        seen = [live.value(name) for name in ("offset", "size", "exists", "missing")]
        assert seen == [member.offset_bits // 8, struct.size, 1, 0]
        assert_same_as_libbpf(live, theirs(libbpf, "modules", "fields"))


@pytest.mark.needs_feature("conntrack_kfuncs", since="6.0", config="CONFIG_NF_CONNTRACK")
def test_functions(libbpf: Libbpf, loads: list[dict[str, Any]]) -> None:
    """Calls of nf_conntrack's functions: by their ids in its BTF, which is handed over by an fd."""
    types = module("nf_conntrack")
    with load_only("modules", "calls") as live:
        run(live, "calls")
        assert (live.value("error") != 0, live.value("unresolved")) == (True, 1)
        assert_same_as_libbpf(live, theirs(libbpf, "modules", "calls"))
    insns = loads[0]["insns"]
    calls = [place for place in range(0, len(insns), 8) if insns[place] == 0x85 and insns[place + 1] >> 4 == 2]
    asked = [unpack_from("<hi", insns, place + 2) for place in calls]
    names = ("bpf_skb_ct_lookup", "bpf_ct_release")
    assert asked == [(1, types.btf.find(name, t.KIND_FUNC)) for name in names]
    assert len(loads[0]["fd_array"]) == 2 * 4
