"""Ending an attachment whose link is pinned."""

from __future__ import annotations

import errno

from bpfload.errors import KernelError
from bpfload.objects.bpffs import Pin
from bpfload.objects.link import Link

# Links of these kinds have no detach of their own: raw tracepoints, tracing, iterators, perf events. Theirs ends with their last
# holder, which is the pin unless somebody else holds the link too.
_CANNOT = (errno.EOPNOTSUPP, errno.EINVAL)


def detach(pin: Pin) -> None:
    """Detach a pinned link from its hook. Raises KernelError; a link that can only end with its pin is no error."""
    with Link.from_pin(pin.path) as link:
        try:
            link.detach()
        except KernelError as error:
            if error.errno not in _CANNOT:
                raise
