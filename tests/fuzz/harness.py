"""Reading damaged objects, many of them, and noting whatever isn't an ObjectSpec or a FormatError."""

from __future__ import annotations

import random
import resource
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

from bpfload.elf import read
from bpfload.errors import FormatError
from fuzz.mutate import Mutator

ROOT = Path(__file__).parents[2]
MAX_SECONDS = 2.0
MAX_MEMORY = 500 << 20
#: Objects are drawn anew so often, so that each gets its turn in a short run too.
ROUND = 16


@dataclass
class Outcome:
    """What a run came to. `problems`: (seed of the input, what was wrong, the input)."""

    inputs: int = 0
    specs: int = 0
    refused: int = 0
    slowest: float = 0.0
    problems: list[tuple[str, str, bytes]] = field(default_factory=list)
    messages: dict[str, int] = field(default_factory=dict)


def corpus(folders: list[Path]) -> list[tuple[str, bytes]]:
    """Return name and content of each object in the folders, sorted."""
    paths = sorted({path for folder in folders for path in folder.rglob("*.bpf.o")})
    return [(path.name, path.read_bytes()) for path in paths]


def default_folders() -> list[Path]:
    """Return the folders whose objects come with the project."""
    return [ROOT / "samples", ROOT / "tests" / "data"]


def run(objects: list[tuple[str, bytes]], *, seed: int, count: int, seconds: float = 0.0) -> Outcome:
    """Read `count` damaged objects, or as many as `seconds` allow."""
    outcome = Outcome()
    picker = random.Random(seed)
    end = time.monotonic() + seconds if seconds else float("inf")
    while outcome.inputs < count and time.monotonic() < end:
        name, content = picker.choice(objects)
        number = picker.getrandbits(32)
        mutator = Mutator(content, random.Random(number))
        for turn in range(min(ROUND, count - outcome.inputs)):
            try_one(f"{name}:{number}:{turn}", name, mutator.mutate(), outcome)
    return outcome


def try_one(label: str, name: str, data: bytes, outcome: Outcome) -> None:
    """Read one input and note the outcome. Time is processor time: others may be busy on the machine."""
    outcome.inputs += 1
    before = time.process_time()
    try:
        read(name, data=data)
        outcome.specs += 1
    except FormatError as error:
        outcome.refused += 1
        key = f"{error.errno_code} {error.section}"
        outcome.messages[key] = outcome.messages.get(key, 0) + 1
        if not error.message or not error.errno_code:
            outcome.problems.append((label, f"an error that says nothing: {error!r}", data))
    except Exception:
        outcome.problems.append((label, traceback.format_exc(), data))
    taken = time.process_time() - before
    if taken > outcome.slowest:
        outcome.slowest = taken
        if taken > MAX_SECONDS:
            outcome.problems.append((label, f"took {taken:.1f} s", data))


def peak_memory() -> int:
    """Return the most memory that this process has had so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
