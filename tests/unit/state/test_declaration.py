"""The file that declares objects: what is read of it, and what is said of mistakes in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpfload.errors import BpfError, UsageError
from bpfload.state.declaration import parse, read

HEAD = 'name = "lab"\n[object.hello]\nfile = "hello.bpf.o"\n'


def test_an_object() -> None:
    declaration = parse((HEAD + 'dev = "eth0"\n[object.hello.set]\nlimit = 5\n').encode(), "/there/lab.toml")
    (found,) = declaration.objects
    assert (declaration.name, found.file, found.pin) == ("lab", "/there/hello.bpf.o", "/sys/fs/bpf/hello")
    assert found.declared() == {"dev": "eth0", "set.limit": 5}


def test_files_count_by_their_content(tmp_path: Path) -> None:
    text = HEAD + 'kconfig = "k"\n[object.hello.program.p]\ntarget = "a/b"\n'
    seen = []
    for content in ("CONFIG_HZ=100\n", "CONFIG_HZ=250\n", "CONFIG_HZ=100\n"):
        (tmp_path / "k").write_text(content)
        (found,) = parse(text.encode(), str(tmp_path / "lab.toml")).objects
        seen.append(found.declared())
    assert seen[0] == seen[2]
    assert seen[0]["kconfig"] != seen[1]["kconfig"]
    assert seen[0]["program.p.target"] == "a/b"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("x", "lab.toml: not TOML: ", ""),
        ("\xff".encode("latin-1"), "lab.toml: not UTF-8 text, at byte 0", ""),
        ("", "lab.toml: it has no name", "Begin it with name"),
        ('name = ""', "it has no name", ""),
        ('name = "a\\nb"', "is no name: at most 64 characters, on one line", ""),
        ("name = 5", "lab.toml: name is 5", "It takes text in quotes."),
        ('name = "l"\nobjekt = 1', "lab.toml: unknown key 'objekt'", "Did you mean object?"),
        ('name = "l"\nobject = 1', "object is 1", "It takes a table."),
        ('name = "l"\n[object]\na = 1', "'a' is 1", ""),
        ('name = "l"\n[object.a]', "[object.a]: file is missing", "It names the object file"),
        (HEAD + 'devv = "x"', "lab.toml, [object.hello]: unknown key 'devv'", "Did you mean dev?"),
        (HEAD + 'pin_maps = "x"', "unknown key 'pin_maps'", "Did you mean pin-maps"),
        (HEAD + "zzzz = 1", "unknown key 'zzzz'", "It takes file, pin, programs"),
        (HEAD + "dev = 3", "[object.hello]: dev is 3", "It takes text in quotes."),
        (HEAD + "pid = true", "pid is true", "It takes a whole number."),
        (HEAD + 'programs = "p"', "programs is 'p'", "It takes a list of texts."),
        (HEAD + "programs = [1]", "programs is a list", "It takes a list of texts."),
        (HEAD + "set = 1979-05-27", "set is a date", "It takes a table."),
        (HEAD + 'mode = "native"', "mode makes no sense without dev", ""),
        (HEAD + 'dev = "a"\nmode = "fast"', "no mode 'fast'", "auto, native, generic or offload"),
        (HEAD + 'dev = "a"\ndirection = "in"', "no direction 'in'", "ingress or egress"),
        (HEAD + 'netfilter = "ip"', "netfilter 'ip' has two parts", "ip/input"),
        (HEAD + 'maps = "old"', "no maps 'old'", "keep, keep-all, fit or fresh"),
        (HEAD + 'maps = "keep-all"\nfresh-maps = ["m"]', "exclude each other", ""),
        (HEAD + 'pin = "hello"', "pin 'hello' is no absolute path", "/sys/fs/bpf/hello"),
        (HEAD + 'pin = "/sys/fs/bpf/a.b"', "[object.hello]: 'a.b' has a dot in it", "a_b"),
        (HEAD + 'pin = "/sys/fs/bpf/a_bpfload_applied"', "can't be a pin's name", ""),
        (HEAD + "[object.hello.program]\np = 1", "program.p is 1", "[object.hello.program.p]"),
        (HEAD + '[object.hello.program.p]\nset = "x"', "[object.hello.program.p]: unknown key 'set'", ""),
        (HEAD + '[object.hello.program.p]\nmode = "native"', "mode makes no sense without dev", ""),
        (HEAD + 'chain = true\ndev = "a"\ncgroup = "c"', "cgroup doesn't go with chain", ""),
        (HEAD + '[object.b]\nfile = "b"\npin = "/sys/fs/bpf/hello"', "is that of [object.hello], too", ""),
        (HEAD + '[object.b]\nfile = "b"\npin = "/sys/fs/bpf/hello/b"', "is inside that of [object.hello]", ""),
    ],
)
def test_mistakes(text: str | bytes, message: str, hint: str) -> None:
    with pytest.raises(BpfError) as caught:
        parse(text.encode() if isinstance(text, str) else text, "lab.toml")
    assert message in str(caught.value)
    assert hint in caught.value.hint
    assert len(str(caught.value).splitlines()) <= 2


def test_nested_too_deeply() -> None:
    with pytest.raises(UsageError, match="not TOML"):
        parse(b"a = " + b"[" * 100_000, "lab.toml")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BpfError, match=r"nothing\.toml: can't be read: No such file or directory"):
        read(tmp_path / "nothing.toml")
