#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct flow {
	unsigned int from, to;
	struct secret *secret; /* only the second file says what it is */
};
