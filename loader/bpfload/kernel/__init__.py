"""Facts of the running kernel: mounts, tracing, capabilities, configuration, symbols, BTF."""
