"""`python -m streamer.edge.lab`: the process that lives the days of one run, started by a floor and ended with it.

It must not know why it was started. It reads its order from standard input, whose end is its own; it says how far it is
on standard output, one JSON object a line.
"""

import os
import sys
import threading
import time
from pathlib import Path

import msgspec

from streamer.core.errors import MallardError
from streamer.edge.lab.contract import LabOrder, LabSaid, Result, trials_of
from streamer.edge.lab.trials import Job, live_trial
from streamer.edge.lab.verdict import verdict_of
from streamer.edge.recordings.fixtures import FixtureReader
from streamer.sim.policy import EFFORT

NICE = 15
"""The live floor goes first, its planner and its replay rooms too: nobody waits for a lab."""
SAY_EVERY_S = 0.5


def main() -> int:
    """Live all days of the order; the exit code is 1 when that cannot be done."""
    os.nice(NICE)
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=LabOrder)
    threading.Thread(target=_end_with_floor, daemon=True).start()
    try:
        _live_all(order)
    except MallardError as error:
        # The recording's folder is nobody's business who looks at the floor.
        _say(LabSaid(problem=str(error).replace(f"{Path(order.path).parent}/", "")))
        return 1
    return 0


def _live_all(order: LabOrder) -> None:
    path = Path(order.path)
    with FixtureReader(path) as fixture:
        job = Job(path, fixture.header.start_ms, EFFORT, order.minutes)
    results: list[Result] = []
    said_s = 0.0

    def tell(share: float) -> None:
        nonlocal said_s
        if time.monotonic() - said_s >= SAY_EVERY_S:
            said_s = time.monotonic()
            _say(LabSaid(len(results) + min(share, 1.0)))

    trials = trials_of(order.policies, order.seeds)
    for trial in trials:
        results.append(live_trial(job, trial, tell))
        both = len(results) % len(order.policies) == 0 and len(results) > len(order.policies)
        complete = len(results) == len(trials)
        found = verdict_of(order.name, order.policies, results, complete) if both else None
        _say(LabSaid(float(len(results)), found))


def _end_with_floor() -> None:
    # Not by leaving `main`: whatever a day is at, it is for nobody any more.
    sys.stdin.buffer.read()
    os._exit(0)


def _say(said: LabSaid) -> None:
    try:
        sys.stdout.buffer.write(msgspec.json.encode(said) + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
