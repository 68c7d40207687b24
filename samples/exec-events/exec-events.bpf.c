// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct event {
	__u64 time;
	__u32 pid;
	__u32 uid;
	char comm[16];
};

#define EVERYBODY ((__u32)-1)

/* Set before the load: whose programs to show. */
const volatile __u32 only_uid = EVERYBODY;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} events SEC(".maps");

/* The ring buffer has no type of its own: this keeps the struct in the BTF. */
const struct event *unused __attribute__((unused));

SEC("raw_tp/sched_process_exec")
int exec_events(void *ctx)
{
	__u32 uid = bpf_get_current_uid_gid();
	struct event *event;

	if (only_uid != EVERYBODY && only_uid != uid)
		return 0;
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event)
		return 0;
	event->time = bpf_ktime_get_ns();
	event->pid = bpf_get_current_pid_tgid() >> 32;
	event->uid = uid;
	bpf_get_current_comm(event->comm, sizeof(event->comm));
	bpf_ringbuf_submit(event, 0);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
