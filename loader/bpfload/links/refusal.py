"""What all hooks say alike when the kernel refuses to attach."""

from __future__ import annotations

import errno

from bpfload.errors import KernelError, NotSupportedError, errno_name


def refused(error: KernelError, attaching: str, *capabilities: int, hint: str = "") -> KernelError:
    """Return `error` in terms of what was attempted ("attaching 'hello' to eth0"); EPERM with the right that is missing."""
    if isinstance(error, NotSupportedError):
        return error
    if not hint and error.errno in (errno.EPERM, errno.EACCES):
        from bpfload.kernel.capabilities import permission_hint

        hint = permission_hint(*capabilities)
    return KernelError(error.call, error.errno or 0, f"{attaching} was refused", hint=hint or error.hint or kernels_words(error))


def kernels_words(error: KernelError) -> str:
    """Return what the kernel itself says of a refusal, as netlink does: "" where it says nothing."""
    _, found, words = error.message.partition(f"{error.call}: ")
    words = words.removesuffix(f" ({errno_name(error.errno or 0)})").removesuffix(f": {error.strerror}")
    return f"The kernel says: {words}." if found and words else ""


def older_than(major: int, minor: int) -> bool:
    """Whether the running kernel is older than a version: for a refusal that looks like a mistake in the call."""
    from bpfload.kernel import version

    return version.code() >> 8 < major << 8 | minor
