// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What only the running kernel can tell: CO-RE relocations and externs of every kind. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

struct task_struct___mine {
	int tgid;
	struct task_struct___mine *group_leader;
	char comm[16];
	int no_such_member;
} __attribute__((preserve_access_index));

struct task_struct {
	int tgid;
} __attribute__((preserve_access_index));

struct no_such_struct {
	int member;
} __attribute__((preserve_access_index));

enum bpf_map_type___mine {
	BPF_MAP_TYPE_RINGBUF___mine = 1234,
	BPF_MAP_TYPE_NO_SUCH___mine = 5678,
};

extern const int CONFIG_HZ __kconfig;
extern const int LINUX_KERNEL_VERSION __kconfig;
extern const _Bool LINUX_HAS_SYSCALL_WRAPPER __kconfig;
extern const _Bool CONFIG_BPF_SYSCALL __kconfig;
extern const int CONFIG_NO_SUCH_OPTION __kconfig __weak;
extern const void ksys_write __ksym;
extern const void no_such_symbol __ksym __weak;
extern void bpf_rcu_read_lock(void) __ksym __weak;
extern void bpf_rcu_read_unlock(void) __ksym __weak;
extern void no_such_function(void) __ksym __weak;

int hz, kernel_version, no_option;
__u8 wrapper, bpf_syscall;
__u64 symbol, no_symbol;
int tgid, leader, offset, missing_exists, member_exists, type_exists, no_type_exists, matches;
__u32 type_size, local_id, kernel_id, value_exists, no_value_exists;
__u64 value;
char comm[16];
int locked;

SEC("raw_tp/sys_enter")
int facts(void *ctx)
{
	struct task_struct___mine *task = (void *)bpf_get_current_task();

	hz = CONFIG_HZ;
	kernel_version = LINUX_KERNEL_VERSION;
	no_option = CONFIG_NO_SUCH_OPTION;
	wrapper = LINUX_HAS_SYSCALL_WRAPPER;
	bpf_syscall = CONFIG_BPF_SYSCALL;
	symbol = (__u64)&ksys_write;
	no_symbol = (__u64)&no_such_symbol;

	tgid = BPF_CORE_READ(task, tgid);
	leader = BPF_CORE_READ(task, group_leader, tgid);
	BPF_CORE_READ_INTO(&comm, task, comm);
	offset = bpf_core_field_offset(task->tgid);
	member_exists = bpf_core_field_exists(task->tgid);
	missing_exists = bpf_core_field_exists(task->no_such_member);
	if (missing_exists)
		tgid = BPF_CORE_READ(task, no_such_member);
	type_exists = bpf_core_type_exists(struct task_struct);
	no_type_exists = bpf_core_type_exists(struct no_such_struct);
	type_size = bpf_core_type_size(struct task_struct);
	matches = bpf_core_type_matches(struct task_struct);
	kernel_id = bpf_core_type_id_kernel(struct task_struct);
	local_id = bpf_core_type_id_local(struct task_struct);
	value = bpf_core_enum_value(enum bpf_map_type___mine, BPF_MAP_TYPE_RINGBUF___mine);
	value_exists = bpf_core_enum_value_exists(enum bpf_map_type___mine, BPF_MAP_TYPE_RINGBUF___mine);
	no_value_exists = bpf_core_enum_value_exists(enum bpf_map_type___mine, BPF_MAP_TYPE_NO_SUCH___mine);
	return 0;
}

SEC("?raw_tp/sys_enter")
int calls_function(void *ctx)
{
	bpf_rcu_read_lock();
	locked = 1;
	bpf_rcu_read_unlock();
	return 0;
}

SEC("?raw_tp/sys_enter")
int without_member(void *ctx)
{
	struct task_struct___mine *task = (void *)bpf_get_current_task();

	tgid = BPF_CORE_READ(task, no_such_member);
	return 0;
}

SEC("?raw_tp/sys_enter")
int without_type(void *ctx)
{
	struct no_such_struct *thing = (void *)bpf_get_current_task();

	tgid = BPF_CORE_READ(thing, member);
	return 0;
}

SEC("?raw_tp/sys_enter")
int without_function(void *ctx)
{
	no_such_function();
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
