"""The runner: handled at once, told only when durable, in order, and never half."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import apsw
import pytest

from streamer.core.engine import Engine
from streamer.core.errors import StorageError
from streamer.core.events import CommandDone, DriverRegistered, Input, OrderCommand, Output, PingTaken, Refused, Tick
from streamer.core.settings import Settings
from streamer.edge import runner as running
from streamer.edge.accounts import Accounts
from streamer.edge.clock import ManualClock
from streamer.edge.journal.contract import MemoryJournal, Record, StorageFullError, Together
from streamer.edge.journal.database import JournalReader
from streamer.edge.journal.recovery import recover
from streamer.edge.journal.sqlite import SqliteJournal
from streamer.edge.runner import INTERNAL, Runner
from streamer.edge.server import Streamer, shut_down
from tests.builders import T0, a_floor, a_ping, a_report, an_order
from tests.edge.floor_kit import a_day, a_header, a_runner, replayed_hash

Outputs = tuple[Output, ...]


@pytest.fixture
async def durable(tmp_path: Path) -> AsyncIterator[Runner]:
    runner = a_runner(SqliteJournal(tmp_path, a_header()))
    await runner.start()
    yield runner
    await runner.stop()


def seqs_on_disk(folder: Path) -> list[int]:
    reader = JournalReader(folder)
    try:
        return [entry.seq for entry in reader.entries()]
    finally:
        reader.close()


# ---------------------------------------------------------------- order and durability


async def test_an_input_is_in_the_state_at_once_and_answered_after_its_commit(durable: Runner, tmp_path: Path) -> None:
    on_disk: list[list[int]] = []
    durable.submit(DriverRegistered("d-1"), lambda _: on_disk.append(seqs_on_disk(tmp_path)))
    assert "d-1" in durable.engine.state.drivers
    assert on_disk == []
    await durable.settled()
    assert on_disk == [[1]]


async def test_answers_come_in_the_order_of_submission_refusals_and_repeats_included(durable: Runner) -> None:
    answered: list[str] = []

    def said(name: str) -> Callable[[Outputs], None]:
        return lambda outputs: answered.append(f"{name} {type(outputs[0]).__name__}")

    durable.submit(DriverRegistered("d-1"), said("driver"))
    durable.submit(a_ping("d-9", seq=1), said("stranger"))
    durable.submit(a_report("on_duty"), said("duty"))
    durable.submit(a_ping(seq=1), said("ping"))
    durable.submit(a_ping(seq=1), said("again"))
    durable.barrier(lambda: answered.append("barrier"))
    assert answered == []
    await durable.settled()
    assert answered == [
        "driver DriverChanged", "stranger Refused", "duty ReportTaken", "ping PingTaken", "again PingTaken", "barrier",
    ]  # fmt: skip


async def test_what_changes_nothing_is_not_journaled(durable: Runner, tmp_path: Path) -> None:
    await durable.ask(DriverRegistered("d-1"))
    assert isinstance((await durable.ask(a_ping("d-1", seq=1)))[0], Refused)
    await durable.ask(a_report("on_duty"))
    for _ in range(3):
        taken = (await durable.ask(a_ping(seq=1)))[0]
    assert taken == PingTaken("d-1", 1, "duplicate")
    assert seqs_on_disk(tmp_path) == [1, 2, 3]


async def test_sinks_hear_of_effective_inputs_only_after_the_commit_and_in_order(
    durable: Runner, tmp_path: Path
) -> None:
    heard: list[tuple[Input, int]] = []
    durable.listen(lambda news: heard.extend((item, len(seqs_on_disk(tmp_path))) for item, _ in news))
    items: list[Input] = [DriverRegistered("d-1"), a_ping(seq=1), a_report("on_duty"), a_ping(seq=1), a_ping(seq=1)]
    for item in items:
        durable.submit(item)
    await durable.settled()
    assert [item for item, _ in heard] == [items[0], items[2], items[3]]
    assert all(on_disk >= number for number, (_, on_disk) in enumerate(heard, 1))


async def test_what_a_receiver_submits_comes_after_what_is_being_told() -> None:
    runner = a_runner()
    answered: list[str] = []

    def first(_outputs: Outputs) -> None:
        runner.submit(DriverRegistered("d-2"), lambda _: answered.append("inner"))
        answered.append("outer")

    runner.submit(DriverRegistered("d-1"), first)
    assert answered == ["outer", "inner"]


async def test_a_receiver_that_raises_does_not_keep_others_from_hearing() -> None:
    runner = a_runner()
    answered: list[str] = []

    def broken(_outputs: Outputs) -> None:
        raise RuntimeError("a receiver's own fault")

    runner.submit(DriverRegistered("d-1"), broken)
    runner.submit(DriverRegistered("d-2"), lambda _: answered.append("second"))
    assert answered == ["second"]


async def test_the_floors_clock_never_goes_back() -> None:
    runner = a_runner(at_ms=T0 + 1000)
    await runner.ask(Tick())
    assert isinstance(runner.clock, ManualClock)
    runner.clock.at_ms = T0
    assert runner.now_ms() == T0 + 1000
    await runner.ask(Tick())
    assert runner.engine.state.at_ms == T0 + 1000


async def test_a_live_runner_ticks(tmp_path: Path) -> None:
    engine = Engine(a_floor(), Settings(tick_ms=20))
    runner = Runner(engine, SqliteJournal(tmp_path, a_header()), ManualClock(T0))
    await runner.start(ticking=True)
    while engine.state.seq < 3:
        await asyncio.sleep(0.01)
    await runner.stop()
    assert seqs_on_disk(tmp_path)[:3] == [1, 2, 3]


# ---------------------------------------------------------------- recovery


async def test_a_restart_begins_where_the_last_one_ended(tmp_path: Path) -> None:
    runner = a_runner(SqliteJournal(tmp_path, a_header()))
    await runner.start()
    for at_ms, item in a_day():
        runner.submit(item, at_ms=at_ms)
    await runner.stop()
    journal = SqliteJournal(tmp_path, a_header())
    recovered = recover(journal)
    journal.close()
    assert recovered.replayed == 0
    assert recovered.engine.hash() == runner.engine.hash() == replayed_hash(tmp_path)


async def test_snapshots_are_taken_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "SNAPSHOT_INPUTS", 50)
    runner = a_runner(SqliteJournal(tmp_path, a_header()))
    await runner.start()
    for at_ms, item in a_day():
        runner.submit(item, at_ms=at_ms)
    await runner.settled()
    seq = runner.engine.state.seq
    await asyncio.to_thread(runner.journal.close)
    journal = SqliteJournal(tmp_path, a_header())
    recovered = recover(journal)
    journal.close()
    assert recovered.snapshot_seq == seq // 50 * 50
    assert recovered.engine.hash() == runner.engine.hash()


# ---------------------------------------------------------------- trouble


def poison(runner: Runner, bad: Input) -> None:
    """Makes this engine raise on one input, after spoiling its state as a real fault would."""
    engine, handle = runner.engine, runner.engine.handle

    def broken(at_ms: int, item: Input) -> Outputs:
        if item is bad:
            engine.state.drivers.clear()
            raise KeyError("half-way")
        return handle(at_ms, item)

    engine.handle = broken  # type: ignore[method-assign]


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_poisonous_input_is_set_aside_and_the_rest_stands(tmp_path: Path, kind: str) -> None:
    journal: Any = MemoryJournal(a_header()) if kind == "memory" else SqliteJournal(tmp_path, a_header())
    runner = a_runner(journal)
    await runner.start()
    for at_ms, item in a_day(5):
        runner.submit(item, at_ms=at_ms)
    before = runner.engine.hash()
    bad = a_ping(seq=77)
    poison(runner, bad)
    answers: list[Outputs] = []
    runner.submit(a_ping("d-2", seq=500), answers.append)
    runner.submit(bad, answers.append)
    assert runner.engine.hash() != before
    assert len(runner.engine.state.drivers) == 4
    runner.submit(a_ping("d-3", seq=500), answers.append)
    await runner.settled()
    assert [type(outputs[0]) for outputs in answers] == [PingTaken, Refused, PingTaken]
    assert answers[1] == running.INTERNAL
    assert (runner.quarantined, runner.rebuilt) == (1, 1)
    await runner.stop()
    if kind == "sqlite":
        connection = apsw.Connection(str(tmp_path / "journal.db"))
        assert list(connection.execute("SELECT reason FROM quarantine")) == [("KeyError('half-way')",)]
        connection.close()
        assert replayed_hash(tmp_path) == runner.engine.hash()
    else:
        assert journal.quarantined[0].input is bad


async def test_a_full_disk_takes_back_what_is_not_durable_and_goes_on_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "PROBE_S", 0.05)
    journal = SqliteJournal(tmp_path, a_header())
    runner = a_runner(journal)
    await runner.start()
    for at_ms, item in a_day(5):
        runner.submit(item, at_ms=at_ms)
    await runner.settled()
    before = runner.engine.hash()
    journal.limit_pages(1)
    answers: list[Outputs] = []
    told: list[str] = []
    for n in range(300):
        runner.submit(an_order(external_id=f"full-{n}"), answers.append)
    runner.submit(a_ping("d-1", seq=3), answers.append)
    runner.barrier(lambda: told.append("durable"), lambda: told.append("lost"))
    with pytest.raises(StorageFullError):
        await runner.settled()
    assert runner.full
    assert answers == [running.STORAGE_FULL] * 301
    assert told == ["lost"]
    assert runner.engine.hash() == before
    assert await runner.ask(Tick()) == running.STORAGE_FULL
    journal.limit_pages(1_000_000)
    while runner.full:
        await asyncio.sleep(0.01)
    assert isinstance((await runner.ask(an_order(external_id="full-0")))[0], CommandDone)
    await runner.stop()
    assert replayed_hash(tmp_path) == runner.engine.hash()


class FailingJournal(MemoryJournal):
    """A journal whose disk dies: nothing is ever committed, and the failure is for good."""

    instant = False

    def start(self, on_commit: Any, on_failure: Callable[[StorageError], None]) -> None:
        self.fail = on_failure


async def test_a_failed_fsync_ends_it_and_nobody_who_waits_is_answered() -> None:
    journal = FailingJournal(a_header())
    runner = a_runner(journal)
    await runner.start()
    answers: list[Outputs] = []
    runner.submit(DriverRegistered("d-1"), answers.append)
    journal.fail(StorageError("disk I/O error"))
    await asyncio.wait_for(runner.broken.wait(), 5)
    assert str(runner.fault) == "disk I/O error"
    assert answers == []
    await runner.stop()


async def test_backlog_counts_what_waits_for_a_commit() -> None:
    runner = a_runner(FailingJournal(a_header()))
    await runner.start()
    for number in range(3):
        runner.submit(OrderCommand("hold", f"o-{number}", 1))
        runner.submit(DriverRegistered(f"d-{number}"))
    # Refusals before anything is under way have nothing to wait for.
    assert runner.backlog == 5


async def test_commands_that_belong_together_are_one_record() -> None:
    runner = a_runner()
    records: list[Record] = []
    append = runner.journal.append
    runner.journal.append = lambda record: (records.append(record), append(record))[1]  # type: ignore[method-assign]
    for item in (an_order(external_id="x-1"), an_order(external_id="x-2")):
        runner.submit(item)
    records.clear()
    answers: list[Sequence[Output]] = []
    commands = [OrderCommand("hold", "o-1", 1), OrderCommand("hold", "o-2", 1)]
    runner.submit_together(commands, [answers.append] * 2)
    (record,) = records
    assert isinstance(record, Together)
    assert [entry.input for entry in record.entries] == commands
    assert [type(outputs[0]) for outputs in answers] == [CommandDone, CommandDone]


async def test_of_commands_that_belong_together_none_is_kept_when_one_is_poisonous() -> None:
    runner = a_runner()
    for number in (1, 2):
        runner.submit(an_order(external_id=f"x-{number}"))
    handle = runner.engine.handle
    poison = OrderCommand("hold", "o-2", 1)

    def failing(at_ms: int, item: Input) -> tuple[Output, ...]:
        if item is poison:
            raise RuntimeError("poison")
        return handle(at_ms, item)

    runner.engine.handle = failing  # type: ignore[method-assign]
    answers: list[Sequence[Output]] = []
    runner.submit_together([OrderCommand("hold", "o-1", 1), poison], [answers.append] * 2)
    assert [outputs[0] for outputs in answers] == [INTERNAL[0], INTERNAL[0]]
    assert not any(order.held for order in runner.engine.state.orders.values())
    assert runner.quarantined == 1


async def test_a_sync_that_fails_ends_those_who_wait_for_it_with_the_fault() -> None:
    journal = FailingJournal(a_header())
    runner = a_runner(journal)
    await runner.start()
    runner.submit(DriverRegistered("d-1"))
    waiting = asyncio.create_task(runner.settled())
    await asyncio.sleep(0)
    journal.fail(StorageError("disk I/O error"))
    with pytest.raises(StorageError, match="disk I/O error"):
        await asyncio.wait_for(waiting, 5)
    with pytest.raises(StorageError, match="disk I/O error"):
        await asyncio.wait_for(runner.settled(), 5)
    await runner.stop()


async def test_a_stop_whose_last_sync_fails_says_so_and_lets_go_of_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = SqliteJournal(tmp_path, a_header())
    runner = a_runner(journal)
    await runner.start()
    await runner.ask(Tick())

    def fail(_records: Sequence[Record]) -> None:
        raise StorageError("the journal failed: EIO")

    monkeypatch.setattr(journal._store, "commit", fail)
    with pytest.raises(StorageError, match="the journal failed: EIO"):
        await asyncio.wait_for(runner.stop(), 5)
    SqliteJournal(tmp_path, a_header()).close()


@pytest.mark.parametrize("already", [False, True], ids=["by the last snapshot", "while the sockets close"])
async def test_a_shut_down_does_not_hide_that_the_last_sync_failed(tmp_path: Path, already: bool) -> None:
    journal = FailingJournal(a_header())
    runner = a_runner(journal)
    accounts = Accounts(tmp_path)
    streamer = Streamer(runner, accounts, "secret")
    await runner.start()
    runner.submit(Tick())
    fault = StorageError("disk I/O error")
    if already:
        journal.fail(fault)
    else:
        asyncio.get_running_loop().call_later(0.05, journal.fail, fault)
    with pytest.raises(StorageError, match="disk I/O error"):
        await asyncio.wait_for(shut_down(streamer, runner, accounts), 5)
    Accounts(tmp_path).close()
