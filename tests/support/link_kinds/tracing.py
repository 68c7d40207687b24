"""Rows of the table of attachments: what is verified for its target, iterators, struct_ops."""

from __future__ import annotations

from bpfload.abi import consts
from bpfload.btf.types import KIND_FUNC
from bpfload.links import Target
from bpfload.objects import Program
from bpfload.spec import ProgramSpec
from support.link_kinds.kind import Kind, Place, kernel_type, load_for
from support.programs import program_spec


def _iterator_spec(name: str) -> ProgramSpec:
    attach_type = consts.BPF_TRACE_ITER
    return program_spec(name, consts.BPF_PROG_TYPE_TRACING, section="iter/task", target="task", attach_type=attach_type)


def _load_iterator(place: Place, spec: ProgramSpec) -> Program:
    return load_for(place, spec, kernel_type(f"bpf_iter_{spec.attach_target}", KIND_FUNC))


KINDS: tuple[Kind, ...] = (
    Kind(
        "iterator",
        _iterator_spec,
        lambda place: Target(),
        consts.BPF_LINK_TYPE_ITER,
        ("iter",),
        load=_load_iterator,
        fields=lambda place, target: {"target_name": "task"},
        detach=False,
    ),
)
