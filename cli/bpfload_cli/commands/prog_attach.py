"""`bpfload prog attach`, `prog detach`: programs of a sockmap, the flow dissector; without a link, as bpftool does it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from bpfload.abi import consts
from bpfload.links import prog_attach
from bpfload.objects.map import Map
from bpfload.objects.program import Program
from bpfload_cli.grammar import Words, is_prefix
from bpfload_cli.selecting import one_map, one_program
from bpfload_cli.session import Session

#: In the order of enum bpf_attach_type: the name, and bpftool's older one, of which any beginning will do ("": there is none).
_TYPES = (
    ("sk_skb_stream_parser", "stream_parser", consts.BPF_SK_SKB_STREAM_PARSER),
    ("sk_skb_stream_verdict", "stream_verdict", consts.BPF_SK_SKB_STREAM_VERDICT),
    ("sk_msg_verdict", "msg_verdict", consts.BPF_SK_MSG_VERDICT),
    ("flow_dissector", "", consts.BPF_FLOW_DISSECTOR),
    ("sk_skb_verdict", "skb_verdict", consts.BPF_SK_SKB_VERDICT),
)


def attach(session: Session, words: Words) -> None:
    """Attach a program."""
    _change(session, words, prog_attach.attach)


def detach(session: Session, words: Words) -> None:
    """Detach it again."""
    _change(session, words, prog_attach.detach)


def _change(session: Session, words: Words, action: Callable[[Program, int, Map | None], None]) -> None:
    with ExitStack() as stack:
        program = one_program(words, stack)
        attach_type = _attach_type(words)
        target = None if attach_type == consts.BPF_FLOW_DISSECTOR else one_map(words, stack)
        words.end()
        action(program, attach_type, target)
    session.done()


def _attach_type(words: Words) -> int:
    """Read the attach type."""
    word = words.take("what to attach it as")
    for name, older, number in _TYPES:
        if word == name or is_prefix(word, older):
            return number
    raise words.error(f"{words.command}: {word!r} is not what a program can be attached as", [row[0] for row in _TYPES])
