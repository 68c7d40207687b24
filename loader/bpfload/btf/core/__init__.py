"""CO-RE: fitting instructions to the types of the kernel that they will run on.

::

    spec       what a relocation refers to, parsed from the object
    fields     members of a struct by name, those of its anonymous members included
    compat     whether a local and a target type may stand for each other
    match      finding a local spec in a target type
    values     the number that a relocation asks for
    resolver   candidates, ambiguity, results
    patch      results into instructions
    describe   in words

Two BTFs take part: the local one, of the object, and the target, of the kernel and its modules.
"""

from bpfload.btf.core.compat import types_are_compatible, types_match
from bpfload.btf.core.patch import POISON, patch
from bpfload.btf.core.resolver import CoreResolver, CoreResult

__all__ = ["POISON", "CoreResolver", "CoreResult", "patch", "types_are_compatible", "types_match"]
