"""A journal of a given length, made through the runner as a live floor makes it, and left as a crash leaves it.

It must not know who recovers from it.
"""

import argparse
import os
import time
from pathlib import Path

import msgspec
import uvloop

from streamer.core.events import DriverRegistered, Ping, Report
from streamer.core.settings import Settings
from streamer.edge.clock import ManualClock
from streamer.edge.journal.contract import SCHEMA, JournalHeader
from streamer.edge.journal.recovery import recover
from streamer.edge.journal.sqlite import SqliteJournal
from streamer.edge.runner import Runner
from tests.bench.fleet import Fleet, driver_name
from tests.bench.places import the_floor

FRAME = 250
BACKLOG = 50_000
LASTED_MS = 200_000
"""As long as a million pings take at 5,000 a second; too short for a snapshot by the clock."""


async def write(folder: Path, inputs: int, drivers: int) -> None:
    """Handle and journal so many inputs of a fleet, ending some minutes of floor time before now."""
    clock = ManualClock(time.time_ns() // 1_000_000 - 2 * LASTED_MS)
    header = JournalHeader(SCHEMA, the_floor().geojson(), Settings(), "the bench", clock.at_ms)
    journal = SqliteJournal(folder, header)
    runner = Runner(recover(journal).engine, journal, clock)
    await runner.start()
    for number in range(drivers):
        name = driver_name(number)
        runner.submit(DriverRegistered(name))
        runner.submit(Report(id="duty", report="on_duty", fix_ms=clock.at_ms, driver_id=name))
    fleet, decode = Fleet(drivers), msgspec.json.Decoder(Ping).decode
    began_ms, left, at = clock.at_ms, inputs - runner.engine.state.seq, 0
    wanted = left
    while left:
        size = min(FRAME, left)
        clock.at_ms = began_ms + LASTED_MS * (wanted - left) // wanted
        numbers = [(at + step) % drivers for step in range(size)]
        runner.submit_pings([decode(fleet.ping(number, clock.at_ms)) for number in numbers], None)
        at, left = (at + size) % drivers, left - size
        if runner.backlog > BACKLOG // FRAME:
            await runner.settled()
    await runner.settled()
    assert runner.engine.state.seq == inputs


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.bench.history")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--inputs", type=int, required=True)
    parser.add_argument("--drivers", type=int, required=True)
    asked = parser.parse_args()
    uvloop.run(write(asked.data, asked.inputs, asked.drivers))
    # Neither a last snapshot nor a closed file: what a crash leaves.
    os._exit(0)


if __name__ == "__main__":
    main()
