// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Two functions that freplace can replace, and a program for one of them, which fits both. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

__noinline int ones(struct xdp_md *ctx)
{
	volatile int result = 1;

	return ctx ? result : 0;
}

__noinline int tens(struct xdp_md *ctx)
{
	volatile int result = 10;

	return ctx ? result : 0;
}

SEC("xdp")
int whole(struct xdp_md *ctx)
{
	return ones(ctx) + tens(ctx);
}

SEC("?freplace/ones")
int seven(struct xdp_md *ctx)
{
	return 7;
}

char LICENSE[] SEC("license") = "GPL";
