"""What `load` and other commands have in common: options about the kernel that an object is loaded into, places among others."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from bpfload.errors import BpfError, UsageError
from bpfload.load import LoadOptions

if TYPE_CHECKING:
    from bpfload.links import Order
    from bpfload.objects.program import Program

KernelBtf = Annotated[str, typer.Option("--kernel-btf", metavar="FILE", help="Resolve CO-RE relocations against this BTF.")]
Kconfig = Annotated[str, typer.Option("--kconfig", metavar="FILE", help="Values of CONFIG_ externs, before the kernel's own.")]
AttachTo = Annotated[
    str, typer.Option("--attach-to", metavar="PIN", help="The pinned program that freplace, fentry, fexit target.")
]
Token = Annotated[
    str, typer.Option("--token", metavar="DIR", help="Take the rights of a BPF token from the bpffs that is mounted there.")
]


def load_options(kernel_btf: str, kconfig: str, target: Program | None, token: str = "") -> LoadOptions:
    """Return the library's options for these. `target`: the program that --attach-to names, opened."""
    return LoadOptions(
        kernel_btf=kernel_btf or None,
        kconfig=read_text(kconfig) if kconfig else "",
        attach_to=target.fd if target is not None else 0,
        token_path=token,
    )


def opened(pin: str) -> AbstractContextManager[Program | None]:
    """Open the program that --attach-to names, if it names one."""
    if not pin:
        return nullcontext()
    from bpfload.objects.program import Program

    return Program.from_pin(pin)


def read_text(path: str) -> str:
    """Return a text file's content. Raises BpfError."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError as error:
        raise BpfError(f"{path}: can't be read: {error.strerror}", errno_code=error.errno or 5) from None


def order(before: str, after: str) -> Order:
    """Read what --before and --after say: "first", "last", "program:ID", "link:ID", or the path of a pin. Raises UsageError."""
    from bpfload.links import Order

    return Order(before=_neighbour(before, "--before"), after=_neighbour(after, "--after"))


def _neighbour(word: str, option: str) -> str:
    kind, _, number = word.partition(":")
    if not word or word in ("first", "last") or (kind in ("program", "link") and number.isdigit()):
        return word
    if "/" in word:
        from bpfload.objects.bpffs import identify

        pin = identify(word)
        if pin is not None and pin.kind in ("program", "link"):
            return f"{pin.kind}:{pin.id}"
        raise UsageError(f"{option} {word}: no program or link is pinned there")
    raise UsageError(f"{option} {word}: it takes first, last, program:ID, link:ID or the path of a pin")
