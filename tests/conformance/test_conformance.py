"""The conformance run as a test: minutes, so only where BPFLOAD_CONFORMANCE is set (`make conformance` is the usual way)."""

from __future__ import annotations

import os

import pytest

from conformance.run import main


@pytest.mark.skipif(not os.environ.get("BPFLOAD_CONFORMANCE"), reason="takes minutes: set BPFLOAD_CONFORMANCE=1")
def test_every_program_of_the_selftests_as_libbpf_has_it() -> None:
    assert main([]) == 0
