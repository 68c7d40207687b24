"""The whole header: definitions between guards, and the prototypes of kfuncs.

Source: dump_btf_c() and dump_btf_kfuncs() in tools/bpf/bpftool/btf.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpfload.btf import types as t
from bpfload.btf.cdump import sorting
from bpfload.btf.cdump.emit import Definitions
from bpfload.btf.cdump.order import INERT_KINDS, DefinitionOrder
from bpfload.btf.flat import FlatTypes, as_text
from bpfload.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bpfload.btf.index import Btf

_KFUNC_TAG = "bpf_kfunc"

_HEAD = """\
#ifndef __VMLINUX_H__
#define __VMLINUX_H__

#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute push (__attribute__((preserve_access_index)), apply_to = record)
#endif

#ifndef __ksym
#define __ksym __attribute__((section(".ksyms")))
#endif

#ifndef __weak
#define __weak __attribute__((weak))
#endif

"""
_TAIL = """\
#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute pop
#endif

#endif /* __VMLINUX_H__ */
"""


def c_header(btf: Btf, roots: Sequence[int] = (), *, sort: bool = True) -> str:
    """Return a header that defines all types of a BTF, its base's included, as `bpftool btf dump … format c` prints it.

    `roots`: only these types and what they need, in that order, without prototypes of kfuncs. `sort`: begin with a stable order
    of kinds and names; without, with the order of ids. Raises FormatError for types that C can't say.
    """
    return _HEAD + _text(btf, roots, sort=sort, kfuncs=not roots) + _TAIL


def c_types(btf: Btf, roots: Sequence[int] = (), *, sort: bool = True) -> str:
    """Return the definitions alone, as `c_header` has them between its guards, each with an empty line after it."""
    return _text(btf, roots, sort=sort, kfuncs=False)


def _text(btf: Btf, roots: Sequence[int], *, sort: bool, kfuncs: bool) -> str:
    flat = FlatTypes(btf)
    for type_id in roots:
        flat.check(type_id)
    definitions = Definitions(flat)
    try:
        definitions.define(_queue(flat, roots, sort=sort))
        if kfuncs:
            _add_kfuncs(flat, definitions)
    except RecursionError:
        raise FormatError("types are nested too deeply for C", file=btf.name) from None
    except (IndexError, KeyError) as error:
        raise FormatError(f"a type refers to a type or name that doesn't exist: {error}", file=btf.name) from None
    return as_text("".join(definitions.parts))


def _queue(flat: FlatTypes, roots: Sequence[int], *, sort: bool) -> list[int]:
    """Return what is to be defined, in order."""
    order = DefinitionOrder(flat)
    if roots:
        order.add(roots)
    elif sort:
        order.add(sorting.ranked(flat))
        order.add(sorting.by_name(flat, order.leading_to_undefined()))
    else:
        order.add(flat.ids_of(*set(range(len(t.KIND_NAMES))) - INERT_KINDS))
    return order.queue


def _add_kfuncs(flat: FlatTypes, definitions: Definitions) -> None:
    """Add the prototypes of functions that are tagged as kfuncs."""
    parts = ["\n/* BPF kfuncs */\n#ifndef BPF_NO_KFUNC_PROTOTYPES\n"]
    for type_id in flat.ids_of(t.KIND_DECL_TAG):
        whole = flat.words[flat.at[type_id] + 2] == 0xFFFFFFFF
        function = flat.target(type_id)
        if whole and flat.name(type_id) == _KFUNC_TAG and flat.kinds[function] == t.KIND_FUNC:
            parts.append(f"extern {definitions.declare(flat.target(function), flat.name(function))} __weak __ksym;\n")
    definitions.parts += [*parts, "#endif\n\n"]
