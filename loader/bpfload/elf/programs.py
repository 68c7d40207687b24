"""Functions: the programs and subprograms of an object.

Source: bpf_object__add_programs(), bpf_object__init_prog(), bpf_object_init_progs(), prog_is_subprog(),
bpf_prog_assign_exc_cb() in tools/lib/bpf/libbpf.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpfload.abi.consts import BPF_F_SLEEPABLE, BPF_F_XDP_HAS_FRAGS
from bpfload.elf.file import STB_LOCAL, STB_WEAK, Section
from bpfload.elf.sections import attach_target, find_definition
from bpfload.errors import LIBBPF_FORMAT
from bpfload.spec import ProgramSpec

if TYPE_CHECKING:
    from bpfload.elf.draft import Draft

E2BIG = 7
EINVAL = 22
ENOTSUP = 95
SLOT = 8
KIND_FUNC = 12
KIND_DECL_TAG = 17
LINKAGE_GLOBAL = 1
#: How often the functions of a file may cover its bytes. Aliases overlap; a file made to waste memory does so without end.
MAX_OVERLAP = 4
MAX_FUNCTIONS = 1 << 16

EXCEPTION_TAG = "exception_callback:"


def add_programs(draft: Draft, section: Section, name: str) -> None:
    """Add the functions of one section with instructions."""
    elf = draft.elf
    code = elf.content(section)
    for symbol in draft.functions.get(section.index, ()):
        label = elf.symbol_name(symbol)
        if label is None:
            draft.fail("a function has no valid name", LIBBPF_FORMAT, section=name, offset=symbol.value)
        start, size = symbol.value, symbol.size
        if start + size > len(code):
            draft.fail(f"function {label!r} runs over the end of its section", LIBBPF_FORMAT, section=name, offset=start)
        if section.index != draft.text and symbol.bind == STB_LOCAL:
            draft.fail(
                f"program {label!r} is static",
                ENOTSUP,
                section=name,
                offset=start,
                hint="Remove `static`, or SEC() if it is meant to be a subprogram.",
            )
        if not size or size % SLOT or start % SLOT:
            draft.fail(f"function {label!r} has no whole number of instructions", EINVAL, section=name, offset=start)
        draft.code_size += size
        if draft.code_size > MAX_OVERLAP * len(elf.data):
            draft.fail("the functions overlap each other too often", EINVAL, section=name)
        if len(draft.placed) == MAX_FUNCTIONS:
            draft.fail(f"more than {MAX_FUNCTIONS} functions", E2BIG, section=name)
        program = ProgramSpec(
            name=label,
            section=name,
            offset=start,
            insns=code[start : start + size],
            is_global=symbol.bind != STB_LOCAL,
            hidden=symbol.bind != STB_LOCAL and symbol.is_hidden,
            weak=symbol.bind == STB_WEAK,
            autoload=not name.startswith("?"),
        )
        draft.placed.append((section.index, start, start + size, program))


def place_programs(draft: Draft) -> None:
    """Put the functions into libbpf's order: by section, then by offset."""
    draft.placed.sort(key=_place)
    draft.places = [(section, start) for section, start, _, _ in draft.placed]
    for section, _, _, program in draft.placed:
        program.is_subprog = section == draft.text
        draft.spec.programs.append(program)


def _place(entry: tuple[int, int, int, ProgramSpec]) -> tuple[int, int]:
    return entry[:2]


def find_definitions(draft: Draft) -> None:
    """Give each program the type, attach type, target and flags that its section's name stands for."""
    for program in draft.spec.programs:
        definition = find_definition(program.section)
        if definition is None:
            continue
        program.sec = definition
        program.type = definition.type
        program.attach_type = definition.attach_type
        program.attach_target = attach_target(program.section, definition)
        if definition.sleepable:
            program.flags |= BPF_F_SLEEPABLE
        if definition.frags:
            program.flags |= BPF_F_XDP_HAS_FRAGS


def name_exception_callbacks(draft: Draft) -> None:
    """Note which programs have an exception callback, said by a BTF declaration tag of the program."""
    btf = draft.btf
    if btf is None:
        return
    callbacks: dict[str, list[str]] = {}
    for type_id in draft.types.get(KIND_DECL_TAG, ()):
        tag = btf.type(type_id)
        if tag.component_idx == -1 and tag.name.startswith(EXCEPTION_TAG):
            callbacks.setdefault(btf.type(tag.type_id).name, []).append(tag.name.removeprefix(EXCEPTION_TAG))
    if callbacks:
        for program in draft.spec.programs:
            names = callbacks.get(program.name, ())
            # More than one is an error that the verifier finds; it gets none then.
            program.exception_callback = names[0] if len(names) == 1 else ""
