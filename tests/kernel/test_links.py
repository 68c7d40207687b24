"""bpfload.links: each hook attached on the real kernel, and what is said where the kernel refuses."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from bpfload.abi import consts
from bpfload.errors import KernelError, NotFoundError, UsageError
from bpfload.links import Target, attach, attaches_by_itself, hook_of
from bpfload.syscall import bpf
from support.namespaces import VethPair
from support.process import run
from support.programs import load_spec, program_spec, raw_tracepoint_spec

pytestmark = pytest.mark.usefixtures("nothing_left_behind")


# XDP


@pytest.mark.needs_feature("xdp_link")
@pytest.mark.parametrize(("mode", "flag"), [("auto", "xdp"), ("native", "xdp"), ("generic", "xdpgeneric")])
def test_xdp_in_every_mode(veth: VethPair, mode: str, flag: str) -> None:
    spec = program_spec()
    with load_spec(spec) as program:
        with attach(program, spec, Target(device=veth.device, mode=mode)) as link:
            info = link.info()
            assert (info.type, info.prog_id) == (consts.BPF_LINK_TYPE_XDP, program.info().id)
            assert info.number("ifindex") == veth.ifindex
            words = run("ip", "link", "show", "dev", veth.device).stdout.split()
            assert flag in words
        words = run("ip", "link", "show", "dev", veth.device).stdout.split()
        assert flag not in words


def test_xdp_on_a_device_that_is_not_there(veth: VethPair) -> None:
    spec = program_spec()
    with load_spec(spec) as program:
        with pytest.raises(NotFoundError, match="no network device 'vet0'") as near:
            attach(program, spec, Target(device="vet0"))
        assert near.value.candidates == (veth.device,)
        with pytest.raises(NotFoundError) as far:
            attach(program, spec, Target(device="zzzzzz"))
        assert veth.device in far.value.hint


@pytest.mark.needs_feature("xdp_link")
@pytest.mark.parametrize("mode", ["auto", "native", "generic"])
def test_a_device_that_is_taken_names_the_program_and_its_link(veth: VethPair, mode: str) -> None:
    first, second = program_spec("first"), program_spec("second")
    with load_spec(first) as holder, load_spec(second) as program, attach(holder, first, Target(device=veth.device)) as link:
        with pytest.raises(KernelError, match="has an XDP program already") as caught:
            attach(program, second, Target(device=veth.device, mode=mode))
        assert f"id {holder.info().id} (first), by link {link.info().id}" in caught.value.message
        assert f"bpfload link detach id {link.info().id}" in caught.value.hint


@pytest.mark.needs_feature("xdp_link")
def test_a_device_that_is_taken_without_a_link(veth: VethPair, bpffs: Path) -> None:
    spec = program_spec("second")
    with load_spec(program_spec("first")) as holder, load_spec(spec) as program:
        bpf.obj_pin(holder.fd, str(bpffs / "first"))
        run("ip", "link", "set", "dev", veth.device, "xdp", "pinned", bpffs / "first")
        try:
            with pytest.raises(KernelError, match="has an XDP program already") as caught:
                attach(program, spec, Target(device=veth.device))
        finally:
            run("ip", "link", "set", "dev", veth.device, "xdp", "off")
        assert f"id {holder.info().id} (first)" in caught.value.message
        assert f"bpfload net detach xdp dev {veth.device}" in caught.value.hint


@pytest.mark.needs_feature("xdp_link")
def test_a_large_mtu_is_named_as_the_reason(veth: VethPair) -> None:
    spec = program_spec()
    veth.here.run("ip", "link", "set", veth.device, "mtu", "9000")
    veth.there.run("ip", "link", "set", veth.peer_device, "mtu", "9000")
    with load_spec(spec) as program:
        with pytest.raises(KernelError) as caught:
            attach(program, spec, Target(device=veth.device, mode="native"))
        assert "MTU of 9000 is too large" in caught.value.hint
        assert "xdp.frags" in caught.value.hint
        with attach(program, spec, Target(device=veth.device, mode="generic")):
            pass


@pytest.mark.needs_feature("xdp_link")
def test_a_driver_without_native_xdp(veth: VethPair) -> None:
    spec = program_spec()
    with load_spec(spec) as program, pytest.raises(KernelError, match="EOPNOTSUPP") as caught:
        attach(program, spec, Target(device="lo", mode="native"))
    assert "--mode generic" in caught.value.hint


def test_an_xdp_target_that_makes_no_sense(veth: VethPair) -> None:
    spec = program_spec()
    with load_spec(spec) as program:
        with pytest.raises(UsageError, match="no device"):
            attach(program, spec)
        with pytest.raises(UsageError, match="no XDP mode 'fast'"):
            attach(program, spec, Target(device=veth.device, mode="fast"))


# Raw tracepoints


@pytest.mark.needs_feature("raw_tracepoint_link")
def test_a_raw_tracepoint_named_by_sec_or_by_the_caller() -> None:
    spec = raw_tracepoint_spec(target="sys_enter")
    assert attaches_by_itself(spec)
    with load_spec(spec) as program:
        for target, name in ((None, "sys_enter"), (Target(name="sys_exit"), "sys_exit")):
            with attach(program, spec, target) as link:
                info = link.info(arrays=True)
                assert info.type == consts.BPF_LINK_TYPE_RAW_TRACEPOINT
                assert info.text("tp_name") == name


@pytest.mark.needs_feature("raw_tracepoint")
@pytest.mark.needs_feature("vmlinux_btf")
@pytest.mark.parametrize(("name", "near"), [("sys_entr", "sys_enter"), ("sched:sched_switch", "sched_switch")])
def test_a_raw_tracepoint_that_is_not_there(name: str, near: str) -> None:
    spec = raw_tracepoint_spec(target="")
    assert not attaches_by_itself(spec)
    with load_spec(spec) as program:
        with pytest.raises(NotFoundError, match="no raw tracepoint") as caught:
            attach(program, spec, Target(name=name))
        assert caught.value.candidates[0] == near
        with pytest.raises(UsageError, match="names no tracepoint") as unnamed:
            attach(program, spec)
        assert "--attach" in unnamed.value.hint


# Others


def test_a_hook_without_a_file_says_so() -> None:
    spec = program_spec(type_=consts.BPF_PROG_TYPE_LWT_IN, section="lwt_in")
    assert hook_of(spec) == ""
    with load_spec(spec) as program, pytest.raises(UsageError, match=r'SEC\("lwt_in"\) programs can\'t be attached'):
        attach(program, spec)


def test_device_names_are_those_of_the_own_namespace(veth: VethPair) -> None:
    from bpfload.links.xdp import device_index

    assert device_index(veth.device) == socket.if_nametoindex(veth.device)
    assert os.path.exists("/proc/self/ns/net")
