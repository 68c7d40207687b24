// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// BTF of every kind that an older kernel doesn't know, and calls and fields that it doesn't know.
#include "common.h"

#define __tagged __attribute__((btf_type_tag("user")))

enum wide {
	WIDE = 0x100000000ULL,
	NARROW = 1,
};

struct thing {
	float number;
	double precise;
	enum wide wide;
	int __tagged *pointer;
	int value __attribute__((btf_decl_tag("of_a_member")));
};

struct thing a_variable_with_a_long_name = { .value = 3 };
int counter;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct thing);
	__uint(max_entries, 1);
} a_map_with_a_long_name SEC(".maps");

__noinline int global_function(int a __attribute__((btf_decl_tag("of_a_parameter"))))
{
	return a + a_variable_with_a_long_name.value;
}

SEC("raw_tp/sys_enter")
int a_program_with_a_long_name(void *ctx)
{
	__u32 key = 0;
	struct thing *thing = bpf_map_lookup_elem(&a_map_with_a_long_name, &key);
	char bytes[8];

	if (thing)
		thing->value = global_function(4);
	bpf_probe_read_kernel(bytes, sizeof(bytes), (void *)bpf_get_current_task());
	bpf_probe_read_user(bytes, sizeof(bytes), 0);
	bpf_probe_read_kernel_str(bytes, sizeof(bytes), (void *)bpf_get_current_task());
	bpf_probe_read_user_str(bytes, sizeof(bytes), 0);
	counter++;
	return 0;
}

SEC("xdp")
int with_optional_attach_type(struct xdp_md *ctx)
{
	return 2;
}
