"""bpfload.links: each hook attached on the real kernel, and what is said where the kernel refuses."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpfload.abi import consts
from bpfload.btf.types import KIND_FUNC, KIND_TYPEDEF
from bpfload.errors import KernelError, NotFoundError, UsageError
from bpfload.links import Target, attach, attaches_by_itself, hook_of
from bpfload.objects import Map, Program
from bpfload.spec import ProgramSpec
from bpfload.syscall import bpf
from support.features import why_missing
from support.namespaces import VethPair
from support.process import run
from support.programs import load_spec, program_spec, raw_tracepoint_spec, small_map

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


@pytest.mark.needs_feature("raw_tracepoint_link")
def test_a_raw_tracepoint_twice_by_the_same_program() -> None:
    spec = raw_tracepoint_spec(target="sys_enter")
    with load_spec(spec) as program, attach(program, spec) as first:
        if not why_missing("raw_tracepoint_cookie"):  # since then the kernel tells links apart, not programs
            with attach(program, spec) as second:
                assert second.info().id != first.info().id
            return
        with pytest.raises(KernelError) as twice:
            attach(program, spec)
        assert twice.value.errno == errno.EEXIST
        assert "is attached there already" in twice.value.hint


# What is verified for its target


def kernel_type(name: str, kind: int) -> int:
    from bpfload.kernel import btf

    found = btf.vmlinux().find(name, kind)
    if not found:
        pytest.skip(f"feature: this kernel has no {name}")
    return int(found)


@contextlib.contextmanager
def loaded_for(spec: ProgramSpec, target_type: int) -> Iterator[Program]:
    """Load for a target; skip where a policy of the machine refuses the kind of program before the verifier sees it.

    Guests of tests/vm have no such policy, and say so: there it is a failure.
    """
    try:
        program = load_spec(spec, attach_btf_id=target_type)
    except KernelError as error:
        if error.errno == errno.EPERM and "BPFLOAD_NO_POLICY" not in os.environ:
            pytest.skip(f"feature: {spec.section}: a policy of this machine lets not even root load such programs")
        raise
    with program:
        yield program


@pytest.mark.needs_feature("fentry")
@pytest.mark.parametrize(
    ("attach_type", "target", "kind"),
    [
        (consts.BPF_TRACE_FENTRY, "bpf_fentry_test1", KIND_FUNC),
        (consts.BPF_TRACE_FEXIT, "bpf_fentry_test1", KIND_FUNC),
        # A hook of the security modules can be modified on every kernel, a function for error injection where it was built in.
        (consts.BPF_MODIFY_RETURN, "security_file_open", KIND_FUNC),
        (consts.BPF_TRACE_RAW_TP, "btf_trace_sys_enter", KIND_TYPEDEF),
    ],
)
def test_tracing(attach_type: int, target: str, kind: int) -> None:
    spec = program_spec(type_=consts.BPF_PROG_TYPE_TRACING, section="fentry", target=target, attach_type=attach_type)
    with loaded_for(spec, kernel_type(target, kind)) as program, attach(program, spec) as link:
        info = link.info()
        if attach_type == consts.BPF_TRACE_RAW_TP:
            assert info.type in (consts.BPF_LINK_TYPE_RAW_TRACEPOINT, consts.BPF_LINK_TYPE_TRACING)
        else:
            assert (info.type, info.number("attach_type")) == (consts.BPF_LINK_TYPE_TRACING, attach_type)


@pytest.mark.needs_feature("lsm")
def test_lsm() -> None:
    name = "bpf_lsm_file_open"
    spec = program_spec(
        type_=consts.BPF_PROG_TYPE_LSM, section="lsm/file_open", target="file_open", attach_type=consts.BPF_LSM_MAC
    )
    with loaded_for(spec, kernel_type(name, KIND_FUNC)) as program, attach(program, spec) as link:
        assert link.info().type == consts.BPF_LINK_TYPE_TRACING


@pytest.mark.needs_feature("iter")
def test_iterators() -> None:
    spec = program_spec(type_=consts.BPF_PROG_TYPE_TRACING, section="iter/task", target="task", attach_type=consts.BPF_TRACE_ITER)
    with load_spec(spec, attach_btf_id=kernel_type("bpf_iter_task", KIND_FUNC)) as program, attach(program, spec) as link:
        assert link.info().type == consts.BPF_LINK_TYPE_ITER
        reader = bpf.iter_create(link.fd)
        assert os.read(reader, 100) == b""
        os.close(reader)
    spec.attach_target = "bpf_map_elem"
    with load_spec(spec, attach_btf_id=kernel_type("bpf_iter_bpf_map_elem", KIND_FUNC)) as program, small_map() as walked:
        with attach(program, spec, Target(map_fd=walked.fd)) as link:
            assert link.info().number("map_id") == walked.info().id
        with pytest.raises(KernelError) as caught:
            attach(program, spec)
        assert "needs the map" in caught.value.hint


# Control groups, namespaces, devices, sockets


@pytest.mark.needs_feature("cgroup_link")
def test_cgroup(cgroup: Path, tmp_path: Path) -> None:
    attach_type = consts.BPF_CGROUP_INET_EGRESS
    spec = program_spec(type_=consts.BPF_PROG_TYPE_CGROUP_SKB, section="cgroup_skb/egress", attach_type=attach_type)
    with load_spec(spec) as program:
        with attach(program, spec, Target(cgroup=str(cgroup))) as link:
            info = link.info()
            assert (info.type, info.number("attach_type")) == (consts.BPF_LINK_TYPE_CGROUP, attach_type)
            assert info.number("cgroup_id") == cgroup.stat().st_ino
        with pytest.raises(UsageError, match="no cgroup to attach to"):
            attach(program, spec)
        with pytest.raises(NotFoundError, match="no cgroup"):
            attach(program, spec, Target(cgroup=str(cgroup / "nope")))
        with pytest.raises(KernelError) as caught:
            attach(program, spec, Target(cgroup=str(tmp_path)))
        assert "no directory of the cgroup2 file system" in caught.value.hint


@pytest.mark.needs_feature("sk_lookup")
@pytest.mark.parametrize(
    ("type_", "attach_type"),
    [
        (consts.BPF_PROG_TYPE_SK_LOOKUP, consts.BPF_SK_LOOKUP),
        (consts.BPF_PROG_TYPE_FLOW_DISSECTOR, consts.BPF_FLOW_DISSECTOR),
    ],
)
def test_network_namespace(veth: VethPair, type_: int, attach_type: int) -> None:
    spec = program_spec(type_=type_, section="sk_lookup", attach_type=attach_type)
    with load_spec(spec) as program:
        for netns, namespace in (("", veth.here), (str(veth.there.path), veth.there)):
            with attach(program, spec, Target(netns=netns)) as link:
                info = link.info()
                assert (info.type, info.number("netns_ino")) == (consts.BPF_LINK_TYPE_NETNS, namespace.path.stat().st_ino)
        with pytest.raises(NotFoundError, match="no network namespace"):
            attach(program, spec, Target(netns="/run/netns/nope"))


@pytest.mark.needs_feature("tcx")
@pytest.mark.parametrize("attach_type", [consts.BPF_TCX_INGRESS, consts.BPF_TCX_EGRESS])
def test_tcx(veth: VethPair, attach_type: int) -> None:
    spec = program_spec(type_=consts.BPF_PROG_TYPE_SCHED_CLS, section="tcx/ingress", attach_type=attach_type)
    with load_spec(spec) as program, load_spec(spec) as other:
        target = Target(device=veth.device)
        with attach(program, spec, target) as first, attach(other, spec, target):
            info = first.info()
            assert (info.type, info.number("ifindex")) == (consts.BPF_LINK_TYPE_TCX, veth.ifindex)
            with pytest.raises(KernelError) as caught:
                attach(program, spec, target)
            assert "is there already" in caught.value.hint
        with pytest.raises(NotFoundError):
            attach(program, spec, Target(device="nope"))


@pytest.mark.needs_feature("sockmap_link")
def test_sockmap() -> None:
    spec = program_spec(type_=consts.BPF_PROG_TYPE_SK_MSG, section="sk_msg", attach_type=consts.BPF_SK_MSG_VERDICT)
    with load_spec(spec) as program, Map(bpf.map_create(consts.BPF_MAP_TYPE_SOCKMAP, 4, 4, 1)) as sockets:
        with attach(program, spec, Target(map_fd=sockets.fd)) as link:
            assert link.info().number("map_id") == sockets.info().id
            with pytest.raises(KernelError) as caught:
                attach(program, spec, Target(map_fd=sockets.fd))
            assert "has such a program" in caught.value.hint
        with pytest.raises(UsageError, match="no sockmap"):
            attach(program, spec)


# Others


def test_a_hook_without_a_file_says_so() -> None:
    spec = program_spec(type_=consts.BPF_PROG_TYPE_LWT_IN, section="lwt_in")
    assert hook_of(spec) == ""
    with load_spec(spec) as program, pytest.raises(UsageError, match=r'SEC\("lwt_in"\) programs have no hook'):
        attach(program, spec)


def test_device_names_are_those_of_the_own_namespace(veth: VethPair) -> None:
    from bpfload.links.xdp import device_index

    assert device_index(veth.device) == socket.if_nametoindex(veth.device)
    assert os.path.exists("/proc/self/ns/net")
