"""The two printers, and the text of what this kernel may not be able to make."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from bpfload.inspect import links, perf
from bpfload.inspect.view import to_data
from bpfload_cli.layouts import LINK
from bpfload_cli.link_layouts import details_text
from bpfload_cli.output import hex_lines, json_text, render


@dataclass(frozen=True)
class Small:
    id: int
    name: str | None
    on: bool
    ids: tuple[int, ...] = ()


LAYOUT = (("id", "{v}: ", "id"), ("name", "name {v}"), ("on", " on since {view.id}"), ("ids", " {v}"), lambda view: "\n")


def test_parts_without_a_value_are_left_out() -> None:
    assert render(Small(0, None, False), LAYOUT) == "0: \n"
    assert render(Small(7, "x", True, (1,)), LAYOUT) == "7: name x on since 7 (1,)\n"
    assert render(Small(7, "x", False), LAYOUT, colour=True) == "\x1b[1;36m7: \x1b[0mname x\n"


@pytest.mark.parametrize(
    ("value", "compact", "pretty"),
    [
        (None, "null", "null"),
        ([], "[]", "[]"),
        ({}, "{}", "{}"),
        ([1, 2], "[1,2]", "[1,2\n]"),
        ({"a": [True, "x\n"]}, '{"a":[true,"x\\n"]}', '{\n    "a": [true,"x\\n"\n    ]\n}'),
        ([{"a": 1}, {"b": {}}], '[{"a":1},{"b":{}}]', '[{\n        "a": 1\n    },{\n        "b": {}\n    }\n]'),
        (1.5, "1.5", "1.5"),
        (float("nan"), "null", "null"),
    ],
)
def test_json(value: Any, compact: str, pretty: str) -> None:
    assert json_text(value) == compact
    assert json_text(value, pretty=True) == pretty


def test_strings_stay_json() -> None:
    text = '\x01"\\\u00e9'
    assert json.loads(json_text({text: text})) == {text: text}


def test_hexadecimal_lines() -> None:
    assert hex_lines(bytes(3)) == "00 00 00"
    assert hex_lines(bytes(range(9))) == "00 01 02 03 04 05 06 07  08"
    assert hex_lines(bytes(17)).splitlines()[1] == "00"
    assert hex_lines(b"") == ""


def test_views_become_plain_data() -> None:
    assert to_data(Small(1, None, False, (2, 3))) == {"id": 1, "on": False, "ids": [2, 3]}
    assert to_data({"a": b"\x01\xff"}) == {"a": ["0x01", "0xff"]}


TRACING = links.Tracing("tracing", "trace_fentry", 1, 77, None)
KPROBES = (perf.KprobeFunction(0xFFFFFFFF81000000, "vfs_read", "", 0x10), perf.KprobeFunction(0xFFFFFFFFC0000000, "f", "mod", 0))


@pytest.mark.parametrize(
    ("details", "text"),
    [
        (TRACING, "\n\tprog_type tracing  attach_type trace_fentry  \n\ttarget_obj_id 1  target_btf_id 77  "),
        (links.Tracing("lsm", 99, 0, 0, None), "\n\tprog_type lsm  attach_type 99  "),
        (links.RawTracepoint("sys_enter", None), "\n\ttp 'sys_enter'  "),
        (links.DeviceHook("eth0", 3, "netkit_peer"), "\n\tifindex eth0(3)  attach_type netkit_peer  "),
        (links.DeviceHook("(detached)", 0), "\n\tifindex (detached)  "),
        (links.Netfilter(10, 3, -5, 1), "\n\tip6 output prio -5 flags 0x1"),
        (links.Netfilter(3, 1, 0, 0), "\n\tarp output prio 0"),
        (links.Netfilter(44, 9, 0, 0), "\n\tpf: 44, hook 9, prio 0"),
        (links.IteratorTarget("cgroup", cgroup_id=5, order="self_only"), "target_name cgroup  cgroup_id 5  order self_only  "),
        (perf.Kprobe(True, 0xFFFF, "vfs_read", 4, 2, 3), "\n\tkretprobe ffff vfs_read+0x4  missed 2  cookie 3  "),
        (perf.Kprobe(False, 0, "", 0, 0, 0), ""),
        (perf.Uprobe(False, "/bin/true", 0, 0), "\n\tuprobe /bin/true+0  "),
        (perf.Event("hardware", "cpu-cycles", 0), "\n\tevent hardware:cpu-cycles  "),
        (perf.Event(9, 17, 5), "\n\tevent 9 :17  cookie 5  "),
        (
            perf.KprobeMulti(False, 2, 0, KPROBES),
            "\n\tkprobe.multi  func_cnt 2  "
            "\n\taddr             cookie           func [module]"
            "\n\tffffffff81000000 10               vfs_read  "
            "\n\tffffffffc0000000 0                f [mod]  ",
        ),
        (None, ""),
    ],
)
def test_what_links_are_attached_to(details: links.Details | None, text: str) -> None:
    assert details_text(details) == text
    view = links.LinkView(5, "tracing", 9, details)
    assert render(view, LINK) == f"5: tracing  prog 9  {text}\n"


def test_link_json_keeps_bpftools_order() -> None:
    assert list(to_data(links.LinkView(5, "tracing", 9, TRACING, ("/p",), 3))) == [
        "id",
        "type",
        "prog_id",
        "prog_type",
        "attach_type",
        "target_obj_id",
        "target_btf_id",
        "pinned",
        "bpf_cookie",
    ]


def test_struct_ops_links_have_a_map() -> None:
    assert render(links.LinkView(5, "struct_ops", 0, links.StructOps(12)), LINK) == "5: struct_ops  map 12  \n"
