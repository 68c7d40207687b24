// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// A call of the C library, which no BPF program can make: it compiles, and can't be loaded.
#include "common.h"

unsigned long strtoul(const char *text, char **end, int base);

SEC("xdp")
int calls_the_c_library(struct xdp_md *ctx)
{
	char text[8] = "12";

	return strtoul(text, 0, 10);
}
