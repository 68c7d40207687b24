"""`bpfload prog load`, `prog loadall`: bpftool's way of loading an object file."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bpfload_cli.grammar import Words
from bpfload_cli.selecting import one_map
from bpfload_cli.session import Session

if TYPE_CHECKING:
    from bpfload.objects.map import Map
    from bpfload.pins.plain import PlainLoad
    from bpfload.spec import ObjectSpec

# In bpftool's order, which beginnings of words are looked for in; the last is ours.
_WORDS = ("type", "map", "dev", "offload_dev", "xdpmeta_dev", "pinmaps", "autoattach", "kernel_btf")
# The verifier's log at both levels, and its statistics: what bpftool asks for with -d.
_WHOLE_LOG = 1 + 2 + 4


@dataclass(slots=True, eq=False)
class _Options:
    """What follows OBJ and PATH. `by_index`, `by_name`: maps to use instead of new ones. The interfaces by index, 0 for none."""

    type: str = ""
    offload: int = 0
    bound_to: int = 0
    pinmaps: str = ""
    autoattach: bool = False
    kernel_btf: str = ""
    by_name: dict[str, Map] = field(default_factory=dict)
    by_index: dict[int, Map] = field(default_factory=dict)


def load(session: Session, words: Words, *, all_programs: bool) -> None:
    """Load an object file and pin its first program at a path, or all of them in a directory."""
    file = words.take("the object file")
    path = words.take("the path to pin to")
    with ExitStack() as stack:
        options = _options(session, words, stack)
        done = _load(session, file, path, options, all_programs)
    _report(session, done)
    session.done()


def _options(session: Session, words: Words, stack: ExitStack) -> _Options:
    options = _Options()
    while words:
        word = words.keyword(_WORDS, "an option of prog load")
        if word == "type":
            if options.type:
                raise words.error("the program type is given twice")
            options.type = words.take("the program type")
        elif word == "map":
            _read_map(words, options, stack)
        elif word == "pinmaps":
            options.pinmaps = words.take("the directory to pin the maps in")
        elif word == "autoattach":
            options.autoattach = True
        elif word == "kernel_btf":
            options.kernel_btf = words.take("the file with the kernel's BTF")
        else:
            if word == "dev":
                session.warn("Note: 'dev' is an old word for 'offload_dev'; for XDP hints alone there is 'xdpmeta_dev'.")
            _read_device(words, options, bound="xdpmeta" in word)
    return options


def _read_map(words: Words, options: _Options, stack: ExitStack) -> None:
    """Read ``idx N MAP`` or ``name NAME MAP``."""
    if words.keyword(("idx", "name"), "a way to name the object's map") == "idx":
        index = words.number("the index of the object's map")
        if index in options.by_index:
            raise words.error(f"the object's map {index} is replaced twice")
        options.by_index[index] = one_map(words, stack)
        return
    name = words.take("the name of the object's map")
    if name in options.by_name:
        raise words.error(f"the object's map {name!r} is replaced twice")
    options.by_name[name] = one_map(words, stack)


def _read_device(words: Words, options: _Options, *, bound: bool) -> None:
    import socket

    from bpfload.errors import NotFoundError, near

    name = words.take("the network device")
    if options.offload or options.bound_to:
        raise words.error("one network device at most: 'offload_dev' and 'xdpmeta_dev' exclude each other")
    try:
        ifindex = socket.if_nametoindex(name)
    except OSError:
        names = [found for _, found in socket.if_nameindex()]
        raise NotFoundError(f"no network device {name!r}", candidates=near(name, names)) from None
    if bound:
        options.bound_to = ifindex
    else:
        options.offload = ifindex


def _load(session: Session, file: str, path: str, options: _Options, all_programs: bool) -> PlainLoad:
    from bpfload import elf
    from bpfload.load import LoadOptions
    from bpfload.pins import plain

    spec: ObjectSpec = elf.read(file)
    if options.type:
        plain.set_type(spec, options.type)
    if options.bound_to:
        plain.bind_to_device(spec, options.bound_to)
    if options.offload:
        plain.offload(spec, options.offload)
    return plain.load_and_pin(
        spec,
        path,
        all_programs=all_programs,
        autoattach=options.autoattach,
        maps=plain.replacements(spec, options.by_name, options.by_index),
        maps_directory=options.pinmaps,
        options=LoadOptions(kernel_btf=options.kernel_btf or None, log_level=_WHOLE_LOG if session.debug else 0),
        mount=not session.nomount,
    )


def _report(session: Session, done: PlainLoad) -> None:
    """Say what came out otherwise than asked; nothing of it as JSON, as with bpftool."""
    if session.json:
        return
    for name, log in done.logs.items():
        session.warn(f"Verifier log of program {name!r}:\n{log.rstrip()}")
    for note in done.notes:
        session.warn(f"Note: {note}")
    for name, reason in done.fallen_back.items():
        session.warn(f"Program {name} does not support autoattach, falling back to pinning{f': {reason}' if reason else ''}")
