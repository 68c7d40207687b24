// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Maps as they were defined before BTF, in libbpf's form.
#include "common.h"

struct bpf_map_def {
	unsigned int type, key_size, value_size, max_entries, map_flags;
};

struct bpf_map_def SEC("maps") counts = { BPF_MAP_TYPE_HASH, 4, 8, 16, BPF_F_NO_PREALLOC };
struct bpf_map_def SEC("maps") slots = { BPF_MAP_TYPE_ARRAY, 4, 8, 2, 0 };

SEC("xdp")
int use(struct xdp_md *ctx)
{
	__u32 key = 1;
	__u64 value = 33, *found;

	bpf_map_update_elem(&counts, &key, &value, BPF_ANY);
	bpf_map_update_elem(&slots, &key, &value, BPF_ANY);
	found = bpf_map_lookup_elem(&counts, &key);
	return found ? *found : 0;
}
