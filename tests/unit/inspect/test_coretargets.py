"""CO-RE relocations of an object against the BTF of kernels that were made up for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpfload.btf.types import INT_SIGNED
from bpfload.btf.writer import BtfBuilder
from bpfload.errors import FormatError, NotFoundError
from bpfload.inspect import objectfile
from bpfload.inspect.objectfile import RelocationView

OBJECT = Path(__file__).parents[2] / "data" / "relocations.bpf.o"


def kernel(path: Path, *, tgid_at: int, with_comm: bool = True) -> Path:
    """Write the BTF of a kernel whose task_struct has `tgid` at a byte offset."""
    btf = BtfBuilder()
    integer = btf.add_int("int", 4, INT_SIGNED)
    char = btf.add_int("char", 1, INT_SIGNED)
    comm = btf.add_array(char, 16, integer)
    pointer = btf.add_pointer(5)
    members = [("tgid", integer, tgid_at * 8), ("group_leader", pointer, 512)]
    if with_comm:
        members.append(("comm", comm, 1024))
    assert btf.add_struct("task_struct", 256, members) == 5
    path.write_bytes(btf.bytes())
    return path


def relocations(*kernels: Path) -> dict[str, RelocationView]:
    """The CO-RE relocations of the first program by kind and what they refer to; the first of each."""
    found: dict[str, RelocationView] = {}
    for row in objectfile.view(OBJECT, kernels=kernels).programs[0].relocations:
        if row.core is not None:
            found.setdefault(f"{row.core} {row.symbol}", row)
    return found


def test_without_a_kernel_nothing_is_said_of_any() -> None:
    assert {row.kernels for row in relocations().values()} == {None}


def test_each_kernel_has_its_own_numbers(tmp_path: Path) -> None:
    old, new = kernel(tmp_path / "old", tgid_at=16), kernel(tmp_path / "new", tgid_at=24)
    row = relocations(old, new)["byte_off struct task_struct___mine.tgid"]
    assert row.kernels is not None
    assert [(outcome.kernel, outcome.resolved, outcome.value) for outcome in row.kernels] == [
        ("old", True, 16),
        ("new", True, 24),
    ]
    assert row.kernels[0].target == "struct task_struct.tgid"


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    (outcome,) = (
        relocations(kernel(tmp_path / "bare", tgid_at=0, with_comm=False))["byte_off struct task_struct___mine.comm"].kernels
        or ()
    )
    assert not outcome.resolved
    assert outcome.value is None
    assert outcome.problem == "struct task_struct has no member comm in bare"


def test_a_question_is_answered_with_no_and_resolved(tmp_path: Path) -> None:
    path = kernel(tmp_path / "bare", tgid_at=0)
    rows = relocations(path)
    (missing,) = rows["field_exists struct task_struct___mine.no_such_member"].kernels or ()
    (there,) = rows["field_exists struct task_struct___mine.tgid"].kernels or ()
    assert (missing.resolved, missing.value) == (True, 0)
    assert (there.resolved, there.value) == (True, 1)


def test_a_file_that_is_not_there_and_one_that_is_no_btf(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        relocations(tmp_path / "nosuch")
    (tmp_path / "text").write_text("no BTF")
    with pytest.raises(FormatError):
        relocations(tmp_path / "text")
