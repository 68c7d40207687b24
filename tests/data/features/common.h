/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the objects share, and what older headers of libbpf don't have yet. */
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#ifndef __ulong
#define __ulong(name, val) enum { map_extra_value_##name = val } name
#endif
#ifndef __arg_ctx
#define __arg_ctx __attribute__((btf_decl_tag("arg:ctx")))
#endif
#ifndef __exception_cb
#define __exception_cb(name) __attribute__((btf_decl_tag("exception_callback:" #name)))
#endif

char LICENSE[] SEC("license") = "GPL";
