// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Variables in an arena, .addr_space.1.
#include "common.h"

struct {
	__uint(type, 33 /* BPF_MAP_TYPE_ARENA */);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 10);
} arena SEC(".maps");

int __attribute__((address_space(1))) in_arena = 77;
int __attribute__((address_space(1))) zero_in_arena;

SEC("syscall")
int touch(void *ctx)
{
	zero_in_arena += 2;
	in_arena += zero_in_arena;
	return in_arena;
}
