"""The calls into the kernel: bpf(2), perf_event_open(2), memory maps, netlink. One function per command, named after it."""
