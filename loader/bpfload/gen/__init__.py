"""What is made from object files, without a kernel: one object of several, the BTF that some need, Python modules."""
