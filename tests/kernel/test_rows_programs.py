"""Programs that take more than their instructions: those that sleep, extend others, have fragments, throw, need a token."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from struct import iter_unpack
from typing import Any

import pytest

from bpfload.abi import consts
from bpfload.btf import types as t
from bpfload.errors import KernelError, LinkError, NotFoundError, VerifierError
from bpfload.features import probes
from bpfload.load import load
from bpfload.objects.btf import BtfObject
from bpfload.syscall import bpf
from support import token_child
from support.features_data import assert_same_as_libbpf, load_only, only, path, run, same_in_both, theirs
from support.libbpf import Libbpf
from support.paths import TESTS
from support.rows import row

pytestmark = pytest.mark.needs_feature("vmlinux_btf", "global_data")


@row("sleepable")
@pytest.mark.needs_feature("sleepable_iter", since="5.19", config="CONFIG_DEBUG_INFO_BTF")
def test_sleepable(libbpf: Libbpf) -> None:
    """Only a program that may sleep may call bpf_copy_from_user()."""
    same_in_both(libbpf, "programs", "sleeps")
    with pytest.raises(VerifierError) as caught:
        load_only("programs", "does_not_sleep")
    assert caught.value.errno_code == theirs(libbpf, "programs", "does_not_sleep").errno
    assert caught.value.source.startswith("programs.bpf.c:")


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the kernel was asked for by each BPF_PROG_LOAD."""
    seen: list[dict[str, Any]] = []
    real = bpf.prog_load

    def spy(kind: int, insns: bytearray, license: bytes, **fields: Any) -> int:
        seen.append({"type": kind, **fields})
        return real(kind, insns, license, **fields)

    monkeypatch.setattr(bpf, "prog_load", spy)
    return seen


@row("freplace")
@pytest.mark.needs_feature("freplace")
def test_freplace(libbpf: Libbpf, loads: list[dict[str, Any]]) -> None:
    """The function is found in the other program's BTF, by SEC()'s name for it or another; then it is up to the kernel."""
    with load_only("programs", "target") as target:
        fd = target.program().fd
        assert run(target, "target") == 10
        outcome = theirs(libbpf, "programs", "replacement", attach_to=(fd, "replaceable"))
        for function in ("", "replaceable"):
            options = only("replacement", attach_to=fd, attach_function=function)
            if outcome.errno == errno.EPERM:  # a machine may forbid all trampolines
                with pytest.raises(KernelError, match="EPERM"):
                    load(path("programs"), options)
                continue
            with load(path("programs"), options) as live:
                info = live.program().info()
                assert info.type == consts.BPF_PROG_TYPE_EXT
                # Not told by kernels before 5.18.
                assert info.attach_btf_obj_id in (0, target.program().info().btf_id)
                assert_same_as_libbpf(live, outcome)
        with pytest.raises(NotFoundError, match="program 'target' has no function 'replacable'") as caught:
            load_only("programs", "replacement", attach_to=fd, attach_function="replacable")
        assert caught.value.candidates == ("replaceable",)
        with BtfObject.from_id(target.program().info().btf_id) as types:
            wanted = types.btf().find("replaceable", t.KIND_FUNC)
        asked = [(load["attach_btf_id"], load["attach_fd"]) for load in loads if load["type"] == consts.BPF_PROG_TYPE_EXT]
        assert set(asked) == {(wanted, fd)}
    with pytest.raises(LinkError, match="it replaces function 'replaceable' of another program") as unnamed:
        load_only("programs", "replacement")
    assert unnamed.value.errno_code == theirs(libbpf, "programs", "replacement").errno


@row("xdp.frags")
@pytest.mark.needs_feature("xdp_frags")
def test_fragments(libbpf: Libbpf, loads: list[dict[str, Any]]) -> None:
    packet = bytes(9000)
    with load_only("programs", "fragments") as live:
        assert bpf.prog_test_run(live.program().fd, packet)[0] == len(packet)
    assert [load["flags"] for load in loads] == [consts.BPF_F_XDP_HAS_FRAGS]
    same_in_both(libbpf, "programs", "fragments")


@row("exception callback")
@pytest.mark.needs_feature("exceptions", since="6.7", config="CONFIG_DEBUG_INFO_BTF")
def test_exception_callbacks(libbpf: Libbpf) -> None:
    """The callback gets what was thrown, and returns for the program."""
    with load_only("programs", "throws") as live:
        assert run(live, "throws") == 40 + 1
    same_in_both(libbpf, "programs", "throws")


class TestContextArguments:
    """__arg_ctx: by the tag where the kernel knows it, else by the type's name."""

    @row("__arg_ctx")
    @pytest.mark.needs_feature("arg_ctx_tag", since="6.8")
    @pytest.mark.parametrize("program", ["passes_packet", "passes_context"])
    def test_tag(self, libbpf: Libbpf, program: str) -> None:
        assert self.context_type(program) == "void"
        same_in_both(libbpf, "programs", program)

    @row("__arg_ctx")
    @pytest.mark.needs_feature("xdp_frags")  # bpf_xdp_get_buff_len() came with them
    @pytest.mark.parametrize(
        ("program", "name", "lacking"),
        [
            # A kernel that knows the tag wants another type than older ones for a kprobe's context, so that one needs to lack it.
            ("passes_packet", "xdp_md", ()),
            ("passes_packet", "xdp_md", ("btf_decl_tag",)),
            ("passes_context", "bpf_user_pt_regs_t", ("btf_decl_tag", "btf_type_tag", "btf_enum64")),
        ],
    )
    def test_type(self, program: str, name: str, lacking: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
        """For kernels without the tag, those without any tags in BTF included: every kernel takes what is made for them."""
        monkeypatch.setitem(probes._answers, "arg_ctx_tag", False)
        real = bpf.btf_load
        refused: list[bytes] = []

        def lacks(data: bytes, **fields: Any) -> int:
            if lacking and not refused:
                refused.append(data)
                raise KernelError("BPF_BTF_LOAD", errno.EINVAL)
            return real(data, **fields)

        for feature in probes.FEATURES:
            if feature.startswith("btf"):
                monkeypatch.setitem(probes._answers, feature, feature not in lacking)
        monkeypatch.setattr(bpf, "btf_load", lacks)
        assert self.context_type(program) == name

    @staticmethod
    def context_type(program: str) -> str:
        """Load the program, and return what the kernel has been told of the subprogram's argument."""
        with load_only("programs", program) as live:
            info = live.program().info("func_info")
            with BtfObject.from_id(info.btf_id) as holder:
                btf = holder.btf()
        ids = [type_id for _, type_id in iter_unpack("<II", info.func_info)]
        function = btf.type(ids[1])
        assert function.name.startswith("takes_")
        pointer = btf.type(btf.type(function.type_id).params[0].type_id)
        target = btf.type(pointer.type_id)
        return target.name if target.kind == t.KIND_STRUCT else "void"


class TestExclusiveMaps:
    """A map that one program alone may use."""

    @row("exclusive map")
    @pytest.mark.needs_feature("exclusive_map", since="6.18")
    def test_one_program_alone(self) -> None:
        options = only("alone", exclusive_maps={"exclusive": "alone"})
        with load(path("programs"), options) as live:
            assert [run(live, "alone") for _ in range(2)] == [3, 6]
            with pytest.raises(VerifierError, match="hash doesn't match"):
                load_only("programs", "intruder", maps={"exclusive": live.map("exclusive").fd})

    @row("exclusive map")
    def test_a_program_that_is_not_loaded(self) -> None:
        with pytest.raises(NotFoundError, match="exclusive to program 'alone', which isn't loaded; there are: intruder"):
            load_only("programs", "intruder", exclusive_maps={"exclusive": "alone"})

    @row("exclusive map")
    def test_an_older_kernel(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def lacks(*sizes: int, **fields: Any) -> int:
            raise KernelError("BPF_MAP_CREATE", errno.E2BIG if fields["excl_prog_hash"] else errno.EINVAL)

        monkeypatch.setattr(bpf, "map_create", lacks)
        with pytest.raises(KernelError, match="this kernel has no exclusive maps"):
            load_only("programs", "alone", exclusive_maps={"exclusive": "alone"})


@row("BPF token")
@pytest.mark.needs_feature("token")
def test_token(tmp_path: Path) -> None:
    """In a user namespace loading takes a token from a bpffs to which root has delegated."""
    if not Path("/proc/self/ns/user").exists():
        pytest.skip("feature: no user namespaces")
    ours, child = socket.socketpair()
    command = [sys.executable, "-m", "support.token_child", child.fileno(), path("basics"), "map_reference", tmp_path]
    process = subprocess.Popen(
        [str(word) for word in command],
        pass_fds=[child.fileno()],
        stdout=subprocess.PIPE,
        cwd=TESTS,
        text=True,
    )
    with ours, process:
        child.close()
        ours.settimeout(30)
        assert ours.recv(16) == b"made"
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{process.pid}/{name}").write_text("0 0 1\n")
        ours.send(b"mapped")
        _, descriptors, _, _ = socket.recv_fds(ours, 16, 1)
        try:
            token_child.delegate(descriptors[0])
        finally:
            os.close(descriptors[0])
        ours.send(b"delegated")
        seen = json.loads(process.communicate(timeout=60)[0])
    with load_only("basics", "map_reference") as live:
        assert seen["with"] == {"tag": live.program().info().tag, "maps": sorted(live.maps)}
    assert seen["by environment"] == seen["with"]
    assert seen["without"]["errno"] == errno.EPERM
    assert "BPF token" in seen["without"]["message"]
