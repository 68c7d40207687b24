"""The comparison itself: what counts as equal, as a difference and as explained."""

from __future__ import annotations

from typing import Any

from conformance.compare import Exception_, compare


def row(program: str | None = "p", **changes: Any) -> dict[str, Any]:
    base = {"object": "a.bpf.o", "program": program, "verdict": "ok", "errno": 0, "type": "xdp", "tag": "0011223344556677"}
    counts = {"maps": 1, "func_infos": 1, "line_infos": 4, "insns": 9, "verified_insns": 9, "message": ""}
    return {**base, **counts, **changes}


def test_equal_rows_are_counted() -> None:
    failed = {"verdict": "error", "errno": -22}
    result = compare([row(), row("q", **failed, tag=None)], [row(), row("q", **failed, tag="ignored")])
    assert (result.programs, result.equal, result.ok_on_both, result.unexplained) == (2, 2, 1, [])


def test_a_difference_names_its_fields_and_both_messages() -> None:
    theirs = row(verdict="error", errno=-13, message="R1 !read_ok")
    result = compare([theirs], [row()])
    assert result.equal == 0
    (found,) = result.unexplained
    assert dict(found.fields) == {"verdict": ("error", "ok"), "errno": (-13, 0)}
    assert "errno libbpf=-EACCES bpfload=0" in found.line()
    assert "R1 !read_ok" in found.line()


def test_a_program_that_one_side_lacks_is_a_difference() -> None:
    result = compare([row(), row("q")], [row(), row("r")])
    assert [difference.key[1] for difference in result.unexplained] == ["q", "r"]


def test_an_exception_explains_only_its_fields() -> None:
    known = Exception_("a*", "p", "it is right", ("tag",))
    assert len(compare([row()], [row(tag="ff")], [known]).explained) == 1
    assert len(compare([row()], [row(tag="ff", maps=2)], [known]).unexplained) == 1


def test_an_exception_that_explains_nothing_is_reported() -> None:
    known = Exception_("b*", "p", "it was right once")
    assert compare([row()], [row()], [known]).unused == [known]


def test_what_the_reference_had_no_time_for_is_not_compared() -> None:
    result = compare([row(verdict="error", errno=-110)], [row()])
    assert result.not_compared == [("a.bpf.o", "p")]
    assert result.unexplained == []
