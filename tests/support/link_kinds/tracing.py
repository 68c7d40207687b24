"""Rows of the table of attachments: what is verified for its target, and iterators. (struct_ops has no program: see
tests/kernel/test_struct_ops.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bpfload.abi import consts
from bpfload.btf.types import KIND_FUNC, KIND_TYPEDEF
from bpfload.elf import read
from bpfload.links import Target
from bpfload.load import LoadOptions, Object, load
from bpfload.objects import Program
from bpfload.spec import ProgramSpec
from support.features import why_missing
from support.link_kinds.kind import Kind, Place, allowed_by_policy, kernel_type, load_for
from support.paths import DATA
from support.programs import program_spec, small_map


@dataclass(frozen=True)
class _Verified:
    """What a program is verified for: SEC() before the slash, attach type, the target and how the kernel's BTF calls it."""

    section: str
    attach_type: int
    target: str
    prefix: str = ""
    kind: int = KIND_FUNC
    type: int = consts.BPF_PROG_TYPE_TRACING

    def spec(self, name: str) -> ProgramSpec:
        section = f"{self.section}/{self.target}"
        return program_spec(name, self.type, section=section, target=self.target, attach_type=self.attach_type)

    def load(self, place: Place, spec: ProgramSpec) -> Program:
        return load_for(place, spec, kernel_type(self.prefix + self.target, self.kind))


def _on_trampoline(name: str, verified: _Verified, *needs: str) -> Kind:
    """Return the row of what is called by a trampoline: it can't be updated, and ends with its last holder only."""
    return Kind(
        name,
        verified.spec,
        lambda place: Target(),
        consts.BPF_LINK_TYPE_TRACING,
        needs,
        load=verified.load,
        again="tracing_again",
        fields=lambda place, target: {"attach_type": verified.attach_type},
        update=False,
        detach=False,
    )


_TP_BTF = _Verified("tp_btf", consts.BPF_TRACE_RAW_TP, "sys_enter", "btf_trace_", KIND_TYPEDEF)
_FENTRY = _Verified("fentry", consts.BPF_TRACE_FENTRY, "bpf_fentry_test1")
_FEXIT = _Verified("fexit", consts.BPF_TRACE_FEXIT, "bpf_fentry_test1")
# A hook of the security modules can be modified on every kernel, a function for error injection where it was built in.
_FMOD_RET = _Verified("fmod_ret", consts.BPF_MODIFY_RETURN, "security_file_open")
_FSESSION = _Verified("fsession", consts.BPF_TRACE_FSESSION, "bpf_fentry_test1")
_MULTI = (
    _Verified("fentry.multi", consts.BPF_TRACE_FENTRY_MULTI, "bpf_fentry_test*"),
    _Verified("fexit.multi", consts.BPF_TRACE_FEXIT_MULTI, "bpf_fentry_test*"),
    _Verified("fsession.multi", consts.BPF_TRACE_FSESSION_MULTI, "bpf_fentry_test*"),
)
_LSM = _Verified("lsm", consts.BPF_LSM_MAC, "file_open", "bpf_lsm_", type=consts.BPF_PROG_TYPE_LSM)

_TRACING = (
    Kind(
        "tp_btf",
        _TP_BTF.spec,
        lambda place: Target(),
        consts.BPF_LINK_TYPE_RAW_TRACEPOINT,
        ("tp_btf",),
        load=_TP_BTF.load,
        fields=lambda place, target: {"tp_name": "sys_enter"},
        update=False,
        detach=False,
    ),
    _on_trampoline("fentry", _FENTRY, "fentry"),
    _on_trampoline("fexit", _FEXIT, "fentry"),
    _on_trampoline("fmod_ret", _FMOD_RET, "fentry"),
    _on_trampoline("fsession", _FSESSION, "fsession"),
    _on_trampoline("lsm", _LSM, "lsm"),
    *(
        Kind(
            verified.section.replace(".", "_"),
            verified.spec,
            lambda place: Target(),
            consts.BPF_LINK_TYPE_TRACING_MULTI,
            ("tracing_multi",),
            fields=lambda place, target, verified=verified: {"attach_type": verified.attach_type},
            update=False,
            detach=False,
        )
        for verified in _MULTI
    ),
)


# --- freplace ---------------------------------------------------------------------------------------------------------


def _replaced(place: Place) -> Program:
    """The program whose function is replaced."""

    def load_it() -> Object:
        return load(read(str(DATA / "replaced.bpf.o")))

    return place.once("replaced", load_it).program("whole")


def _load_replacement(place: Place, spec: ProgramSpec) -> Program:
    """Load the object's own replacement: the kernel compares the types of both functions, so that it takes one with BTF."""
    options = LoadOptions(programs=frozenset(("seven",)), attach_to=_replaced(place).fd)
    with allowed_by_policy(spec):
        return place.hold(load(read(str(DATA / "replaced.bpf.o")), options)).program("seven")


_FREPLACE = Kind(
    "freplace",
    _Verified("freplace", 0, "ones", type=consts.BPF_PROG_TYPE_EXT).spec,
    lambda place: Target(program_fd=_replaced(place).fd, function="ones"),
    consts.BPF_LINK_TYPE_TRACING,
    ("freplace_onto_others",),
    load=_load_replacement,
    fields=lambda place, target: {} if why_missing("tracing_target_info") else {"target_obj_id": _replaced(place).info().id},
    update=False,
    detach=False,
)


# --- iterators --------------------------------------------------------------------------------------------------------


def _iterator(
    name: str, over: str, target: Callable[[Place], Target], *needs: str, fields: Callable[[Place], dict[str, object]]
) -> Kind:
    verified = _Verified("iter", consts.BPF_TRACE_ITER, over, "bpf_iter_")
    return Kind(
        name,
        verified.spec,
        target,
        consts.BPF_LINK_TYPE_ITER,
        needs,
        load=verified.load,
        fields=lambda place, target: {"target_name": over, **fields(place)},
        detach=False,
    )


def _walked_map(place: Place) -> Target:
    return Target(map_fd=place.once("walked", small_map).fd)


_ITERATORS = (
    _iterator("iterator", "task", lambda place: Target(), "iter", fields=lambda place: {}),
    _iterator("iterator_thread", "task", lambda place: Target(tid=1), "iter_task", fields=lambda place: {"tid": 1}),
    _iterator("iterator_process", "task_file", lambda place: Target(pid=1), "iter_task", fields=lambda place: {"pid": 1}),
    _iterator(
        "iterator_map",
        "bpf_map_elem",
        _walked_map,
        "iter",
        fields=lambda place: {"map_id": place.once("walked", small_map).info().id},
    ),
    _iterator(
        "iterator_cgroup",
        "cgroup",
        lambda place: Target(cgroup=str(place.cgroup), cgroup_order="self"),
        "iter_cgroup",
        fields=lambda place: {"cgroup_id": place.cgroup.stat().st_ino, "order": consts.BPF_CGROUP_ITER_SELF_ONLY},
    ),
)

KINDS: tuple[Kind, ...] = (*_TRACING, _FREPLACE, *_ITERATORS)
