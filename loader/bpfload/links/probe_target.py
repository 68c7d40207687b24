"""What SEC() or a person names to be probed: functions of the kernel and of programs, static probes.

Source: attach_kprobe(), attach_uprobe(), attach_uprobe_multi() and attach_usdt() in tools/lib/bpf/libbpf.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpfload.errors import UsageError

if TYPE_CHECKING:
    from bpfload.links.target import Target
    from bpfload.spec import ProgramSpec

_RETURNS = ("kretprobe", "kretsyscall", "uretprobe")


def is_return(spec: ProgramSpec, target: Target) -> bool:
    """Whether the return of a function is meant, not its entry: as `target` says, else as SEC() does."""
    if target.is_return is not None:
        return target.is_return
    return spec.section.removeprefix("?").startswith(_RETURNS)


def function_and_offset(text: str, form: str) -> tuple[str, int]:
    """Split "function+offset" (decimal, 0x, 0 for octal as in C). `form`: the right form, for the message of UsageError."""
    name, plus, number = text.rpartition("+")
    if not plus:
        return text, 0
    offset = _number(number)
    if not name or offset is None:
        raise UsageError(f"{text!r} is no function with an offset", hint=f"The form is {form}.")
    return name, offset


def _number(text: str) -> int | None:
    text = text.strip().lower()
    octal = len(text) > 1 and text[0] == "0" and text.isdigit()
    try:
        return int(text, 8) if octal else int(text, 0) if text[:1].isdigit() else None
    except ValueError:
        return None


def kernel_function(spec: ProgramSpec, target: Target) -> tuple[str, int]:
    """Return the kernel function to probe and the offset in it. Raises UsageError."""
    text = target.name or spec.attach_target
    form = "kprobe/FUNCTION or kprobe/FUNCTION+OFFSET"
    if not text:
        raise UsageError(f'program {spec.name!r}: SEC("{spec.section}") names no function to probe', hint=f"The form is {form}.")
    name, offset = function_and_offset(text, form)
    if not all(sign.isalnum() or sign in "_." for sign in name):
        raise UsageError(f"program {spec.name!r}: {name!r} is no name of a function", hint=f"The form is {form}.")
    offset += target.offset
    if offset and is_return(spec, target):
        raise UsageError(f"program {spec.name!r}: the return of {name} has no offset", hint="The form is kretprobe/FUNCTION.")
    return name, offset


def binary_function(spec: ProgramSpec, target: Target) -> tuple[str, str, int]:
    """Return (path, function or "", offset) of what a uprobe is to be put on. Raises UsageError."""
    form = "uprobe/PATH:FUNCTION or uprobe/PATH:FUNCTION+OFFSET, for example uprobe//bin/bash:readline"
    path, function = binary_and_name(spec, target, form)
    name, offset = function_and_offset(function, form) if function else ("", 0)
    if not name and not target.offset:
        raise UsageError(
            f'program {spec.name!r}: SEC("{spec.section}") names no function of {path} to probe', hint=f"The form is {form}."
        )
    if name and _number(name) is not None and not target.name:
        # An offset alone, as uprobe events have it; no function's name starts with a digit.
        name, offset = "", (_number(name) or 0) + offset
    offset += target.offset
    if offset and name and is_return(spec, target):
        raise UsageError(
            f"program {spec.name!r}: the return of {name} has no offset", hint="The form is uretprobe/PATH:FUNCTION."
        )
    return path, name, offset


def binary_and_name(spec: ProgramSpec, target: Target, form: str) -> tuple[str, str]:
    """Return the path of a program or library and what is named in it, "" if nothing is. Raises UsageError."""
    path, _, name = spec.attach_target.partition(":")
    if target.binary:
        # Another file than SEC() names: the same function in it, unless another one is given.
        return target.binary, target.name or ("" if target.offset or target.offsets else name)
    if target.name:
        given, colon, function = target.name.rpartition(":")
        path, name = (given, function) if colon else (path, target.name)
    if not path:
        message = f'program {spec.name!r}: SEC("{spec.section}") names no program or library to probe'
        raise UsageError(message, hint=f"The form is {form}.")
    return path, name


def static_probe(spec: ProgramSpec, target: Target) -> tuple[str, str, str]:
    """Return (path, provider, name) of a statically defined probe. Raises UsageError."""
    form = "usdt/PATH:PROVIDER:NAME, for example usdt//usr/bin/python3:python:gc__start"
    path, *words = spec.attach_target.split(":")
    given = target.name.split(":") if target.name else []
    if len(given) == 3:
        path, words = given[0], given[1:]
    elif given:
        words = given
    path = target.binary or path
    if not path or len(words) != 2 or not all(words):
        what = target.name or spec.attach_target
        told = f"{what!r} is no static probe" if what else f'SEC("{spec.section}") names no static probe'
        raise UsageError(f"program {spec.name!r}: {told}", hint=f"The form is {form}.")
    return path, words[0], words[1]
