"""ObjectSpec → live Object: maps created, programs linked and loaded, all of it or nothing.

::

    session     the passes of a load in order, what each leaves for the next, and the roll-back
    btf         the object's BTF into the kernel, cut down for older kernels
    maps        maps created, filled, frozen       pinned, arena, struct_ops: the special ones
    externs     kconfig values, ksyms, kfuncs
    core        CO-RE relocations        context_args  argument types for kernels without the tag arg:ctx
    targets     BTF ids that programs attach to        jumptables  maps of jump tables
    programs    BPF_PROG_LOAD and its fall-backs
    verifier    a refusal, explained
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

from bpfload.load.object import Object
from bpfload.load.options import FAIL, REPLACE, REUSE, LoadOptions
from bpfload.load.session import load

if TYPE_CHECKING:
    import os

    from bpfload.spec import ObjectSpec

__all__ = ["FAIL", "REPLACE", "REUSE", "LoadOptions", "Object", "load"]


class _Package(ModuleType):
    """This package when it is called: `bpfload.load` names the package once it is imported, and should still load."""

    def __call__(self, source: ObjectSpec | str | os.PathLike[str], options: LoadOptions | None = None) -> Object:
        """Load an object: see `bpfload.load.session.load`."""
        return load(source, options)


sys.modules[__name__].__class__ = _Package
