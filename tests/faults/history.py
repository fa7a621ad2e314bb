"""A floor's history to store again and again: what took effect over some days, with the state after each input.

It must not know journals; `batches` cuts it into what a runner would append together.
"""

import random
from collections.abc import Iterator

from msgspec import Struct

from streamer.core.engine import Engine
from streamer.core.events import DriverRegistered, Input, OrderCommand, Ping, Tick
from streamer.core.snapshot import dump_state
from streamer.edge.journal.contract import Entry, Note, PingRun, Record, Snapshot
from tests.builders import MINUTE, T0, a_floor, a_ping, a_report, an_order

HOUR = 60 * MINUTE


class History(Struct, frozen=True):
    """`dumps[n]` is the state after `entries[n]`."""

    entries: list[Entry]
    dumps: list[bytes]


def a_history(seed: int, rounds: int = 30, drivers: int = 4) -> History:
    """Pings, orders, assignments and ticks; now and then half a day passes."""
    engine, history = Engine(a_floor()), History([], [])
    for at_ms, item in _inputs(random.Random(seed), rounds, drivers):
        seq = engine.state.seq
        outputs = engine.handle(at_ms, item)
        if engine.state.seq > seq:
            verdict = outputs[0].verdict if isinstance(item, Ping) else None  # type: ignore[union-attr]
            history.entries.append(Entry(engine.state.seq, engine.state.at_ms, item, verdict))
            history.dumps.append(dump_state(engine.state))
    return history


def _inputs(draw: random.Random, rounds: int, drivers: int) -> Iterator[tuple[int, Input]]:
    at_ms, placed = T0, 0
    for number in range(drivers):
        yield at_ms, DriverRegistered(f"d-{number}", f"Driver {number}")
        yield at_ms, a_report("on_duty", f"d-{number}", id=f"on-{number}", fix_ms=at_ms)
    for turn in range(rounds):
        at_ms += 5_000 if draw.random() < 0.8 else draw.randrange(12) * HOUR
        for number in range(drivers):
            yield at_ms, a_ping(f"d-{number}", at_ms, north=0.0003 * turn, east=0.001 * number, seq=turn)
        if draw.random() < 0.5:
            placed += 1
            yield at_ms, an_order(placed_ms=at_ms, due_ms=at_ms + 90 * MINUTE, external_id=f"x-{turn}")
            driver = f"d-{draw.randrange(drivers)}"
            yield at_ms, OrderCommand("assign", f"o-{placed}", 1, "maya", driver, key=f"k-{turn}")
        if draw.random() < 0.3:
            yield at_ms, Tick()


def batches(history: History, draw: random.Random) -> Iterator[list[Record]]:
    """The history as groups of records: pings of one instant as a run, and now and then a note and a snapshot."""
    batch: list[Record] = []
    run: list[Entry] = []
    for entry, dump in zip(history.entries, history.dumps, strict=True):
        if run and (not isinstance(entry.input, Ping) or entry.at_ms != run[0].at_ms):
            batch.append(_folded(run))
            run = []
        if isinstance(entry.input, Ping):
            run.append(entry)
            continue
        batch.append(entry)
        if draw.random() < 0.05:
            batch.append(Note(entry.at_ms, "login", "maya"))
        if draw.random() < 0.1:
            batch.append(Snapshot(entry.seq, entry.at_ms, dump))
        if draw.random() < 0.3:
            yield batch
            batch = []
    if run:
        batch.append(_folded(run))
    yield batch


def _folded(run: list[Entry]) -> PingRun:
    pings = [entry.input for entry in run if isinstance(entry.input, Ping)]
    return PingRun(run[0].seq, run[0].at_ms, [entry.verdict or "ok" for entry in run], pings)
