// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What only a module's BTF describes: a function to trace and a struct of veth, functions to call of nf_conntrack.
#include "common.h"
#include <bpf/bpf_tracing.h>

/* No kernel's layout: where the member lies is asked of the module. */
struct veth_priv {
	long before[100];
	unsigned int requested_headroom;
} __attribute__((preserve_access_index));

struct no_such_struct_of_a_module {
	int member;
} __attribute__((preserve_access_index));

struct sk_buff;

/* A declaration alone would be no match for what the module has: a prototype is compared by the kinds of its types. */
struct nf_conn {
	long of_no_interest;
};

struct bpf_ct_opts___local {
	int netns_id;
	int error;
	unsigned char l4proto;
	unsigned char dir;
	unsigned char reserved[2];
};

extern struct nf_conn *bpf_skb_ct_lookup(struct __sk_buff *skb, struct bpf_sock_tuple *tuple, unsigned int tuple_size,
					 struct bpf_ct_opts___local *opts, unsigned int opts_size) __ksym;
extern void bpf_ct_release(struct nf_conn *connection) __ksym;
extern void bpf_no_such_function_of_a_module(void) __ksym __weak;

unsigned int offset, size, exists, missing = 1, sent, seen_length, unresolved;
int error;

SEC("?fentry/veth_xmit")
int BPF_PROG(traced, struct sk_buff *skb)
{
	__sync_fetch_and_add(&sent, 1);
	return 0;
}

SEC("?raw_tp/sys_enter")
int fields(void *ctx)
{
	offset = bpf_core_field_offset(struct veth_priv, requested_headroom);
	size = bpf_core_type_size(struct veth_priv);
	exists = bpf_core_type_exists(struct veth_priv);
	missing = bpf_core_type_exists(struct no_such_struct_of_a_module);
	return 0;
}

SEC("?tc")
int calls(struct __sk_buff *skb)
{
	struct bpf_ct_opts___local opts = { .netns_id = -1, .l4proto = 17 };
	struct bpf_sock_tuple tuple = {};
	struct nf_conn *connection;

	connection = bpf_skb_ct_lookup(skb, &tuple, sizeof(tuple.ipv4), &opts, sizeof(opts));
	if (connection)
		bpf_ct_release(connection);
	error = opts.error;
	unresolved = bpf_no_such_function_of_a_module == 0;
	return connection ? 1 : 2;
}
