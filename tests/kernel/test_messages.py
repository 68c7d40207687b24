"""Messages of libbpf and the kernel that people couldn't decode: the input that provokes each, and the better answer.

What goes through the command is in tests/cli/test_errors.py, attaching in test_links.py, CO-RE relocations and kfuncs that aren't
there in test_rows_fallbacks.py.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import subprocess
import sys
from pathlib import Path
from struct import iter_unpack
from typing import Any

import pytest

from bpfload.abi import consts
from bpfload.elf import read
from bpfload.errors import BpfError, FormatError, KernelError, LinkError, PinError, VerifierError
from bpfload.insn.assemble import assemble, exit_, mov64_imm
from bpfload.insn.assemble import load as load_insn
from bpfload.insn.codec import BPF_DW
from bpfload.load import LoadOptions, load
from bpfload.objects.btf import BtfObject
from bpfload.spec import ObjectSpec, ProgramSpec
from bpfload.syscall import bpf, bpf_call
from support.elfbuilder import ElfBuilder, call
from support.features_data import load_only, path, spec_of, theirs
from support.libbpf import Libbpf
from support.paths import TESTS
from support.programs import small_program


class TestBtfIsMissing:
    """libbpf: "BTF is required, but is missing or corrupted"."""

    @pytest.mark.parametrize(("section", "words"), [(".maps", "maps in .maps are"), (".struct_ops", "struct_ops variables are")])
    def test_compiled_without_g(self, section: str, words: str, libbpf: Libbpf) -> None:
        built = ElfBuilder()
        built.program("xdp", "prog")
        built.symbol("thing", built.section(section, bytes(32), flags=3), 0, 32)
        built.license()
        with pytest.raises(FormatError, match=f"{words} described by BTF, and there is no .BTF section") as caught:
            read("x.bpf.o", data=built.build())
        assert caught.value.hint == "Compile with -g."
        assert caught.value.errno_code == libbpf.load(built.build()).errno

    def test_corrupted(self, libbpf: Libbpf) -> None:
        """Which part of it."""
        data = bytearray(path("maps").read_bytes())
        at = data.index(b"\x9f\xeb\x01\x00\x18")
        data[at + 12 : at + 16] = (0x7FFFFFFF).to_bytes(4, "little")  # type_len
        with pytest.raises(FormatError, match="BTF") as caught:
            read("maps.bpf.o", data=bytes(data))
        assert caught.value.errno_code == libbpf.load(bytes(data)).errno


class TestExternIsNotInBtf:
    """libbpf: "failed to find BTF for extern 'X'"."""

    def test_function_of_the_c_library(self, libbpf: Libbpf) -> None:
        with pytest.raises(FormatError, match="extern 'strtoul' is nowhere defined") as caught:
            read(path("libc"))
        assert "BPF code can't call the C library" in caught.value.hint
        assert "__ksym" in caught.value.hint
        assert caught.value.errno_code == theirs(libbpf, "libc").errno

    def test_macro_that_is_declared_nowhere(self, libbpf: Libbpf) -> None:
        """C takes the use of an unknown macro for a call, of which BTF knows nothing."""
        data = bytearray(path("libc").read_bytes())
        # The symbol is called otherwise than in BTF: it is the first of the two places.
        at = data.rindex(b"\0strtoul\0")
        data[at + 1 : at + 8] = b"MIN_OF2"
        with pytest.raises(FormatError, match="extern 'MIN_OF2' is not in BTF") as caught:
            read("libc.bpf.o", data=bytes(data))
        assert "a macro or function that is declared nowhere" in caught.value.hint
        assert caught.value.errno_code == libbpf.load(bytes(data)).errno


class TestPermissionDenied:
    """EPERM on a program that is right."""

    CHILD = """
import ctypes, sys
for number in map(int, sys.argv[2:]):
    ctypes.CDLL(None).prctl(24, number, 0, 0, 0)  # PR_CAPBSET_DROP: takes effect at exec
import os
os.execv(sys.executable, [sys.executable, "-c", '''
import sys
from bpfload.errors import BpfError
from bpfload.load import load
try:
    load(sys.argv[1]).close()
except BpfError as error:
    print(error)
''', sys.argv[1]])
"""

    @pytest.mark.parametrize(
        ("name", "dropped", "missing"),
        [
            ("legacy", (consts.CAP_SYS_ADMIN, consts.CAP_NET_ADMIN), "CAP_NET_ADMIN is missing"),
            ("core", (consts.CAP_SYS_ADMIN, consts.CAP_PERFMON), "CAP_PERFMON is missing"),
        ],
    )
    @pytest.mark.needs_feature("cap_bpf", since="5.8")
    def test_the_capability_is_named(self, name: str, dropped: tuple[int, ...], missing: str) -> None:
        """CAP_BPF is there; a packet or tracing program takes another one as well."""
        command = [sys.executable, "-c", self.CHILD, str(path(name)), *map(str, dropped)]
        said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=TESTS).stdout
        assert "Operation not permitted (EPERM)" in said
        assert f"{missing}. Run it as root, or with that capability." in said

    def test_locked_memory_of_older_kernels(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Before 5.11 the limit is lifted where that is possible; where not, it is named."""
        import resource

        limits = [(65536, 65536)]
        monkeypatch.setattr(bpf_call, "counts_locked_memory", lambda: True)
        monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
        monkeypatch.setattr(resource, "setrlimit", lambda _, limit: limits.append(limit))
        real = bpf_call._syscall

        def counts(number: int, command: int, attr: Any, size: int) -> int:
            if command == consts.BPF_MAP_CREATE and limits[-1][0] == 65536:
                ctypes.set_errno(errno.EPERM)
                return -1
            result: int = real(number, command, attr, size)
            return result

        monkeypatch.setattr(bpf_call, "_syscall", counts)
        load_only("legacy", "use").close()
        assert limits == [(65536, 65536), (-1, -1)]
        limits[:] = [(65536, 65536)]
        monkeypatch.setattr(resource, "setrlimit", lambda *_: (_ for _ in ()).throw(ValueError("not allowed")))
        with pytest.raises(KernelError, match="EPERM") as caught:
            load_only("legacy", "use")
        assert "RLIMIT_MEMLOCK, which is 64 KiB here" in caught.value.hint


@pytest.mark.needs_feature("tp_btf")
def test_invalid_func_unknown_195896080(libbpf: Libbpf) -> None:
    """The number is nowhere in what is said; the field and the type are."""
    with pytest.raises(VerifierError) as caught:
        load_only("core", "missing_member")
    assert "195896080" not in caught.value.message
    assert "task_struct___other.no_such_member" in str(caught.value)


class TestLegacyMaps:
    """libbpf: "legacy map definitions in 'maps' section are not supported by libbpf v1.0+"."""

    def test_they_are_loaded(self, libbpf: Libbpf) -> None:
        assert theirs(libbpf, "legacy").errno == errno.EOPNOTSUPP
        load_only("legacy", "use").close()

    def test_of_no_known_form(self) -> None:
        built = ElfBuilder()
        built.program("xdp", "prog")
        section = built.section("maps", bytes(10), flags=3)
        built.symbol("broken", section, 0, 10)
        built.license()
        with pytest.raises(BpfError, match="broken") as caught:
            read("x.bpf.o", data=built.build())
        assert "maps" in str(caught.value)


@pytest.mark.needs_feature("map_extra", since="5.16")  # the object has one
class TestPinIsRefused:
    """EPERM or EINVAL for a path: what is the matter with it, and nothing is left there."""

    def test_not_on_bpffs(self, tmp_path: Path) -> None:
        with pytest.raises(PinError, match="shared is not on a BPF file system") as caught:
            load(path("maps"), LoadOptions(pin_root=str(tmp_path / "new")))
        assert "/sys/fs/bpf" in caught.value.hint
        assert os.listdir(tmp_path) == []

    def test_dot_in_a_name(self, bpffs: Path) -> None:
        with pytest.raises(PinError, match="allows no dot in a name") as caught:
            load(path("maps"), LoadOptions(pin_root=str(bpffs / "v1.2")))
        assert caught.value.hint == f"Try {bpffs}/v1_2/shared."

    def test_something_else_is_there(self, bpffs: Path) -> None:
        with small_program() as program:
            bpf.obj_pin(program.fd, str(bpffs / "shared"))
        with pytest.raises(PinError, match="shared holds a program, not a map"):
            load(path("maps"), LoadOptions(pin_root=str(bpffs)))

    def test_directories_go_again(self, bpffs: Path) -> None:
        spec = spec_of("maps")
        spec.programs[-1].insns = call(9999, 0) + spec.programs[-1].insns[8:]
        spec.programs[-1].relocations = ()
        with pytest.raises(BpfError):
            load(spec, LoadOptions(pin_root=str(bpffs / "a/b")))
        assert os.listdir(bpffs) == []
        load(path("maps"), LoadOptions(pin_root=str(bpffs / "a/b"))).close()
        assert os.listdir(bpffs / "a/b") == ["shared"]


def test_names_of_over_15_characters() -> None:
    """The kernel cuts them; all of the name is in BTF, and in messages."""
    name = "a_program_with_a_long_name"
    with load_only("oldkernel", name) as live:
        info = live.program(name).info("func_info")
        assert info.name == name[:15]
        with BtfObject.from_id(info.btf_id) as holder:
            btf = holder.btf()
        assert btf.type(next(iter_unpack("<II", info.func_info))[1]).name == name
    spec = spec_of("oldkernel")
    spec.program(name).insns = assemble(exit_())
    spec.program(name).relocations = ()
    assert spec.btf_ext is not None
    spec.btf_ext.func_info.clear()
    spec.btf_ext.line_info.clear()
    with pytest.raises(VerifierError, match=f"program '{name}': the verifier rejected it"):
        load(spec, LoadOptions(programs=frozenset((name,))))


def test_last_lines_of_a_megabyte_of_log() -> None:
    """Reason, place and remedy in a few lines, whatever the size of the log."""
    steps = [mov64_imm(0, number) for number in range(60000)]
    insns = assemble(*steps, mov64_imm(0, 0), load_insn(BPF_DW, 0, 0), exit_())
    program = ProgramSpec("long", "xdp", 0, insns, type=consts.BPF_PROG_TYPE_XDP, attach_type=consts.BPF_XDP)
    spec = ObjectSpec("object", license="GPL", programs=[program])
    with pytest.raises(VerifierError) as caught:
        load(spec, LoadOptions(log_level=1))
    error = caught.value
    assert len(error.log) > 1 << 20
    lines = str(error).splitlines()
    assert len(lines) <= 12
    assert "R0 invalid mem access" in lines[0]
    assert lines[-1] == error.hint
    assert "BPF_CORE_READ" in error.hint


def test_an_endless_loop_is_the_reason_and_not_the_states_after_it() -> None:
    """The verifier prints two states of all registers behind it."""
    insns = assemble(mov64_imm(0, 0)) + bytes.fromhex("1500ffff00000000") + assemble(exit_())  # if r0 == 0 goto pc-1
    program = ProgramSpec("loop", "xdp", 0, insns, type=consts.BPF_PROG_TYPE_XDP, attach_type=consts.BPF_XDP)
    with pytest.raises(VerifierError, match="infinite loop detected") as caught:
        load(ObjectSpec("object", license="GPL", programs=[program]))
    assert caught.value.hint


def test_section_that_is_guessed_wrong(libbpf: Libbpf) -> None:
    built = ElfBuilder()
    built.program("tracepiont/syscalls/sys_enter_openat", "prog")
    built.license()
    with pytest.raises(LinkError, match="names no program type") as caught:
        load(read("x.bpf.o", data=built.build()))
    assert caught.value.hint == 'Did you mean SEC("tracepoint/syscalls/sys_enter_openat")?'
    assert caught.value.errno_code == libbpf.load(built.build()).errno
    assert re.search(r"program 'prog'", str(caught.value))
