"""The SEC() table: what the name of a program's section says of its type, attach type and target.

Source: section_defs[] and sec_def_matches() in tools/lib/bpf/libbpf.c, libbpf 1.8.
"""

from __future__ import annotations

from bpfload.abi import consts as c
from bpfload.spec import SectionDefinition

OPT = 1  # expected_attach_type is left out on kernels that don't know it
BTF = 2  # the attach target is a BTF id
SLEEP = 4  # BPF_F_SLEEPABLE
FRAGS = 8  # BPF_F_XDP_HAS_FRAGS

#: One row for each definition: SEC() name, with a trailing "+" if "/" and extras may follow; program type; expected attach
#: type; flags; hook that attaches such a program by what SEC() says, or "". Plain tuples: most runs look up one of them.
SECTION_DEFINITIONS: tuple[tuple[str, int, int, int, str], ...] = (
    ("socket", c.BPF_PROG_TYPE_SOCKET_FILTER, 0, 0, ""),
    ("sk_reuseport/migrate", c.BPF_PROG_TYPE_SK_REUSEPORT, c.BPF_SK_REUSEPORT_SELECT_OR_MIGRATE, 0, ""),
    ("sk_reuseport", c.BPF_PROG_TYPE_SK_REUSEPORT, c.BPF_SK_REUSEPORT_SELECT, 0, ""),
    ("kprobe+", c.BPF_PROG_TYPE_KPROBE, 0, 0, "kprobe"),
    ("uprobe+", c.BPF_PROG_TYPE_KPROBE, 0, 0, "uprobe"),
    ("uprobe.s+", c.BPF_PROG_TYPE_KPROBE, 0, SLEEP, "uprobe"),
    ("kretprobe+", c.BPF_PROG_TYPE_KPROBE, 0, 0, "kprobe"),
    ("uretprobe+", c.BPF_PROG_TYPE_KPROBE, 0, 0, "uprobe"),
    ("uretprobe.s+", c.BPF_PROG_TYPE_KPROBE, 0, SLEEP, "uprobe"),
    ("kprobe.multi+", c.BPF_PROG_TYPE_KPROBE, c.BPF_TRACE_KPROBE_MULTI, 0, "kprobe_multi"),
    ("kretprobe.multi+", c.BPF_PROG_TYPE_KPROBE, c.BPF_TRACE_KPROBE_MULTI, 0, "kprobe_multi"),
    ("kprobe.session+", c.BPF_PROG_TYPE_KPROBE, c.BPF_TRACE_KPROBE_SESSION, 0, "kprobe_session"),
    ("uprobe.multi+", c.BPF_PROG_TYPE_KPROBE, c.BPF_TRACE_UPROBE_MULTI, 0, "uprobe_multi"),
    ("uretprobe.multi+", c.BPF_PROG_TYPE_KPROBE, c.BPF_TRACE_UPROBE_MULTI, 0, "uprobe_multi"),
    ("uprobe.session+", c.BPF_PROG_TYPE_KPROBE, c.BPF_TRACE_UPROBE_SESSION, 0, "uprobe_multi"),
    ("uprobe.multi.s+", c.BPF_PROG_TYPE_KPROBE, c.BPF_TRACE_UPROBE_MULTI, SLEEP, "uprobe_multi"),
    ("uretprobe.multi.s+", c.BPF_PROG_TYPE_KPROBE, c.BPF_TRACE_UPROBE_MULTI, SLEEP, "uprobe_multi"),
    ("uprobe.session.s+", c.BPF_PROG_TYPE_KPROBE, c.BPF_TRACE_UPROBE_SESSION, SLEEP, "uprobe_multi"),
    ("ksyscall+", c.BPF_PROG_TYPE_KPROBE, 0, 0, "ksyscall"),
    ("kretsyscall+", c.BPF_PROG_TYPE_KPROBE, 0, 0, "ksyscall"),
    ("usdt+", c.BPF_PROG_TYPE_KPROBE, 0, 0, "usdt"),
    ("usdt.s+", c.BPF_PROG_TYPE_KPROBE, 0, SLEEP, "usdt"),
    ("tc/ingress", c.BPF_PROG_TYPE_SCHED_CLS, c.BPF_TCX_INGRESS, 0, ""),
    ("tc/egress", c.BPF_PROG_TYPE_SCHED_CLS, c.BPF_TCX_EGRESS, 0, ""),
    ("tcx/ingress", c.BPF_PROG_TYPE_SCHED_CLS, c.BPF_TCX_INGRESS, 0, ""),
    ("tcx/egress", c.BPF_PROG_TYPE_SCHED_CLS, c.BPF_TCX_EGRESS, 0, ""),
    ("tc", c.BPF_PROG_TYPE_SCHED_CLS, 0, 0, ""),
    ("classifier", c.BPF_PROG_TYPE_SCHED_CLS, 0, 0, ""),
    ("action", c.BPF_PROG_TYPE_SCHED_ACT, 0, 0, ""),
    ("netkit/primary", c.BPF_PROG_TYPE_SCHED_CLS, c.BPF_NETKIT_PRIMARY, 0, ""),
    ("netkit/peer", c.BPF_PROG_TYPE_SCHED_CLS, c.BPF_NETKIT_PEER, 0, ""),
    ("tracepoint+", c.BPF_PROG_TYPE_TRACEPOINT, 0, 0, "tracepoint"),
    ("tp+", c.BPF_PROG_TYPE_TRACEPOINT, 0, 0, "tracepoint"),
    ("tracepoint.s+", c.BPF_PROG_TYPE_TRACEPOINT, 0, SLEEP, "tracepoint"),
    ("tp.s+", c.BPF_PROG_TYPE_TRACEPOINT, 0, SLEEP, "tracepoint"),
    ("raw_tracepoint+", c.BPF_PROG_TYPE_RAW_TRACEPOINT, 0, 0, "raw_tracepoint"),
    ("raw_tp+", c.BPF_PROG_TYPE_RAW_TRACEPOINT, 0, 0, "raw_tracepoint"),
    ("raw_tracepoint.s+", c.BPF_PROG_TYPE_RAW_TRACEPOINT, 0, SLEEP, "raw_tracepoint"),
    ("raw_tp.s+", c.BPF_PROG_TYPE_RAW_TRACEPOINT, 0, SLEEP, "raw_tracepoint"),
    ("raw_tracepoint.w+", c.BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE, 0, 0, "raw_tracepoint"),
    ("raw_tp.w+", c.BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE, 0, 0, "raw_tracepoint"),
    ("tp_btf+", c.BPF_PROG_TYPE_TRACING, c.BPF_TRACE_RAW_TP, BTF, "tracing"),
    ("tp_btf.s+", c.BPF_PROG_TYPE_TRACING, c.BPF_TRACE_RAW_TP, BTF | SLEEP, "tracing"),
    ("fentry+", c.BPF_PROG_TYPE_TRACING, c.BPF_TRACE_FENTRY, BTF, "tracing"),
    ("fmod_ret+", c.BPF_PROG_TYPE_TRACING, c.BPF_MODIFY_RETURN, BTF, "tracing"),
    ("fexit+", c.BPF_PROG_TYPE_TRACING, c.BPF_TRACE_FEXIT, BTF, "tracing"),
    ("fentry.s+", c.BPF_PROG_TYPE_TRACING, c.BPF_TRACE_FENTRY, BTF | SLEEP, "tracing"),
    ("fmod_ret.s+", c.BPF_PROG_TYPE_TRACING, c.BPF_MODIFY_RETURN, BTF | SLEEP, "tracing"),
    ("fexit.s+", c.BPF_PROG_TYPE_TRACING, c.BPF_TRACE_FEXIT, BTF | SLEEP, "tracing"),
    ("fsession+", c.BPF_PROG_TYPE_TRACING, c.BPF_TRACE_FSESSION, BTF, "tracing"),
    ("fsession.s+", c.BPF_PROG_TYPE_TRACING, c.BPF_TRACE_FSESSION, BTF | SLEEP, "tracing"),
    ("fsession.multi+", c.BPF_PROG_TYPE_TRACING, c.BPF_TRACE_FSESSION_MULTI, 0, "tracing_multi"),
    ("fsession.multi.s+", c.BPF_PROG_TYPE_TRACING, c.BPF_TRACE_FSESSION_MULTI, SLEEP, "tracing_multi"),
    ("fentry.multi+", c.BPF_PROG_TYPE_TRACING, c.BPF_TRACE_FENTRY_MULTI, 0, "tracing_multi"),
    ("fexit.multi+", c.BPF_PROG_TYPE_TRACING, c.BPF_TRACE_FEXIT_MULTI, 0, "tracing_multi"),
    ("fentry.multi.s+", c.BPF_PROG_TYPE_TRACING, c.BPF_TRACE_FENTRY_MULTI, SLEEP, "tracing_multi"),
    ("fexit.multi.s+", c.BPF_PROG_TYPE_TRACING, c.BPF_TRACE_FEXIT_MULTI, SLEEP, "tracing_multi"),
    ("freplace+", c.BPF_PROG_TYPE_EXT, 0, BTF, "freplace"),
    ("lsm+", c.BPF_PROG_TYPE_LSM, c.BPF_LSM_MAC, BTF, "lsm"),
    ("lsm.s+", c.BPF_PROG_TYPE_LSM, c.BPF_LSM_MAC, BTF | SLEEP, "lsm"),
    ("lsm_cgroup+", c.BPF_PROG_TYPE_LSM, c.BPF_LSM_CGROUP, BTF, ""),
    ("iter+", c.BPF_PROG_TYPE_TRACING, c.BPF_TRACE_ITER, BTF, "iter"),
    ("iter.s+", c.BPF_PROG_TYPE_TRACING, c.BPF_TRACE_ITER, BTF | SLEEP, "iter"),
    ("syscall", c.BPF_PROG_TYPE_SYSCALL, 0, SLEEP, ""),
    ("xdp.frags/devmap", c.BPF_PROG_TYPE_XDP, c.BPF_XDP_DEVMAP, FRAGS, ""),
    ("xdp/devmap", c.BPF_PROG_TYPE_XDP, c.BPF_XDP_DEVMAP, 0, ""),
    ("xdp.frags/cpumap", c.BPF_PROG_TYPE_XDP, c.BPF_XDP_CPUMAP, FRAGS, ""),
    ("xdp/cpumap", c.BPF_PROG_TYPE_XDP, c.BPF_XDP_CPUMAP, 0, ""),
    ("xdp.frags", c.BPF_PROG_TYPE_XDP, c.BPF_XDP, FRAGS, ""),
    ("xdp", c.BPF_PROG_TYPE_XDP, c.BPF_XDP, OPT, ""),
    ("perf_event", c.BPF_PROG_TYPE_PERF_EVENT, 0, 0, ""),
    ("lwt_in", c.BPF_PROG_TYPE_LWT_IN, 0, 0, ""),
    ("lwt_out", c.BPF_PROG_TYPE_LWT_OUT, 0, 0, ""),
    ("lwt_xmit", c.BPF_PROG_TYPE_LWT_XMIT, 0, 0, ""),
    ("lwt_seg6local", c.BPF_PROG_TYPE_LWT_SEG6LOCAL, 0, 0, ""),
    ("sockops", c.BPF_PROG_TYPE_SOCK_OPS, c.BPF_CGROUP_SOCK_OPS, OPT, ""),
    ("sk_skb/stream_parser", c.BPF_PROG_TYPE_SK_SKB, c.BPF_SK_SKB_STREAM_PARSER, OPT, ""),
    ("sk_skb/stream_verdict", c.BPF_PROG_TYPE_SK_SKB, c.BPF_SK_SKB_STREAM_VERDICT, OPT, ""),
    ("sk_skb/verdict", c.BPF_PROG_TYPE_SK_SKB, c.BPF_SK_SKB_VERDICT, OPT, ""),
    ("sk_skb", c.BPF_PROG_TYPE_SK_SKB, 0, 0, ""),
    ("sk_msg", c.BPF_PROG_TYPE_SK_MSG, c.BPF_SK_MSG_VERDICT, OPT, ""),
    ("lirc_mode2", c.BPF_PROG_TYPE_LIRC_MODE2, c.BPF_LIRC_MODE2, OPT, ""),
    ("flow_dissector", c.BPF_PROG_TYPE_FLOW_DISSECTOR, c.BPF_FLOW_DISSECTOR, OPT, ""),
    ("cgroup_skb/ingress", c.BPF_PROG_TYPE_CGROUP_SKB, c.BPF_CGROUP_INET_INGRESS, OPT, ""),
    ("cgroup_skb/egress", c.BPF_PROG_TYPE_CGROUP_SKB, c.BPF_CGROUP_INET_EGRESS, OPT, ""),
    ("cgroup/skb", c.BPF_PROG_TYPE_CGROUP_SKB, 0, 0, ""),
    ("cgroup/sock_create", c.BPF_PROG_TYPE_CGROUP_SOCK, c.BPF_CGROUP_INET_SOCK_CREATE, 0, ""),
    ("cgroup/sock_release", c.BPF_PROG_TYPE_CGROUP_SOCK, c.BPF_CGROUP_INET_SOCK_RELEASE, 0, ""),
    ("cgroup/sock", c.BPF_PROG_TYPE_CGROUP_SOCK, c.BPF_CGROUP_INET_SOCK_CREATE, OPT, ""),
    ("cgroup/post_bind4", c.BPF_PROG_TYPE_CGROUP_SOCK, c.BPF_CGROUP_INET4_POST_BIND, 0, ""),
    ("cgroup/post_bind6", c.BPF_PROG_TYPE_CGROUP_SOCK, c.BPF_CGROUP_INET6_POST_BIND, 0, ""),
    ("cgroup/bind4", c.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, c.BPF_CGROUP_INET4_BIND, 0, ""),
    ("cgroup/bind6", c.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, c.BPF_CGROUP_INET6_BIND, 0, ""),
    ("cgroup/connect4", c.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, c.BPF_CGROUP_INET4_CONNECT, 0, ""),
    ("cgroup/connect6", c.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, c.BPF_CGROUP_INET6_CONNECT, 0, ""),
    ("cgroup/connect_unix", c.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, c.BPF_CGROUP_UNIX_CONNECT, 0, ""),
    ("cgroup/sendmsg4", c.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, c.BPF_CGROUP_UDP4_SENDMSG, 0, ""),
    ("cgroup/sendmsg6", c.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, c.BPF_CGROUP_UDP6_SENDMSG, 0, ""),
    ("cgroup/sendmsg_unix", c.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, c.BPF_CGROUP_UNIX_SENDMSG, 0, ""),
    ("cgroup/recvmsg4", c.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, c.BPF_CGROUP_UDP4_RECVMSG, 0, ""),
    ("cgroup/recvmsg6", c.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, c.BPF_CGROUP_UDP6_RECVMSG, 0, ""),
    ("cgroup/recvmsg_unix", c.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, c.BPF_CGROUP_UNIX_RECVMSG, 0, ""),
    ("cgroup/getpeername4", c.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, c.BPF_CGROUP_INET4_GETPEERNAME, 0, ""),
    ("cgroup/getpeername6", c.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, c.BPF_CGROUP_INET6_GETPEERNAME, 0, ""),
    ("cgroup/getpeername_unix", c.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, c.BPF_CGROUP_UNIX_GETPEERNAME, 0, ""),
    ("cgroup/getsockname4", c.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, c.BPF_CGROUP_INET4_GETSOCKNAME, 0, ""),
    ("cgroup/getsockname6", c.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, c.BPF_CGROUP_INET6_GETSOCKNAME, 0, ""),
    ("cgroup/getsockname_unix", c.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, c.BPF_CGROUP_UNIX_GETSOCKNAME, 0, ""),
    ("cgroup/sysctl", c.BPF_PROG_TYPE_CGROUP_SYSCTL, c.BPF_CGROUP_SYSCTL, 0, ""),
    ("cgroup/getsockopt", c.BPF_PROG_TYPE_CGROUP_SOCKOPT, c.BPF_CGROUP_GETSOCKOPT, 0, ""),
    ("cgroup/setsockopt", c.BPF_PROG_TYPE_CGROUP_SOCKOPT, c.BPF_CGROUP_SETSOCKOPT, 0, ""),
    ("cgroup/dev", c.BPF_PROG_TYPE_CGROUP_DEVICE, c.BPF_CGROUP_DEVICE, OPT, ""),
    ("struct_ops+", c.BPF_PROG_TYPE_STRUCT_OPS, 0, 0, ""),
    ("struct_ops.s+", c.BPF_PROG_TYPE_STRUCT_OPS, 0, SLEEP, ""),
    ("sk_lookup", c.BPF_PROG_TYPE_SK_LOOKUP, c.BPF_SK_LOOKUP, 0, ""),
    ("netfilter", c.BPF_PROG_TYPE_NETFILTER, c.BPF_NETFILTER, 0, ""),
)

_found: dict[str, SectionDefinition] = {}


def find_definition(section_name: str) -> SectionDefinition | None:
    """Return the definition that a section's name matches; a leading "?" doesn't count."""
    name = section_name.removeprefix("?")
    head = name.partition("/")[0]
    for row in SECTION_DEFINITIONS:
        key = row[0]
        if key == name or (key[-1] == "+" and key[:-1] == head):
            return _found.get(key) or _found.setdefault(key, _definition(row))
    return None


def attach_target(section_name: str, definition: SectionDefinition | None) -> str:
    """Return the extras of a section's name: what follows the "/", "" if the definition knows of no extras."""
    return "" if definition is None or definition.exact else section_name.partition("/")[2]


def _definition(row: tuple[str, int, int, int, str]) -> SectionDefinition:
    name, program_type, attach_type, flags, hook = row
    return SectionDefinition(
        name=name.removesuffix("+"),
        type=program_type,
        attach_type=attach_type,
        exact=name[-1] != "+",
        needs_btf_id=bool(flags & BTF),
        attachable=bool(hook),
        optional_attach_type=bool(flags & OPT),
        sleepable=bool(flags & SLEEP),
        frags=bool(flags & FRAGS),
        hook=hook,
    )
