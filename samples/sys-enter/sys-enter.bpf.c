// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define SYSCALLS 512

/* How often each system call was entered, by number: an array in .bss, one 8-byte counter each. */
__u64 calls[SYSCALLS];

SEC("raw_tp/sys_enter")
int count_syscalls(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 number = ctx->args[1];

	if (number < SYSCALLS)
		__sync_fetch_and_add(&calls[number], 1);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
