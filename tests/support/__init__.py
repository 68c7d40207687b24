"""What the tests share: peers, private kernels' corners (bpffs, namespaces, cgroups), leak checks, a system call tracer."""
