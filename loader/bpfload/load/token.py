"""BPF tokens: rights that root of the machine has delegated to a bpffs, for a process in the user namespace that it was made for.

Source: bpf_token_create() in kernel/bpf/token.c (Linux 6.9).
"""

from __future__ import annotations

import errno
import os

from bpfload.errors import KernelError, PinError
from bpfload.kernel import mounts

#: libbpf's name for where the bpffs is that tokens are taken from; set and empty: take none.
ENVIRONMENT = "LIBBPF_BPF_TOKEN_PATH"

_HINTS = {
    errno.ENOENT: "It delegates nothing: mount it with delegate_cmds, delegate_maps, delegate_progs and delegate_attachs, "
    "as root outside of the user namespace (bpfload token shows what is delegated).",
    errno.EPERM: "A token is for processes of the user namespace that the bpffs was made in, with CAP_BPF there.",
    errno.EOPNOTSUPP: "In the machine's own user namespace there are no tokens, nor is there a need: run it without.",
    errno.EINVAL: "This kernel has no BPF tokens, which came with Linux 6.9; or it is not the root of a mount.",
}


def path_from_environment() -> str:
    """Return the bpffs that a token is taken from without being asked: the one that the environment names, else the usual one.

    "" for none: outside of user namespaces, and where the usual one delegates nothing.
    """
    named = os.environ.get(ENVIRONMENT)
    if named is not None:
        return named
    from bpfload.kernel import capabilities

    if not capabilities.in_other_user_namespace():
        return ""
    return (
        mounts.BPFFS
        if any(target == mounts.BPFFS and "delegate_" in words for target, words in mounts.mount_options("bpf"))
        else ""
    )


def create(path: str) -> int:
    """Return the fd of a token from the bpffs that is mounted at `path`. Raises PinError, KernelError."""
    from bpfload.syscall import bpf

    try:
        directory = os.open(path, os.O_DIRECTORY | os.O_RDONLY)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise PinError(
            f"no BPF token can be taken from {path}: {reason}",
            path=path,
            hint="It is the mount point of a bpffs to which root has delegated.",
            errno_code=error.errno or errno.EINVAL,
        ) from None
    try:
        if not mounts.is_bpffs(path):
            raise PinError(
                f"no BPF token can be taken from {path}: it is not on a BPF file system",
                path=path,
                hint="It is the mount point of a bpffs to which root has delegated.",
            )
        return bpf.token_create(directory)
    except KernelError as error:
        code = error.errno_code
        raise KernelError(error.call, code, f"no BPF token from {path}", hint=_HINTS.get(code, error.hint)) from None
    finally:
        os.close(directory)
