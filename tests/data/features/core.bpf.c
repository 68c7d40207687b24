// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// CO-RE relocations of all 13 kinds, against task_struct and others; a program puts what it got into variables.
#include "common.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct task_struct {
	int pid;
	int tgid;
	int exit_code;
	char comm[16];
	/* A bit field in every kernel. */
	unsigned sched_reset_on_fork : 1;
	unsigned in_execve : 1;
};

struct task_struct___other {
	int no_such_member;
};

struct no_such_struct {
	int member;
};

struct list_head {
	struct list_head *next, *prev;
};

struct list_head___else {
	int next, prev;
};
#pragma clang attribute pop

enum bpf_map_type___here {
	BPF_MAP_TYPE_ARRAY___here = 1234,
	BPF_MAP_TYPE_NO_SUCH___here = 5678,
};

unsigned int byte_off, byte_sz, exists, missing, is_signed, is_unsigned, lshift, rshift, bits;
unsigned int id_local, id_target, id_missing, type_exists, type_missing, type_size, matches, matches_not;
unsigned int value_exists, value_missing;
unsigned long long value;

SEC("raw_tp/sys_enter")
int all_kinds(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct task_struct___other *other = (void *)task;

	byte_off = __builtin_preserve_field_info(task->exit_code, BPF_FIELD_BYTE_OFFSET);
	byte_sz = __builtin_preserve_field_info(task->comm, BPF_FIELD_BYTE_SIZE);
	exists = bpf_core_field_exists(task->tgid);
	missing = bpf_core_field_exists(other->no_such_member);
	is_signed = __builtin_preserve_field_info(task->exit_code, BPF_FIELD_SIGNED);
	is_unsigned = __builtin_preserve_field_info(task->in_execve, BPF_FIELD_SIGNED);
	lshift = __builtin_preserve_field_info(task->in_execve, BPF_FIELD_LSHIFT_U64);
	rshift = __builtin_preserve_field_info(task->in_execve, BPF_FIELD_RSHIFT_U64);
	bits = BPF_CORE_READ_BITFIELD_PROBED(task, in_execve);
	id_local = bpf_core_type_id_local(struct task_struct);
	id_target = bpf_core_type_id_kernel(struct task_struct);
	id_missing = bpf_core_type_id_kernel(struct no_such_struct);
	type_exists = bpf_core_type_exists(struct task_struct);
	type_missing = bpf_core_type_exists(struct no_such_struct);
	type_size = bpf_core_type_size(struct task_struct);
	matches = bpf_core_type_matches(struct list_head);
	matches_not = bpf_core_type_matches(struct list_head___else);
	value_exists = bpf_core_enum_value_exists(enum bpf_map_type___here, BPF_MAP_TYPE_ARRAY___here);
	value_missing = bpf_core_enum_value_exists(enum bpf_map_type___here, BPF_MAP_TYPE_NO_SUCH___here);
	value = bpf_core_enum_value(enum bpf_map_type___here, BPF_MAP_TYPE_ARRAY___here);
	return 0;
}

SEC("?tp_btf/sched_switch")
int missing_member(unsigned long long *ctx)
{
	struct task_struct___other *task = (void *)ctx[1];

	if (task->no_such_member)
		byte_off = 1;
	return 0;
}
