"""`feature`: what bpftool finds out about the same kernel.

Ours knows the map type and the instructions that came after bpftool 7.5: those lines are ours alone.
"""

from __future__ import annotations

import difflib
from typing import Any

import pytest

from bpfload.abi.names import MAP_TYPE_NAMES
from support.namespaces import VethPair
from support.peer import bpfload, bpftool, recent_peer, same
from support.process import Argument
from support.process import bpfload as installed

pytestmark = [pytest.mark.needs_root, pytest.mark.usefixtures("bpftool"), recent_peer]

# Later than bpftool 7.5. Anything else that differs is a difference.
_NEWER_MAPS = ("insn_array",)
_NEWER_MISC = ("v4_isa_extension",)
_NEWER_NAMES = (
    *_NEWER_MAPS,
    "tracing_multi",
    "trace_uprobe_session",
    "trace_fsession",
    "trace_fentry_multi",
    "trace_fexit_multi",
    "trace_fsession_multi",
)
_NEWER_WORDS = (
    *(f"eBPF map_type {name} is" for name in _NEWER_MAPS),
    *(f"HAVE_{name.upper()}_MAP_TYPE" for name in _NEWER_MAPS),
    "ISA extension v4 is",
    *(f"HAVE_{name.upper()}" for name in _NEWER_MISC),
)


def same_lines(*words: Argument, command: Any = bpfload) -> list[str]:
    """Compare the text; return ours."""
    ours, theirs = command(*words).lines, bpftool(*words).lines
    different = [line for line in difflib.ndiff(theirs, ours) if line[0] in "+-?"]
    unexplained = [line for line in different if line[0] != "+" or not any(word in line for word in _NEWER_WORDS)]
    assert not unexplained
    return ours


def same_values(*words: Argument, command: Any = bpfload) -> Any:
    """Compare the JSON; return ours."""
    ours, theirs = command("-j", *words).json(), bpftool("-j", *words).json()
    for name in _NEWER_MAPS:
        assert isinstance(ours["map_types"].pop(f"have_{name}_map_type", False), bool)
    for name in _NEWER_MISC:
        assert isinstance(ours["misc"].pop(f"have_{name}"), bool)
    assert ours == theirs
    assert list(ours) == list(theirs)
    for section in ours:
        assert list(ours[section]) == list(theirs[section])
    return ours


def test_the_kernel() -> None:
    found = same_values("feature", "probe")
    assert found["program_types"]["have_xdp_prog_type"] is True
    assert "bpf_redirect" in found["helpers"]["xdp_available_helpers"]
    assert len(found["system_config"]) == 38
    same_lines("feature")


def test_helpers_that_make_the_kernel_warn() -> None:
    found = same_values("feature", "probe", "kernel", "full")
    assert "bpf_trace_printk" in found["helpers"]["xdp_available_helpers"]


def test_macros() -> None:
    assert "#define HAVE_XDP_PROG_TYPE" in same_lines("feature", "probe", "macros")
    assert "#define MY_HAVE_XDP_PROG_TYPE" in same_lines("f", "p", "k", "mac", "prefix", "MY_")


def test_a_device(veth: VethPair) -> None:
    found = same_values("feature", "probe", "dev", veth.device)
    assert list(found["program_types"]) == ["have_sched_cls_prog_type", "have_xdp_prog_type"]
    same_lines("feature", "probe", "dev", veth.device, "full")
    same_lines("feature", "probe", "dev", veth.device, "macros")


def test_without_privileges() -> None:
    theirs = bpftool("feature", "probe", "unprivileged", check=False)
    if "libcap" in theirs.stderr:
        pytest.skip("feature: the peer was built without libcap")
    same_values("feature", "probe", "unprivileged", command=installed)
    same_lines("feature", "probe", "unprivileged", command=installed)


@pytest.mark.parametrize("group", ["prog_types", "map", "attach_types", "link", "helpers"])
def test_names(group: str) -> None:
    ours, theirs = (command("-j", "feature", "list_builtins", group).json() for command in (bpfload, bpftool))
    assert [name for name in ours if name not in _NEWER_NAMES] == theirs
    assert bpfload("f", "l", group).lines == ours


def test_what_is_refused() -> None:
    bad: list[tuple[str, ...]] = [
        ("probe", "dev"),
        ("probe", "dev", "no-such-device"),
        ("probe", "kernel", "dev", "lo"),
        ("probe", "kernel", "kernel"),
        ("probe", "prefix", "X_"),
        ("probe", "macros", "prefix"),
        ("probe", "macros", "prefix", "X_", "prefix", "Y_"),
        ("probe", "nonsense"),
        ("list_builtins",),
        ("list_builtins", "nonsense"),
        ("nonsense",),
    ]
    for words in bad:
        assert bpftool("feature", *words, check=False).status != 0
        ours = bpfload("feature", *words)
        assert ours.status in (1, 2), ours
        assert ours.stderr.startswith("Error: "), ours
    same("-j", "feature", "help")


def test_all_map_types_are_asked_for() -> None:
    assert len(bpfload("-j", "feature").json()["map_types"]) == len(MAP_TYPE_NAMES) - 1
