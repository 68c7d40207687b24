// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Two programs that share a map: what becomes a directory of pins. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

__u64 calls;

SEC("xdp")
int packets(struct xdp_md *ctx)
{
	__sync_fetch_and_add(&calls, 1);
	return XDP_PASS;
}

SEC("raw_tp/sys_enter")
int syscalls(struct bpf_raw_tracepoint_args *ctx)
{
	__sync_fetch_and_add(&calls, 1);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
