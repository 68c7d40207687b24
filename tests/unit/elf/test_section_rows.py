"""Each SEC() definition against a table written down on its own: type, attach type, flags, extras, and the "?" form."""

from __future__ import annotations

import pytest

from bpfload.abi import consts
from bpfload.elf import read
from bpfload.elf.sections import find_definition
from bpfload.spec import ProgramSpec
from support.elfbuilder import ElfBuilder
from support.section_table import SECTION_ROWS, SectionRow

EACH = pytest.mark.parametrize("row", SECTION_ROWS, ids=[row.name for row in SECTION_ROWS])


def number(prefix: str, name: str) -> int:
    return 0 if name == "0" else int(getattr(consts, prefix + name))


def program(section: str) -> ProgramSpec:
    built = ElfBuilder()
    built.program(section, "prog")
    built.license()
    return read("object.bpf.o", data=built.build()).program("prog")


def test_there_are_116() -> None:
    assert len({row.name for row in SECTION_ROWS}) == len(SECTION_ROWS) == 116


@EACH
def test_definition(row: SectionRow) -> None:
    found = find_definition(row.name)
    assert found is not None
    assert (found.name, found.type) == (row.name, number("BPF_PROG_TYPE_", row.type))
    assert found.attach_type == number("BPF_", row.attach_type)
    assert (found.exact, found.attachable) == (not row.extras, row.attaches)
    assert (found.optional_attach_type, found.needs_btf_id) == (row.optional, row.by_btf_id)
    assert (found.sleepable, found.frags) == (row.sleepable, row.frags)


@EACH
def test_program_in_such_a_section(row: SectionRow) -> None:
    found = program(row.name)
    flags = consts.BPF_F_SLEEPABLE * row.sleepable | consts.BPF_F_XDP_HAS_FRAGS * row.frags
    assert (found.type, found.attach_type) == (number("BPF_PROG_TYPE_", row.type), number("BPF_", row.attach_type))
    assert (found.flags, found.attach_target, found.autoload) == (flags, "", True)


@EACH
def test_question_mark(row: SectionRow) -> None:
    """The same program, but not loaded unless it is asked for."""
    plain, optional = program(row.name), program("?" + row.name)
    assert not optional.autoload
    assert (optional.type, optional.attach_type, optional.flags) == (plain.type, plain.attach_type, plain.flags)
    assert optional.sec is plain.sec


@EACH
def test_extras(row: SectionRow) -> None:
    """What follows the "/" is the target where there may be extras, and makes a name unknown where not."""
    found = program(row.name + "/what:follows*+8")
    if row.extras:
        assert (found.attach_target, found.sec and found.sec.name) == ("what:follows*+8", row.name)
    else:
        assert found.sec is None or found.sec.name != row.name
        assert found.attach_target in ("", "what:follows*+8")
