"""BTF as C source: a header that compiles, as `bpftool btf dump … format c` makes it.

::

    order      which definitions there are, and in what order C wants them
    sorting    a stable order to begin with: by kind and name
    names      names that are taken already get a number
    declare    the declaration of a name by type: int (*fn)(void)
    layout     sizes, alignments, which structs are packed, padding
    emit       definitions and forward declarations
    header     the whole file

All of them work on `FlatTypes`; the kernel's 100,000 types take about a quarter of a second.
"""

from bpfload.btf.cdump.header import c_header, c_types

__all__ = ["c_header", "c_types"]
