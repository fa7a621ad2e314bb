"""F24, F26 and F32: back from a long journal, around a poisonous input, and from a backup made under load."""

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from streamer.core.engine import Engine
from streamer.core.events import DriverRegistered, Input, Output, Ping, Report
from streamer.core.state import State
from streamer.edge import runner as running
from streamer.edge.accounts import Accounts
from streamer.edge.clock import ManualClock, WallClock
from streamer.edge.journal import quarantine
from streamer.edge.journal.backup import back_up, restore
from streamer.edge.journal.database import JournalReader
from streamer.edge.journal.recovery import recover
from streamer.edge.journal.sqlite import SqliteJournal
from streamer.edge.runner import Runner
from streamer.edge.server import Streamer
from streamer.edge.simulation.worlds import demo_floor
from tests.bench.children import cpu_s
from tests.builders import T0
from tests.edge.floor_kit import a_header
from tests.faults.clients import Dispatcher, Fleet, an_order_body, until_cut
from tests.faults.conftest import DRIVERS, Start
from tests.faults.evidence import Evidence
from tests.faults.invariants import check_all, i4_replay_is_the_state, lost_of, read_log
from tests.faults.program import SECRET
from tests.faults.scale import SCALE

FRAME = 500
READY_S = 5.0
"""The promise for a million inputs, on two cores; of CPU, since others may be at work on them."""
POISON = 5
"""The number of the ping that a handler cannot stand."""
PLACE = (36.127, -115.171)


# ---------------------------------------------------------------- a long journal


@pytest.mark.timeout(600)
async def test_f24_a_long_journal_is_ready_in_time_and_its_snapshot_is_no_other_state(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch, evidence: Evidence
) -> None:
    inputs, folder = SCALE.recovered_inputs, tmp_path / "long"
    # As many as a running floor ever has to replay: a snapshot is due with the very next input.
    monkeypatch.setattr(running, "SNAPSHOT_INPUTS", min(running.SNAPSHOT_INPUTS, inputs // 5))
    live_hash = await live_through(folder, inputs - 1)
    began_s = time.perf_counter()
    program = start(folder=folder)
    ready_s = time.perf_counter() - began_s
    busy_s = cpu_s(program.running.pid)
    (event,) = program.events("recovered")
    await program.end(signal.SIGKILL)
    assert event["seq"] == inputs - 1
    assert int(str(event["replayed"])) > 0.9 * running.SNAPSHOT_INPUTS
    assert busy_s < READY_S
    with closing(JournalReader(folder)) as reader:
        begun_s = time.perf_counter()
        full = recover(reader, use_snapshots=False).engine
        full_s = time.perf_counter() - begun_s
    with closing(JournalReader(folder)) as reader:
        assert recover(reader).engine.hash() == full.hash()
    assert hash_at(folder, inputs - 1) == live_hash
    evidence(
        "inputs recovered", inputs, seconds_to_ready=round(ready_s, 2), replayed=int(str(event["replayed"])),
        seconds_without_snapshot=round(full_s, 2),
    )  # fmt: skip


async def live_through(folder: Path, inputs: int) -> str:
    """A floor that took so many inputs and then lost its power; the hash of its state."""
    clock = ManualClock(T0)
    header = a_header(malls=demo_floor().geojson())
    journal = SqliteJournal(folder, header)
    runner = Runner(Engine(demo_floor(), header.settings), journal, clock)
    await runner.start()
    drivers = [f"d-{number}" for number in range(inputs // 500)]
    for driver in drivers:
        runner.submit(DriverRegistered(driver))
        runner.submit(Report(f"on-{driver}", "on_duty", T0, driver))
    draw = random.Random(1)
    numbers = dict.fromkeys(drivers, 0)
    while (left := inputs - runner.engine.state.seq) > 0:
        clock.at_ms += 50
        speaking = draw.sample(drivers, min(FRAME, left, len(drivers)))
        runner.submit_pings([a_ping_of(driver, numbers, clock.now_ms(), draw) for driver in speaking])
        while runner.backlog > 20 * FRAME:
            await asyncio.sleep(0.001)
    await runner.settled()
    state_hash = runner.engine.hash()
    # Closed without an orderly stop, which would leave a snapshot of everything.
    await asyncio.to_thread(journal.close)
    return state_hash


def a_ping_of(driver: str, numbers: dict[str, int], at_ms: int, draw: random.Random) -> Ping:
    numbers[driver] += 1
    return Ping(at_ms, PLACE[0] + draw.random() / 1000, PLACE[1], driver, numbers[driver], 8.0)


def hash_at(folder: Path, seq: int) -> str:
    """The hash after `seq` inputs, by a plain replay of the journal."""
    log = read_log(folder)
    engine = log.engine()
    for entry in log.entries[:seq]:
        engine.handle(entry.at_ms, entry.input)
    return engine.hash()


# ---------------------------------------------------------------- a poisonous input


async def test_f26_a_poisonous_ping_is_set_aside_the_stream_goes_on_and_it_works_once_mended(
    data: Path, fleet: Fleet, monkeypatch: pytest.MonkeyPatch, evidence: Evidence
) -> None:
    handle = Engine.handle

    def brittle(engine: Engine, at_ms: int, item: Input) -> tuple[Output, ...]:
        outputs = handle(engine, at_ms, item)
        if isinstance(item, Ping) and (item.driver_id, item.seq) == (DRIVERS[3], POISON):
            raise ZeroDivisionError("half-way through a poisonous ping")
        return outputs

    monkeypatch.setattr(Engine, "handle", brittle)
    desk = Dispatcher()
    async with a_floor_here(data) as streamer:
        working = asyncio.create_task(until_cut(fleet.run(streamer.port, pause_s=0.05)))
        await fleet.heard(lambda: len(fleet.highest) == len(DRIVERS) and min(fleet.highest.values()) > 3 * POISON)
        await desk.open(streamer.port)
        counters = (await desk.call("counters"))["body"]
        state = streamer.runner.engine.state
        await desk.close()
    await working
    assert counters["quarantined_total"] == 1
    (nack,) = fleet.nacks
    assert (nack["driver_id"], nack["seq"], nack["code"], nack["retryable"]) == (DRIVERS[3], POISON, "internal", False)
    monkeypatch.undo()
    fleet.acked.pings.discard((DRIVERS[3], POISON))
    check_all(data, fleet.acked, state, nacks=fleet.nacks)
    with closing(JournalReader(data)) as reader:
        (aside,) = quarantine.read(reader.connection)
        assert "half-way" in aside.reason
        with closing(SqliteJournal(data, reader.header)) as journal:
            at_ms = journal_end_ms(journal)
            (retried,) = quarantine.retry(journal, reader.connection, [aside.id], at_ms)
    assert retried.fate == "taken", retried.detail
    fleet.acked.pings.add((DRIVERS[3], POISON))
    log = check_all(data, fleet.acked, nacks=fleet.nacks)
    with closing(JournalReader(data)) as reader:
        assert quarantine.count(reader.connection) == 0
    evidence("poisonous inputs set aside", 1, lost=len(lost_of(log, fleet.acked)), taken_once_mended=1)


@asynccontextmanager
async def a_floor_here(data: Path) -> AsyncIterator[Streamer]:
    """A streamer in this process, so that its handlers can be broken."""
    header = a_header(malls=demo_floor().geojson())
    journal, accounts = SqliteJournal(data, header), Accounts(data)
    runner = Runner(recover(journal).engine, journal, WallClock())
    for driver in DRIVERS:
        runner.submit(DriverRegistered(driver))
    streamer = Streamer(runner, accounts, SECRET)
    await runner.start()
    await streamer.open("127.0.0.1", 0)
    yield streamer
    await streamer.close()
    await runner.stop()
    accounts.close()


def journal_end_ms(journal: SqliteJournal) -> int:
    """The instant of the last input."""
    return max(entry.at_ms for entry in journal.entries())


# ---------------------------------------------------------------- a backup


@pytest.mark.timeout(60)
async def test_f32_a_backup_made_under_load_restores_the_state_at_its_seq(
    data: Path, tmp_path: Path, start: Start, fleet: Fleet, evidence: Evidence
) -> None:
    program = start()
    desk = await Dispatcher(fleet.acked).open(program.port)
    working = asyncio.gather(fleet.run(program.port), desk.place_and_hold())
    await fleet.heard(lambda: len(fleet.highest) == len(DRIVERS))
    await asyncio.sleep(0.5)
    before = fleet.acked.copy()
    copied = await asyncio.to_thread(back_up, data, tmp_path / "backup")
    seq_after = (await (await Dispatcher().open(program.port)).call("state"))["body"]["seq"]
    assert await program.end() == 0, program.log()
    await working
    assert copied.seq < seq_after, "the floor did not move during the backup"

    restored = await asyncio.to_thread(restore, tmp_path / "backup", tmp_path / "again")
    assert restored.hash == copied.hash == hash_at(data, copied.seq)
    log = check_all(tmp_path / "again", before)
    assert log.entries == read_log(data).entries[: copied.seq]
    i4_replay_is_the_state(log, recovered_state(tmp_path / "again"))
    assert await takes_orders(start, tmp_path / "again", copied.seq)
    evidence("inputs in a backup made under load", copied.seq, lost=len(lost_of(log, before)))


def recovered_state(folder: Path) -> State:
    """The state a floor on this folder would start from."""
    with closing(JournalReader(folder)) as reader:
        return recover(reader).engine.state


async def takes_orders(start: Start, folder: Path, seq: int) -> bool:
    """Whether a streamer started on a restored folder begins where the backup ended, and works."""
    program = start(folder=folder)
    assert program.events("recovered")[0]["seq"] == seq
    desk = await Dispatcher().open(program.port)
    placed = await desk.call("place", order=an_order_body("after-restore"))
    await desk.close()
    assert await program.end() == 0, program.log()
    return bool(placed["status"] == 201)
