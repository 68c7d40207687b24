"""Every error that bpfload raises, in one tree.

::

    BpfError
    ├── FormatError          the object file or its BTF is not what it should be (file, section, offset)
    ├── LinkError            a reference could not be resolved (program, instruction, symbol)
    ├── PinError             a path on bpffs can't be used (path)
    ├── NotFoundError        a selector, device, tracepoint, … matches nothing (what, near matches)
    ├── KernelError          the kernel refused a call; also an OSError (call, errno)
    │   ├── VerifierError    BPF_PROG_LOAD refused by the verifier (log, reason, source line)
    │   └── NotSupportedError  the running kernel lacks it (feature, since which kernel)
    └── UsageError           arguments that contradict each other or make no sense

A message reads: what went wrong, where, and what to do about it. Each layer that an error passes on its way up may add one
noun of context with `BpfError.within`. `BpfError.errno_code` is the positive number that libbpf would report for the same
failure, so that the verdicts of the two can be compared.
"""

from __future__ import annotations

import errno as _errno
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

#: libbpf's own error numbers (tools/lib/bpf/libbpf.h, enum libbpf_errno); returned where no errno fits.
LIBBPF_ELF = 4000
LIBBPF_FORMAT = 4001
LIBBPF_KVERSION = 4002
LIBBPF_ENDIAN = 4003
LIBBPF_INTERNAL = 4004
LIBBPF_RELOC = 4005
LIBBPF_LOAD = 4006
LIBBPF_VERIFY = 4007
LIBBPF_PROG2BIG = 4008
LIBBPF_KVER = 4009
LIBBPF_PROGTYPE = 4010

#: The kernel's own number, unknown to the C library, for what a map, program or hook can't do.
ENOTSUPP = 524


class BpfError(Exception):
    """Base of all errors raised by bpfload.

    `message`: what went wrong. `hint`: what to do about it, or "". `errno_code`: the positive errno (or libbpf's own number
    from 4000 up) that libbpf reports for the same failure.
    """

    def __init__(self, message: str, *, hint: str = "", errno_code: int = _errno.EINVAL) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.errno_code = errno_code
        self.context: list[str] = []

    def within(self, noun: str) -> Self:
        """Add one noun of context, for example ``program 'hello'``, and return the error itself, to be raised again."""
        if noun not in self.context:
            self.context.insert(0, noun)
        return self

    @property
    def where(self) -> str:
        """The context, outermost first, joined by ", ": ``hello.bpf.o, program 'hello'``."""
        return ", ".join(self.context)

    def __str__(self) -> str:
        where = self.where
        text = f"{where}: {self.message}" if where else self.message
        return f"{text}\n{self.hint}" if self.hint else text


class FormatError(BpfError):
    """An object file, or BTF, that is malformed or of a kind that can't be read.

    `file`, `section`: names, "" if unknown. `offset`: bytes from the start of the section (of the file where no section is
    named), or None.
    """

    def __init__(
        self,
        message: str,
        *,
        file: str = "",
        section: str = "",
        offset: int | None = None,
        hint: str = "",
        errno_code: int = _errno.EINVAL,
    ) -> None:
        super().__init__(message, hint=hint, errno_code=errno_code)
        self.file = file
        self.section = section
        self.offset = offset

    @property
    def where(self) -> str:
        """The context, then file, section and offset."""
        place = [self.file] if self.file and self.file not in self.context else []
        if self.section:
            place.append(f"section {self.section}")
        if self.offset is not None:
            place.append(f"offset {self.offset:#x}")
        return ", ".join(self.context + place)


class LinkError(BpfError):
    """A reference in a program that could not be resolved.

    `program`: name of the function. `instruction`: index of the 8-byte slot in that function, or None. `symbol`: what was
    referred to.
    """

    def __init__(
        self,
        message: str,
        *,
        program: str = "",
        instruction: int | None = None,
        symbol: str = "",
        hint: str = "",
        errno_code: int = _errno.EINVAL,
    ) -> None:
        super().__init__(message, hint=hint, errno_code=errno_code)
        self.program = program
        self.instruction = instruction
        self.symbol = symbol

    @property
    def where(self) -> str:
        """The context, then program and instruction."""
        place = []
        if self.program and not any(repr(self.program) in noun for noun in self.context):
            place.append(f"program {self.program!r}")
        if self.instruction is not None:
            place.append(f"instruction {self.instruction}")
        return ", ".join(self.context + place)


class PinError(BpfError):
    """A path that can't be pinned to, opened or removed. `path`: the path."""

    def __init__(self, message: str, *, path: str = "", hint: str = "", errno_code: int = _errno.EINVAL) -> None:
        super().__init__(message, hint=hint, errno_code=errno_code)
        self.path = path


class NotFoundError(BpfError):
    """Nothing matches what was asked for. `candidates`: names that come near, best first."""

    def __init__(
        self, message: str, *, candidates: tuple[str, ...] = (), hint: str = "", errno_code: int = _errno.ENOENT
    ) -> None:
        if candidates and not hint:
            hint = f"Did you mean {', '.join(candidates)}?"
        super().__init__(message, hint=hint, errno_code=errno_code)
        self.candidates = candidates


class UsageError(BpfError):
    """Arguments that contradict each other, or that make no sense for this object."""


class KernelError(BpfError, OSError):
    """The kernel refused a call.

    `call`: the call's name, for example "BPF_MAP_CREATE". `errno`, `strerror`: as in OSError.
    """

    def __init__(self, call: str, errno: int, message: str = "", *, hint: str = "") -> None:
        self.call = call
        text = message or f"{call} failed"
        words = "Operation not supported by the kernel" if errno == ENOTSUPP else os.strerror(errno)
        BpfError.__init__(self, f"{text}: {words} ({errno_name(errno)})", hint=hint, errno_code=errno)
        self.errno = errno
        self.strerror = words

    def __str__(self) -> str:
        return BpfError.__str__(self)


class VerifierError(KernelError):
    """The verifier rejected a program.

    `log`: the whole log. `reason`: the line of the log that says why. `source`: "file:line: text" of the rejected
    instruction where BTF knows it, or "". `tail`: the last instructions that the verifier looked at.
    """

    def __init__(
        self,
        errno: int,
        *,
        program: str,
        log: str,
        reason: str = "",
        source: str = "",
        tail: tuple[str, ...] = (),
        hint: str = "",
    ) -> None:
        summary = "the verifier rejected it"
        KernelError.__init__(self, "BPF_PROG_LOAD", errno, summary, hint=hint)
        if reason:
            # Not with the errno's words: "Permission denied" is no help for a pointer that may be NULL.
            self.message = f"{summary}: {reason} ({errno_name(errno)})"
        self.program = program
        self.log = log
        self.reason = reason
        self.source = source
        self.tail = tail

    @property
    def where(self) -> str:
        """The context, and the program if it isn't part of that."""
        named = any(repr(self.program) in noun for noun in self.context)
        return ", ".join(self.context if named else [*self.context, f"program {self.program!r}"])

    def __str__(self) -> str:
        lines = [f"{self.where}: {self.message}" if self.where else self.message]
        if self.source:
            lines.append(f"  at {self.source}")
        if self.tail:
            lines += ["  the verifier's last steps:", *(f"    {step}" for step in self.tail)]
        if self.hint:
            lines.append(self.hint)
        return "\n".join(lines)


class NotSupportedError(KernelError):
    """The running kernel lacks a feature. `feature`: its name. `since`: the first kernel with it, for example "5.9", or ""."""

    def __init__(
        self, feature: str, *, since: str = "", call: str = "bpf", errno: int = _errno.EOPNOTSUPP, hint: str = ""
    ) -> None:
        need = f" (in Linux since {since})" if since else ""
        KernelError.__init__(self, call, errno, f"this kernel has no {feature}{need}", hint=hint)
        self.feature = feature
        self.since = since


def errno_name(code: int) -> str:
    """Return the symbol of an errno ("EINVAL"), or the number as text where it has none."""
    if code == _errno.EOPNOTSUPP:  # the same number as ENOTSUP, but the name that the kernel's documents use
        return "EOPNOTSUPP"
    if code == ENOTSUPP:
        return "ENOTSUPP"
    return _errno.errorcode.get(code, str(code))


def near(name: str, known: Iterable[str], count: int = 3) -> tuple[str, ...]:
    """Return up to `count` of the `known` names that come near `name`, best first."""
    import difflib

    known = sorted({*known} - {""})
    inside = sorted((candidate for candidate in known if name and name in candidate), key=len)
    close = difflib.get_close_matches(name, known, n=count, cutoff=0.6 if len(name) > 3 else 0.5)
    return tuple(dict.fromkeys((*close, *inside)))[:count]
