/* libbpf's side of the benchmark: seconds for attaching an XDP program to a device by link and letting go of it, COUNT times.
 *
 *   libbpf_attach DEVICE native|generic COUNT     prints a line for each time
 */
#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	struct bpf_insn pass[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = XDP_PASS },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	LIBBPF_OPTS(bpf_prog_load_opts, load, .expected_attach_type = BPF_XDP);
	LIBBPF_OPTS(bpf_link_create_opts, attach);
	int count = argc == 4 ? atoi(argv[3]) : 0, program;

	if (count <= 0)
		return 2;
	attach.flags = strcmp(argv[2], "generic") ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE;
	program = bpf_prog_load(BPF_PROG_TYPE_XDP, "pass", "GPL", pass, 2, &load);
	if (program < 0)
		return 1;
	while (count--) {
		double start = now();
		int link = bpf_link_create(program, if_nametoindex(argv[1]), BPF_XDP, &attach);

		if (link < 0)
			return 1;
		close(link);
		printf("%.9f\n", now() - start);
	}
	return 0;
}
