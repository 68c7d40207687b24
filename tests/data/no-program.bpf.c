// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A variable and a licence, and nothing to run. */
int counter = 1;

__attribute__((section("license"), used)) char LICENSE[] = "Dual BSD/GPL";
