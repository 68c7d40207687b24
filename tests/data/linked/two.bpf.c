// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The other half. */
#include "shared.h"

struct secret {
	int value;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, unsigned int);
	__type(value, unsigned long);
} counts SEC(".maps");

unsigned long total = 1000;
unsigned int which __weak = 2;
static volatile int calls = 20;
const char text2[] = "two";
struct flow last;
struct secret revealed;

static __noinline int twice(int number)
{
	calls += 2;
	return 20 * number;
}

__noinline int choose(int number)
{
	return 2 * number;
}

__noinline int add(unsigned int slot, unsigned long by)
{
	unsigned long *count = bpf_map_lookup_elem(&counts, &slot);

	if (count)
		*count += by + twice(1) + text2[0];
	return 7;
}

SEC("tc")
int second(struct __sk_buff *skb)
{
	struct secret secret = { .value = 5 };

	last.from = skb->len;
	return add(0, 5) + secret.value + revealed.value + choose(1);
}

char _license[] SEC("license") = "GPL";
