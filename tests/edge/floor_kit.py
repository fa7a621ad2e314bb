"""What the edge's tests build again and again: journals, runners, histories and link callers."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from streamer.core.engine import Engine
from streamer.core.events import DriverRegistered, Input, OrderCommand, Tick
from streamer.core.malls import parse_malls
from streamer.edge.accounts import Accounts
from streamer.edge.clock import ManualClock
from streamer.edge.journal.contract import SCHEMA, Entry, JournalHeader, MemoryJournal
from streamer.edge.journal.database import JournalReader
from streamer.edge.journal.sqlite import SqliteJournal
from streamer.edge.runner import Runner
from streamer.edge.server import Streamer
from tests.builders import MINUTE, T0, a_floor, a_ping, a_report, an_order

SECRET = "a-secret-of-the-link"


def a_header(**fields: Any) -> JournalHeader:
    given: dict[str, Any] = {
        "schema": SCHEMA, "malls": a_floor().geojson(), "settings": Engine(a_floor()).settings, "made_by": "a test",
        "created_ms": T0, **fields,
    }  # fmt: skip
    return JournalHeader(**given)


def a_runner(journal: Any = None, at_ms: int = T0) -> Runner:
    journal = journal or MemoryJournal(a_header())
    return Runner(Engine(a_floor()), journal, ManualClock(at_ms))


@asynccontextmanager
async def a_streamer(journal: Any, folder: Path) -> AsyncIterator[Streamer]:
    """Gateway, link and feed on one port, after a small day; the accounts are in `folder`."""
    runner = a_runner(journal)
    await runner.start()
    for at_ms, item in a_day(10):
        runner.submit(item, at_ms=at_ms)
    accounts = Accounts(folder)
    streamer = Streamer(runner, accounts, SECRET)
    await streamer.open("127.0.0.1", 0)
    try:
        yield streamer
    finally:
        await streamer.close()
        await runner.stop()
        accounts.close()


def a_day(rounds: int = 20, drivers: int = 4) -> Iterator[tuple[int, Input]]:
    """A small busy day: (at_ms, input), with pings, orders, commands, reports and ticks; some are refused."""
    at_ms = T0
    for number in range(1, drivers + 1):
        yield at_ms, DriverRegistered(f"d-{number}", f"Driver {number}")
        yield at_ms, a_report("on_duty", f"d-{number}", id=f"on-{number}", fix_ms=at_ms)
    for turn in range(rounds):
        at_ms += 5_000
        for number in range(1, drivers + 1):
            yield at_ms, a_ping(f"d-{number}", at_ms, north=0.0004 * turn, east=0.001 * number, seq=turn)
        yield at_ms, an_order(placed_ms=at_ms, due_ms=at_ms + 90 * MINUTE, external_id=f"x-{turn}", actor="shop")
        driver = f"d-{turn % drivers + 1}"
        yield at_ms, OrderCommand("assign", f"o-{turn + 1}", 1, "maya", driver, reason="nearest")
        yield at_ms, a_report("accepted", driver, (f"o-{turn + 1}",), turn + 1, id=f"acc-{turn}", fix_ms=at_ms)
        yield at_ms, Tick()


def live_through(engine: Engine, day: Iterator[tuple[int, Input]]) -> list[Entry]:
    """Handles a day; what took effect, as a journal would have it."""
    entries = []
    for at_ms, item in day:
        seq = engine.state.seq
        outputs = engine.handle(at_ms, item)
        if engine.state.seq > seq:
            verdict = getattr(outputs[0], "verdict", None) if outputs else None
            entries.append(Entry(engine.state.seq, engine.state.at_ms, item, verdict))
    return entries


def write_journal(folder: Path, entries: list[Entry], *others: Any) -> None:
    """A journal with these entries, closed again."""
    journal = SqliteJournal(folder, a_header())
    journal.start(lambda _ticket: None, lambda _error: None)
    for record in (*entries, *others):
        journal.append(record)
    journal.flush()
    journal.close()


def replayed_hash(folder: Path) -> str:
    """The hash of a journal replayed from its first input, by a plain engine."""
    reader = JournalReader(folder)
    engine = Engine(parse_malls(reader.header.malls), reader.header.settings)
    for entry in reader.entries():
        engine.handle(entry.at_ms, entry.input)
    reader.close()
    return engine.hash()


def encode(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))
