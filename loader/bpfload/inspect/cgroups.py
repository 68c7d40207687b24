"""What is attached to control groups (version 2)."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bpfload.abi import consts
from bpfload.abi.names import ATTACH_TYPE_NAMES, name_of
from bpfload.errors import BpfError, KernelError, NotFoundError, UsageError, near
from bpfload.inspect import programs
from bpfload.objects.program import Program
from bpfload.syscall import bpf

#: The hooks of a cgroup, in the order in which they are shown.
HOOKS = (
    consts.BPF_CGROUP_INET_INGRESS,
    consts.BPF_CGROUP_INET_EGRESS,
    consts.BPF_CGROUP_INET_SOCK_CREATE,
    consts.BPF_CGROUP_INET_SOCK_RELEASE,
    consts.BPF_CGROUP_INET4_BIND,
    consts.BPF_CGROUP_INET6_BIND,
    consts.BPF_CGROUP_INET4_POST_BIND,
    consts.BPF_CGROUP_INET6_POST_BIND,
    consts.BPF_CGROUP_INET4_CONNECT,
    consts.BPF_CGROUP_INET6_CONNECT,
    consts.BPF_CGROUP_UNIX_CONNECT,
    consts.BPF_CGROUP_INET4_GETPEERNAME,
    consts.BPF_CGROUP_INET6_GETPEERNAME,
    consts.BPF_CGROUP_UNIX_GETPEERNAME,
    consts.BPF_CGROUP_INET4_GETSOCKNAME,
    consts.BPF_CGROUP_INET6_GETSOCKNAME,
    consts.BPF_CGROUP_UNIX_GETSOCKNAME,
    consts.BPF_CGROUP_UDP4_SENDMSG,
    consts.BPF_CGROUP_UDP6_SENDMSG,
    consts.BPF_CGROUP_UNIX_SENDMSG,
    consts.BPF_CGROUP_UDP4_RECVMSG,
    consts.BPF_CGROUP_UDP6_RECVMSG,
    consts.BPF_CGROUP_UNIX_RECVMSG,
    consts.BPF_CGROUP_SOCK_OPS,
    consts.BPF_CGROUP_DEVICE,
    consts.BPF_CGROUP_SYSCTL,
    consts.BPF_CGROUP_GETSOCKOPT,
    consts.BPF_CGROUP_SETSOCKOPT,
    consts.BPF_LSM_CGROUP,
)

_FLAG_NAMES = {0: "", consts.BPF_F_ALLOW_MULTI: "multi", consts.BPF_F_ALLOW_OVERRIDE: "override"}

#: The short names of hooks that bpftool takes besides the full ones, any beginning of which will do.
_SHORT_NAMES = {
    consts.BPF_CGROUP_INET_INGRESS: "ingress",
    consts.BPF_CGROUP_INET_EGRESS: "egress",
    consts.BPF_CGROUP_INET_SOCK_CREATE: "sock_create",
    consts.BPF_CGROUP_SOCK_OPS: "sock_ops",
    consts.BPF_CGROUP_DEVICE: "device",
    consts.BPF_CGROUP_INET4_BIND: "bind4",
    consts.BPF_CGROUP_INET6_BIND: "bind6",
    consts.BPF_CGROUP_INET4_CONNECT: "connect4",
    consts.BPF_CGROUP_INET6_CONNECT: "connect6",
    consts.BPF_CGROUP_INET4_POST_BIND: "post_bind4",
    consts.BPF_CGROUP_INET6_POST_BIND: "post_bind6",
    consts.BPF_CGROUP_UDP4_SENDMSG: "sendmsg4",
    consts.BPF_CGROUP_UDP6_SENDMSG: "sendmsg6",
    consts.BPF_CGROUP_SYSCTL: "sysctl",
    consts.BPF_CGROUP_UDP4_RECVMSG: "recvmsg4",
    consts.BPF_CGROUP_UDP6_RECVMSG: "recvmsg6",
    consts.BPF_CGROUP_GETSOCKOPT: "getsockopt",
    consts.BPF_CGROUP_SETSOCKOPT: "setsockopt",
    consts.BPF_CGROUP_INET4_GETPEERNAME: "getpeername4",
    consts.BPF_CGROUP_INET6_GETPEERNAME: "getpeername6",
    consts.BPF_CGROUP_INET4_GETSOCKNAME: "getsockname4",
    consts.BPF_CGROUP_INET6_GETSOCKNAME: "getsockname6",
    consts.BPF_CGROUP_INET_SOCK_RELEASE: "sock_release",
}

#: All names of hooks, as a command line may have them.
HOOK_NAMES = (*(ATTACH_TYPE_NAMES[hook] for hook in HOOKS), *_SHORT_NAMES.values())


@dataclass(frozen=True, slots=True)
class AttachedProgram:
    """One program at one hook of a cgroup.

    `attach_type`: the hook's name, or its number. `attach_flags`: "multi", "override", "" or unknown ones in hexadecimal; None
    where programs of the cgroups above are shown too. `attach_btf_name`: the LSM hook; "" for all other programs, None if the
    kernel doesn't show its types.
    """

    id: int
    attach_type: str | int
    attach_flags: str | None
    name: str
    attach_btf_name: str | None
    attach_btf_obj_id: int
    attach_btf_id: int


@dataclass(frozen=True, slots=True)
class CgroupView:
    """The programs of one cgroup. `cgroup`: the path of its directory."""

    cgroup: str
    programs: tuple[AttachedProgram, ...]


def hook(word: str) -> int:
    """Return the hook (enum bpf_attach_type) that a word means: a full name, or the beginning of a short one.

    Source: parse_attach_type() in tools/bpf/bpftool/cgroup.c.
    """
    for number, name in enumerate(ATTACH_TYPE_NAMES):
        if word == name:
            return number
    for number, name in enumerate(ATTACH_TYPE_NAMES):
        if word and _SHORT_NAMES.get(number, name).startswith(word):
            return number
    candidates = near(word, HOOK_NAMES)
    hint = f"Near it: {', '.join(candidates)}." if candidates else "Names are such as ingress, bind4, cgroup_inet_egress."
    raise UsageError(f"{word!r} is no hook of a cgroup", hint=hint)


@contextmanager
def opened(path: str) -> Iterator[int]:
    """Open a cgroup's directory. Raises NotFoundError, BpfError."""
    try:
        directory = os.open(path, os.O_RDONLY)
    except OSError as error:
        kind = NotFoundError if error.errno == errno.ENOENT else BpfError
        raise kind(f"can't open cgroup {path}: {error.strerror}", errno_code=error.errno or errno.EIO) from None
    try:
        yield directory
    finally:
        os.close(directory)


def attached(path: str, *, effective: bool = False) -> tuple[AttachedProgram, ...]:
    """Return the programs of one cgroup. `effective`: also what the cgroups above give it. Raises BpfError."""
    flags = consts.BPF_F_QUERY_EFFECTIVE if effective else 0
    found: list[AttachedProgram] = []
    with opened(path) as directory:
        for number in HOOKS:
            try:
                idents, common, own, *_ = bpf.prog_query(directory, number, flags)
            except KernelError as error:
                # A hook that this kernel doesn't have, or that can't be asked in this way.
                if error.errno == errno.EINVAL:
                    continue
                raise _explain(error, path) from None
            for position, ident in enumerate(idents):
                bits = (own[position] if position < len(own) else 0) or common
                program = _view(ident, number, None if effective else _FLAG_NAMES.get(bits, f"unknown({bits:x})"))
                if program is not None:
                    found.append(program)
    return tuple(found)


def tree(root: str, *, effective: bool = False) -> Iterator[tuple[int, CgroupView]]:
    """Yield the cgroups at and below `root` that have programs, each with its depth, parents first. Raises BpfError."""
    try:
        device = os.stat(root).st_dev
    except OSError as error:
        kind = NotFoundError if error.errno == errno.ENOENT else BpfError
        raise kind(f"can't walk {root}: {error.strerror}", errno_code=error.errno or errno.EIO) from None
    yield from _walk(root, device, 0, effective)


def _walk(path: str, device: int, depth: int, effective: bool) -> Iterator[tuple[int, CgroupView]]:
    try:
        here = attached(path, effective=effective)
        with os.scandir(path) as entries:
            # In the directory's own order, as nftw(3) goes. What is mounted below is another file system.
            below = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False) and entry.stat().st_dev == device]
    except (NotFoundError, FileNotFoundError):
        if depth:
            return  # removed meanwhile
        raise
    if here:
        yield depth, CgroupView(path, here)
    for child in below:
        yield from _walk(child, device, depth + 1, effective)


def _view(ident: int, number: int, flags: str | None) -> AttachedProgram | None:
    """Return the view of a program at a hook, None if it is gone by now."""
    try:
        program = Program.from_id(ident)
    except NotFoundError:
        return None
    with program:
        info = program.info()
        return AttachedProgram(
            id=info.id,
            attach_type=name_of(ATTACH_TYPE_NAMES, number) or number,
            attach_flags=flags,
            name=programs.full_name(program, info),
            attach_btf_name=_lsm_hook(info.attach_btf_obj_id, info.attach_btf_id),
            attach_btf_obj_id=info.attach_btf_obj_id,
            attach_btf_id=info.attach_btf_id,
        )


def _lsm_hook(btf_object: int, type_id: int) -> str | None:
    """Return the name of the kernel's function that a program was verified for, "" for none."""
    from bpfload.kernel import btf

    if not btf_object:
        return "" if os.path.exists(f"{btf.DIRECTORY}/{btf.VMLINUX}") else None
    from bpfload.inspect.btf import type_name_in

    return type_name_in(btf_object, type_id) or None


def _explain(error: KernelError, path: str) -> BpfError:
    """Say why a cgroup can't be asked."""
    if error.errno == errno.EBADF:
        from bpfload.kernel.mounts import cgroup2_root

        root = cgroup2_root()
        where = f"is mounted at {root}" if root else "is mounted nowhere"
        return BpfError(f"{path} is no directory of the cgroup2 file system", hint=f"That one {where}.", errno_code=errno.EBADF)
    if error.errno == errno.EPERM:
        from bpfload.kernel.capabilities import permission_hint

        error.hint = permission_hint(consts.CAP_NET_ADMIN)
    return error.within(f"asking what is attached to {path}")
