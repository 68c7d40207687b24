// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Maps as iproute2's own loader wants them: inner maps by id and index.
#include "common.h"

struct bpf_elf_map {
	__u32 type, size_key, size_value, max_elem, flags, id, pinning, inner_id;
	__s32 inner_idx;
};

struct bpf_elf_map SEC("maps") inner = { BPF_MAP_TYPE_ARRAY, 4, 8, 2, 0, 42, 0, 0, 1 };
struct bpf_elf_map SEC("maps") outer = { BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, 3, 0, 0, 0, 42, -1 };

SEC("xdp")
int use(struct xdp_md *ctx)
{
	__u32 key = 1;
	__u64 *value;
	void *map = bpf_map_lookup_elem(&outer, &key);

	if (!map)
		return 1;
	value = bpf_map_lookup_elem(map, &key);
	return value ? 44 : 2;
}
