// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A TCP congestion control: the smallest struct_ops that the kernel takes, attached by a link. */
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

SEC(".struct_ops.link")
struct tcp_congestion_ops lookable = {
	.ssthresh = (void *)threshold,
	.cong_avoid = (void *)avoid,
	.undo_cwnd = (void *)undo,
	.name = "lookable",
};

char LICENSE[] SEC("license") = "GPL";
