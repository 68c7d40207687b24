"""`bpfload prog run`: run a program once, or many times, on data of one's own."""

from __future__ import annotations

import errno
import sys
from contextlib import ExitStack
from dataclasses import dataclass

from bpfload.abi import consts
from bpfload.errors import ENOTSUPP, BpfError, KernelError
from bpfload.objects.program import Program
from bpfload_cli.grammar import Words, is_prefix
from bpfload_cli.selecting import one_program
from bpfload_cli.session import Session

_WORDS = ("data_in", "data_out", "data_size_out", "ctx_in", "ctx_out", "ctx_size_out", "repeat")
#: Room for what comes out, unless the command line says how much: bpftool's size.
_ROOM = 32 * 1024


@dataclass(slots=True, eq=False)
class _Options:
    """File names (None: not given, "-": standard input or output), sizes in bytes, how often to run it."""

    data_in: str | None = None
    data_out: str | None = None
    data_size_out: int = 0
    ctx_in: str | None = None
    ctx_out: str | None = None
    ctx_size_out: int = 0
    repeat: int = 1


def run(session: Session, words: Words) -> None:
    """Run a program on data and show what it returns."""
    with ExitStack() as stack:
        program = one_program(words, stack)
        options = _options(words)
        data, context = _read(options.data_in), _read(options.ctx_in)
        data_room = options.data_size_out or (_ROOM if options.data_in is not None else 0)
        context_room = options.ctx_size_out or (_ROOM if options.ctx_in is not None else 0)
        try:
            result = program.test_run(
                data, data_size_out=data_room, context=context, context_size_out=context_room, repeat=options.repeat
            )
        except KernelError as error:
            raise _explained(error, program, len(data)) from None
    value, data_out, context_out, duration = result
    outputs = (("data_out", options.data_out, data_out), ("ctx_out", options.ctx_out, context_out))
    shown: dict[str, object] = {}
    for key, file, output in outputs:
        _deliver(session, shown, key, file, output)
    if session.json:
        failure = {"error": shown.pop("error")} if "error" in shown else {}
        session.data({**shown, "retval": value, "duration": duration, **failure})
    else:
        session.line(f"Return value: {value}, duration{' (average)' if options.repeat > 1 else ''}: {duration}ns")


def _options(words: Words) -> _Options:
    options = _Options()
    while words:
        fitting = [known for known in _WORDS if is_prefix(words.peek(), known)]
        if len(fitting) > 1:
            raise words.error(f"{words.command}: {words.peek()!r} could be each of these", fitting)
        name = words.keyword(_WORDS, "an option of prog run")
        if name in ("data_size_out", "ctx_size_out", "repeat"):
            setattr(options, name, words.number(f"the number for {name}"))
        else:
            setattr(options, name, words.take(f"the file for {name}"))
    if options.data_in == options.ctx_in == "-":
        raise words.error("data_in and ctx_in can't both be read from standard input")
    return options


def _read(file: str | None) -> bytes:
    """Return what is in a file, "-" being standard input; nothing for None."""
    if file is None:
        return b""
    if file == "-":
        return sys.stdin.buffer.read()
    try:
        with open(file, "rb") as opened:
            return opened.read()
    except OSError as error:
        raise BpfError(f"{file}: can't be read: {error.strerror}", errno_code=error.errno or errno.EIO) from None


def _deliver(session: Session, shown: dict[str, object], key: str, file: str | None, output: bytes) -> None:
    """Print what came out, or write it to its file; one that can't be written is said, and the rest goes on."""
    if file is None or not output:
        return
    if file == "-":
        if session.json:
            shown[key] = list(output)
        else:
            session.write(hex_dump(output))
        return
    try:
        with open(file, "wb") as opened:
            opened.write(output)
    except OSError as error:
        message = f"{file}: {key} can't be written: {error.strerror}"
        session.status = 1
        if session.json:
            shown["error"] = message
        else:
            session.warn(f"Error: {message}")


def hex_dump(data: bytes) -> str:
    """Return bytes as bpftool prints them: 16 a line by twos, and as text."""
    lines = []
    for start in range(0, len(data), 16):
        row = data[start : start + 16]
        numbers = row.hex(" ", -2)
        numbers += " " * (40 - len(numbers))
        text = "".join(chr(byte) if 32 <= byte <= 126 else "." for byte in row)
        lines.append(f"{start:07x}\t{numbers}| {text[:8]}{' ' if len(text) > 7 else ''}{text[8:]}\n")
    return "".join(lines)


# --- errors ---------------------------------------------------------------------------------------------------------

_NETWORK = (
    *(consts.BPF_PROG_TYPE_XDP, consts.BPF_PROG_TYPE_SCHED_CLS, consts.BPF_PROG_TYPE_SCHED_ACT),
    *(consts.BPF_PROG_TYPE_SOCKET_FILTER, consts.BPF_PROG_TYPE_CGROUP_SKB),
)
_ETHERNET_HEADER = 14


def _explained(error: KernelError, program: Program, size: int) -> KernelError:
    """Say why the kernel didn't run a program, as far as that can be known."""
    from bpfload.inspect.programs import type_name

    info = program.info()
    kind = type_name(info.type)
    hint = ""
    if error.errno in (ENOTSUPP, errno.EOPNOTSUPP):
        hint = f"The kernel has no test run for programs of type {kind}: they run when what they are attached to happens."
    elif error.errno == errno.ENOSPC:
        hint = "More came out than there was room for: data_size_out and ctx_size_out say how much there is."
    elif error.errno == errno.EINVAL and info.type in _NETWORK and size < _ETHERNET_HEADER:
        hint = f"data_in has to be a packet with its Ethernet header ({_ETHERNET_HEADER} bytes at least); it has {size} bytes."
    elif error.errno == errno.EINVAL:
        hint = f"Programs of type {kind} take other data_in or ctx_in than this, or of another size."
    elif error.errno in (errno.EPERM, errno.EACCES):
        from bpfload.kernel.capabilities import permission_hint

        hint = permission_hint(consts.CAP_BPF)
    return KernelError(error.call, error.errno or 0, f"running program {info.id} was refused", hint=hint)
