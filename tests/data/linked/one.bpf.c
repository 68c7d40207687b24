// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* One half: uses a map, variables and a function of the other, and has static things of the same names. */
#include "shared.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, unsigned int);
	__type(value, struct flow);
} flows SEC(".maps");

struct counts {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, unsigned int);
	__type(value, unsigned long);
};
extern struct counts counts SEC(".maps");

const volatile unsigned int only_pid = 1;
unsigned long weight = 3;
extern unsigned long total;
unsigned int which __weak = 1;
static volatile int calls = 10;
const char text[] = "one";

extern int add(unsigned int slot, unsigned long by);

static __noinline int twice(int number)
{
	calls++;
	return 2 * number;
}

__weak int choose(int number)
{
	return number;
}

SEC("raw_tracepoint/sys_enter")
int first(void *ctx)
{
	unsigned int slot = 1;
	unsigned long *count;

	if (bpf_get_current_pid_tgid() >> 32 != only_pid)
		return 0;
	count = bpf_map_lookup_elem(&counts, &slot);
	if (count)
		*count += twice(weight) + text[0] + choose(1);
	total += add(2, which);
	return 0;
}

char _license[] SEC("license") = "GPL";
