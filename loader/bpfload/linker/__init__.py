"""References → instructions: subprograms appended, calls and addresses patched, func_info and line_info moved along.

::

    layout   subprograms behind each program that uses them, calls patched
    records  func_info and line_info, moved to where their functions now stand
    core     CO-RE relocations of every function
    patch    map, variable and extern references, once their fds, ids and addresses are known

Pure: nothing here asks the kernel. Instructions stay packed 8-byte slots in a bytearray and are patched in place.
"""

from bpfload.linker.layout import LinkedProgram, link
from bpfload.linker.patch import ExternValue, References, patch_references

__all__ = ["ExternValue", "LinkedProgram", "References", "link", "patch_references"]
