// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The same with one more member in the value of a map. */
#define WIDE
#include "versions.bpf.c"
