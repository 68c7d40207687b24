"""`python -m bpfload_cli`: the same as `bpfload`."""

from bpfload_cli.main import run

run()
