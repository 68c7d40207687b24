"""All commands."""

from __future__ import annotations

from bpfload_cli.app import CommandTable

_HERE = "bpfload_cli.commands"

#: bpftool's commands in bpftool's order, which prefixes are looked for in; then our own.
COMMANDS = CommandTable(
    "bpfload",
    (
        ("help", f"{_HERE}.help:command"),
        ("batch", f"{_HERE}.batch:command"),
        ("prog", f"{_HERE}.prog:command"),
        ("map", f"{_HERE}.map:command"),
        ("link", f"{_HERE}.link:command"),
        ("cgroup", f"{_HERE}.cgroup:command"),
        ("perf", f"{_HERE}.perf:command"),
        ("net", f"{_HERE}.net:command"),
        ("feature", f"{_HERE}.feature:command"),
        ("btf", f"{_HERE}.btf:command"),
        ("gen", f"{_HERE}.gen:command"),
        ("struct_ops", f"{_HERE}.struct_ops:command"),
        ("iter", f"{_HERE}.iter:command"),
        ("token", f"{_HERE}.token:command"),
        ("version", f"{_HERE}.version:command"),
        ("load", f"{_HERE}.load:command"),
        ("unload", f"{_HERE}.unload:unload"),
        ("attach", f"{_HERE}.attach:command"),
        ("detach", f"{_HERE}.attach:detach_command"),
        ("apply", f"{_HERE}.apply:command"),
        ("inspect", f"{_HERE}.inspect:command"),
        ("check", f"{_HERE}.check:check"),
        ("graph", f"{_HERE}.graph:command"),
        ("top", f"{_HERE}.top:command"),
        ("completion", f"{_HERE}.completion:command"),
    ),
)
