"""`bpfload gen object OUT IN…`: several object files become one."""

from __future__ import annotations

from bpfload_cli.app import WordCommand
from bpfload_cli.grammar import Words
from bpfload_cli.session import Session


def link(session: Session, words: Words) -> None:
    """Link object files statically."""
    from bpfload.gen.object import link_objects, write_object

    output = words.take("the file to write")
    objects = [words.take("an object file")]
    while words:
        objects.append(words.take("an object file"))
    write_object(output, link_objects(objects))
    session.done()


command = WordCommand("object", link)
