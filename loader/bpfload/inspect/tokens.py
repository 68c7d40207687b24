"""What mounted bpffs delegate to processes of a user namespace: the rights of the BPF tokens made from them.

Source: bpf_show_options() in kernel/bpf/inode.c.
"""

from __future__ import annotations

from dataclasses import dataclass

from bpfload.kernel import mounts


@dataclass(frozen=True, slots=True)
class TokenView:
    """The rights of tokens of one bpffs. `token_info`: where it is mounted. The rest: names, "any" for all, or a number."""

    token_info: str
    allowed_cmds: tuple[str, ...]
    allowed_maps: tuple[str, ...]
    allowed_progs: tuple[str, ...]
    allowed_attachs: tuple[str, ...]


_OPTIONS = ("delegate_cmds", "delegate_maps", "delegate_progs", "delegate_attachs")


def every() -> list[TokenView]:
    """Return the bpffs that delegate anything, in the order of mounting."""
    found = []
    for path, options in mounts.mount_options("bpf"):
        given = dict(option.partition("=")[::2] for option in options.split(","))
        if any(option in given for option in _OPTIONS):
            found.append(TokenView(path, *(_words(given.get(option, "")) for option in _OPTIONS)))
    return found


def _words(value: str) -> tuple[str, ...]:
    return tuple(word for word in value.split(":") if word)
