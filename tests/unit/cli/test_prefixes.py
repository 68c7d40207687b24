"""Any beginning of a command's name means what it means to bpftool: the first that fits, in bpftool's order."""

from __future__ import annotations

import pytest

from bpfload_cli.grammar import is_prefix
from bpfload_cli.table import COMMANDS

# The tables called `cmds` of tools/bpf/bpftool/*.c, and `commands` of main.c.
_TABLES = {
    "": "help batch prog map link cgroup perf net feature btf gen struct_ops iter version",
    "prog": "show list help dump pin load loadall attach detach tracelog run profile",
    "map": "show list help dump update lookup getnext delete pin event_pipe create peek push enqueue pop dequeue freeze",
    "link": "show list help pin detach",
    "cgroup": "show list tree attach detach help",
    "perf": "show list help",
    "net": "show list attach detach help",
    "feature": "probe list_builtins help",
    "btf": "show list help dump",
    "gen": "object skeleton subskeleton min_core_btf help",
    "struct_ops": "show list register unregister dump help",
    "iter": "help pin",
}


@pytest.mark.parametrize("command", _TABLES)
def test_every_beginning(command: str) -> None:
    table = COMMANDS.get_command(None, command) if command else COMMANDS
    theirs = [name for name in _TABLES[command].split() if name in table.names]
    assert theirs
    for name in theirs:
        for length in range(1, len(name) + 1):
            word = name[:length]
            assert table.find(word) == next(known for known in theirs if is_prefix(word, known)), word
    # Without a word both take their first.
    assert table.names[0] == theirs[0]
