// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* TCP congestion controls: one registered by itself, one by a link, and one that the link can be updated with. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct sock;

struct tcp_congestion_ops {
	__u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, __u32 ack, __u32 acked);
	__u32 (*undo_cwnd)(struct sock *sk);
	char name[16];
};

SEC("struct_ops")
__u32 threshold(void *ctx)
{
	return 2;
}

SEC("struct_ops")
void avoid(void *ctx)
{
}

SEC("struct_ops")
__u32 undo(void *ctx)
{
	return 10;
}

SEC(".struct_ops")
struct tcp_congestion_ops alone = {
	.ssthresh = (void *)threshold,
	.cong_avoid = (void *)avoid,
	.undo_cwnd = (void *)undo,
	.name = "alone",
};

SEC(".struct_ops.link")
struct tcp_congestion_ops first = {
	.ssthresh = (void *)threshold,
	.cong_avoid = (void *)avoid,
	.undo_cwnd = (void *)undo,
	.name = "linked",
};

/* A link can only be updated with one of the same name. */
SEC(".struct_ops.link")
struct tcp_congestion_ops second = {
	.ssthresh = (void *)threshold,
	.cong_avoid = (void *)avoid,
	.undo_cwnd = (void *)undo,
	.name = "linked",
};

char LICENSE[] SEC("license") = "GPL";
