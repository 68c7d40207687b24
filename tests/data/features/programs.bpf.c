// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Programs of the forms that take more than their instructions.
#include "common.h"

extern void bpf_throw(unsigned long long cookie) __ksym __weak;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1);
} exclusive SEC(".maps");

int entered;

/* What freplace replaces: a function that isn't inlined, verified on its own. */
__noinline int replaceable(struct xdp_md *ctx)
{
	volatile int result = 1;

	return ctx ? result : 0;
}

SEC("xdp")
int target(struct xdp_md *ctx)
{
	return replaceable(ctx) * 10;
}

SEC("?freplace/replaceable")
int replacement(struct xdp_md *ctx)
{
	return 5;
}

SEC("?iter.s/task")
int sleeps(void *ctx)
{
	char path[8];

	bpf_copy_from_user(path, sizeof(path), 0);
	entered++;
	return 0;
}

SEC("?iter/task")
int does_not_sleep(void *ctx)
{
	char path[8];

	bpf_copy_from_user(path, sizeof(path), 0);
	return 0;
}

SEC("?xdp.frags")
int fragments(struct xdp_md *ctx)
{
	return bpf_xdp_get_buff_len(ctx);
}

__noinline int on_exception(unsigned long long cookie)
{
	return cookie + 1;
}

SEC("?tc")
__exception_cb(on_exception) int throws(struct __sk_buff *skb)
{
	bpf_throw(40);
	return 1;
}

/* The verifier takes an untyped pointer for the context only by the tag. */
__noinline int takes_context(void *ctx __arg_ctx)
{
	return bpf_get_func_ip(ctx) != 0 ? 1 : 0;
}

SEC("?kprobe")
int passes_context(void *ctx)
{
	return takes_context(ctx);
}

__noinline int takes_packet(void *ctx __arg_ctx)
{
	return bpf_xdp_get_buff_len(ctx);
}

SEC("?xdp")
int passes_packet(struct xdp_md *ctx)
{
	return takes_packet(ctx);
}

SEC("?xdp")
int alone(struct xdp_md *ctx)
{
	__u32 key = 0;
	__u64 *value = bpf_map_lookup_elem(&exclusive, &key);

	if (value)
		*value += 3;
	return value ? *value : 0;
}

SEC("?xdp")
int intruder(struct xdp_md *ctx)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&exclusive, &key) != 0;
}

SEC("?raw_tp/sys_enter")
int attaches_itself(void *ctx)
{
	entered++;
	return 0;
}
