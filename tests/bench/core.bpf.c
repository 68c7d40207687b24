// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// CO-RE relocations against a few big types of the kernel, for the benchmark.
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#define from_kernel __attribute__((preserve_access_index))

struct qstr {
	const unsigned char *name;
} from_kernel;

struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
} from_kernel;

struct path {
	struct dentry *dentry;
} from_kernel;

struct file {
	struct path f_path;
} from_kernel;

struct mm_struct {
	struct file *exe_file;
	unsigned long start_code, end_code;
} from_kernel;

struct task_struct {
	int pid, tgid;
	struct task_struct *real_parent;
	struct mm_struct *mm;
	char comm[16];
} from_kernel;

long result[8];

SEC("raw_tp/sched_switch")
int bench(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	result[0] = BPF_CORE_READ(task, pid);
	result[1] = BPF_CORE_READ(task, real_parent, tgid);
	result[2] = BPF_CORE_READ(task, mm, start_code);
	result[3] = BPF_CORE_READ(task, mm, end_code);
	result[4] = (long)BPF_CORE_READ(task, mm, exe_file, f_path.dentry, d_parent, d_name.name);
	result[5] = bpf_core_field_size(task->comm);
	result[6] = bpf_core_type_size(struct task_struct);
	result[7] = bpf_core_field_exists(task->mm);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
