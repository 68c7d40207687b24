"""Which program types the running kernel has: a program that only returns is loaded as each of them.

Source: probe_prog_load() in tools/lib/bpf/libbpf_probes.c, whose answers these are.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass

from bpfload.abi import consts
from bpfload.errors import ENOTSUPP
from bpfload.insn.assemble import assemble, exit_, mov64_imm
from bpfload.syscall.probing import Prober

_RETURN_0 = assemble(mov64_imm(0, 0), exit_())
# Some network cards' drivers refuse a tc program that returns 0.
_RETURN_2 = assemble(mov64_imm(0, 2), exit_())

#: The types that a network card may run.
OFFLOADED = frozenset((consts.BPF_PROG_TYPE_SCHED_CLS, consts.BPF_PROG_TYPE_XDP))


@dataclass(frozen=True, slots=True)
class _Way:
    """How a small program of a type is loaded, and what the kernel answers if it knows the type.

    `answer`: the errno, 0: it is accepted. `log`: what must be in the log. `versioned`: the kernel's version must be given.
    """

    expected_attach_type: int = 0
    flags: int = 0
    attach_btf_id: int = 0
    versioned: bool = False
    answer: int = 0
    log: bytes = b""


_PLAIN = _Way()
_NO_FUNCTION = b"attach_btf_id 1 is not a function"
_WAYS = {
    consts.BPF_PROG_TYPE_CGROUP_SOCK_ADDR: _Way(consts.BPF_CGROUP_INET4_CONNECT),
    consts.BPF_PROG_TYPE_CGROUP_SOCKOPT: _Way(consts.BPF_CGROUP_GETSOCKOPT),
    consts.BPF_PROG_TYPE_SK_LOOKUP: _Way(consts.BPF_SK_LOOKUP),
    consts.BPF_PROG_TYPE_LIRC_MODE2: _Way(consts.BPF_LIRC_MODE2),
    consts.BPF_PROG_TYPE_NETFILTER: _Way(consts.BPF_NETFILTER),
    consts.BPF_PROG_TYPE_SYSCALL: _Way(flags=consts.BPF_F_SLEEPABLE),
    consts.BPF_PROG_TYPE_KPROBE: _Way(versioned=True),
    # These can't be loaded without something to attach to: a kernel that knows them says what is wrong with type 1.
    consts.BPF_PROG_TYPE_TRACING: _Way(consts.BPF_TRACE_FENTRY, attach_btf_id=1, answer=errno.EINVAL, log=_NO_FUNCTION),
    consts.BPF_PROG_TYPE_LSM: _Way(consts.BPF_MODIFY_RETURN, attach_btf_id=1, answer=errno.EINVAL, log=_NO_FUNCTION),
    consts.BPF_PROG_TYPE_EXT: _Way(attach_btf_id=1, answer=errno.EINVAL, log=b"Cannot replace kernel functions"),
    consts.BPF_PROG_TYPE_STRUCT_OPS: _Way(answer=ENOTSUPP),
}

#: The types of which no small program can be loaded, so that nothing can be found out by loading one with a call in it.
UNLOADABLE = frozenset(number for number, way in _WAYS.items() if way.answer)


def prober(prog_type: int, insns: bytes, *, ifindex: int = 0, log: bool = True) -> Prober:
    """Return what loads programs of a type that consist of `insns`. `ifindex`: for that network card."""
    way = _PLAIN if ifindex else _WAYS.get(prog_type, _PLAIN)
    version = 0
    if way.versioned:
        from bpfload.kernel.version import code

        version = code()
    return Prober(
        prog_type,
        insns,
        expected_attach_type=way.expected_attach_type,
        flags=way.flags,
        attach_btf_id=way.attach_btf_id,
        kern_version=version,
        ifindex=ifindex,
        log=log,
    )


def supported(prog_type: int, *, ifindex: int = 0) -> bool | None:
    """Return whether the kernel knows a program type (`ifindex`: lets that network card run it); None if it won't tell."""
    way = _PLAIN if ifindex else _WAYS.get(prog_type, _PLAIN)
    insns = _RETURN_2 if ifindex else _RETURN_0
    code, log = prober(prog_type, insns, ifindex=ifindex, log=bool(way.log)).try_load()
    if code == way.answer and way.log in log:
        return True
    return None if code in (errno.EPERM, errno.EACCES, errno.ENOMEM, errno.EMFILE, errno.ENFILE) else False
