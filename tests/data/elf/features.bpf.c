// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// A little of everything that an object file can hold; read by tests, never loaded.
// clang-19 -target bpf -g -O2 -I/usr/include/x86_64-linux-gnu -fdebug-prefix-map=$PWD= -c features.bpf.c -o features.bpf.o && llvm-strip-19 -g features.bpf.o
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

// Externs.
extern int LINUX_KERNEL_VERSION __kconfig;
extern bool CONFIG_BPF_SYSCALL __kconfig;
extern enum libbpf_tristate CONFIG_BTRFS_FS __kconfig __weak;
extern char CONFIG_CC_VERSION_TEXT[32] __kconfig __weak;
extern unsigned long long CONFIG_BOGUS __kconfig __weak;
struct rq;
extern const struct rq runqueues __ksym;
extern const void bpf_prog_fops __ksym __weak;
extern void bpf_rcu_read_lock(void) __ksym;
extern int bpf_nothing___v2(int) __ksym __weak;

// Maps.
struct value {
	__u64 packets, bytes;
};
struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, int);
	__type(value, int);
} inner_one SEC(".maps"), inner_two SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1000);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32);
	__type(value, struct value);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, int);
	__array(values, struct inner);
} outer SEC(".maps") = { .values = { [0] = &inner_one, [3] = &inner_two } };

int tail(struct xdp_md *ctx);
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 3);
	__uint(key_size, 4);
	__array(values, int(void *));
} jumps SEC(".maps") = { .values = { [2] = (void *)&tail } };

struct {
	__uint(type, BPF_MAP_TYPE_BLOOM_FILTER);
	__uint(max_entries, 100);
	__uint(map_extra, 3);
	__uint(value_size, 8);
	__uint(key_size, 0);
} a_map_with_a_long_name SEC(".maps");

// Global variables.
int zeroed;
int filled = 7;
static volatile int hidden_away = 3;
__attribute__((visibility("hidden"))) int unseen = 9;
const volatile long limit = 100;
int in_custom SEC(".data.custom") = 5;
int in_custom_bss SEC(".bss.custom");
const volatile char in_custom_rodata[4] SEC(".rodata.custom") = "abc";

// struct_ops.
struct some_ops {
	int (*first)(int a);
	long number;
	void (*second)(void);
	char name[16];
};
SEC("struct_ops/first")
int ops_first(__u64 *ctx)
{
	return ctx[0] != 0;
}
SEC("struct_ops.s")
int ops_second(__u64 *ctx)
{
	return 0;
}
SEC(".struct_ops.link")
struct some_ops linked = { .first = (void *)ops_first, .number = 42, .second = (void *)ops_second, .name = "linked" };
SEC("?.struct_ops")
struct some_ops optional_ops = { .second = (void *)ops_second };
SEC("?.struct_ops")
struct some_ops optional_too = { .number = 1 };

// Functions.
struct task_struct {
	int pid;
} __attribute__((preserve_access_index));

static __noinline int local_sub(int a)
{
	return a * filled + hidden_away;
}
__noinline int global_sub(int a)
{
	return local_sub(a) + unseen;
}
__attribute__((visibility("hidden"))) __noinline int hidden_sub(int a)
{
	return a + (int)limit;
}
__weak int weak_sub(int a)
{
	return a + in_custom_rodata[a & 3];
}
static int each(__u32 index, void *ctx)
{
	zeroed += index;
	return 0;
}

SEC("xdp")
int count(struct xdp_md *ctx)
{
	__u32 key = 0;
	struct value *value = bpf_map_lookup_elem(&counts, &key);

	if (value)
		value->packets++;
	bpf_loop(4, each, (void *)0, 0);
	in_custom++;
	in_custom_bss++;
	bpf_tail_call(ctx, &jumps, 2);
	return global_sub(filled) + hidden_sub(1) + weak_sub(2);
}
SEC("xdp.frags/devmap")
int tail(struct xdp_md *ctx)
{
	return bpf_map_lookup_elem(&outer, &zeroed) != 0;
}
SEC("?fentry.s/do_nanosleep")
int optional_program(__u64 *ctx)
{
	struct task_struct *task = (void *)ctx[0];

	bpf_rcu_read_lock();
	if (bpf_nothing___v2)
		zeroed = bpf_nothing___v2(1);
	return BPF_CORE_READ(task, pid) + LINUX_KERNEL_VERSION + CONFIG_BPF_SYSCALL + CONFIG_BTRFS_FS + CONFIG_CC_VERSION_TEXT[1] +
	       CONFIG_BOGUS + ((long)&runqueues & 1) + (&bpf_prog_fops != 0);
}
__noinline int on_exception(__u64 cookie)
{
	return cookie;
}
SEC("tc/ingress")
__attribute__((btf_decl_tag("exception_callback:on_exception"))) int throws(struct __sk_buff *skb)
{
	return 0;
}
SEC("mystery")
int unknown_section(void *ctx)
{
	return 0;
}
char LICENSE[] SEC("license") = "GPL";
__u32 _version SEC("version") = 0x61200;
