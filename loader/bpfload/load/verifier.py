"""What the verifier said, made readable: reason, source line, last instructions, and the real cause where it is known.

The log is the verifier's own prose (kernel/bpf/verifier.c, log.c); nothing here depends on more of it than these forms:
``12: (61) r1 = *(u32 *)(r2 +0)   ; R1_w=...`` for an instruction, ``; source text @ file.c:7`` (the place from Linux 6.8
on) before it, and a line of plain words for the reason. Kernels of late (7.3) follow that line up with a report of several
paragraphs, from "Verification failed:" to "Suggestion:"; the reason is still the line before it.
"""

from __future__ import annotations

import errno
from bisect import bisect_right
from struct import unpack_from

from bpfload.errors import KernelError, VerifierError
from bpfload.linker import LinkedProgram
from bpfload.linker.patch import POISON_KFUNC, POISON_MAP
from bpfload.spec import ObjectSpec

_TAIL = 8
_POISON_CORE = 195896080
_UNKNOWN = "invalid func unknown#"

_NO_HELPER = "The running kernel doesn't offer this helper to this type of program."

#: Words of the verifier that mean the same in every kernel, and what a person should change.
_HINTS: tuple[tuple[str, str], ...] = (
    (
        "invalid access to packet",
        "Compare the pointer with ctx->data_end before reading: if ((void *)(p + 1) > data_end) return XDP_PASS;",
    ),
    (
        "invalid mem access 'map_value_or_null'",
        "Check the result of bpf_map_lookup_elem() against NULL before using it.",
    ),
    ("invalid mem access 'mem_or_null'", "Check the pointer against NULL before using it."),
    ("invalid mem access 'scalar'", "This isn't a pointer the verifier can follow: read kernel memory by BPF_CORE_READ()."),
    ("invalid mem access 'inv'", "This isn't a pointer the verifier can follow: read kernel memory by BPF_CORE_READ()."),
    (
        "cannot call GPL-restricted function from non-GPL compatible program",
        'Declare a GPL-compatible licence: char LICENSE[] SEC("license") = "GPL";',
    ),
    (
        "cannot call GPL only function from proprietary program",
        'Declare a GPL-compatible licence: char LICENSE[] SEC("license") = "GPL";',
    ),
    ("back-edge", "Kernels before 5.3 take no loops: unroll it with #pragma unroll."),
    ("infinite loop detected", "The verifier sees no way out of the loop: give it a bound, or use bpf_loop()."),
    ("BPF program is too large", "Too many paths to look at: bound the loops, or use bpf_loop() or smaller functions."),
    ("combined stack size", "The stack holds 512 bytes in all: move large variables into a map."),
    ("invalid stack type R", "The helper wants a pointer to initialised memory on the stack."),
    ("!read_ok", "A register is read before it was set: is a variable used uninitialised on some path?"),
    ("R0 !read_ok", "The function doesn't return a value on every path."),
    ("Unreleased reference", "What was acquired (a socket, a ring buffer record) must be released on every path."),
    ("unbounded memory access", "Bound the index or length first: if (len > sizeof(buf)) return 0;"),
    ("min value is negative", "Bound the value from below as well, or make the variable unsigned."),
    (
        "failed to find the address for kernel symbol",
        "Programs can refer to the kernel's variables only where it was built with CONFIG_KALLSYMS_ALL.",
    ),
    (
        "is not modifiable",
        "fmod_ret takes security_* functions, and those for error injection of kernels with CONFIG_FUNCTION_ERROR_INJECTION.",
    ),
    ("unknown func", _NO_HELPER),
    ("program of this type cannot use helper", _NO_HELPER),
)

# What the verifier says of arithmetic by which a program could learn where the kernel keeps things: env->allow_ptr_leaks in
# kernel/bpf/verifier.c, which is CAP_PERFMON.
_OF_POINTERS = (
    "pointer -= pointer prohibited",
    "pointer comparison prohibited",
    "leaks addr",
    "prohibited for !root",
    "attempt to corrupt spilled pointer",
    "pointer arithmetic with",
    "pointer arithmetic prohibited",
)

_NOISE = (
    "processed ",
    "verification time",
    "stack depth",
    "max_states",
    "mark_precise",
    "from ",
    "old state",
    "cur state",
    "parent ",
)

#: How a report begins, and the headings of its paragraphs of prose.
_REPORT = "Verification failed: "
_PROSE = ("Reason:", "Suggestion:")


def explain(error: KernelError, linked: LinkedProgram, spec: ObjectSpec, log: str, notes: dict[int, str]) -> KernelError:
    """Return the error to raise for a refused BPF_PROG_LOAD.

    `log`: the verifier's log, may be empty. `notes`: by slot in the linked program, what a poisoned CO-RE relocation
    failed to find.
    """
    lines, advice = _without_reports(log.splitlines())
    reason = _poisoned(lines, linked, spec, notes) or _reason(lines)
    if not reason:
        return _without_log(error, linked)
    tail = [line for line in lines if _is_instruction(line)][-_TAIL:]
    return VerifierError(
        error.errno or errno.EINVAL,
        program=linked.name,
        log=log,
        reason=reason,
        source=_source(lines, linked, spec),
        tail=tuple(tail),
        hint=_hint(lines, reason) or advice,
    )


def _without_log(error: KernelError, linked: LinkedProgram) -> KernelError:
    """A refusal before verification started: say what it means as far as the errno tells."""
    hint = ""
    if error.errno == errno.E2BIG:
        hint = "The kernel doesn't know a field or flag of this load, or the program has over a million instructions."
    elif error.errno == errno.EINVAL:
        hint = "The kernel knows no such program type, attach type or flag, or its attach target is no BTF function."
    return KernelError("BPF_PROG_LOAD", error.errno or errno.EINVAL, "the kernel refused it", hint=error.hint or hint)


def _without_reports(lines: list[str]) -> tuple[list[str], str]:
    """Return the lines that are no part of a report, and what the last report says and suggests, "" if there is none.

    A report's lines are empty, indented, or headings that end in a colon. An old log is returned as it is.
    """
    if not any(line.startswith(_REPORT) for line in lines):
        return lines, ""
    kept: list[str] = []
    prose: list[str] = []
    heading = ""
    for line in lines:
        if line.startswith(_REPORT):
            heading = line
            prose = []
        elif heading and (not line or line[0].isspace()):
            if heading in _PROSE and line:
                prose.append(line.strip())
        elif heading and line.endswith(":") and line[0].isalpha():
            heading = line
        else:
            heading = ""
            kept.append(line)
    return kept, " ".join(prose)


def _is_instruction(line: str) -> bool:
    number, colon, rest = line.partition(": ")
    return bool(colon) and number.isdigit() and rest.startswith("(")


def _reason(lines: list[str]) -> str:
    """The last line that is neither an instruction, a register state, a source line nor statistics.

    An access out of bounds has two such lines: what was accessed, then what is wrong with it.
    """
    for place in range(len(lines) - 1, -1, -1):
        text = lines[place].strip()
        if not text or text.startswith((";", *_NOISE)) or _is_instruction(text):
            continue
        number, colon, _ = text.partition(":")
        if colon and number.isdigit():
            continue
        if text.startswith(("arg#", "func#", "R0=", "R1=")) and "=" in text.split(" ")[0]:
            continue
        before = lines[place - 1] if place else ""
        return f"{before}: {text}" if before.startswith("invalid access to ") else text
    return ""


def _last_slot(lines: list[str]) -> int | None:
    for line in reversed(lines):
        if _is_instruction(line):
            return int(line.partition(":")[0])
    return None


def _poisoned(lines: list[str], linked: LinkedProgram, spec: ObjectSpec, notes: dict[int, str]) -> str:
    """What a poisoned instruction really was, where that is what the verifier stumbled over."""
    for line in reversed(lines[-10:]):
        if not line.startswith(_UNKNOWN):
            continue
        digits = line[len(_UNKNOWN) :].split()[0]
        number = int(digits) if digits.isdigit() else 0
        slot = _last_slot(lines)
        if number == _POISON_CORE:
            what = notes.get(slot or 0, "a field or type that this kernel doesn't have")
            return f"failed to resolve CO-RE relocation {what}"
        if POISON_MAP <= number < POISON_MAP + len(spec.maps):
            return f"map {list(spec.maps)[number - POISON_MAP]!r} is referenced but wasn't created"
        if POISON_KFUNC <= number < POISON_KFUNC + len(spec.externs):
            return f"kfunc {list(spec.externs)[number - POISON_KFUNC]!r} is called but this kernel doesn't have it"
    return ""


def _hint(lines: list[str], reason: str) -> str:
    if reason.startswith("failed to resolve CO-RE"):
        return "Guard the access with bpf_core_field_exists() or bpf_core_type_exists()."
    if reason.startswith("kfunc "):
        return "Guard the call with bpf_ksym_exists(), or run a kernel that has it."
    tail = "\n".join(lines[-40:])[-2000:]
    if any(words in tail for words in _OF_POINTERS):
        from bpfload.abi.consts import CAP_PERFMON
        from bpfload.kernel.capabilities import missing, permission_hint

        if missing(CAP_PERFMON):
            return f"Calculating with addresses takes more than CAP_BPF. {permission_hint(CAP_PERFMON)}"
    found = next((hint for words, hint in _HINTS if words in tail), "")
    return _hint_of_helper() if found == _NO_HELPER else found


def _hint_of_helper() -> str:
    """Say why the kernel doesn't offer a helper: tracing helpers are there only for those who may look into the kernel.

    Source: bpf_base_func_proto() in kernel/bpf/helpers.c.
    """
    from bpfload.abi.consts import CAP_BPF, CAP_PERFMON
    from bpfload.kernel.capabilities import missing, permission_hint

    needed = (CAP_BPF, CAP_PERFMON)
    return permission_hint(*needed) if missing(*needed) else _NO_HELPER


def _source(lines: list[str], linked: LinkedProgram, spec: ObjectSpec) -> str:
    """ "file:line: text" of the last instruction that the verifier looked at, from the object's line_info."""
    slot = _last_slot(lines)
    if slot is None or not linked.line_info or spec.btf is None:
        return ""
    size = linked.line_info_size
    slots = [unpack_from("<I", linked.line_info, place)[0] for place in range(0, len(linked.line_info), size)]
    index = bisect_right(slots, slot) - 1
    if index < 0:
        return ""
    _, file, text, place = unpack_from("<IIII", linked.line_info, index * size)
    return f"{spec.btf.string(file)}:{place >> 10}: {spec.btf.string(text).strip()}"
