"""Places among the programs of a hook, in the kernel's numbers; what the kernel says of a refusal."""

from __future__ import annotations

import errno
from struct import unpack

import pytest

from bpfload.abi.consts import BPF_F_AFTER, BPF_F_BEFORE, BPF_F_ID, BPF_F_LINK, BPF_F_PREORDER
from bpfload.errors import KernelError, NotSupportedError, UsageError
from bpfload.links import Order
from bpfload.links.ordering import Place, place_of, refusal_hint
from bpfload.links.refusal import kernels_words, refused


@pytest.mark.parametrize(
    ("order", "place"),
    [
        (Order(), Place()),
        (Order(before="first"), Place(BPF_F_BEFORE)),
        (Order(after="last"), Place(BPF_F_AFTER)),
        (Order(before="program:7"), Place(BPF_F_BEFORE | BPF_F_ID, 7)),
        (Order(after="prog:7"), Place(BPF_F_AFTER | BPF_F_ID, 7)),
        (Order(after="link:9", revision=4), Place(BPF_F_AFTER | BPF_F_ID | BPF_F_LINK, 9, 4)),
        (Order(preorder=True), Place(BPF_F_PREORDER)),
        (Order(revision=2), Place(0, 0, 2)),
    ],
)
def test_a_place_in_numbers(order: Order, place: Place) -> None:
    assert place_of(order) == place


@pytest.mark.parametrize(
    "order", [Order(before="last"), Order(after="first"), Order(after="link:"), Order(before="program:0"), Order(after="link:x")]
)
def test_a_place_that_is_none(order: Order) -> None:
    with pytest.raises(UsageError, match="no place") as caught:
        place_of(order)
    assert "link:ID" in caught.value.hint


def test_before_and_after_at_once() -> None:
    with pytest.raises(UsageError, match="not both"):
        place_of(Order(before="first", after="last"))


def test_older_kernels_see_no_union_that_is_not_needed() -> None:
    assert Place(BPF_F_BEFORE).extra == b""
    assert unpack("=I4xQ", Place(BPF_F_BEFORE, 3, 5).extra) == (3, 5)


def test_what_a_refusal_has_to_do_with_the_place() -> None:
    order = Order(before="link:3", revision=8)
    assert "no link id 3 at this hook" in refusal_hint(KernelError("x", errno.ENOENT), order)
    assert "since revision 8" in refusal_hint(KernelError("x", errno.ESTALE), order)
    assert "as many programs as it takes" in refusal_hint(KernelError("x", errno.ERANGE), order)
    assert refusal_hint(KernelError("x", errno.ENOENT), Order()) == ""


def test_the_kernels_own_words() -> None:
    said = KernelError("RTM_SETLINK", errno.EINVAL, "RTM_SETLINK: Only one XDP mode flag can be set")
    assert kernels_words(said) == "The kernel says: Only one XDP mode flag can be set."
    assert kernels_words(KernelError("RTM_SETLINK", errno.EINVAL)) == ""
    assert refused(said, "attaching").hint == kernels_words(said)
    missing = NotSupportedError("tcx", since="6.6")
    assert refused(missing, "attaching") is missing
