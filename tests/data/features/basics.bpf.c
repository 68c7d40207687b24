// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Sections of every kind and relocations of every kind: each program returns what it could only know through them.
#include "common.h"

__u32 _version SEC("version") = 0x01020304;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

int filled = 7;
int zeroed;
const volatile int constant = 11;
int in_data_foo SEC(".data.foo") = 100;
int in_bss_foo SEC(".bss.foo");
const volatile int in_rodata_foo SEC(".rodata.foo") = 1000;
static volatile int hidden_away = 13;

static __noinline int local_function(int a)
{
	return a * 2 + hidden_away;
}

__noinline int global_function(int a)
{
	return local_function(a) + 1;
}

static int each(__u32 index, void *sum)
{
	*(int *)sum += index;
	return 0;
}

SEC("xdp")
int map_reference(struct xdp_md *ctx)
{
	__u32 key = 5;
	__u64 value = 55, *found;

	bpf_map_update_elem(&counts, &key, &value, BPF_ANY);
	found = bpf_map_lookup_elem(&counts, &key);
	return found ? *found : 0;
}

SEC("xdp")
int data_reference(struct xdp_md *ctx)
{
	zeroed++;
	return filled + zeroed + constant;
}

SEC("xdp")
int custom_sections(struct xdp_md *ctx)
{
	in_bss_foo += 10000;
	return in_data_foo + in_bss_foo + in_rodata_foo;
}

SEC("xdp")
int string_section(struct xdp_md *ctx)
{
	char word[8] = "sesame";

	return bpf_strncmp(word, sizeof(word), "sesame") == 0 && bpf_strncmp(word, sizeof(word), "simsim") != 0 ? 21 : 0;
}

SEC("xdp")
int subprogram_call(struct xdp_md *ctx)
{
	return global_function(ctx->ingress_ifindex ? 10 : 20);
}

SEC("xdp")
int subprogram_address(struct xdp_md *ctx)
{
	int sum = 0;

	bpf_loop(10, each, &sum, 0);
	return sum;
}

SEC("?xdp")
int only_if_asked(struct xdp_md *ctx)
{
	return 77;
}
