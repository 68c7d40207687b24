"""Load an object's BTF into the kernel, cut down to what an older kernel understands.

Source: bpf_object__sanitize_and_load_btf() in tools/lib/bpf/libbpf.c.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from bpfload.errors import KernelError, NotSupportedError
from bpfload.syscall import bpf

if TYPE_CHECKING:
    from bpfload.load.session import Session

#: The features that BTF of a BPF object may need, all probed once a kernel has refused one.
BTF_FEATURES = (
    "btf_func",
    "btf_func_global",
    "btf_datasec",
    "btf_qmark_datasec",
    "btf_float",
    "btf_decl_tag",
    "btf_type_tag",
    "btf_enum64",
)


def load_btf(session: Session) -> None:
    """Load the object's BTF; `session.btf_fd` becomes its fd.

    Where the kernel refuses it, what that kernel lacks is rewritten and it is tried again; if that doesn't help either, the
    object is loaded without BTF, unless it has struct_ops, which can't do without. Raises KernelError.
    """
    if session.spec.btf is None:
        return
    cache = session.options.cache
    if cache is not None and not session.edited_btf and cache.btf_fd > 0:
        session.btf_fd = cache.btf_fd
        return
    raw = session.btf_bytes()
    try:
        session.adopt_btf(bpf.btf_load(raw, token_fd=session.token_fd))
        return
    except KernelError as error:
        refused = error
    from bpfload import features

    if refused.errno in (errno.EPERM, errno.EACCES):
        # Programs and maps without BTF may be loaded all the same by whom the kernel denies BTF.
        return
    if features.supports("btf") is not False:
        lacking = features.missing(*BTF_FEATURES)
        if lacking:
            from bpfload.btf.sanitize import sanitize

            session.with_records = "btf_func" not in lacking
            try:
                kinds = frozenset(name.removeprefix("btf_") for name in lacking)
                session.adopt_btf(bpf.btf_load(sanitize(raw, kinds), token_fd=session.token_fd))
                return
            except KernelError as error:
                refused = error
    if session.needs_btf:
        if features.supports("btf") is False:
            raise NotSupportedError("BTF, which struct_ops needs", since="4.18")
        raise KernelError("BPF_BTF_LOAD", refused.errno or errno.EINVAL, "the kernel refused the object's BTF") from refused
    session.notes.append(f"the kernel refused the object's BTF ({refused.strerror}): loading without it")
