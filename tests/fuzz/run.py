"""Read damaged objects, many of them, and report whatever isn't an ObjectSpec or a FormatError.

::

    python tests/fuzz/run.py --count 100000 [--seed N] [--corpus DIR]… [--keep DIR]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Run by hand: 0 if nothing was found."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from fuzz import harness

    parser = argparse.ArgumentParser(description="Read damaged objects; report what isn't a spec or a FormatError.")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--corpus", type=Path, action="append", default=[], help="a folder of .bpf.o files")
    parser.add_argument("--keep", type=Path, help="write the inputs of problems there")
    options = parser.parse_args(arguments)
    objects = harness.corpus(options.corpus or harness.default_folders())
    print(f"{len(objects)} objects, seed {options.seed}")
    started = time.monotonic()
    outcome = harness.run(objects, seed=options.seed, count=options.count)
    print(f"{outcome.inputs} inputs in {time.monotonic() - started:.0f} s: {outcome.specs} specs, {outcome.refused} refused")
    print(f"slowest {outcome.slowest * 1000:.0f} ms, peak memory {harness.peak_memory() >> 20} MB")
    for label, problem, data in outcome.problems[:20]:
        print(f"--- {label}\n{problem}")
        if options.keep:
            options.keep.mkdir(parents=True, exist_ok=True)
            (options.keep / label.replace(":", "_")).write_bytes(data)
    memory = harness.peak_memory() > harness.MAX_MEMORY
    if memory:
        print(f"over {harness.MAX_MEMORY >> 20} MB were used")
    return int(bool(outcome.problems) or memory)


if __name__ == "__main__":
    sys.exit(main())
