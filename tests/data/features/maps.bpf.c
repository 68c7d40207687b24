// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Maps with every field of a definition, inner maps, static slots, pinning, sizes that the loader adjusts.
#include "common.h"

struct value {
	__u64 packets, bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, struct value);
	__uint(max_entries, 100);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_NUMA_NODE);
	__uint(numa_node, 0);
} by_type SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(key_size, 12);
	__uint(value_size, 20);
	__uint(max_entries, 64);
} by_size SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_BLOOM_FILTER);
	__uint(key_size, 0);
	__uint(value_size, 8);
	__uint(max_entries, 100);
	__ulong(map_extra, 3);
} with_extra SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 2);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} shared SEC(".maps");

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 3);
} inner_one SEC(".maps"), inner_two SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, __u32);
	__array(values, struct inner);
} outer SEC(".maps") = { .values = { [1] = &inner_one, [3] = &inner_two } };

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_HASH);
		__uint(key_size, 8);
		__uint(value_size, 16);
		__uint(max_entries, 5);
	});
} outer_hash SEC(".maps");

int tail(struct xdp_md *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 3);
	__uint(key_size, 4);
	__array(values, int(void *));
} jumps SEC(".maps") = { .values = { [2] = (void *)&tail } };

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 5000);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} events SEC(".maps");

SEC("xdp")
int tail(struct xdp_md *ctx)
{
	return 99;
}

SEC("xdp")
int jump(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &jumps, 2);
	return 1;
}

/* How many of the outer map's slots hold a map, and the value that the map in slot 3 has at index 2. */
SEC("xdp")
int nested(struct xdp_md *ctx)
{
	__u32 key, two = 2, filled = 0;
	__u64 *value, found = 0;
	void *map;

	for (int slot = 0; slot < 4; slot++) {
		key = slot;
		map = bpf_map_lookup_elem(&outer, &key);
		if (!map)
			continue;
		filled++;
		value = bpf_map_lookup_elem(map, &two);
		if (value && slot == 3)
			found = *value;
	}
	return filled * 100 + found;
}
