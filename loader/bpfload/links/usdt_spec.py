"""Where the arguments of a static probe are, in the words of compilers and in those of usdt.bpf.h.

A compiler writes each argument as size@place, in the assembler's words for the place: ``-4@%esi 8@-24(%rbp) 4@$7``. The program
finds them described in the map ``__bpf_usdt_specs``, as a ``struct __bpf_usdt_spec``.

Source: <https://sourceware.org/systemtap/wiki/UserSpaceProbeImplementation>; parse_usdt_arg() in tools/lib/bpf/usdt.c,
struct __bpf_usdt_spec in tools/lib/bpf/usdt.bpf.h; struct pt_regs of each machine in arch/*/include/uapi/asm/ptrace.h.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from struct import pack
from sys import byteorder

from bpfload.errors import FormatError, NotSupportedError

MAX_ARGUMENTS = 12
_CONSTANT, _REGISTER, _MEMORY, _INDEXED = range(4)
_SHIFTS = {1: 0, 2: 1, 4: 2, 8: 3}

#: Bytes of a struct __bpf_usdt_spec before libbpf 1.7, which knows no index registers, and since.
SIZE_OLD, SIZE = 208, 304


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument. `kind`: _CONSTANT, …; `size`: 1, 2, 4 or 8 bytes. `value`: the constant, or what is added to the register.

    `register`, `index`: bytes into struct pt_regs. `shift`: the index is multiplied by 2 to that power.
    """

    kind: int
    size: int
    signed: bool
    value: int = 0
    register: int = 0
    index: int = 0
    shift: int = 0


# struct pt_regs as it lies in memory, 8 bytes each; "-" for what no argument is in.
_X86_64_ORDER = "r15 r14 r13 r12 bp bx r11 r10 r9 r8 ax cx dx si di - ip - - sp"
_RISCV_ORDER = "- ra sp gp tp t0 t1 t2 s0 s1 a0 a1 a2 a3 a4 a5 a6 a7 s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 t3 t4 t5 t6"


def _x86_64() -> dict[str, int]:
    found: dict[str, int] = {}
    for number, name in enumerate(_X86_64_ORDER.split()):
        if name[0] == "r":
            forms = [name, f"{name}d", f"{name}w", f"{name}b"]
        elif name == "ip":
            forms = ["rip", "eip"]
        else:
            low = f"{name[0]}l" if name.endswith("x") else f"{name}l"
            forms = [f"r{name}", f"e{name}", name, low]
        if name != "-":
            found |= dict.fromkeys(forms, 8 * number)
    return found


def _arm64() -> dict[str, int]:
    found = {f"{letter}{number}": 8 * number for number in range(31) for letter in "xw"}
    return found | {"sp": 8 * 31}


def _riscv() -> dict[str, int]:
    return {name: 8 * number for number, name in enumerate(_RISCV_ORDER.split()) if name != "-"}


def _s390() -> dict[str, int]:
    return {f"r{number}": 24 + 8 * number for number in range(16)}


_NUMBER = r"(?P<value>-?\d+)"
# By machine: its registers, and the forms of a place in the order in which they are tried.
_PERCENT = r"%(?P<register>\w+)"
_INDEX = r"\s*,\s*%(?P<index>\w+)\s*(?:,\s*(?P<scale>\d+)\s*)?"
_BARE = r"(?P<register>[a-z]\w*)"
_MACHINES = {
    "x86_64": (
        _x86_64,
        (rf"\${_NUMBER}", rf"{_PERCENT}", rf"{_NUMBER}?\s*\(\s*{_PERCENT}\s*\)", rf"{_NUMBER}?\s*\(\s*{_PERCENT}{_INDEX}\)"),
    ),
    "aarch64": (_arm64, (_NUMBER, _BARE, rf"\[\s*{_BARE}\s*(?:,\s*{_NUMBER}\s*)?\]")),
    "riscv64": (_riscv, (_NUMBER, _BARE, rf"{_NUMBER}\s*\(\s*{_BARE}\s*\)")),
    "s390x": (_s390, (_NUMBER, _PERCENT, rf"{_NUMBER}\s*\(\s*{_PERCENT}\s*\)")),
}


def parse(text: str, machine: str) -> tuple[Argument, ...]:
    """Return the arguments that a probe's note describes. `machine`: as uname(2) calls it.

    Raises FormatError for what isn't understood, NotSupportedError for a machine that isn't known.
    """
    found = _MACHINES.get(machine)
    if found is None:
        raise NotSupportedError(f"static probes on {machine}: which registers it has isn't known")
    make_registers, places = found
    registers = make_registers()
    forms = [re.compile(rf"\s*(?P<size>-?\d+)\s*@\s*{place}(?=\s|$)\s*") for place in places]
    arguments: list[Argument] = []
    at = 0
    while at < len(text):
        kind, match = next(((kind, match) for kind, form in enumerate(forms) if (match := form.match(text, at))), (0, None))
        if match is None:
            raise _unknown(text, at, len(arguments))
        if len(arguments) == MAX_ARGUMENTS:
            raise FormatError(f"it has more than {MAX_ARGUMENTS} arguments: {text}", errno_code=7)
        arguments.append(_argument(kind, match, registers))
        at = match.end()
    return tuple(arguments)


def _unknown(text: str, at: int, number: int) -> FormatError:
    what = text[at:].split()[0] if text[at:].split() else text
    return FormatError(
        f"argument {number} is of a kind that BPF can't fetch: {what}",
        hint="It can fetch integers: constants, what is in a register, what is in memory at a register.",
    )


def _argument(kind: int, match: re.Match[str], registers: dict[str, int]) -> Argument:
    groups = match.groupdict()
    size = int(groups["size"])
    if abs(size) not in _SHIFTS:
        raise FormatError(f"an argument of {abs(size)} bytes: {match[0].strip()}")
    names = (groups.get("register"), groups.get("index"))
    if not all(name in registers for name in names if name):
        raise FormatError(f"an argument in a register that BPF can't read: {match[0].strip()}")
    register, index = (registers[name] if name else 0 for name in names)
    scale = int(groups.get("scale") or 1)
    if scale not in _SHIFTS:
        raise FormatError(f"an index times {scale}: {match[0].strip()}")
    return Argument(kind, abs(size), size < 0, int(groups.get("value") or 0), register, index, _SHIFTS[scale])


def encode(arguments: tuple[Argument, ...], cookie: int, size: int) -> bytes:
    """Return a struct __bpf_usdt_spec. `size`: of the map's values, which tells the layout.

    Raises NotSupportedError for an index register that the older layout has no place for, FormatError for another size.
    """
    if size not in (SIZE_OLD, SIZE):
        raise FormatError(
            f"the values of __bpf_usdt_specs have {size} bytes",
            hint=f"Those of usdt.bpf.h have {SIZE_OLD}, since libbpf 1.7 {SIZE}.",
        )
    records = b"".join(_old(argument) if size == SIZE_OLD else _new(argument) for argument in arguments)
    tail = pack("=Qh6x", cookie & (1 << 64) - 1, len(arguments))
    return records.ljust(size - len(tail), b"\0") + tail


def _old(argument: Argument) -> bytes:
    if argument.kind == _INDEXED:
        raise FormatError(
            "an argument is at a register plus an index, which the object's usdt.bpf.h knows nothing of",
            hint="Compile it with the usdt.bpf.h of libbpf 1.7 or later.",
        )
    bits = 64 - 8 * argument.size
    return pack("=QIhBb", argument.value & (1 << 64) - 1, argument.kind, argument.register, argument.signed, bits)


def _new(argument: Argument) -> bytes:
    """Return a struct __bpf_usdt_arg_spec: its bit fields start at the lowest bit, on big-endian machines at the highest."""
    bits = 64 - 8 * argument.size
    value = argument.value & (1 << 64) - 1
    if byteorder == "little":
        place = pack("=BxHBx", argument.kind, argument.index | argument.shift << 12, 0)
    else:
        place = pack("=BxHBx", 0, argument.index << 4 | argument.shift, argument.kind)
    return pack("=Q6shBb6x", value, place, argument.register, argument.signed, bits)
