"""`python -m tests.faults.simulation --seeds 1000 --jobs 2`: many seeds, with progress; prints the first that fails.

It must not know what a seed does.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from tests.faults.simulation.world import Outcome, simulate


def outcomes(first: int, seeds: int, jobs: int) -> Iterator[Outcome]:
    """The outcome of each seed, in order."""
    numbers = range(first, first + seeds)
    if jobs == 1:
        yield from map(simulate, numbers)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(simulate, numbers, chunksize=10)


def headline(outcome: Outcome) -> str:
    """A failure in one line: enough to run it again."""
    return f"seed {outcome.seed} fails {outcome.check}: {outcome.message[:300]}"


def told(outcome: Outcome) -> str:
    """A failure with the last things that happened."""
    return "\n".join([headline(outcome), *(f"    {line[:400]}" for line in outcome.last)])


def main() -> int:
    """Run the seeds; 1 if any failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.simulation")
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    began_s, failed, entries, acked, crashes = time.monotonic(), [], 0, 0, 0
    for done, outcome in enumerate(outcomes(options.start, options.seeds, options.jobs), 1):
        entries, acked, crashes = entries + outcome.entries, acked + outcome.acked, crashes + outcome.crashes
        if not outcome.passed:
            failed.append(outcome.seed)
            print(told(outcome) if len(failed) == 1 else headline(outcome))
        if sys.stderr.isatty() or done % 100 == 0:
            print(f"\r{done} of {options.seeds} seeds, {len(failed)} failed", end="", file=sys.stderr, flush=True)
    spent_s = time.monotonic() - began_s
    print(f"\nsimulated: {options.seeds} seeds in {spent_s:.0f} s, {entries:,} inputs, {acked:,} acknowledged, "
          f"{crashes:,} crashes; {len(failed)} failed {failed[:20]}")  # fmt: skip
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
