"""`bpfload btf`: the BTF objects in the kernel."""

from __future__ import annotations

from bpfload.inspect import btf, ids
from bpfload.inspect.owners import holders
from bpfload.objects.btf import BtfObject
from bpfload_cli.app import CommandTable
from bpfload_cli.grammar import Words
from bpfload_cli.session import Session


def show(session: Session, words: Words) -> None:
    """Show BTF objects: the one selected, or all."""
    from bpfload_cli.layouts import BTF

    if not words:
        used, held = btf.users(), holders("BTF object")
        session.show((btf.view(item, held, used) for item in btf.every()), BTF)
        return
    _, value = words.selector(("id",), "a BTF object")
    words.end()
    with BtfObject.from_id(ids.number(value)) as item:
        session.show([btf.view(item, holders("BTF object"), btf.users())], BTF, as_list=False)


def dump(session: Session, words: Words) -> None:
    """Show the types themselves."""
    from bpfload_cli.commands import btf_dump

    btf_dump.dump(session, words)


def usage(session: Session, words: Words) -> None:
    """Show the forms of these commands."""
    from bpfload_cli.usage import show_usage

    show_usage(session, "btf")


command = CommandTable(
    "btf",
    (
        ("show", show),
        ("list", show),
        ("help", usage),
        ("dump", dump),
    ),
)
