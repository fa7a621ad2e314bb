"""F5, F7 and F27: no room, somebody else's lock, and a log that would grow for ever."""

import asyncio
import multiprocessing
import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, suppress
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apsw
import pytest

from streamer.core.engine import Engine
from streamer.core.events import DriverRegistered, Output, Refused
from streamer.core.snapshot import dump_state
from streamer.edge.clock import ManualClock
from streamer.edge.journal import store
from streamer.edge.journal.contract import Entry, HistoryGoneError, PingRun, Snapshot
from streamer.edge.journal.database import JournalReader
from streamer.edge.journal.layout import DAY_MS, ping_tables
from streamer.edge.journal.recovery import recover
from streamer.edge.journal.sqlite import SqliteJournal
from streamer.edge.runner import Runner
from tests.builders import T0, a_floor, a_ping, a_report
from tests.edge.floor_kit import a_header
from tests.faults.clients import Dispatcher, Fleet, until_cut
from tests.faults.conftest import Start, a_data_folder, a_fleet, readyz
from tests.faults.evidence import Evidence
from tests.faults.invariants import Acked, check_all, lost_of
from tests.faults.program import Program
from tests.faults.scale import SCALE

DISK_BYTES = 6 * 1024 * 1024
LOCKED_S = 5.0 if SCALE.kill_cycles > 10 else 3.0
"""Longer than the journal waits for a lock."""
LAG_S = 0.1
"""The longest the loop may be held up while somebody else holds the journal."""
PAGE_BYTES = 4096


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MiB, where this machine lets us make one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    options = ("-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(place))
    if mount is None or os.geteuid() != 0 or subprocess.run([mount, *options], check=False).returncode:
        pytest.skip("only root may mount a small disk")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.timeout(90)
async def test_f05_a_full_disk_refuses_retryably_and_resumes_when_freed(
    small_disk: Path, start: Start, evidence: Evidence
) -> None:
    folder = a_data_folder(small_disk / "data")
    fleet, desk = a_fleet(folder), Dispatcher()
    program = start(folder=folder)
    await desk.open(program.port)
    async with sending(fleet, program):
        await fleet.heard(lambda: len(fleet.acked.pings) > 20)
        ballast = small_disk / "ballast"
        fill(ballast)
        await fleet.heard(lambda: len(fleet.nacks) > 20, within_s=30)
        assert {(nack["code"], nack["retryable"]) for nack in fleet.nacks} == {("storage_full", True)}
        assert (await desk.call("ready"))["body"] == {"journal_writable": False}
        assert await readyz(program.port) == 503
        assert (await desk.call("drivers", state=[], limit=5))["status"] == 200, "reads go on"
        placed = await desk.call("duty", driver_id="d-1", duty="on_break", key="full")
        assert (placed["status"], placed["problem"]["code"]) == (503, "storage_full")
        ballast.unlink()
        said = len(fleet.acked.pings)
        await fleet.heard(lambda: len(fleet.acked.pings) > said + 200, within_s=20)
        assert await readyz(program.port) == 200
        assert (await desk.call("duty", driver_id="d-1", duty="on_break", key="full"))["status"] == 200
        await program.end()
    assert program.running.returncode == 0
    assert "Traceback" not in program.log()
    log = check_all(folder, took(fleet), nacks=fleet.nacks)
    evidence("disk full, refused", len(fleet.nacks), lost=len(lost_of(log, took(fleet))))


def fill(path: Path) -> None:
    """Write until there is no room, to the last byte."""
    with path.open("wb", buffering=0) as file:
        for block in (64 * 1024, 512, 1):
            try:
                while True:
                    file.write(bytes(block))
            except OSError:
                continue


def took(fleet: Fleet) -> Acked:
    """What was acknowledged, without what was refused: a cumulative ack speaks only for what it took."""
    refused = {(nack["driver_id"], nack["seq"]) for nack in fleet.nacks}
    return Acked(fleet.acked.pings - refused, fleet.acked.reports, fleet.acked.orders, fleet.acked.commands)


@asynccontextmanager
async def sending(fleet: Fleet, program: Program) -> AsyncIterator[None]:
    """A fleet that sends until the streamer is gone."""
    working = asyncio.create_task(until_cut(fleet.run(program.port)))
    try:
        yield
    finally:
        if program.running.poll() is None:
            program.running.kill()
        await working


async def test_f05_a_quota_counts_as_a_full_disk(tmp_path: Path) -> None:
    """The same without root: SQLite refuses to grow, as it would on a full disk."""
    journal = SqliteJournal(tmp_path / "data", a_header())
    runner = Runner(Engine(a_floor()), journal, ManualClock(T0))
    await runner.start()
    await runner.ask(DriverRegistered("d-1"))
    journal.limit_pages(40)
    refused: list[Output] = []
    number = 0
    async with asyncio.timeout(60):
        while not is_full(runner):
            number += 1
            runner.submit(DriverRegistered(f"d-{number}", "x" * 100), refused.extend)
            await asyncio.sleep(0.001)  # Not faster than a slow disk can say that it is full.
    assert isinstance(refused[-1], Refused)
    assert refused[-1].retryable
    seq = runner.engine.state.seq
    assert seq == max(entry.seq for entry in journal.entries()), "what was not written is taken back"
    journal.limit_pages(1_000_000)
    async with asyncio.timeout(10):
        while is_full(runner):
            await asyncio.sleep(0.05)
    await runner.ask(DriverRegistered("d-after"))
    state = runner.engine.state
    await runner.stop()
    check_all(tmp_path / "data", state=state)


def is_full(runner: Runner) -> bool:
    """Asked anew each time: it changes while others run."""
    return runner.full


# ---------------------------------------------------------------- somebody else's lock


def hold_lock(path: str, seconds: float, held: Any) -> None:
    """Another program that begins to write, and takes its time."""
    connection = apsw.Connection(path)
    connection.set_busy_timeout(5_000)  # The streamer may be in the middle of a commit.
    connection.execute("BEGIN IMMEDIATE")
    held.set()
    time.sleep(seconds)
    connection.execute("ROLLBACK")
    connection.close()


@pytest.mark.timeout(60)
async def test_f07_another_programs_lock_is_a_retryable_refusal_and_holds_up_nobody(
    data: Path, start: Start, fleet: Fleet, evidence: Evidence
) -> None:
    program = start()
    spawn = multiprocessing.get_context("spawn")
    held = spawn.Event()
    async with sending(fleet, program):
        await fleet.heard(lambda: len(fleet.acked.pings) > 20)
        holder = spawn.Process(target=hold_lock, args=(str(data / "journal.db"), LOCKED_S, held))
        holder.start()
        assert await asyncio.to_thread(held.wait, 20)
        lags_s = [await lag_s(fleet) for _ in range(int(LOCKED_S / 0.05))]
        assert {(nack["code"], nack["retryable"]) for nack in fleet.nacks} == {("storage_full", True)}
        await asyncio.to_thread(holder.join)
        said = len(fleet.acked.pings)
        await fleet.heard(lambda: len(fleet.acked.pings) > said + 200, within_s=20)
        assert await program.end() == 0, program.log()
    assert sorted(lags_s)[-3] < LAG_S, f"the loop was held up: {sorted(lags_s)[-3:]}"
    log = check_all(data, took(fleet), nacks=fleet.nacks)
    evidence(
        "journal locked by another program, seconds", LOCKED_S, lost=len(lost_of(log, took(fleet))),
        loop_lag_ms=round(sorted(lags_s)[-3] * 1000, 1),
    )  # fmt: skip


async def lag_s(fleet: Fleet) -> float:
    """How long the streamer's loop takes to answer a control frame, looked at 20 times a second."""
    assert fleet.socket is not None
    began_s = time.monotonic()
    await (await fleet.socket.ping())
    took_s = time.monotonic() - began_s
    await asyncio.sleep(max(0.0, 0.05 - took_s))
    return took_s


# ---------------------------------------------------------------- growth


def a_long_history(days: int, pings_a_day: int, batch: int = 500) -> Iterator[PingRun | Entry | Snapshot]:
    """One driver's days, in runs, with a snapshot at the end of each."""
    engine = Engine(a_floor())
    for item in (DriverRegistered("d-1"), a_report("on_duty", id="on", fix_ms=T0)):
        engine.handle(T0, item)
        yield Entry(engine.state.seq, T0, item)
    draw = random.Random(1)
    for day in range(days):
        for start in range(0, pings_a_day, batch):
            at_ms = T0 + day * DAY_MS + start * 100
            first, pings = engine.state.seq + 1, []
            for number in range(batch):
                ping = a_ping(at_ms=at_ms, north=draw.random() / 2000, seq=day * pings_a_day + start + number)
                engine.handle(at_ms, ping)
                pings.append(ping)
            yield PingRun(first, at_ms, ["ok"] * batch, pings)
        yield Snapshot(engine.state.seq, engine.state.at_ms, dump_state(engine.state))


def append_all(journal: SqliteJournal, records: Iterator[Any], each: Callable[[], None]) -> None:
    """Write records with a commit each, and look after each."""
    for record in records:
        journal.append(record)
        journal.flush()
        each()


@pytest.mark.timeout(600)
def test_f27_old_days_are_dropped_and_the_wal_stays_short_beside_readers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evidence: Evidence
) -> None:
    folder = tmp_path / "data"
    if SCALE.kill_cycles <= 10:
        # All a twentieth of its size, pings and pages.
        monkeypatch.setattr(store, "CHECKPOINT_PAGES", store.CHECKPOINT_PAGES // 20)
        monkeypatch.setattr(store, "CROWDED_WAL_PAGES", store.CROWDED_WAL_PAGES // 20)
    journal = SqliteJournal(folder, a_header(), retention_days=2)
    journal.start(lambda _ticket: None, lambda _error: None)
    pings = 100_000 if SCALE.kill_cycles > 10 else 4_000
    wal: list[int] = []
    stop = reading_beside(folder)
    append_all(journal, a_long_history(6, pings), lambda: wal.append(journal.sizes().wal))
    until_s = time.monotonic() + 20
    while (days := len(tables(folder))) > 3 and time.monotonic() < until_s:
        time.sleep(0.05)
    reads = stop()
    journal.close()
    assert days == 3, "today and two days before it are kept"
    assert reads > 2
    assert max(wal) < 4 * store.CROWDED_WAL_PAGES * PAGE_BYTES
    reader = JournalReader(folder)
    recovered = recover(reader)
    reader.close()
    assert recovered.engine.state.seq == 2 + 6 * pings
    check_all(folder, state=recovered.engine.state)
    evidence("largest WAL beside readers, MiB", round(max(wal) / 2**20, 1), days_kept=days, pings=6 * pings)


def tables(folder: Path) -> list[str]:
    """The days of pings on disk."""
    connection = apsw.Connection(str(folder / "journal.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return ping_tables(connection)
    finally:
        connection.close()


def reading_beside(folder: Path) -> Callable[[], int]:
    """Two who read the newest pings again and again, as looks at a track do, so that there is hardly a moment without
    a reader. The result stops them, and says how often they read.
    """
    ending, reads = threading.Event(), []

    def read_on() -> None:
        while not ending.is_set():
            with closing(JournalReader(folder)) as reader, suppress(HistoryGoneError):
                base = reader.base()
                reads.append(sum(1 for _ in islice(reader.entries(base.seq if base else 0), 2_000)))

    threads = [threading.Thread(target=read_on) for _ in range(2)]
    for thread in threads:
        thread.start()

    def stop() -> int:
        ending.set()
        for thread in threads:
            thread.join()
        return len(reads)

    return stop


@pytest.mark.timeout(300)
def test_f27_a_reader_that_never_ends_is_named_and_the_wal_shrinks_after_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nobody can take a read transaction away from a foreign program; what can be done is to say so, and recover."""
    monkeypatch.setattr(store, "CHECKPOINT_PAGES", 20)
    monkeypatch.setattr(store, "LONG_WAL_PAGES", 200)
    said: list[str] = []
    monkeypatch.setattr(store, "log", SimpleNamespace(warning=lambda event, **_fields: said.append(event)))
    folder = tmp_path / "data"
    journal = SqliteJournal(folder, a_header())
    journal.start(lambda _ticket: None, lambda _error: None)
    records = a_long_history(3, 10_000)
    append_all(journal, (next(records) for _ in range(4)), lambda: None)
    held = apsw.Connection(str(folder / "journal.db"), flags=apsw.SQLITE_OPEN_READONLY)
    held.execute("BEGIN")
    held.execute("SELECT count(*) FROM entry").fetchall()
    append_all(journal, (next(records) for _ in range(30)), lambda: None)
    grown = journal.sizes().wal
    assert grown > 200 * 4096
    held.execute("COMMIT")
    held.close()
    append_all(journal, records, lambda: None)
    after = journal.sizes().wal
    journal.close()
    assert said[0] == "wal_is_long"
    assert after <= 1.2 * grown, "the WAL went on growing after the reader had ended"
    check_all(folder)
