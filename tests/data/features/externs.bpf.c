// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Externs of every kind. A program puts what it saw into variables.
#include "common.h"

extern bool CONFIG_TEST_YES __kconfig;
extern bool CONFIG_TEST_NO __kconfig;
extern enum libbpf_tristate CONFIG_TEST_MODULE __kconfig;
extern char CONFIG_TEST_CHAR __kconfig;
extern signed char CONFIG_TEST_SIGNED __kconfig;
extern unsigned short CONFIG_TEST_SHORT __kconfig;
extern int CONFIG_TEST_INT __kconfig;
extern unsigned long long CONFIG_TEST_LONG __kconfig;
extern char CONFIG_TEST_STRING[16] __kconfig;
extern bool CONFIG_BPF_SYSCALL __kconfig;
extern unsigned int CONFIG_HZ __kconfig;
extern int CONFIG_TEST_ABSENT __kconfig __weak;
extern int LINUX_KERNEL_VERSION __kconfig;
extern bool LINUX_HAS_SYSCALL_WRAPPER __kconfig;
extern bool LINUX_HAS_BPF_COOKIE __kconfig;

struct rq {
	int cpu;
} __attribute__((preserve_access_index));
/* The kernel's BTF has variables only where its builder's pahole was new enough. */
extern const struct rq runqueues __ksym __weak;
extern const int no_such_variable __ksym __weak;
extern const void ksys_write __ksym;
extern const void no_such_symbol __ksym __weak;

extern void bpf_rcu_read_lock(void) __ksym __weak;
extern void bpf_rcu_read_unlock(void) __ksym __weak;
extern void bpf_no_such_function(void) __ksym __weak;

bool yes, no, syscall_on, wrapper, cookie;
int module, short_number, number, absent, version, hz;
char character;
signed char signed_character;
unsigned long long long_number, symbol, weak_symbol = 1, weak_variable = 1;
char string[16];
int cpu, locked, unresolved;

SEC("raw_tp/sys_enter")
int options(void *ctx)
{
	yes = CONFIG_TEST_YES;
	no = CONFIG_TEST_NO;
	module = CONFIG_TEST_MODULE;
	character = CONFIG_TEST_CHAR;
	signed_character = CONFIG_TEST_SIGNED;
	short_number = CONFIG_TEST_SHORT;
	number = CONFIG_TEST_INT;
	long_number = CONFIG_TEST_LONG;
	__builtin_memcpy(string, CONFIG_TEST_STRING, sizeof(string));
	syscall_on = CONFIG_BPF_SYSCALL;
	hz = CONFIG_HZ;
	absent = CONFIG_TEST_ABSENT;
	version = LINUX_KERNEL_VERSION;
	wrapper = LINUX_HAS_SYSCALL_WRAPPER;
	cookie = LINUX_HAS_BPF_COOKIE;
	return 0;
}

/* Takes a kernel with CONFIG_KALLSYMS_ALL. */
SEC("?raw_tp/sys_enter")
int typed(void *ctx)
{
	const struct rq *rq;

	if (!&runqueues)
		return 1;
	rq = bpf_per_cpu_ptr(&runqueues, 1);
	if (!rq)
		rq = bpf_per_cpu_ptr(&runqueues, 0);
	cpu = rq ? rq->cpu : -1;
	return 0;
}

SEC("raw_tp/sys_enter")
int addresses(void *ctx)
{
	symbol = (unsigned long long)&ksys_write;
	weak_symbol = (unsigned long long)&no_such_symbol;
	weak_variable = (unsigned long long)&no_such_variable;
	return 0;
}

SEC("raw_tp/sys_enter")
int functions(void *ctx)
{
	bpf_rcu_read_lock();
	locked = 1;
	bpf_rcu_read_unlock();
	if (bpf_no_such_function)
		bpf_no_such_function();
	unresolved = bpf_no_such_function == 0;
	return 0;
}

SEC("?raw_tp/sys_enter")
int calls_unresolved(void *ctx)
{
	bpf_no_such_function(); /* not guarded */
	return 0;
}
