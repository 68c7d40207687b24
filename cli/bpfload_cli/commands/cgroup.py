"""`bpfload cgroup`: what is attached to control groups."""

from __future__ import annotations

import errno
from contextlib import ExitStack

from bpfload.abi import consts
from bpfload.errors import KernelError, UsageError
from bpfload.inspect import cgroups
from bpfload.objects.program import Program
from bpfload.syscall import bpf
from bpfload_cli.app import CommandTable
from bpfload_cli.grammar import Words
from bpfload_cli.selecting import one_program
from bpfload_cli.session import Session

_SHARING = {"multi": consts.BPF_F_ALLOW_MULTI, "override": consts.BPF_F_ALLOW_OVERRIDE}
_ORDERING = {"before": consts.BPF_F_BEFORE, "after": consts.BPF_F_AFTER}
_ENDS = {"first": consts.BPF_F_BEFORE, "last": consts.BPF_F_AFTER}
_WORDS = (*_SHARING, *_ORDERING, *_ENDS, "preorder", "replace")


def _effective(words: Words) -> bool:
    """Read ``[effective]``, the last word."""
    if words:
        words.keyword(("effective",), "an option")
        words.end()
        return True
    return False


def show(session: Session, words: Words) -> None:
    """Show what is attached to one cgroup."""
    from bpfload_cli.cgroup_layouts import header, row

    path = words.take("the directory of a cgroup")
    effective = _effective(words)
    found = cgroups.attached(path, effective=effective)
    if session.json:
        session.data(found)
    elif found:
        session.write(header(effective) + "".join(map(row, found)))


def tree(session: Session, words: Words) -> None:
    """Show what is attached to a cgroup and all below it."""
    from bpfload_cli.cgroup_layouts import header, row

    root = words.take("the directory of a cgroup") if words else _root()
    effective = _effective(words)
    if session.json:
        session.data([view for _, view in cgroups.tree(root, effective=effective)])
        return
    session.write("CgroupPath\n" + header(effective))
    for depth, view in cgroups.tree(root, effective=effective):
        indent = "    " if depth else ""
        session.write(f"{view.cgroup}\n" + "".join(indent + row(program) for program in view.programs))


def _root() -> str:
    from bpfload.errors import NotFoundError
    from bpfload.kernel.mounts import cgroup2_root

    root = cgroup2_root()
    if root is None:
        raise NotFoundError("cgroup v2 isn't mounted", hint="Mount it: mount -t cgroup2 none /sys/fs/cgroup")
    return root


def attach(session: Session, words: Words) -> None:
    """Attach a program to a cgroup, without a link: it stays until it is detached, or the cgroup is removed."""
    with ExitStack() as stack:
        path = words.take("the directory of a cgroup")
        directory = stack.enter_context(cgroups.opened(path))
        hook = cgroups.hook(words.take("a hook"))
        program = one_program(words, stack)
        flags, replaced, relative = _place(words, stack)
        try:
            bpf.prog_attach(program.fd, directory, hook, flags, replace_fd=replaced, relative=relative)
        except KernelError as error:
            raise _explain(error, program, path, flags, "attaching program {} to") from None
    session.done()


def _place(words: Words, stack: ExitStack) -> tuple[int, int, int]:
    """Read how a program is to stand among others; return flags, the fd that it replaces, the fd that it stands next to."""
    flags = replaced = relative = 0
    while words:
        word = words.keyword(_WORDS, "an option of cgroup attach")
        flags |= _SHARING.get(word, 0) | _ORDERING.get(word, 0) | _ENDS.get(word, 0)
        if word == "preorder":
            flags |= consts.BPF_F_PREORDER
        elif word == "replace":
            flags |= consts.BPF_F_REPLACE
            replaced = one_program(words, stack).fd
        elif word in _ORDERING:
            relative = one_program(words, stack).fd
    both = consts.BPF_F_BEFORE | consts.BPF_F_AFTER
    if flags & both == both:
        raise UsageError("a program can't be put both before and after others")
    if flags & (both | consts.BPF_F_REPLACE | consts.BPF_F_PREORDER):
        # Only programs that share a hook have an order, so the words for it imply 'multi'.
        flags |= consts.BPF_F_ALLOW_MULTI
    return flags, replaced, relative


def detach(session: Session, words: Words) -> None:
    """Detach what `attach` attached."""
    with ExitStack() as stack:
        path = words.take("the directory of a cgroup")
        directory = stack.enter_context(cgroups.opened(path))
        hook = cgroups.hook(words.take("a hook"))
        program = one_program(words, stack, last=True)
        try:
            bpf.prog_detach(program.fd, directory, hook)
        except KernelError as error:
            raise _explain(error, program, path, 0, "detaching program {} from") from None
    session.done()


def _explain(error: KernelError, program: Program, path: str, flags: int, doing: str) -> KernelError:
    """Say what was refused, and what to do about it."""
    from bpfload.links.refusal import refused

    hint = ""
    ordered = flags & (consts.BPF_F_BEFORE | consts.BPF_F_AFTER)
    if error.errno == errno.EBADF:
        hint = f"{path} is no directory of the cgroup2 file system."
    elif error.errno == errno.ENOENT:
        hint = "It isn't attached there; if it hangs on a link, detach that (bpfload link)."
        if ordered or flags & consts.BPF_F_REPLACE:
            hint = "The program that was named as neighbour, or to be replaced, isn't attached there without a link."
    elif error.errno == errno.EPERM and _has_capabilities():
        hint = "Programs that are there, or in a cgroup above, share the hook in another way: compare with 'cgroup tree'."
    elif error.errno == errno.EEXIST:
        hint = "It is attached there already."
    elif error.errno == errno.EINVAL:
        name = f"program {program.info().id}"
        hint = f"Is {name} of a type for that hook? 'bpfload prog show id {program.info().id}' says what it is."
        if ordered:
            hint = f"{hint} Ordering programs of a cgroup takes Linux 6.17."
    attempt = f"{doing.format(program.info().id)} {path}"
    return refused(error, attempt, consts.CAP_BPF, consts.CAP_NET_ADMIN, hint=hint)


def _has_capabilities() -> bool:
    from bpfload.kernel.capabilities import missing

    return not missing(consts.CAP_BPF, consts.CAP_NET_ADMIN)


def usage(session: Session, words: Words) -> None:
    """Show the forms of these commands."""
    from bpfload_cli.usage import show_usage

    show_usage(session, "cgroup")


command = CommandTable(
    "cgroup",
    (
        ("show", show),
        ("list", show),
        ("tree", tree),
        ("attach", attach),
        ("detach", detach),
        ("help", usage),
    ),
)
