// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A program for each of many hooks, all switched off but the one that is asked for; constants and variables of many types. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

enum action { PASS, DROP = 7, LOG };

struct rule {
	enum action action;
	unsigned int port : 12;
	unsigned int strict : 1;
	struct {
		unsigned short low, high;
	} range;
};

const volatile unsigned char small = 1;
const volatile int number = -1;
const volatile unsigned long long large = 1;
const volatile _Bool flag = 0;
const volatile char letter = 'a';
const volatile enum action action = PASS;
const volatile char text[8] = "abc";
const volatile int ports[3] = { 1, 2, 3 };
const volatile struct rule rule = { DROP, 80, 1, { 1, 2 } };
const volatile struct rule rules[2];
int variable = 5;
unsigned long long calls;

struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 4);
	__type(key, int);
	__type(value, int);
} sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, int);
	__type(value, long);
} numbers SEC(".maps");

static int count(int result)
{
	__sync_fetch_and_add(&calls, 1 + (variable + number + small + (int)large + flag + letter + (int)action + text[0] +
					  ports[0] + (int)rule.action + (int)rules[1].action == -100000));
	return result;
}

#define PROGRAM(section, name, result) SEC("?" section) int name(void *ctx) { return count(result); }

PROGRAM("xdp", on_xdp, 2)
PROGRAM("xdp.frags", on_xdp_frags, 2)
PROGRAM("tcx/ingress", on_ingress, -1)
PROGRAM("tcx/egress", on_egress, -1)
PROGRAM("tc", on_tc, 0)
PROGRAM("cgroup_skb/egress", on_cgroup_egress, 1)
PROGRAM("cgroup/sock_create", on_cgroup_socket, 1)
PROGRAM("sk_lookup", on_lookup, 1)
PROGRAM("sk_skb/verdict", on_verdict, 1)
PROGRAM("netfilter", on_netfilter, 1)
PROGRAM("tp/sched/sched_switch", on_switch, 0)
PROGRAM("tp", on_tracepoint, 0)
PROGRAM("raw_tp/sys_enter", on_enter, 0)
PROGRAM("perf_event", on_event, 0)
PROGRAM("uprobe", on_uprobe, 0)
PROGRAM("uretprobe//bin/true:main", on_uretprobe, 0)
PROGRAM("iter/task", on_task, 0)
PROGRAM("iter/bpf_map_elem", on_element, 0)
PROGRAM("socket", on_socket, 0)
PROGRAM("syscall", run_by_hand, 0)

char _license[] SEC("license") = "GPL";
