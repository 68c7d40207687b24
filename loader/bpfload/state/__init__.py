"""Declared state: what a file says shall be loaded, attached and pinned, and bringing the machine to that.

::

    declaration = state.read("lab.toml")
    for change in state.plan(declaration): ...       # what differs, and why; nothing is done
    for outcome in state.apply(declaration): ...     # the machine is as the file says

bpffs is where it is kept what a file has brought: beside each load, at PATH + "_bpfload_applied", stands a symbolic link that
points nowhere. Its text is a record (`bpfload.state.records`): the name that the file gives itself, a hash of the object file,
what was declared, and which pins and attachments came of it, by id. So the state goes when the bpffs goes, and `unload PATH`
takes the record along. An object is in place if its record says what the file says, and all that the record names is still there:
a pin that is gone, a link whose device is gone, another program at PATH are noticed and repaired.

The order: all object files that will be needed are read and checked, and nothing is touched if one of them is wrong. Then what
the file no longer names goes, which frees the hooks; then its objects are brought in, in its order. Each object is all or
nothing, and its failure doesn't stop the others: what it was to replace stays. A change of an object is a replacement as
`bpfload.pins.replacement` does it. Before it the record is put down as pending, and afterwards as what has become of it. A
process that is killed in between leaves the old version or the new at PATH and a pending record, for which the next `apply`
brings the object in again.

Some changes can't be made in place, so that for a moment nothing is attached: of the mode of XDP, of a place among others, of a
priority, and all changes of an attachment without a link. A program in a chain is taken out and put in again, once the kernel
has taken the new one on trial; tables of struct_ops are taken out, too.

declaration: the file, read     records: what is kept on bpffs     drift: is what a record names still there
planning: what differs          bringing: one object, brought in, replaced, removed      applying: all of it, in order
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bpfload.state.applying import Outcome, apply
    from bpfload.state.declaration import Declaration, DeclaredObject, read
    from bpfload.state.planning import Change, plan

__all__ = ["Change", "Declaration", "DeclaredObject", "Outcome", "apply", "plan", "read"]

_HOMES = {
    "Change": "planning",
    "Declaration": "declaration",
    "DeclaredObject": "declaration",
    "Outcome": "applying",
    "apply": "applying",
    "plan": "planning",
    "read": "declaration",
}


def __getattr__(name: str) -> object:
    """Import a name's module when the name is first asked for."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"bpfload.state.{_HOMES[name]}"), name)
