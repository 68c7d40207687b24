"""What all hooks say alike when the kernel refuses to attach."""

from __future__ import annotations

import errno

from bpfload.errors import KernelError


def refused(error: KernelError, attaching: str, *capabilities: int, hint: str = "") -> KernelError:
    """Return `error` in terms of what was attempted ("attaching 'hello' to eth0"); EPERM with the right that is missing."""
    if not hint and error.errno in (errno.EPERM, errno.EACCES):
        from bpfload.kernel.capabilities import permission_hint

        hint = permission_hint(*capabilities)
    return KernelError(error.call, error.errno or 0, f"{attaching} was refused", hint=hint or error.hint)
