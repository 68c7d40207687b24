"""What the text of programs of cgroups looks like: bpftool's columns, blanks at their ends included."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bpfload.inspect.cgroups import AttachedProgram


def header(effective: bool) -> str:
    """Return the line with the columns' names."""
    flags = "" if effective else f"{'AttachFlags':<15} "
    return f"{'ID':<8} {'AttachType':<15} {flags}{'Name':<15}\n"


def row(program: AttachedProgram) -> str:
    """Return the line of one program."""
    hook = f"{program.attach_type:<15}" if isinstance(program.attach_type, str) else f"type {program.attach_type:<10}"
    flags = "" if program.attach_flags is None else f" {program.attach_flags:<15}"
    target = ""
    if program.attach_btf_name is not None:
        target = f" {program.attach_btf_name:<15}"
    elif program.attach_btf_id:
        target = f" attach_btf_obj_id={program.attach_btf_obj_id} attach_btf_id={program.attach_btf_id}"
    return f"{program.id:<8} {hook}{flags} {program.name:<15}{target}\n"
