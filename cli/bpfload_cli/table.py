"""All commands."""

from __future__ import annotations

from bpfload_cli.app import CommandTable

_HERE = "bpfload_cli.commands"

#: bpftool's commands in bpftool's order, which prefixes are looked for in; then our own.
COMMANDS = CommandTable(
    "bpfload",
    (
        ("help", f"{_HERE}.help:command"),
        ("prog", f"{_HERE}.prog:command"),
        ("map", f"{_HERE}.map:command"),
        ("link", f"{_HERE}.link:command"),
        ("net", f"{_HERE}.net:command"),
        ("btf", f"{_HERE}.btf:command"),
        ("version", f"{_HERE}.version:command"),
        ("load", f"{_HERE}.load:load"),
        ("unload", f"{_HERE}.unload:unload"),
        ("inspect", f"{_HERE}.inspect:command"),
        ("check", f"{_HERE}.check:check"),
    ),
)
