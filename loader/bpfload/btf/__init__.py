"""BTF, the type information of BPF objects and of the kernel: reading, looking up, writing, relocating.

::

    types      the kinds, and one decoded type
    index      Btf: where each type starts, names to types
    layout     sizes and alignments of types
    names      C spelling of types and prototypes
    values     bytes to Python values by type, and back
    writer     changing BTF, and building it
    sanitize   rewriting BTF for older kernels
    flat       all types as plain words, for passes over everything
    rawdump    types as they stand there, as text and JSON
    cdump      types as C source
    core       CO-RE relocations
"""

from bpfload.btf.index import Btf
from bpfload.btf.types import Type

__all__ = ["Btf", "Type"]
