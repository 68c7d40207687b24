"""Programs in each of the 116 SEC() names: what libbpf says of type and attach type, and the kernel's verdict through both."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bpfload.abi import consts
from bpfload.elf import read
from bpfload.errors import BpfError
from bpfload.insn.assemble import assemble, exit_, mov64_imm
from bpfload.load import LoadOptions, load
from support import leaks
from support.elfbuilder import ElfBuilder
from support.libbpf import Libbpf
from support.section_table import SECTION_ROWS, SectionRow

# Counting takes longer than one of these tests: it is done once for all of them.
pytestmark = pytest.mark.may_leave_fds

EACH = pytest.mark.parametrize("row", SECTION_ROWS, ids=[row.name for row in SECTION_ROWS])

#: Something to attach to, of those that every kernel has which has the hook at all.
TARGETS = {
    "tp_btf": "sched_switch",
    "fentry": "vfs_read",
    "fexit": "vfs_read",
    "fmod_ret": "security_file_open",
    "fsession": "vfs_read",
    "fentry.multi": "vfs_*",
    "fexit.multi": "vfs_*",
    "fsession.multi": "vfs_*",
    "freplace": "something",
    "lsm": "file_open",
    "lsm_cgroup": "socket_bind",
    "iter": "task",
    "kprobe": "vfs_read",
    "uprobe": "/proc/self/exe:main",
    "usdt": "/proc/self/exe:some:thing",
    "tp": "sched/sched_switch",
    "tracepoint": "sched/sched_switch",
    "raw_tp": "sys_enter",
    "raw_tracepoint": "sys_enter",
}
#: A tracepoint whose programs may sleep; a function that may.
SLEEPING = {
    "tp_btf": "sys_enter",
    "fentry": "security_file_open",
    "fexit": "security_file_open",
    "fmod_ret": "security_file_open",
}

#: Not in every libbpf from 1.1 on that a test machine may have.
NEWER_THAN_SOME = frozenset(
    (
        "kprobe.session", "uprobe.multi", "uretprobe.multi", "uprobe.session", "uprobe.multi.s", "uretprobe.multi.s",
        "uprobe.session.s", "tc/ingress", "tc/egress", "tcx/ingress", "tcx/egress", "sk_skb/verdict", "struct_ops.s",
        "netkit/primary", "netkit/peer", "usdt.s", "netfilter",
        "tracepoint.s", "tp.s", "raw_tracepoint.s", "raw_tp.s", "fsession", "fsession.s", "fsession.multi", "fsession.multi.s",
        "fentry.multi", "fentry.multi.s", "fexit.multi", "fexit.multi.s", "tp_btf.s",
        "cgroup/connect_unix", "cgroup/sendmsg_unix", "cgroup/recvmsg_unix", "cgroup/getpeername_unix", "cgroup/getsockname_unix",
    )
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _counted_once() -> Iterator[None]:
    before = leaks.open_fds()
    yield
    more = leaks.open_fds() - before
    assert not more, f"file descriptors left open: {dict(more)}"


def returns(row: SectionRow) -> int:
    """A value that the verifier lets every program of that type return: "go on"."""
    return 1 if row.name.startswith(("cgroup", "lsm_cgroup")) else 0


def section_names(row: SectionRow) -> list[str]:
    base = row.name.removesuffix(".s")
    target = SLEEPING.get(base) if row.sleepable else None
    target = target or TARGETS.get(base)
    return [row.name, f"{row.name}/{target}"] if row.extras and target else [row.name]


def object_file(section: str, value: int) -> bytes:
    built = ElfBuilder()
    built.program(section, "prog", assemble(mov64_imm(0, value), exit_()))
    built.license()
    return built.build()


@EACH
def test_libbpf_knows_the_same(row: SectionRow, libbpf: Libbpf) -> None:
    """As far as that libbpf is new enough to know it at all."""
    kind = getattr(consts, f"BPF_PROG_TYPE_{row.type}")
    attach_type = 0 if row.attach_type == "0" else getattr(consts, f"BPF_{row.attach_type}")
    seen = libbpf.type_by_name(row.name)
    assert seen == (kind, attach_type) or (seen is None and row.name in NEWER_THAN_SOME)
    assert libbpf.type_by_name(row.name + "/more") == (seen if row.extras else None)


@EACH
def test_the_same_verdict_and_tag(row: SectionRow, libbpf: Libbpf) -> None:
    """The kernel says the same to a trivial program, without and with a target, whoever loads it."""
    for section in section_names(row):
        data = object_file(section, returns(row))
        ours = our_verdict(data)
        if libbpf.type_by_name(row.name) is None:
            assert row.name in NEWER_THAN_SOME
            continue
        theirs = libbpf.load(data)
        program = theirs.programs["prog"]
        assert ours == (theirs.errno, program.type, program.tag), section
        optional = libbpf.load(object_file("?" + section, 0)).programs["prog"]
        spec = read("object.bpf.o", data=object_file("?" + section, 0)).program("prog")
        assert (optional.autoload, optional.type, optional.attach_type) == (spec.autoload, spec.type, spec.attach_type)


def our_verdict(data: bytes) -> tuple[int, int, str]:
    spec = read("object.bpf.o", data=data)
    try:
        with load(spec, LoadOptions(pin_root=None)) as live:
            info = live.program("prog").info()
            return 0, info.type, info.tag
    except BpfError as error:
        return error.errno_code, spec.program("prog").type, ""


@pytest.mark.needs_feature("cgroup_unix", since="6.7", config=("CONFIG_CGROUP_BPF", "CONFIG_BPF_EVENTS", "CONFIG_DEBUG_INFO_BTF"))
def test_most_of_them_load() -> None:
    """So that equal verdicts aren't just equal refusals."""
    loaded = []
    for row in SECTION_ROWS:
        spec = read("object.bpf.o", data=object_file(section_names(row)[-1], returns(row)))
        try:
            load(spec).close()
        except BpfError:
            continue
        loaded.append(row.name)
    assert len(loaded) >= 85, sorted({row.name for row in SECTION_ROWS} - set(loaded))
