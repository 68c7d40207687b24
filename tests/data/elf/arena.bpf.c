// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// A variable in an arena; read by tests, never loaded.
// clang-19 -mcpu=v3 -target bpf -g -O2 -I/usr/include/x86_64-linux-gnu -fdebug-prefix-map=$PWD= -c arena.bpf.c -o arena.bpf.o && llvm-strip-19 -g arena.bpf.o
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#ifndef __ulong
#define __ulong(name, val) enum { map_extra_value = val } name
#endif

struct {
	__uint(type, 33 /* BPF_MAP_TYPE_ARENA */);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 10);
	__ulong(map_extra, 0x1ull << 44);
} arena SEC(".maps");

int __attribute__((address_space(1))) in_arena = 77;

SEC("syscall")
int touch(void *ctx)
{
	in_arena++;
	return in_arena;
}
char LICENSE[] SEC("license") = "GPL";
