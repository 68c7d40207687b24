// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* XDP programs for a chain on one device: each notes when it ran, and two say what place they want. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define ACTIONS_THAT_LET_THE_CHAIN_GO_ON(name) _##name SEC(".xdp_run_config")

struct {
	__uint(priority, 10);
	__uint(XDP_PASS, 1);
	__uint(XDP_DROP, 1);
} ACTIONS_THAT_LET_THE_CHAIN_GO_ON(early_program_with_a_long_name);

struct {
	__uint(priority, 90);
	__uint(XDP_PASS, 0);
} ACTIONS_THAT_LET_THE_CHAIN_GO_ON(late);

__u64 early_runs, late_runs, plain_runs, frags_runs;
const volatile int verdict = XDP_PASS;

SEC("xdp")
int early_program_with_a_long_name(struct xdp_md *ctx)
{
	__sync_fetch_and_add(&early_runs, 1);
	return verdict;
}

SEC("xdp")
int late(struct xdp_md *ctx)
{
	__sync_fetch_and_add(&late_runs, 1);
	return verdict;
}

/* Moves packet data, which not every function may be replaced by. */
SEC("xdp")
int plain(struct xdp_md *ctx)
{
	__sync_fetch_and_add(&plain_runs, 1);
	if (bpf_xdp_adjust_head(ctx, 0))
		return XDP_ABORTED;
	return verdict;
}

SEC("xdp.frags")
int frags(struct xdp_md *ctx)
{
	__sync_fetch_and_add(&frags_runs, 1);
	return verdict;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
