// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A program for each way to trace by BTF, each counting its calls and keeping its cookie in a variable of its own. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define COUNTED(section, name)                                                                                                   \
	__u64 name##_calls;                                                                                                      \
	__u64 name##_cookie;                                                                                                     \
	SEC(section)                                                                                                             \
	int name(void *ctx)                                                                                                      \
	{                                                                                                                        \
		__sync_fetch_and_add(&name##_calls, 1);                                                                          \
		name##_cookie = bpf_get_attach_cookie(ctx);                                                                      \
		return 0;                                                                                                        \
	}

COUNTED("?fentry/bpf_fentry_test1", entered)
COUNTED("?fexit/bpf_fentry_test1", left)
COUNTED("?fmod_ret/bpf_modify_return_test", modified)
COUNTED("?fsession/bpf_fentry_test1", both)
COUNTED("?fentry.multi/bpf_fentry_test*", entered_many)
COUNTED("?fexit.multi/bpf_fentry_test*", left_many)
COUNTED("?fsession.multi/bpf_fentry_test*", both_many)
COUNTED("?fentry.multi", entered_named)
COUNTED("?tp_btf/sys_enter", at_tracepoint)
COUNTED("?raw_tp/sys_enter", at_raw_tracepoint)
COUNTED("?lsm/file_open", opening)
COUNTED("?lsm.s/file_open", opening_asleep)

char LICENSE[] SEC("license") = "GPL";
