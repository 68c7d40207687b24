"""`bpfload gen`: what is made from object files without loading them."""

from __future__ import annotations

from bpfload_cli.app import CommandTable
from bpfload_cli.grammar import Words
from bpfload_cli.session import Session

_HERE = "bpfload_cli.commands"


def min_core_btf(session: Session, words: Words) -> None:
    """Write the types of a kernel that objects need."""
    from bpfload.gen.min_core_btf import min_core_btf
    from bpfload.kernel.btf import load_file

    kernel = words.take("the kernel's BTF file")
    output = words.take("the file to write")
    objects = [words.take("an object file")]
    while words:
        objects.append(words.take("an object file"))
    types = min_core_btf(load_file(kernel), objects)
    with open(output, "wb") as file:
        file.write(types.raw)
    session.done()


def usage(session: Session, words: Words) -> None:
    """Show the forms of these commands."""
    from bpfload_cli.usage import show_usage

    show_usage(session, "gen")


command = CommandTable(
    "gen",
    (
        ("object", f"{_HERE}.gen_object:command"),
        ("skeleton", f"{_HERE}.gen_skeleton:command"),
        ("subskeleton", f"{_HERE}.gen_skeleton:subskeleton"),
        ("min_core_btf", min_core_btf),
        ("help", usage),
    ),
)
