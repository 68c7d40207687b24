"""The library's public names: each is there, what `__all__` says it is, and costs nothing before it is named."""

from __future__ import annotations

import inspect
import sys

import bpfload
from support.process import run


def test_every_name_is_there_and_documented() -> None:
    for name in bpfload.__all__:
        found = getattr(bpfload, name)
        assert name == "__version__" or inspect.getdoc(found), name
    assert set(bpfload.__all__) <= set(dir(bpfload))


def test_every_error_is_a_public_name() -> None:
    from bpfload import errors

    kinds = {name for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, errors.BpfError)}
    assert kinds <= set(bpfload.__all__)


def test_modules_come_when_they_are_named() -> None:
    code = """
import sys, bpfload
loaded = [name for name in sys.modules if name.startswith("bpfload.")]
try:
    bpfload.load("/nowhere.bpf.o")
except bpfload.errors.NotFoundError as error:
    print(loaded, type(error) is bpfload.NotFoundError)
"""
    assert run(sys.executable, "-c", code).stdout == "[] True\n"


def test_load_is_a_function_and_a_package() -> None:
    from bpfload.load.session import load

    assert inspect.signature(bpfload.load) == inspect.signature(load)
