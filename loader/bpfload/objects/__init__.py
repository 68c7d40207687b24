"""Live objects in the kernel: Program, Map, BtfObject, Link. Each owns one fd."""
