"""A bounded run of the fuzzer, and a check that it damages what it means to."""

from __future__ import annotations

import random

from fuzz import harness
from fuzz.mutate import Mutator

SECONDS = 8.0
SEED = 20240


def test_any_bytes_give_a_spec_or_a_format_error() -> None:
    objects = harness.corpus(harness.default_folders())
    assert objects
    outcome = harness.run(objects, seed=SEED, count=50_000, seconds=SECONDS)
    assert not outcome.problems, outcome.problems[0][:2]
    assert outcome.inputs > 500
    assert outcome.slowest < harness.MAX_SECONDS
    assert harness.peak_memory() < harness.MAX_MEMORY


def test_damage_is_varied_and_reproducible() -> None:
    name, content = harness.corpus(harness.default_folders())[0]
    copies = [[Mutator(content, random.Random(seed)).mutate() for seed in range(50)] for _ in range(2)]
    assert copies[0] == copies[1]
    assert len(set(copies[0])) > 45
    outcome = harness.run([(name, content)], seed=1, count=400)
    assert outcome.specs > 50
    assert outcome.refused > 50
    assert len(outcome.messages) > 8
