"""`prog dump jited`: the machine code that bpftool shows with LLVM, instruction by instruction.

Meant differences: a call or jump shows the symbol that it goes to (text: in <>, JSON: "symbol"), which bpftool doesn't look up.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bpfload.load import Object, load
from support.paths import DATA, HELLO_FUNC, PACKET_COUNTER, SYS_ENTER
from support.peer import recent_peer
from support.process import Result, bpfload, bpftool

_JITED = Path("/proc/sys/net/core/bpf_jit_enable")
_SYMBOL = re.compile(r" <[\w.$]+>$", re.MULTILINE)

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.usefixtures("bpftool", "nothing_left_behind"),
    recent_peer,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="feature: only x86 code is shown in LLVM's words"),
]

OBJECTS = (HELLO_FUNC, PACKET_COUNTER, SYS_ENTER, DATA / "relocations.bpf.o", DATA / "looked-at.bpf.o")


@pytest.fixture(params=OBJECTS, ids=lambda path: path.name)
def live(request: pytest.FixtureRequest) -> Iterator[Object]:
    if "llvm" not in bpftool("version").stdout:
        pytest.skip("feature: this bpftool was built without a disassembler")
    if _JITED.read_text().strip() == "0":
        pytest.skip("feature: this kernel makes no machine code")
    with load(request.param) as live:
        yield live


@pytest.mark.parametrize("options", [[], ["opcodes"], ["linum"], ["opcodes", "linum"]])
def test_the_same_code(live: Object, options: list[str]) -> None:
    seen = 0
    for program in live.programs.values():
        words = ["prog", "dump", "jited", "id", program.info().id, *options]
        ours, theirs = bpfload(*words).stdout, bpftool(*words).stdout
        seen += len(_SYMBOL.findall(ours))
        assert _SYMBOL.sub("", ours) == theirs
        assert _without_symbols(bpfload("-j", *words).json()) == bpftool("-j", *words).json()
    assert seen or all("call" not in bpftool("prog", "dump", "jited", "id", p.info().id).stdout for p in live.programs.values())


def _without_symbols(functions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for function in functions:
        for row in function["insns"]:
            row.pop("symbol", None)
    return functions


def test_code_to_a_file(live: Object, tmp_path: Path) -> None:
    program = next(iter(live.programs.values()))
    ident = program.info().id
    bpfload("prog", "dump", "jited", "id", ident, "file", tmp_path / "ours")
    bpftool("prog", "dump", "jited", "id", ident, "file", tmp_path / "theirs")
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_what_makes_no_sense(live: Object, bpfload: Callable[..., Result]) -> None:
    ident = next(iter(live.programs.values())).info().id
    failed = bpfload("prog", "dump", "jited", "id", ident, "visual", check=False)
    assert (failed.status, "prog dump xlated" in failed.stderr) == (2, True)


def test_the_graph_as_json_and_as_a_picture(live: Object, bpfload: Callable[..., Result], tmp_path: Path) -> None:
    for program in live.programs.values():
        ident = program.info().id
        graph = bpfload("-j", "prog", "dump", "xlated", "id", ident, "visual").json()
        listing = bpfload("-j", "prog", "dump", "xlated", "id", ident).json()
        rows = [row for function in graph["functions"] for block in function["blocks"] for row in block["instructions"]]
        assert [row["disasm"] for row in rows] == [row["disasm"] for row in listing]
        dot = bpfload("prog", "dump", "xlated", "id", ident, "visual").stdout
        edges = len(set(re.findall(r"fn_\d+_bb_\d+:s -> fn_\d+_bb_\d+:n .*constraint=true", dot)))
        ends = sum(len(block["successors"]) for function in graph["functions"] for block in function["blocks"])
        assert edges == ends + 2 * len(graph["functions"])  # of ENTRY to the first block, and to EXIT
    fake = tmp_path / "dot"
    fake.write_text("#!/bin/sh\necho '<svg>'; cat >/dev/null\n")
    fake.chmod(0o755)
    drawn = bpfload("prog", "dump", "xlated", "id", ident, "visual", "svg", env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert drawn.stdout == "<svg>\n"
    nothing = bpfload("prog", "dump", "xlated", "id", ident, "visual", "svg", env={"PATH": "/nowhere"}, check=False)
    assert "graphviz isn't installed" in nothing.stderr
