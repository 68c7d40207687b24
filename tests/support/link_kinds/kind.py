"""What a row of the table of attachments says, and the corner of the machine that a row may use."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import pytest

from bpfload.errors import KernelError
from bpfload.links import Target, attach, attach_to, hook_of
from bpfload.objects import Program
from bpfload.objects.attachment import Attachment
from bpfload.spec import ProgramSpec
from support.namespaces import VethPair
from support.programs import load_spec

_T = TypeVar("_T")


class Place:
    """Where a row may attach: fixtures made when they are asked for, and whatever else it opens, closed at the end."""

    def __init__(self, request: pytest.FixtureRequest, stack: ExitStack) -> None:
        self._request = request
        self._stack = stack
        self._made: dict[str, Any] = {}

    @property
    def veth(self) -> VethPair:
        """Two network namespaces joined by a cable; the test is in the first from now on."""
        found: VethPair = self._request.getfixturevalue("veth")
        return found

    @property
    def cgroup(self) -> Path:
        found: Path = self._request.getfixturevalue("cgroup")
        return found

    @property
    def bpffs(self) -> Path:
        found: Path = self._request.getfixturevalue("bpffs")
        return found

    def hold(self, thing: AbstractContextManager[_T]) -> _T:
        """Enter something that the attachment needs for as long as the test runs: a map, a socket, a process."""
        return self._stack.enter_context(thing)

    def once(self, name: str, make: Callable[[], _T]) -> _T:
        """Return what `make` makes (and `with` closes), the same each time."""
        if name not in self._made:
            self._made[name] = self.hold(make())  # type: ignore[arg-type]
        found: _T = self._made[name]
        return found


def kernel_type(name: str, kind: int) -> int:
    """Return the number of a type of the kernel's BTF (KIND_FUNC, …); skip where this kernel has none of that name."""
    from bpfload.kernel import btf

    found = btf.vmlinux().find(name, kind)
    if not found:
        pytest.skip(f"feature: this kernel has no {name}")
    return int(found)


@contextmanager
def allowed_by_policy(spec: ProgramSpec) -> Iterator[None]:
    """Skip where a policy of the machine refuses the kind of program before the verifier sees it.

    Guests of tests/vm have no such policy, and say so: there it is a failure.
    """
    try:
        yield
    except KernelError as error:
        if error.errno == errno.EPERM and "BPFLOAD_NO_POLICY" not in os.environ:
            pytest.skip(f"feature: {spec.section}: a policy of this machine lets not even root load such programs")
        raise


def load_for(place: Place, spec: ProgramSpec, target_type: int = 0) -> Program:
    """Load a row's program, for a type of the kernel's BTF where it is verified for one."""
    if not target_type:
        return place.hold(load_spec(spec))
    with allowed_by_policy(spec):
        return place.hold(load_spec(spec, attach_btf_id=target_type))


@dataclass(frozen=True)
class Kind:
    """One kind of attachment, for the one test that goes over all of them.

    `name`: of the row. `spec`: makes the spec of a small program by the name that the program is to have. `target`: where to
    attach, made anew for each attachment. `link_type`: BPF_LINK_TYPE_* that info() is to tell, 0 for an attachment that is
    no link. `needs`: names in support.features. `hook`: a module of bpfload.links, "" for that of the program. `load`: loads a
    spec, where `load_for` won't do. `again`: what of support.features the kernel needs to attach a program that was attached
    before. `fields`: what info() is to say beside type, id and program, by the place and the target.
    `update`, `detach`: whether this kind can; where it can't, the test wants a NotSupportedError that says so. `keep`: the same
    for what is no link. `seen`: the ids of the programs that something else than the attachment tells to be at the hook now,
    where there is such a thing.
    """

    name: str
    spec: Callable[[str], ProgramSpec]
    target: Callable[[Place], Target]
    link_type: int = 0
    needs: tuple[str, ...] = ()
    hook: str = ""
    load: Callable[[Place, ProgramSpec], Program] = load_for
    again: str = ""
    fields: Callable[[Place, Target], dict[str, object]] = lambda place, target: {}
    update: bool = True
    detach: bool = True
    keep: bool = True
    seen: Callable[[Place, Target], list[int]] | None = None

    @property
    def is_link(self) -> bool:
        return self.link_type != 0

    def attach(self, program: Program, spec: ProgramSpec, target: Target) -> Attachment:
        return attach_to(self.hook, program, spec, target) if self.hook else attach(program, spec, target)

    def find(self, program: Program, spec: ProgramSpec, target: Target) -> Attachment | None:
        """The attachment without link that is there already."""
        module = import_module(f"bpfload.links.{self.hook or hook_of(spec)}")
        found: Attachment | None = module.find(program, spec, target)
        return found
