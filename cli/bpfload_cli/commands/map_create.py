"""`bpfload map create`: a map of any type, pinned."""

from __future__ import annotations

from contextlib import ExitStack

from bpfload.abi import consts
from bpfload.abi.names import MAP_TYPE_NAMES
from bpfload.errors import KernelError, NotFoundError, near
from bpfload.objects import paths
from bpfload.objects.map import Map
from bpfload.syscall import bpf
from bpfload_cli.app import WordCommand
from bpfload_cli.commands.pinning import pin_object
from bpfload_cli.grammar import CommandLineError, Words
from bpfload_cli.selecting import one_map
from bpfload_cli.session import Session

_NUMBERS = ("key", "value", "entries", "flags")
# In the order in which bpftool looks for prefixes.
_KEYWORDS = ("type", "name", "key", "value", "entries", "flags", "dev", "offload_dev", "inner_map")
_OF_MAPS = (consts.BPF_MAP_TYPE_ARRAY_OF_MAPS, consts.BPF_MAP_TYPE_HASH_OF_MAPS)
_RINGS = (consts.BPF_MAP_TYPE_RINGBUF, consts.BPF_MAP_TYPE_USER_RINGBUF)
_KEYLESS = (consts.BPF_MAP_TYPE_QUEUE, consts.BPF_MAP_TYPE_STACK, consts.BPF_MAP_TYPE_BLOOM_FILTER)


def create(session: Session, words: Words) -> None:
    """Create a map and pin it."""
    path = words.take("the path to pin the map at")
    given: dict[str, str | int] = {}
    with ExitStack() as stack:
        inner: Map | None = None
        while words:
            keyword = words.keyword(_KEYWORDS, "a property of a map")
            keyword = "offload_dev" if keyword == "dev" else keyword
            if keyword in given:
                raise words.error(f"{words.command}: {keyword} is given twice")
            if keyword == "inner_map":
                inner = one_map(words, stack)
                given[keyword] = inner.info().id
            else:
                given[keyword] = _property(words, keyword)
        if "name" not in given:
            raise words.error(f"{words.command}: the name is missing: name NAME")
        if "type" not in given:
            raise words.error(f"{words.command}: the type is missing: type TYPE", MAP_TYPE_NAMES[1:])
        paths.check_new(paths_of(path), mount=not session.nomount)
        item = stack.enter_context(_make(given, inner))
        pin_object(session, item, path)


def paths_of(path: str) -> str:
    """Return the absolute path of a pin."""
    import os

    paths.check_name(path)
    return os.path.abspath(path)


def _property(words: Words, keyword: str) -> str | int:
    if keyword in _NUMBERS:
        number = words.number({"key": "the size of keys", "value": "the size of values"}.get(keyword, f"the number of {keyword}"))
        if number >= 1 << 32:
            raise words.error(f"{words.command}: {keyword} {number} is more than 32 bits hold")
        return number
    word = words.take(f"the {keyword}")
    if keyword == "type" and word not in MAP_TYPE_NAMES[1:]:
        # No prefixes, so that a script's word never comes to mean a newer type.
        close = near(word, MAP_TYPE_NAMES[1:])
        raise CommandLineError(f"there is no map type {word!r}", command=words.command, known=close or MAP_TYPE_NAMES[1:])
    return word


def _make(given: dict[str, str | int], inner: Map | None) -> Map:
    kind = MAP_TYPE_NAMES.index(str(given["type"]))
    numbers = [int(given.get(name, 0)) for name in _NUMBERS]
    device = _device(str(given["offload_dev"])) if "offload_dev" in given else 0
    try:
        fd = bpf.map_create(kind, *numbers, name=str(given["name"]), inner_map_fd=inner.fd if inner else 0, ifindex=device)
    except KernelError as error:
        what = f"can't create the {given['type']} map {given['name']!r}"
        hint = _hint(error.errno or 0, kind, numbers, inner, device)
        raise KernelError(error.call, error.errno or 0, what, hint=hint) from None
    return Map(fd)


def _device(name: str) -> int:
    import socket

    try:
        return socket.if_nametoindex(name)
    except OSError:
        raise NotFoundError(
            f"no network device {name!r}", candidates=near(name, [row[1] for row in socket.if_nameindex()])
        ) from None


def _hint(code: int, kind: int, numbers: list[int], inner: Map | None, device: int) -> str:
    """Return what is wrong with what was asked for, as far as the type tells."""
    import errno
    import os

    key, value, entries, flags = numbers
    if code == errno.EPERM:
        from bpfload.abi.consts import CAP_BPF
        from bpfload.kernel.capabilities import permission_hint

        return permission_hint(CAP_BPF)
    if device:
        return "Few devices take maps: the driver must offload BPF."
    if kind in _OF_MAPS and inner is None:
        return "A map of maps needs `inner_map MAP`, a map like those that it is to hold."
    if kind in _OF_MAPS and inner is not None and inner.info().type in _OF_MAPS:
        return "The kernel nests maps one level deep: a map of maps can't hold maps of maps."
    page = os.sysconf("SC_PAGE_SIZE")
    if kind in _RINGS and (key or value or entries % page or entries & (entries - 1) or not entries):
        return f"A ring buffer has key 0, value 0, and as entries its bytes: {page} times a power of 2."
    if kind == consts.BPF_MAP_TYPE_LPM_TRIE and not flags & consts.BPF_F_NO_PREALLOC:
        return "An lpm_trie needs flags 1 (BPF_F_NO_PREALLOC)."
    if kind in _KEYLESS and key:
        return "Its elements have no keys: key 0."
    if not entries and kind not in (consts.BPF_MAP_TYPE_SK_STORAGE, consts.BPF_MAP_TYPE_CGROUP_STORAGE):
        return "It needs `entries N`, at least 1."
    if code == errno.EINVAL and key != 4 and str(MAP_TYPE_NAMES[kind]).endswith("array"):
        return "The keys of an array have 4 bytes: key 4."
    if code == errno.EINVAL:
        return f"The kernel takes no such map: key {key}, value {value}, entries {entries}, flags {flags:#x}."
    return ""


command = WordCommand("create", create)
