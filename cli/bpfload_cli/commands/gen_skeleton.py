"""`bpfload gen skeleton` and `gen subskeleton`: a Python module for an object."""

from __future__ import annotations

from bpfload_cli.app import WordCommand
from bpfload_cli.grammar import Words
from bpfload_cli.session import Session


def _write(session: Session, words: Words, kind: str) -> None:
    """Print the module. `kind`: "skeleton" or "subskeleton"."""
    from bpfload.errors import BpfError, NotFoundError
    from bpfload.gen import skeleton

    path = words.take("the object file")
    name = ""
    if words:
        words.keyword(("name",), "what follows an object file")
        name = words.take("a name")
        if not name.isidentifier():
            raise words.error(f"{words.command}: {name!r} is no name that Python takes")
    words.end()
    try:
        text = (skeleton.skeleton if kind == "skeleton" else skeleton.subskeleton)(path, name)
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such file", hint="Has it been compiled?") from None
    except OSError as error:
        raise BpfError(f"{path}: can't be read: {error.strerror}", errno_code=error.errno or 5) from None
    if session.json:
        session.data({"python": text})
    else:
        session.write(text)


command = WordCommand("skeleton", lambda session, words: _write(session, words, "skeleton"))
subskeleton = WordCommand("subskeleton", lambda session, words: _write(session, words, "subskeleton"))
