// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Reads a packet without looking where it ends: the verifier says no. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int careless(struct xdp_md *ctx)
{
	unsigned char *data = (void *)(long)ctx->data;

	return data[12] == 8 ? XDP_DROP : XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
