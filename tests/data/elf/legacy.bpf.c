// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Maps as they were defined before BTF, in libbpf's and in iproute2's form; read by tests, never loaded.
// clang-19 -target bpf -O2 -I/usr/include/x86_64-linux-gnu -c legacy.bpf.c -o legacy.bpf.o
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct bpf_elf_map {
	__u32 type, size_key, size_value, max_elem, flags, id, pinning, inner_id;
	__s32 inner_idx;
};
struct old_map_def {
	__u32 type, key_size, value_size, max_entries, map_flags;
};

struct old_map_def SEC("maps") plain = { BPF_MAP_TYPE_HASH, 4, 8, 16, BPF_F_NO_PREALLOC };
struct bpf_elf_map SEC("maps") nested = { BPF_MAP_TYPE_ARRAY, 4, 4, 1, 0, 42, 2, 0, 1 };
struct bpf_elf_map SEC("maps") nest = { BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, 2, 0, 0, 2, 42, -1 };
int counter = 1;

SEC("classifier")
int use(struct __sk_buff *skb)
{
	int key = counter;

	return bpf_map_lookup_elem(&plain, &key) && bpf_map_lookup_elem(&nest, &key);
}
char LICENSE[] SEC("license") = "GPL";
