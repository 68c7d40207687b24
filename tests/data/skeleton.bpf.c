// Everything that a generated module has an attribute for: all kinds of types, maps, variables; names that Python won't have.
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

enum verdict {
	VERDICT_NONE,
	VERDICT_PASS = 3,
	VERDICT_DROP = 7,
};

struct flow {
	__u32 from;
	__u16 lambda;
	_Bool is_new;
	union {
		__u32 v4;
		struct {
			__u16 low;
			__u16 high;
		};
	};
};

struct point {
	int x, y;
};

union number {
	__u64 whole;
	__u8 bytes[8];
};

struct stats {
	__u64 packets;
	struct point corners[2];
	union number last;
	enum verdict verdict;
	enum verdict all[2];
	char comm[16];
	int grid[2][3];
	unsigned int flag : 1;
	signed int level : 7;
	double ratio;
	void *list;
	struct {
		int inner;
	} nested;
};

struct event {
	__u32 number;
	enum verdict verdict;
	char text[8];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, struct flow);
	__type(value, struct stats);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, enum verdict);
	__type(value, long);
} global SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, int);
	__type(value, struct point);
} per_cpu SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 4);
	__type(value, struct point);
} queue SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__uint(value_size, 4);
} jumps SEC(".maps");

const volatile __u32 only_pid = 1;
const volatile struct point origin = { 3, 4 };
int counter = 5;
struct stats total;
enum verdict import;
__u64 list[4];
int custom SEC(".data.custom") = 9;
static volatile int hidden;

struct event *unused __attribute__((unused));

SEC("raw_tracepoint/sys_enter")
int count(void *ctx)
{
	struct flow key = { .from = 1, .lambda = 2, .v4 = 0x30004 };
	struct stats *found;
	struct event *event;

	if (bpf_get_current_pid_tgid() >> 32 != only_pid)
		return 0;
	counter++;
	hidden++;
	list[1] = origin.x;
	total.corners[1].y = origin.y;
	import = VERDICT_DROP;
	found = bpf_map_lookup_elem(&flows, &key);
	if (found)
		__sync_fetch_and_add(&found->packets, 1);
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event)
		return 0;
	event->number = counter;
	event->verdict = VERDICT_PASS;
	__builtin_memcpy(event->text, "hello", 6);
	bpf_ringbuf_submit(event, 0);
	return 0;
}

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	counter += 1000;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
