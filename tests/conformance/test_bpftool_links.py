"""`link show`, `btf show`, `net show`: what bpftool prints of the same links, BTF objects and network devices."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bpfload.abi import consts
from bpfload.syscall import bpf
from support import system
from support.attachments import KINDS, Place, link_of
from support.features import why_missing
from support.namespaces import VethPair
from support.paths import DATA
from support.peer import bpfload, bpftool, recent_peer, rows, same, same_rows, strip
from support.process import bpfload as installed
from support.process import run
from support.programs import load_spec, program_spec

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.usefixtures("bpftool"),
    recent_peer,
    pytest.mark.needs_feature("listable_links"),
]

_COOKIE = re.compile(r"^\s+bpf_cookie \d+\n", re.MULTILINE)
_TRACEFS = Path("/sys/kernel/tracing")


@pytest.fixture
def place(veth: VethPair, cgroup: Path) -> Iterator[Place]:
    mounted = (_TRACEFS / "events").exists()
    if not mounted:
        system.mount("tracefs", _TRACEFS, "tracefs")
    yield Place(veth.ifindex, cgroup)
    if not mounted:
        system.umount(_TRACEFS)


def test_every_kind_of_link(place: Place, bpffs: Path) -> None:
    with ExitStack() as stack:
        idents = {}
        for kind, (_, features) in KINDS.items():
            if not any(why_missing(feature) for feature in features):
                link = stack.enter_context(link_of(kind, place))
                idents[link.info().id] = kind
                if not kind.startswith(("perf", "up", "uret")):
                    bpf.obj_pin(link.fd, str(bpffs / kind))
        shown = same_rows("link", idents, "-f", without=["bpf_cookie"])
        assert len(shown) == len(idents)
        assert {row["type"] for row in shown.values()} >= {"raw_tracepoint", "cgroup", "netns", "xdp", "iter"}
        ours = rows(strip(bpfload("link", "list", "-f").stdout))
        theirs = rows(strip(bpftool("link", "list", "-f").stdout))
        for ident in idents:
            assert _COOKIE.sub("", ours[ident]) == _COOKIE.sub("", theirs[ident])


@pytest.mark.needs_feature("xdp_link")
def test_a_link_whose_device_is_elsewhere(veth: VethPair, cgroup: Path) -> None:
    with link_of("xdp", Place(veth.ifindex, cgroup)) as link:
        ident = link.info().id
        with veth.there.entered():
            same("link", "show", "id", ident)
        run("ip", "link", "del", veth.device)
        assert same("link", "show", "id", ident)["devname"] == "(detached)"


@pytest.mark.needs_feature("perf_link")
def test_the_cookie_of_a_perf_event_comes_with_its_owners(place: Place) -> None:
    """bpftool finds both by an iterator. The installed command looks here: ours in this process wouldn't see this process."""
    with link_of("perf_software", place) as link:
        words = ("-j", "link", "show", "id", link.info().id)
        ours, theirs = installed(*words).json(), bpftool(*words, check=False).json()
        assert ours["bpf_cookie"] == 17
        assert ours["pids"] == [{"pid": os.getpid(), "comm": Path("/proc/self/comm").read_text().strip()}]
        if "pids" in theirs:
            assert ours == theirs
            assert installed(*words[1:]).stdout == bpftool(*words[1:], check=False).stdout


@pytest.mark.needs_feature("raw_tracepoint_cookie")
def test_the_cookie_of_a_raw_tracepoint_is_shown() -> None:
    """bpftool 7.5 doesn't know it yet; it is there if it isn't 0."""
    with load_spec(program_spec("cooked", consts.BPF_PROG_TYPE_RAW_TRACEPOINT)) as program:
        fd = bpf.raw_tracepoint_open(program.fd, "task_rename", 23)
        try:
            found = [row for row in bpfload("-j", "link").json() if row["prog_id"] == program.info().id]
            assert found[0]["cookie"] == 23
            assert "cookie 23" in bpfload("link", "show", "id", found[0]["id"]).stdout
        finally:
            os.close(fd)


# BTF objects


def test_btf_objects(bpffs: Path) -> None:
    bpftool("prog", "loadall", DATA / "looked-at.bpf.o", bpffs / "loaded")
    ident = bpfload("-j", "prog", "show", "pinned", bpffs / "loaded" / "on_rename").json()["btf_id"]
    shown = same("btf", "show", "id", ident)
    assert len(shown["prog_ids"]) >= 5
    assert len(shown["map_ids"]) >= 5
    same_rows("btf", [1, ident])


# Network devices


@pytest.mark.needs_feature("tcx", "clsact", "xdp_link", "netfilter_link")
def test_network_devices(place: Place, veth: VethPair, bpffs: Path) -> None:
    same("net", "list")
    with ExitStack() as stack:
        program = stack.enter_context(load_spec(program_spec("filter", consts.BPF_PROG_TYPE_SCHED_CLS)))
        bpf.obj_pin(program.fd, str(bpffs / "filter"))
        run("tc", "qdisc", "add", "dev", veth.device, "clsact")
        for direction in ("ingress", "egress"):
            run("tc", "filter", "add", "dev", veth.device, direction, "bpf", "da", "object-pinned", bpffs / "filter")
        for kind in ("xdp", "tcx_ingress", "tcx_egress", "netfilter", "netfilter_ip6"):
            stack.enter_context(link_of(kind, place))
        bpfload("net", "attach", "tcx_ingress", "pinned", bpffs / "filter", "dev", veth.device, "prepend")
        (shown,) = same("net", "list")
        assert (len(shown["xdp"]), len(shown["tc"]), len(shown["netfilter"])) == (1, 5, 2)
        same("net", "list", "dev", veth.device)
        assert same("net", "show", "dev", "lo")[0]["tc"] == []


@pytest.mark.needs_feature("flow_dissector")
def test_the_flow_dissector(place: Place) -> None:
    """As text: bpftool's JSON of it isn't JSON."""
    with link_of("flow_dissector", place) as link:
        assert strip(bpfload("net").stdout) == strip(bpftool("net").stdout)
        assert bpfload("-j", "net").json()[0]["flow_dissector"] == [{"id": link.info().prog_id}]


@pytest.mark.parametrize("mode", ["xdp", "xdpgeneric", "xdpdrv"])
def test_attaching_xdp(veth: VethPair, mode: str) -> None:
    """What one attaches the other shows, and detaches."""
    with load_spec(program_spec("passing")) as program, load_spec(program_spec("next")) as following:
        ident = program.info().id
        assert bpfload("-j", "net", "attach", mode, "id", ident, "dev", veth.device).json() is None
        assert same("net", "list")[0]["xdp"][0]["id"] == ident
        refused = bpfload("net", "attach", mode, "id", following.info().id, "dev", veth.device)
        assert refused.status == 1
        assert f"id {ident}" in refused.stderr
        bpfload("net", "attach", mode, "id", following.info().id, "dev", veth.device, "overwrite")
        assert bpftool("-j", "net").json()[0]["xdp"][0]["id"] == following.info().id
        bpftool("net", "detach", mode, "dev", veth.device)
        bpftool("net", "attach", mode, "id", ident, "dev", veth.device)
        bpfload("net", "detach", mode, "dev", veth.device)
        assert same("net")[0]["xdp"] == []
