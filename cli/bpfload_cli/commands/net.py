"""`bpfload net`: what is attached to network devices."""

from __future__ import annotations

import errno
from contextlib import ExitStack

from bpfload.abi import consts
from bpfload.errors import KernelError, UsageError
from bpfload.objects.program import Program
from bpfload_cli.app import CommandTable
from bpfload_cli.commands import net_chain
from bpfload_cli.grammar import Words, is_prefix
from bpfload_cli.selecting import one_program
from bpfload_cli.session import Session

_XDP_FLAGS = {
    "xdp": 0,
    "xdpgeneric": consts.XDP_FLAGS_SKB_MODE,
    "xdpdrv": consts.XDP_FLAGS_DRV_MODE,
    "xdpoffload": consts.XDP_FLAGS_HW_MODE,
}
_TCX_TYPES = {"tcx_ingress": consts.BPF_TCX_INGRESS, "tcx_egress": consts.BPF_TCX_EGRESS}
_HOOKS = (*_XDP_FLAGS, *_TCX_TYPES)


def _device(words: Words) -> tuple[str, int]:
    """Read ``dev IF``; return the device's name and number."""
    from bpfload.inspect.net import index_of

    words.keyword(("dev",), "the word 'dev'")
    name = words.take("the device")
    return name, index_of(name)


def show(session: Session, words: Words) -> None:
    """Show what is attached, in the whole network namespace or to one device."""
    index = None
    if words:
        _, index = _device(words)
        words.end()
    from bpfload.inspect import net

    found = net.view(index)
    if session.json:
        session.data([found])
        return
    from bpfload_cli.net_layouts import net_text

    session.write(net_text(found))


def attach(session: Session, words: Words) -> None:
    """Attach a program to a device, without a link: it stays until it is detached."""
    hook = words.keyword(_HOOKS, "a hook")
    with ExitStack() as stack:
        if hook in _XDP_FLAGS and words.accept("object"):
            net_chain.attach_object(session, words, hook)
            return
        program = one_program(words, stack)
        name, index = _device(words)
        known = ("overwrite", "chain") if hook in _XDP_FLAGS else ("prepend",)
        option = words.keyword(known, "an option of net attach") if words else ""
        if option == "chain":
            net_chain.attach_program(session, words, hook, program, name)
            return
        words.end()
        if hook in _TCX_TYPES:
            _change_tcx(name, index, hook, program, first=bool(option))
        else:
            _check_type(program)
            net_chain.spare(name, index, hook, "net attach")
            flags = _XDP_FLAGS[hook] | (0 if option else consts.XDP_FLAGS_UPDATE_IF_NOEXIST)
            _set_xdp(name, index, program.fd, flags)
    session.done()


def detach(session: Session, words: Words) -> None:
    """Detach what `attach` attached."""
    hook = words.keyword(_HOOKS, "a hook")
    if hook in _XDP_FLAGS and words and not is_prefix(words.peek(), "dev"):
        net_chain.detach_programs(session, words)
        return
    name, index = _device(words)
    if hook in _XDP_FLAGS and words.accept("chain"):
        words.end()
        net_chain.detach_all(session, name)
        return
    words.end()
    if hook in _TCX_TYPES:
        _change_tcx(name, index, hook)
    else:
        net_chain.spare(name, index, hook, "net detach")
        _set_xdp(name, index, -1, _XDP_FLAGS[hook])
    session.done()


def _change_tcx(name: str, index: int, hook: str, program: Program | None = None, *, first: bool = False) -> None:
    """Attach a program to a tcx hook without a link, or detach the last one there (`program` None), and explain a refusal."""
    from bpfload.syscall import bpf

    try:
        if program is None:
            bpf.prog_detach(0, index, _TCX_TYPES[hook])
        else:
            bpf.prog_attach(program.fd, index, _TCX_TYPES[hook], consts.BPF_F_BEFORE if first else 0)
    except KernelError as error:
        raise _explain_tcx(error, name, hook, program) from None


def _explain_tcx(error: KernelError, name: str, hook: str, program: Program | None) -> KernelError:
    """Return an error that says what was attached or detached where, and what the kernel's reason may be."""
    if program is None:
        hint = "No program is there, or the last one hangs on a link (bpfload link)." if error.errno != errno.EPERM else ""
        return KernelError(error.call, error.errno or 0, f"detaching a program from {hook} of {name} was refused", hint=hint)
    from bpfload.inspect.programs import type_name

    info = program.info()
    if error.errno == errno.EEXIST:
        hint = "It is attached there already."
    elif error.errno == errno.EINVAL and info.type != consts.BPF_PROG_TYPE_SCHED_CLS:
        hint = f"It is of type {type_name(info.type)}; tcx takes programs for tc (sched_cls)."
    else:
        hint = "tcx takes Linux 6.6." if error.errno == errno.EINVAL else ""
    return KernelError(error.call, error.errno or 0, f"attaching program {info.id} to {hook} of {name} was refused", hint=hint)


def _check_type(program: Program) -> None:
    """Complain of a program that is no XDP program, which the kernel would call an invalid argument."""
    from bpfload.inspect.programs import type_name

    info = program.info()
    if info.type != consts.BPF_PROG_TYPE_XDP:
        raise UsageError(f"program {info.id} ({info.name}) is of type {type_name(info.type)}, not an XDP program")


def _set_xdp(name: str, index: int, prog_fd: int, flags: int) -> None:
    """Attach or detach XDP, and explain a refusal."""
    from bpfload.syscall import netlink

    try:
        netlink.xdp_set(index, prog_fd, flags)
    except KernelError as error:
        doing = "attach to" if prog_fd >= 0 else "detach from"
        raise _explain(error.within(f"{doing} {name}"), name, index, error.errno or 0) from None


def _explain(error: Exception, name: str, index: int, code: int) -> Exception:
    """Add what to do about a refused attachment."""
    from bpfload.abi.consts import CAP_BPF, CAP_NET_ADMIN
    from bpfload.kernel.capabilities import permission_hint
    from bpfload.syscall import netlink

    assert isinstance(error, KernelError)
    if code == errno.EPERM:
        error.hint = permission_hint(CAP_BPF, CAP_NET_ADMIN)
    elif code in (errno.EBUSY, errno.EEXIST):
        there = ", ".join(f"id {ident} ({mode})" for row in netlink.xdp_attachments(index) for mode, ident in row.programs)
        error.hint = f"{name} runs program {there} already." if there else ""
        error.hint += " 'overwrite' replaces a program in the same mode, unless it hangs on a link (bpfload link)."
    return error


def usage(session: Session, words: Words) -> None:
    """Show the forms of these commands."""
    from bpfload_cli.usage import show_usage

    show_usage(session, "net")


command = CommandTable(
    "net",
    (
        ("show", show),
        ("list", show),
        ("attach", attach),
        ("detach", detach),
        ("help", usage),
    ),
)
