"""Numbers and layouts of the kernel's user-space interface: data only."""
