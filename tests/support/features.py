"""What the tests may need of a kernel: since which version it is there, and which configuration it takes.

A kernel that is too old, or built without it, skips the test and names the feature. A kernel that should have it runs the
test, so what is missing there fails: nothing is probed, since a broken probe would hide a broken feature.
"""

from __future__ import annotations

from dataclasses import dataclass

from support.system import has_oopsed, kconfig, kernel_version, stuck_link


@dataclass(frozen=True)
class Feature:
    since: tuple[int, int]
    config: tuple[str, ...] = ()


FEATURES: dict[str, Feature] = {
    "global_data": Feature((5, 2)),
    "btf": Feature((4, 18)),
    "vmlinux_btf": Feature((5, 4), ("CONFIG_DEBUG_INFO_BTF",)),
    "module_btf": Feature((5, 11), ("CONFIG_DEBUG_INFO_BTF_MODULES",)),
    "kernel_btf_object": Feature((5, 11), ("CONFIG_DEBUG_INFO_BTF",)),
    "mmapable_array": Feature((5, 5)),
    "frozen_map": Feature((5, 2)),
    "batch_operations": Feature((5, 6)),
    "ringbuf": Feature((5, 8)),
    "user_ringbuf": Feature((6, 1)),
    "link_create": Feature((5, 7)),
    "link_info": Feature((5, 8)),
    "listable_links": Feature((5, 8)),
    "link_update": Feature((5, 7)),
    "link_detach": Feature((5, 9)),
    "xdp_link": Feature((5, 9)),
    "xdp_frags": Feature((5, 18)),
    "raw_tracepoint": Feature((4, 17), ("CONFIG_BPF_EVENTS",)),
    "raw_tracepoint_link": Feature((5, 8), ("CONFIG_BPF_EVENTS",)),
    "raw_tracepoint_cookie": Feature((6, 10), ("CONFIG_BPF_EVENTS",)),
    "syscall_tracepoints": Feature((4, 17), ("CONFIG_FTRACE_SYSCALLS",)),
    "trace_pipe": Feature((4, 1), ("CONFIG_TRACING",)),
    "kprobe": Feature((4, 1), ("CONFIG_KPROBE_EVENTS",)),
    "kprobe_multi": Feature((5, 18), ("CONFIG_FPROBE",)),
    "kprobe_session": Feature((6, 10), ("CONFIG_FPROBE",)),
    "tracepoint": Feature((4, 7), ("CONFIG_BPF_EVENTS",)),
    "perf_event": Feature((4, 9), ("CONFIG_BPF_EVENTS",)),
    "uprobe": Feature((4, 1), ("CONFIG_UPROBE_EVENTS",)),
    "uprobe_multi": Feature((6, 6), ("CONFIG_UPROBE_EVENTS",)),
    "uprobe_session": Feature((6, 13), ("CONFIG_UPROBE_EVENTS",)),
    "bpf_cookie": Feature((5, 15)),
    "perf_link": Feature((5, 15)),
    "fentry": Feature((5, 5), ("CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS", "CONFIG_DEBUG_INFO_BTF")),
    "tp_btf": Feature((5, 5), ("CONFIG_DEBUG_INFO_BTF",)),
    # bpf_modify_return_test(); before, only with CONFIG_FUNCTION_ERROR_INJECTION.
    "modify_return_test": Feature((6, 3), ("CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS", "CONFIG_DEBUG_INFO_BTF")),
    "tracing_again": Feature((5, 13)),
    "tracing_target_info": Feature((5, 13)),
    "tracing_cookie": Feature((5, 19), ("CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS", "CONFIG_DEBUG_INFO_BTF")),
    "tp_btf_cookie": Feature((6, 10), ("CONFIG_DEBUG_INFO_BTF",)),
    "fsession": Feature((7, 0), ("CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS", "CONFIG_DEBUG_INFO_BTF")),
    "tracing_multi": Feature((7, 2), ("CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS", "CONFIG_DEBUG_INFO_BTF")),
    "iter": Feature((5, 8), ("CONFIG_DEBUG_INFO_BTF",)),
    "iter_task": Feature((6, 1), ("CONFIG_DEBUG_INFO_BTF",)),
    "iter_cgroup": Feature((6, 1), ("CONFIG_DEBUG_INFO_BTF", "CONFIG_CGROUP_BPF")),
    "lsm": Feature((5, 7), ("CONFIG_BPF_LSM",)),
    "freplace": Feature((5, 6)),
    "freplace_onto_others": Feature((5, 10)),
    "struct_ops": Feature((5, 6), ("CONFIG_DEBUG_INFO_BTF",)),
    "struct_ops_link": Feature((6, 4), ("CONFIG_DEBUG_INFO_BTF",)),
    "kfunc": Feature((5, 13), ("CONFIG_DEBUG_INFO_BTF",)),
    "cgroup_bpf": Feature((4, 10), ("CONFIG_CGROUP_BPF",)),
    "cgroup_link": Feature((5, 7), ("CONFIG_CGROUP_BPF",)),
    "clsact": Feature((4, 5), ("CONFIG_NET_SCH_INGRESS", "CONFIG_NET_CLS_BPF")),
    "tcx": Feature((6, 6), ("CONFIG_NET_XGRESS",)),
    "netfilter_defragmentation": Feature((6, 6), ("CONFIG_NETFILTER_BPF_LINK", "CONFIG_NF_DEFRAG_IPV4")),
    "sk_reuseport": Feature((4, 19)),
    "lsm_cgroup": Feature((6, 0), ("CONFIG_BPF_LSM", "CONFIG_CGROUP_BPF")),
    "cgroup_order": Feature((6, 17), ("CONFIG_CGROUP_BPF",)),
    "netkit": Feature((6, 7), ("CONFIG_NETKIT",)),
    "netfilter_link": Feature((6, 4), ("CONFIG_NETFILTER_BPF_LINK",)),
    "sk_lookup": Feature((5, 9)),
    "flow_dissector": Feature((4, 20)),
    "sockmap": Feature((4, 14), ("CONFIG_BPF_STREAM_PARSER",)),
    "sockmap_verdict_alone": Feature((5, 13), ("CONFIG_BPF_STREAM_PARSER",)),
    "sockmap_query": Feature((5, 17), ("CONFIG_BPF_STREAM_PARSER",)),
    "sockmap_link": Feature((6, 10), ("CONFIG_BPF_STREAM_PARSER",)),
    "veth": Feature((3, 0), ("CONFIG_VETH",)),
    "sleepable": Feature((5, 10)),
    "atomic_fetch": Feature((5, 12)),
    "hash_lookup_and_delete": Feature((5, 14)),
    "bpf_loop": Feature((5, 17)),
    "enum64": Feature((6, 0)),
    "token": Feature((6, 9)),
    "arena": Feature((6, 9)),
    "streams": Feature((6, 17)),
    "sha256_tag": Feature((6, 18)),
}


def why_missing(name: str, since: str | None = None, config: str | tuple[str, ...] = ()) -> str:
    """Why this kernel lacks a feature; "" where it has to have it.

    `since` ("5.9") and `config` describe a feature that the table doesn't have.
    """
    if since is not None:
        major, _, minor = since.partition(".")
        feature = Feature((int(major), int(minor)), (config,) if isinstance(config, str) else tuple(config))
    else:
        feature = FEATURES[name]
    if kernel_version() < feature.since:
        return f"{name} needs Linux {feature.since[0]}.{feature.since[1]}, this is {kernel_version()[0]}.{kernel_version()[1]}"
    if name.startswith("struct_ops") and has_oopsed():
        return f"{name}: this kernel has had an oops: a lock that the dead hold stops for ever who registers struct_ops"
    if name == "listable_links" and (stuck := stuck_link()):
        return f"{name}: link {stuck} of this kernel is being made for ever, and bpftool lists no link behind it"
    configuration = kconfig()
    if configuration is not None:
        missing = [option for option in feature.config if option and configuration.get(option) not in ("y", "m")]
        if missing:
            return f"{name} needs {', '.join(missing)}, which this kernel was built without"
    return ""
