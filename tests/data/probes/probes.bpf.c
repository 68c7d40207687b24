// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Programs for every kind of probe: each counts how often it was run, and keeps what it saw last. */
#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/usdt.bpf.h>

#ifndef bpf_ksym_exists
#define bpf_ksym_exists(symbol) (!!(symbol))
#endif

int hits = 0;
int argument_count = -1;
long arguments[4] = {};
long cookie = 0;
long cookies_seen = 0; /* bit N: cookie N was seen */
int only_pid = 0;      /* of what isn't asked for by process: count this one only */
int returns = 0;       /* of a session: how often it was run at the return */

static __always_inline int seen(void)
{
	if (only_pid && bpf_get_current_pid_tgid() >> 32 != only_pid)
		return 0;
	__sync_fetch_and_add(&hits, 1);
	return 1;
}

SEC("usdt")
int on_usdt(struct pt_regs *ctx)
{
	if (!seen())
		return 0;
	argument_count = bpf_usdt_arg_cnt(ctx);
	bpf_usdt_arg(ctx, 0, &arguments[0]);
	bpf_usdt_arg(ctx, 1, &arguments[1]);
	bpf_usdt_arg(ctx, 2, &arguments[2]);
	bpf_usdt_arg(ctx, 3, &arguments[3]);
	cookie = bpf_usdt_cookie(ctx);
	return 0;
}

static __always_inline int counted(void *ctx)
{
	if (seen()) {
		cookie = bpf_get_attach_cookie(ctx);
		cookies_seen |= 1L << (cookie & 63);
	}
	return 0;
}

SEC("uprobe")
int on_uprobe(struct pt_regs *ctx)
{
	arguments[0] = PT_REGS_PARM1(ctx);
	arguments[1] = PT_REGS_PARM2(ctx);
	return counted(ctx);
}

SEC("uretprobe")
int on_return(struct pt_regs *ctx)
{
	arguments[0] = PT_REGS_RC(ctx);
	return counted(ctx);
}

SEC("?uprobe.multi")
int on_uprobes(void *ctx)
{
	return counted(ctx);
}

SEC("?uretprobe.multi")
int on_uretprobes(void *ctx)
{
	return counted(ctx);
}

/* It takes the context since Linux 7.0. */
extern bool bpf_session_is_return___bare(void) __ksym __weak;
extern bool bpf_session_is_return___context(void *ctx) __ksym __weak;

static __always_inline bool at_return(void *ctx)
{
	if (bpf_ksym_exists(bpf_session_is_return___context))
		return bpf_session_is_return___context(ctx);
	return bpf_ksym_exists(bpf_session_is_return___bare) && bpf_session_is_return___bare();
}

SEC("?uprobe.session")
int on_session(void *ctx)
{
	if (at_return(ctx))
		returns++;
	counted(ctx);
	return 0;
}

SEC("tp/syscalls/sys_enter_getpgid")
int on_tracepoint(void *ctx)
{
	return counted(ctx);
}

SEC("perf_event")
int on_event(void *ctx)
{
	return counted(ctx);
}

SEC("?kprobe")
int on_kprobe(void *ctx)
{
	return counted(ctx);
}

SEC("?kretprobe")
int on_kretprobe(void *ctx)
{
	return counted(ctx);
}

SEC("?ksyscall/getpgid")
int on_ksyscall(void *ctx)
{
	return counted(ctx);
}

SEC("?kretsyscall/getpgid")
int on_kretsyscall(void *ctx)
{
	return counted(ctx);
}

SEC("?kprobe.multi")
int on_kprobes(void *ctx)
{
	return counted(ctx);
}

SEC("?kretprobe.multi")
int on_kretprobes(void *ctx)
{
	return counted(ctx);
}

SEC("?kprobe.session")
int on_kprobe_session(void *ctx)
{
	if (at_return(ctx))
		returns++;
	counted(ctx);
	return 0;
}

/* The same without cookies, for kernels before 5.15. */
SEC("?uprobe")
int plain_uprobe(void *ctx)
{
	return seen() & 0;
}

SEC("?tp/syscalls/sys_enter_getpgid")
int plain_tracepoint(void *ctx)
{
	return seen() & 0;
}

SEC("?perf_event")
int plain_event(void *ctx)
{
	return seen() & 0;
}

SEC("?kprobe")
int plain_kprobe(void *ctx)
{
	return seen() & 0;
}

char LICENSE[] SEC("license") = "GPL";
