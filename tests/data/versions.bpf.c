// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A load that is replaced by another version of itself: `version` says which one counts. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct count {
	__u64 all;
#ifdef WIDE
	__u32 last;
#endif
	__u64 by_version[4];
};

const volatile __u32 version = 1;
__u64 packets;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct count);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} a_map_with_a_long_name_1 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} a_map_with_a_long_name_2 SEC(".maps");

static int count(int result)
{
	__u32 key = 0;
	struct count *found = bpf_map_lookup_elem(&counts, &key);

	if (found) {
		__sync_fetch_and_add(&found->all, 1);
		__sync_fetch_and_add(&found->by_version[version & 3], 1);
	}
	__sync_fetch_and_add(&packets, 1);
	bpf_map_lookup_elem(&a_map_with_a_long_name_1, &key);
	bpf_map_lookup_elem(&a_map_with_a_long_name_2, &key);
	return result;
}

SEC("xdp")
int on_packet(struct xdp_md *ctx)
{
	return count(XDP_PASS);
}

SEC("?tcx/egress")
int on_egress(struct __sk_buff *ctx)
{
	return count(-1);
}

SEC("?raw_tp/task_rename")
int on_rename(struct bpf_raw_tracepoint_args *ctx)
{
	return count(0);
}

char _license[] SEC("license") = "Dual BSD/GPL";
