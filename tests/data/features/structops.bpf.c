// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// struct_ops variables of all forms; the structs are those of any kernel as far as named here, the rest is left to the loader.
#include "common.h"

struct sock;
struct tcp_sock;

struct tcp_congestion_ops {
	__u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, __u32 ack, __u32 acked);
	void (*set_state)(struct sock *sk, __u8 state);
	__u32 (*undo_cwnd)(struct sock *sk);
	char name[16];
};

SEC("struct_ops")
__u32 ssthresh(unsigned long long *ctx)
{
	return 2;
}

SEC("struct_ops")
void cong_avoid(unsigned long long *ctx)
{
}

SEC("struct_ops/undo")
__u32 undo_cwnd(unsigned long long *ctx)
{
	return 3;
}

SEC("struct_ops")
void only_of_optional(unsigned long long *ctx)
{
}

SEC(".struct_ops")
struct tcp_congestion_ops plain = {
	.ssthresh = (void *)ssthresh,
	.cong_avoid = (void *)cong_avoid,
	.undo_cwnd = (void *)undo_cwnd,
	.name = "bpfload_plain",
};

SEC(".struct_ops.link")
struct tcp_congestion_ops linked = {
	.ssthresh = (void *)ssthresh,
	.cong_avoid = (void *)cong_avoid,
	.undo_cwnd = (void *)undo_cwnd,
	.name = "bpfload_linked",
};

SEC("?.struct_ops")
struct tcp_congestion_ops optional = {
	.ssthresh = (void *)ssthresh,
	.set_state = (void *)only_of_optional,
	.name = "bpfload_opt",
};

SEC("?.struct_ops.link")
struct tcp_congestion_ops optional_linked = {
	.cong_avoid = (void *)cong_avoid,
	.name = "bpfload_optlink",
};
