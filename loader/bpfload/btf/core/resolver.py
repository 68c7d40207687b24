"""From relocations to results: which types of the target a local type stands for, and what they agree on.

Source: bpf_core_find_cands() in tools/lib/bpf/libbpf.c, bpf_core_calc_relo_insn() and bpf_core_calc_relo() in
tools/lib/bpf/relo_core.c.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bpfload.btf import types as t
from bpfload.btf.core import spec as s
from bpfload.btf.core.compat import kinds_are_compatible
from bpfload.btf.core.match import match
from bpfload.btf.core.values import value_of
from bpfload.btf.names_index import essential_name
from bpfload.errors import BpfError, LinkError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bpfload.btf.core.spec import Spec
    from bpfload.btf.core.values import Value
    from bpfload.btf.index import Btf

Candidates = tuple[tuple["Btf", int], ...]


@dataclass(slots=True, eq=False, frozen=True)
class CoreResult:
    """What a relocation comes to.

    `orig_val`: the number that the compiler put in, checked if `validate`; `new_val`: the number to put in, both unsigned 64
    bits. `poison`: the target has nothing that matches, so the instruction is made one that the verifier refuses if it can
    be reached. `orig_sz`, `new_sz`: bytes of the field, 0 where loads don't depend on it; `fail_memsz_adjust`: they differ and a
    load can't make up for it. `orig_type_id`, `new_type_id`: the field's types. `local`, `target`: the specs; `target` is None if
    nothing matches. `candidates`: the types that were looked at.
    """

    orig_val: int
    new_val: int
    poison: bool
    validate: bool
    local: Spec
    target: Spec | None = None
    candidates: Candidates = ()
    fail_memsz_adjust: bool = False
    orig_sz: int = 0
    new_sz: int = 0
    orig_type_id: int = 0
    new_type_id: int = 0

    @property
    def kind(self) -> int:
        """The kind of relocation."""
        return self.local.kind

    @property
    def text(self) -> str:
        """What is relocated: ``struct task_struct.pid (byte_off)``."""
        from bpfload.btf.core.describe import describe_spec

        return describe_spec(self.local)

    @property
    def failure(self) -> str:
        """Why nothing in the target matches: ``struct task_struct has no member foo in vmlinux``; "" if something does."""
        from bpfload.btf.core.describe import describe_failure

        return describe_failure(self)


class CoreResolver:
    """Resolves the relocations of one object.

    `local`: the object's BTF. `targets`: the kernel's BTF, then those of modules, which are asked for types that the kernel
    hasn't. `modules`: returns the latter when they are first needed, instead.

    What doesn't match one relocation is no candidate for the following ones of the same local type, so results depend on the
    order of relocations, as with libbpf; `restart` forgets that, and keeps what can be kept: use one resolver for all
    loads of an object.
    """

    def __init__(self, local: Btf, targets: Sequence[Btf], *, modules: Callable[[], Sequence[Btf]] | None = None) -> None:
        self.local = local
        self._targets = targets
        self._modules = modules
        self._specs: dict[tuple[int, str, int], Spec] = {}
        self._found: dict[int, Candidates] = {}
        self._left: dict[int, Candidates] = {}
        self._results: dict[tuple[int, str, int, Candidates], tuple[CoreResult, Candidates]] = {}

    def restart(self) -> None:
        """Begin anew with all candidates, for another load of the object."""
        self._left.clear()

    def resolve(self, type_id: int, access: str, kind: int) -> CoreResult:
        """Resolve one relocation: root type, access string and kind. Raises LinkError or FormatError, errno as libbpf's."""
        if kind == s.TYPE_ID_LOCAL:
            # The number in the instruction may be out of date after static linking, so it isn't checked.
            return CoreResult(type_id, type_id, False, False, self._spec(type_id, access, kind))
        candidates = self._left.get(type_id)
        if candidates is None:
            candidates = self._candidates(type_id)
        key = (type_id, access, kind, candidates)
        known = self._results.get(key)
        if known is None:
            known = self._results[key] = self._resolve(self._spec(type_id, access, kind), candidates)
        result, self._left[type_id] = known
        return result

    def _spec(self, type_id: int, access: str, kind: int) -> Spec:
        key = (type_id, access, kind)
        spec = self._specs.get(key)
        if spec is None:
            spec = self._specs[key] = s.parse(self.local, type_id, access, kind)
        return spec

    def _candidates(self, type_id: int) -> Candidates:
        found = self._found.get(type_id)
        if found is None:
            found = self._found[type_id] = self._find_candidates(type_id)
        return found

    def _find_candidates(self, type_id: int) -> Candidates:
        mine = self.local.type(type_id)
        if not mine.name or not type_id:
            raise LinkError(f"CO-RE relocation of {t.KIND_NAMES[mine.kind].lower()} [{type_id}], which has no name")
        name = essential_name(mine.name)
        found = self._named(self._targets[:1], name, mine.kind)
        if not found:
            modules = self._modules() if self._modules else ()
            found = self._named([*self._targets[1:], *modules], name, mine.kind)
        return tuple(found)

    @staticmethod
    def _named(targets: Sequence[Btf], name: str, kind: int) -> list[tuple[Btf, int]]:
        """Return the targets' own types of that essential name and kind."""
        return [
            (target, type_id)
            for target in targets
            for type_id in target.candidates(name, own=True)
            if kinds_are_compatible(target.kind(type_id), kind)
        ]

    def _resolve(self, local: Spec, candidates: Candidates) -> tuple[CoreResult, Candidates]:
        """Return the result that all matching candidates agree on, and those candidates."""
        first: CoreResult | None = None
        matching = []
        for btf, type_id in candidates:
            try:
                target = match(local, btf, type_id)
            except BpfError as error:
                raise error.within(f"CO-RE relocation of {_text(local)}") from None
            if not isinstance(target, s.Spec):
                continue
            result = _result(local, target, candidates)
            if first is None:
                first = result
            else:
                _check_agreement(first, result)
            matching.append((btf, type_id))
        if first is None:
            return _result(local, None, candidates), candidates
        return first, tuple(matching)


def _text(spec: Spec) -> str:
    from bpfload.btf.core.describe import describe_spec

    return describe_spec(spec)


def _check_agreement(first: CoreResult, other: CoreResult) -> None:
    assert first.target is not None
    assert other.target is not None
    if (first.target.bit_offset, first.new_val) == (other.target.bit_offset, other.new_val):
        return
    from bpfload.btf.core.describe import type_text

    places = " and ".join(
        f"{type_text(spec.btf, spec.type_id)} [{spec.type_id}] in {spec.btf.name or 'the kernel'} gives {result.new_val}"
        for result, spec in ((first, first.target), (other, other.target))
    )
    raise LinkError(
        f"CO-RE relocation of {_text(first.local)} is ambiguous: {places}",
        hint="The kernel has several types of that name; a local ___flavour that only one of them matches tells them apart.",
    )


def _result(local: Spec, target: Spec | None, candidates: Candidates) -> CoreResult:
    try:
        before = value_of(local, local.kind)
        after = value_of(target, local.kind)
    except BpfError as error:
        raise error.within(f"CO-RE relocation of {_text(local)}") from None
    assert before is not None
    if after is None:
        return CoreResult(before.number, 0, True, before.certain, local, target, candidates)
    return CoreResult(
        before.number,
        after.number,
        False,
        before.certain,
        local,
        target,
        candidates,
        target is not None and before.size != after.size and not _load_adapts(local, before, target, after),
        before.size,
        after.size,
        before.type_id,
        after.type_id,
    )


def _load_adapts(local: Spec, before: Value, target: Spec, after: Value) -> bool:
    """Return whether a load of another width still gives the field's value: it is zero-extended, so not for signed ones."""
    mine, other = local.btf.type(before.type_id), target.btf.type(after.type_id)
    if mine.kind == other.kind == t.KIND_PTR:
        return True
    return mine.kind == other.kind == t.KIND_INT and mine.encoding != t.INT_SIGNED and other.encoding != t.INT_SIGNED
