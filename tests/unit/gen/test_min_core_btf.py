"""The types that an object's relocations need: which stay, and how much of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpfload.btf import Btf
from bpfload.btf.writer import BtfBuilder
from bpfload.errors import FormatError, NotFoundError
from bpfload.gen.min_core_btf import min_core_btf
from support.paths import DATA

CORE = DATA / "features" / "core.bpf.o"


def kernel() -> Btf:
    """Return BTF of a kernel that has a task_struct, and types that nobody asks for."""
    builder = BtfBuilder()
    number = builder.add_int("int", 4, 1)
    builder.add_int("unused", 8)
    name = builder.add_array(builder.add_int("char", 1), 16, number)
    parent = builder.add_pointer(builder.add_fwd("credentials"))
    members = [("tgid", number, 0), ("unused", 2, 64), ("comm", name, 128), ("cred", parent, 256), ("exit_code", number, 320)]
    builder.add_struct("task_struct", 48, members)
    builder.add_struct("other", 4, [("pid", number, 0)])
    return builder.build("kernel")


def test_an_object_without_a_match_needs_nothing() -> None:
    empty = BtfBuilder()
    empty.add_int("int", 4, 1)
    assert len(min_core_btf(empty.build(), [CORE])) == 1


def test_members_that_are_not_used_are_left_out() -> None:
    found = min_core_btf(kernel(), [CORE])
    names = {item.name: [member.name for member in item.members] for item in found.types() if item.name}
    assert names == {"int": [], "char": [], "task_struct": ["tgid", "comm", "exit_code"]}
    found.validate()
    task = found.type(found.find("task_struct"))
    assert task.size == 48
    assert [member.offset_bits for member in task.members] == [0, 128, 320], "members stay where they were"


def test_no_objects_need_nothing() -> None:
    assert len(min_core_btf(kernel(), [])) == 1


def test_what_is_no_object_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"missing\.o"):
        min_core_btf(kernel(), [tmp_path / "missing.o"])
    text = tmp_path / "text.o"
    text.write_text("no object")
    with pytest.raises(FormatError, match=r"text\.o"):
        min_core_btf(kernel(), [text])
    with pytest.raises(FormatError, match=r"no-btf.bpf.o.*\.BTF"):
        min_core_btf(kernel(), [DATA / "no-btf.bpf.o"])
