"""The 116 definitions of SEC() names, written down from libbpf's documentation of them: not derived from the library's table.

A line: program type, expected attach type (both without their BPF_ prefixes, 0 for none), then names. "+": extras may follow
after a "/". "*": attaches by itself. "?": the expected attach type is left out on kernels that don't know it. "#": the target is
a BTF id. Names that end in ".s", and "syscall", are sleepable; "xdp.frags" and what begins with it sets BPF_F_XDP_HAS_FRAGS.
"""

from __future__ import annotations

from dataclasses import dataclass

TABLE = """
SOCKET_FILTER 0 socket
SK_REUSEPORT SK_REUSEPORT_SELECT_OR_MIGRATE sk_reuseport/migrate
SK_REUSEPORT SK_REUSEPORT_SELECT sk_reuseport
KPROBE 0 kprobe+* kretprobe+* uprobe+* uprobe.s+* uretprobe+* uretprobe.s+* ksyscall+* kretsyscall+* usdt+* usdt.s+*
KPROBE TRACE_KPROBE_MULTI kprobe.multi+* kretprobe.multi+*
KPROBE TRACE_KPROBE_SESSION kprobe.session+*
KPROBE TRACE_UPROBE_MULTI uprobe.multi+* uretprobe.multi+* uprobe.multi.s+* uretprobe.multi.s+*
KPROBE TRACE_UPROBE_SESSION uprobe.session+* uprobe.session.s+*
SCHED_CLS TCX_INGRESS tc/ingress tcx/ingress
SCHED_CLS TCX_EGRESS tc/egress tcx/egress
SCHED_CLS 0 tc classifier
SCHED_CLS NETKIT_PRIMARY netkit/primary
SCHED_CLS NETKIT_PEER netkit/peer
SCHED_ACT 0 action
TRACEPOINT 0 tracepoint+* tp+* tracepoint.s+* tp.s+*
RAW_TRACEPOINT 0 raw_tracepoint+* raw_tp+* raw_tracepoint.s+* raw_tp.s+*
RAW_TRACEPOINT_WRITABLE 0 raw_tracepoint.w+* raw_tp.w+*
TRACING TRACE_RAW_TP tp_btf+*# tp_btf.s+*#
TRACING TRACE_FENTRY fentry+*# fentry.s+*#
TRACING TRACE_FEXIT fexit+*# fexit.s+*#
TRACING MODIFY_RETURN fmod_ret+*# fmod_ret.s+*#
TRACING TRACE_FSESSION fsession+*# fsession.s+*#
TRACING TRACE_ITER iter+*# iter.s+*#
TRACING TRACE_FENTRY_MULTI fentry.multi+* fentry.multi.s+*
TRACING TRACE_FEXIT_MULTI fexit.multi+* fexit.multi.s+*
TRACING TRACE_FSESSION_MULTI fsession.multi+* fsession.multi.s+*
EXT 0 freplace+*#
LSM LSM_MAC lsm+*# lsm.s+*#
LSM LSM_CGROUP lsm_cgroup+#
SYSCALL 0 syscall
XDP XDP xdp? xdp.frags
XDP XDP_DEVMAP xdp/devmap xdp.frags/devmap
XDP XDP_CPUMAP xdp/cpumap xdp.frags/cpumap
PERF_EVENT 0 perf_event
LWT_IN 0 lwt_in
LWT_OUT 0 lwt_out
LWT_XMIT 0 lwt_xmit
LWT_SEG6LOCAL 0 lwt_seg6local
SOCK_OPS CGROUP_SOCK_OPS sockops?
SK_SKB SK_SKB_STREAM_PARSER sk_skb/stream_parser?
SK_SKB SK_SKB_STREAM_VERDICT sk_skb/stream_verdict?
SK_SKB SK_SKB_VERDICT sk_skb/verdict?
SK_SKB 0 sk_skb
SK_MSG SK_MSG_VERDICT sk_msg?
LIRC_MODE2 LIRC_MODE2 lirc_mode2?
FLOW_DISSECTOR FLOW_DISSECTOR flow_dissector?
CGROUP_SKB CGROUP_INET_INGRESS cgroup_skb/ingress?
CGROUP_SKB CGROUP_INET_EGRESS cgroup_skb/egress?
CGROUP_SKB 0 cgroup/skb
CGROUP_SOCK CGROUP_INET_SOCK_CREATE cgroup/sock_create cgroup/sock?
CGROUP_SOCK CGROUP_INET_SOCK_RELEASE cgroup/sock_release
CGROUP_SOCK CGROUP_INET4_POST_BIND cgroup/post_bind4
CGROUP_SOCK CGROUP_INET6_POST_BIND cgroup/post_bind6
CGROUP_SOCK_ADDR CGROUP_INET4_BIND cgroup/bind4
CGROUP_SOCK_ADDR CGROUP_INET6_BIND cgroup/bind6
CGROUP_SOCK_ADDR CGROUP_INET4_CONNECT cgroup/connect4
CGROUP_SOCK_ADDR CGROUP_INET6_CONNECT cgroup/connect6
CGROUP_SOCK_ADDR CGROUP_UNIX_CONNECT cgroup/connect_unix
CGROUP_SOCK_ADDR CGROUP_UDP4_SENDMSG cgroup/sendmsg4
CGROUP_SOCK_ADDR CGROUP_UDP6_SENDMSG cgroup/sendmsg6
CGROUP_SOCK_ADDR CGROUP_UNIX_SENDMSG cgroup/sendmsg_unix
CGROUP_SOCK_ADDR CGROUP_UDP4_RECVMSG cgroup/recvmsg4
CGROUP_SOCK_ADDR CGROUP_UDP6_RECVMSG cgroup/recvmsg6
CGROUP_SOCK_ADDR CGROUP_UNIX_RECVMSG cgroup/recvmsg_unix
CGROUP_SOCK_ADDR CGROUP_INET4_GETPEERNAME cgroup/getpeername4
CGROUP_SOCK_ADDR CGROUP_INET6_GETPEERNAME cgroup/getpeername6
CGROUP_SOCK_ADDR CGROUP_UNIX_GETPEERNAME cgroup/getpeername_unix
CGROUP_SOCK_ADDR CGROUP_INET4_GETSOCKNAME cgroup/getsockname4
CGROUP_SOCK_ADDR CGROUP_INET6_GETSOCKNAME cgroup/getsockname6
CGROUP_SOCK_ADDR CGROUP_UNIX_GETSOCKNAME cgroup/getsockname_unix
CGROUP_SYSCTL CGROUP_SYSCTL cgroup/sysctl
CGROUP_SOCKOPT CGROUP_GETSOCKOPT cgroup/getsockopt
CGROUP_SOCKOPT CGROUP_SETSOCKOPT cgroup/setsockopt
CGROUP_DEVICE CGROUP_DEVICE cgroup/dev?
STRUCT_OPS 0 struct_ops+ struct_ops.s+
SK_LOOKUP SK_LOOKUP sk_lookup
NETFILTER NETFILTER netfilter
"""


@dataclass(frozen=True)
class SectionRow:
    """One definition; the meaning of the fields is that of the signs above."""

    name: str
    type: str
    attach_type: str
    extras: bool
    attaches: bool
    optional: bool
    by_btf_id: bool
    sleepable: bool
    frags: bool


def _rows() -> list[SectionRow]:
    rows = []
    for line in TABLE.strip().splitlines():
        kind, attach_type, *names = line.split()
        for word in names:
            name = word.rstrip("+*?#")
            signs = word[len(name) :]
            rows.append(
                SectionRow(
                    name=name,
                    type=kind,
                    attach_type=attach_type,
                    extras="+" in signs,
                    attaches="*" in signs,
                    optional="?" in signs,
                    by_btf_id="#" in signs,
                    sleepable=name.endswith(".s") or name == "syscall",
                    frags=name.startswith("xdp.frags"),
                )
            )
    return rows


SECTION_ROWS = _rows()
