// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Something of everything that can be looked at: links of many kinds, maps with many types, metadata, a long name. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

enum colour { RED = 1, GREEN = 7 };
enum big : unsigned long long { HUGE = 0x123456789abcULL, TINY = 1 };
typedef unsigned int number;
typedef char letter;

struct inner {
	unsigned int low : 3;
	int high : 7;
	unsigned long long far : 40;
	enum colour colour;
};

union both {
	int whole;
	short parts[2];
};

struct everything {
	number n;
	long long negative;
	_Bool truth;
	char c;
	signed char sc;
	unsigned char uc;
	char text[8];
	char raw[4];
	letter typed[4];
	struct inner inner;
	union both both;
	void *pointer;
	int *nothing;
	int matrix[2][3];
	struct inner several[2];
	enum colour colour;
	unsigned __int128 wide;
	__int128 signed_wide;
	struct {
		int x;
		union {
			int y;
			char z;
		};
	};
	const volatile int qualified;
	int empty[0];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, struct inner);
	__type(value, struct everything);
} typed_hash SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, number);
	__type(value, struct inner);
} typed_percpu SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 3);
	__type(key, int);
	__type(value, enum colour);
} colours SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, int);
	__type(value, enum big);
} bigs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, 4);
	__array(values, void(void));
} programs SEC(".maps");

volatile const char bpf_metadata_author[] SEC(".rodata") = "somebody";
volatile const int bpf_metadata_revision SEC(".rodata") = 42;
volatile const struct inner bpf_metadata_flags SEC(".rodata") = { 1, 2, 3, GREEN };
volatile const unsigned __int128 bpf_metadata_wide SEC(".rodata") = 17;
volatile const char bpf_metadata_letter SEC(".rodata") = '\1';

int counter = 5;
static volatile struct everything global;
char greeting[16] = "hi";
struct everything initialised = { .n = 7, .text = "abc", .colour = RED, .sc = -3 };

#define PROGRAM(section, name, result)                                                                                          \
	SEC(section)                                                                                                            \
	int name(void *ctx)                                                                                                     \
	{                                                                                                                       \
		return (result);                                                                                                \
	}

SEC("raw_tp/task_rename")
int on_rename(void *ctx)
{
	int key = 0;

	counter += bpf_metadata_author[0] + bpf_metadata_revision + bpf_metadata_flags.colour + (int)bpf_metadata_wide;
	counter += bpf_metadata_letter + greeting[0] + global.n + initialised.n;
	bpf_map_lookup_elem(&colours, &key);
	bpf_map_lookup_elem(&bigs, &key);
	bpf_map_lookup_elem(&typed_percpu, &key);
	bpf_tail_call(ctx, &programs, 0);
	return 0;
}

SEC("socket")
int a_name_that_is_longer_than_the_kernel_keeps(void *ctx)
{
	struct inner key = {};

	return bpf_map_lookup_elem(&typed_hash, &key) != 0;
}

PROGRAM("tp/task/task_rename", on_tracepoint, 0)
PROGRAM("tp_btf/task_rename", on_typed, 0)
PROGRAM("iter/bpf_map", over_maps, 0)
PROGRAM("iter/task", over_tasks, 0)

char LICENSE[] SEC("license") = "GPL";
