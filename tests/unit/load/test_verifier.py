"""What is made of a verifier's log."""

from __future__ import annotations

import errno

import pytest

from bpfload.errors import KernelError, VerifierError
from bpfload.linker import LinkedProgram
from bpfload.load.verifier import explain
from bpfload.spec import ExternSpec, MapSpec, ObjectSpec, ProgramSpec

LINKED = LinkedProgram(ProgramSpec("prog", "xdp", 0, bytes(16)), bytearray(16))
SPEC = ObjectSpec(
    "object", maps={"first": MapSpec("first"), "off": MapSpec("off")}, externs={"bpf_k": ExternSpec("bpf_k", "kfunc")}
)
STATISTICS = "processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n"


def explained(log: str, notes: dict[int, str] | None = None, code: int = errno.EACCES) -> KernelError:
    return explain(KernelError("BPF_PROG_LOAD", code), LINKED, SPEC, log, notes or {})


def verifier(log: str, notes: dict[int, str] | None = None) -> VerifierError:
    error = explained(log, notes)
    assert isinstance(error, VerifierError)
    return error


def test_the_reason_is_the_last_message() -> None:
    error = verifier(f"0: R1=ctx() R10=fp0\n; return 0; @ a.c:3\n0: (95) exit\nR0 !read_ok\n{STATISTICS}")
    assert error.reason == "R0 !read_ok"
    assert error.tail == ("0: (95) exit",)
    assert "uninitialised" in error.hint


def test_an_access_out_of_bounds_says_what_was_accessed() -> None:
    log = (
        "1: (71) r1 = *(u8 *)(r1 +12)\n"
        "invalid access to packet, off=12 size=1, R1(id=0,off=12,r=0)\n"
        f"R1 offset is outside of the packet\n{STATISTICS}"
    )
    assert verifier(log).reason == (
        "invalid access to packet, off=12 size=1, R1(id=0,off=12,r=0): R1 offset is outside of the packet"
    )


REPORT = """\
0: R1=ctx() R10=fp0
0: (b7) r2 = 0                        ; R2=0
1: (79) r0 = *(u64 *)(r2 +0)
{message}

Verification failed: Register Type Safety: Invalid dereference

Reason:
  R2 is an integer scalar here, not a pointer
  to memory.

At:
  insn 1
       | ^-- error: invalid dereference of R2 (an integer scalar)
  Instruction context:
      0 | (b7) r2 = 0

Suggestion:
  Preserve a pointer-valued register.

"""


def test_the_report_of_newer_kernels_is_no_reason_but_a_hint() -> None:
    error = verifier(REPORT.format(message="R2 has an unheard-of problem") + STATISTICS)
    assert error.reason == "R2 has an unheard-of problem"
    assert error.hint == "R2 is an integer scalar here, not a pointer to memory. Preserve a pointer-valued register."
    assert error.tail[-1] == "1: (79) r0 = *(u64 *)(r2 +0)"


def test_a_hint_of_ours_goes_before_the_kernels() -> None:
    assert "BPF_CORE_READ" in verifier(REPORT.format(message="R2 invalid mem access 'scalar'") + STATISTICS).hint


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (195896080, "failed to resolve CO-RE relocation struct s.m: s has no m"),
        (2001000001, "map 'off' is referenced but wasn't created"),
        (2002000000, "kfunc 'bpf_k' is called but this kernel doesn't have it"),
        (4711, "invalid func unknown#4711"),
    ],
)
def test_poisoned_instructions_are_reported_as_what_they_were(number: int, said: str) -> None:
    log = f"1: (85) call unknown#{number}\ninvalid func unknown#{number}\n{STATISTICS}"
    assert verifier(log, {1: "struct s.m: s has no m"}).reason == said


def test_without_a_log_the_errno_is_explained() -> None:
    error = explained("", code=errno.E2BIG)
    assert not isinstance(error, VerifierError)
    assert "a million instructions" in str(error)
