// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Calls a helper that is for GPL-compatible programs, and says it isn't one. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int secret(struct xdp_md *ctx)
{
	bpf_printk("hello");
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Proprietary";
