"""`bpfload feature`: what the kernel can do with BPF."""

from __future__ import annotations

from bpfload.abi.helpers import HELPER_NAMES
from bpfload.abi.names import ATTACH_TYPE_NAMES, LINK_TYPE_NAMES, MAP_TYPE_NAMES, PROG_TYPE_NAMES
from bpfload.errors import BpfError, UsageError
from bpfload.inspect import system_features
from bpfload.inspect.system_features import EXTRA_SECTIONS, ProbeRequest
from bpfload_cli.app import CommandTable
from bpfload_cli.grammar import Words
from bpfload_cli.session import Session

_WORDS = ("kernel", "dev", "full", "macros", "prefix", "unprivileged", *EXTRA_SECTIONS)
_BUILTINS = {
    "prog_types": PROG_TYPE_NAMES,
    "map_types": MAP_TYPE_NAMES,
    "attach_types": ATTACH_TYPE_NAMES,
    "link_types": LINK_TYPE_NAMES,
    "helpers": tuple(f"bpf_{name}" for name in HELPER_NAMES),
}


def probe(session: Session, words: Words) -> None:
    """Find out what the kernel, or a network card, can do."""
    request, prefix = _request(words)
    if request.unprivileged:
        session.status = system_features.in_unprivileged_child(lambda: _print(session, request, prefix))
        return
    lacking = system_features.lacking_privileges()
    if lacking:
        raise BpfError(
            f"missing {', '.join(lacking)}, required for full feature probing", hint="Run it as root, or with 'unprivileged'."
        )
    _print(session, request, prefix)


def _print(session: Session, request: ProbeRequest, prefix: str | None) -> int:
    """Probe and print; return 0, the exit status of a child that does this."""
    import sys

    report = system_features.probe(request)
    if session.json:
        session.data(report)
    else:
        from bpfload_cli.feature_layouts import macros, text

        if report.options is None and not request.ifindex:
            session.warn("skipping kernel config: it can't be read")
        session.write(text(report) if prefix is None else macros(report, prefix))
    sys.stdout.flush()
    return 0


def _request(words: Words) -> tuple[ProbeRequest, str | None]:
    """Read what to probe; return it with the prefix of macros, None for text."""
    component, ifindex, prefix = "", 0, None
    flags: set[str] = set()
    while words:
        word = words.keyword(_WORDS, "something to probe")
        if word in ("kernel", "dev"):
            if component:
                raise UsageError("the component to probe is named twice: one of 'kernel' and 'dev IF' is enough")
            component = word
            if word == "dev":
                from bpfload.inspect.net import index_of

                ifindex = index_of(words.take("the device"))
        elif word == "macros" and prefix is None:
            prefix = ""
        elif word == "prefix":
            if prefix is None:
                raise UsageError("'prefix' stands behind 'macros' only")
            if prefix:
                raise UsageError("'prefix' is there twice")
            prefix = words.take("the prefix of the macros")
        elif word in flags or word == "macros":
            raise UsageError(f"{word!r} is there twice")
        else:
            flags.add(word)
    extra = tuple(name for name in EXTRA_SECTIONS if name in flags)
    return ProbeRequest(ifindex, "full" in flags, "unprivileged" in flags, extra), prefix


def list_builtins(session: Session, words: Words) -> None:
    """List the names that this program knows, whatever the kernel does."""
    names = _BUILTINS[words.keyword(tuple(_BUILTINS), "a group of names")]
    words.end()
    if session.json:
        session.data(list(names))
    else:
        session.write("".join(f"{name}\n" for name in names))


def usage(session: Session, words: Words) -> None:
    """Show the forms of these commands."""
    from bpfload_cli.usage import show_usage

    show_usage(session, "feature")


command = CommandTable("feature", (("probe", probe), ("list_builtins", list_builtins), ("help", usage)))
