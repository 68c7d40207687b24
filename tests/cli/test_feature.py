"""`bpfload feature`: what it finds out beyond bpftool, and with fewer rights."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from conftest import lacking
from support.features import why_missing
from support.process import Result, bpfload_command, find_tool, run

pytestmark = pytest.mark.needs_root


def test_link_types(bpfload: Callable[..., Result]) -> None:
    """Compared with the kernels' versions that first had them; the test's table isn't the command's way of asking."""
    found = bpfload("-j", "feature", "probe", "link_types").json()["link_types"]
    for name, feature in {
        "cgroup": "cgroup_link",
        "xdp": "xdp_link",
        "tcx": "tcx",
        "netfilter": "netfilter_link",
        "iter": "iter",
        "raw_tracepoint": "raw_tracepoint_link",
        "perf_event": "perf_link",
    }.items():
        assert found[f"have_{name}_link_type"] is not bool(why_missing(feature)), name
    text = bpfload("feature", "probe", "link_types").lines
    assert "eBPF link_type cgroup is available" in text
    macros = bpfload("feature", "probe", "macros", "prefix", "P_", "link_types").lines
    assert "#define P_HAVE_CGROUP_LINK_TYPE" in macros


@pytest.mark.needs_feature("kfunc_tags", since="6.10", config="CONFIG_DEBUG_INFO_BTF")
def test_kfuncs(bpfload: Callable[..., Result]) -> None:
    found = bpfload("-j", "feature", "probe", "kfuncs").json()["kfuncs"]
    of_xdp, of_tracepoints = found["xdp_available_kfuncs"], found["tracepoint_available_kfuncs"]
    if of_xdp is None:
        pytest.skip("feature: this kernel's BTF doesn't mark kfuncs")
    assert "bpf_xdp_ct_lookup" in of_xdp or why_missing("conntrack", since="5.18", config="CONFIG_NF_CONNTRACK")
    assert "bpf_dynptr_from_xdp" in of_xdp
    assert "bpf_dynptr_from_xdp" not in of_tracepoints
    assert "bpf_rcu_read_lock" in of_tracepoints
    assert found["tracing_available_kfuncs"] is None
    assert "\t- bpf_dynptr_from_xdp" in bpfload("feature", "probe", "kfuncs").lines


def test_the_default_has_no_more_sections_than_bpftool(bpfload: Callable[..., Result]) -> None:
    sections = ["system_config", "syscall_config", "program_types", "map_types", "helpers", "misc"]
    assert list(bpfload("-j", "feature").json()) == sections


def test_without_rights() -> None:
    setpriv = find_tool("setpriv")
    if setpriv is None:
        lacking("no setpriv")
        return
    reduced = [setpriv, "--bounding-set", "-all", "--inh-caps", "-all", *bpfload_command()]
    refused = run(*reduced, "feature", "probe", check=False)
    assert refused.status == 1
    assert refused.stderr.startswith("Error: missing CAP_SYS_ADMIN, CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON")
    assert "unprivileged" in refused.stderr
    asked = run(*reduced, "-j", "feature", "probe", "unprivileged").json()
    assert asked == run(*bpfload_command(), "-j", "feature", "probe", "unprivileged").json()


def test_dropping_rights_is_the_childs_alone(bpfload: Callable[..., Result], tmp_path: os.PathLike[str]) -> None:
    """In a batch the commands behind it are as privileged as before."""
    result = run(*bpfload_command(), "-j", "batch", "file", "-", stdin="feature probe unprivileged\nprog list\n")
    unprivileged, programs = (entry["output"] for entry in result.json())
    assert isinstance(programs, list)
    assert set(unprivileged["program_types"].values()) <= {True, False}
