"""bpfload against libbpf: the verdict and the tag of every program of the kernel's own BPF selftests, in one run.

`python -m conformance` (with tests/ on the path) or `python tests/conformance/run.py`. See run.py for what it does.
"""
