"""Runs of pings: taken without a lock, written as one row, read back as the entries they are."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.core.events import Tick
from streamer.edge.journal import layout, sqlite
from streamer.edge.journal.contract import Entry, MemoryJournal, PingRun, Record, unfolded
from streamer.edge.journal.database import JournalReader
from streamer.edge.journal.layout import PingRow
from streamer.edge.journal.sqlite import SqliteJournal
from tests.builders import T0, a_ping
from tests.edge.floor_kit import a_header

DAY_MS = 86_400_000


def a_run(first_seq: int, count: int, at_ms: int = T0) -> PingRun:
    pings = [a_ping(f"d-{n}", at_ms, seq=first_seq + n) for n in range(count)]
    return PingRun(first_seq, at_ms, ["late" if n % 3 else "ok" for n in range(count)], pings)


def runs_of(lengths: list[int], step_ms: int = 1) -> list[Entry | PingRun]:
    """Runs of these lengths one after another; a length of 0 is a tick, of 1 an entry that is a ping."""
    records: list[Entry | PingRun] = []
    seq = 1
    for number, length in enumerate(lengths):
        at_ms = T0 + number * step_ms
        match length:
            case 0:
                records.append(Entry(seq, at_ms, Tick()))
            case 1:
                records.append(Entry(seq, at_ms, a_ping(seq=seq), "ok"))
            case _:
                records.append(a_run(seq, length, at_ms))
        seq += max(1, length)
    return records


def committed(journal: SqliteJournal, records: list[Entry | PingRun]) -> None:
    journal.start(lambda _ticket: None, lambda _error: None)
    for record in records:
        journal.append(record)
    journal.flush()


@settings(max_examples=40)
@given(st.lists(st.integers(0, 7), max_size=30), st.integers(0, 60), st.sampled_from([1, DAY_MS // 4, 3 * DAY_MS]))
def test_runs_come_back_as_entries_from_anywhere(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], after: int, step_ms: int
) -> None:
    records = runs_of(lengths, step_ms)
    expected = list(unfolded(iter(records)))[after:]
    journal, memory = SqliteJournal(tmp_path_factory.mktemp("journal"), a_header()), MemoryJournal(a_header())
    committed(journal, records)
    for record in records:
        memory.append(record)
    try:
        assert list(journal.entries(after)) == list(memory.entries(after)) == expected
        for driver in ("d-1", "d-3"):
            window = driver, T0 + step_ms, T0 + 20 * step_ms, after, 3
            assert journal.track(*window) == memory.track(*window)
    finally:
        journal.close()


def test_neighbouring_runs_share_a_row_and_midnight_parts_them(tmp_path: Path) -> None:
    midnight_ms = T0 // DAY_MS * DAY_MS + DAY_MS
    journal = SqliteJournal(tmp_path, a_header())
    journal.commit_now([a_run(1, 5, midnight_ms - 2), a_run(6, 5, midnight_ms - 1), a_run(11, 5, midnight_ms)])
    journal.close()
    reader = JournalReader(tmp_path)
    spans = [
        [(row.first_seq, row.last_seq) for row in layout.ping_stream(reader.connection, table, 0)]
        for table in layout.ping_tables(reader.connection)
    ]
    reader.close()
    assert spans == [[(1, 10)], [(11, 15)]]


def test_a_commit_is_limited_by_inputs_and_not_by_records(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path, a_header())
    records = [a_run(1 + n * 500, 500, T0 + n) for n in range(20)]
    committed(journal, list(records))
    journal.close()
    assert journal.tally.inputs == 10_000
    assert 10_000 / (sqlite.GROUP_MAX + 500) <= journal.tally.commits <= 10_000 / sqlite.GROUP_MAX + 3
    assert journal.tally.last_inputs <= sqlite.GROUP_MAX + 499
    assert journal.tally.commit_s.total == journal.tally.commits


def test_what_a_full_commit_left_over_follows_without_a_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "GROUP_S", 2.0)
    journal = SqliteJournal(tmp_path, a_header())
    done = threading.Event()
    began_s = time.monotonic()
    for n in range(40):
        journal.append(a_run(1 + n * 500, 500, T0 + n))
    journal.start(lambda ticket: done.set() if ticket == 40 else None, lambda _error: None)
    assert done.wait(20)
    assert time.monotonic() - began_s < 2.0
    assert journal.tally.commits == 10
    journal.close()


def test_a_track_s_window_includes_both_its_ends(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path, a_header())
    for n in range(6):
        journal.commit_now([a_run(1 + n * 3, 3, T0 + n * 1000)])
    points = journal.track("d-1", T0 + 1000, T0 + 3000, 0, 10).items
    assert [point.at_ms for point in points] == [T0 + 1000, T0 + 2000, T0 + 3000]
    journal.close()


def test_a_commit_while_somebody_reads_is_no_hole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = SqliteJournal(tmp_path, a_header())
    journal.commit_now([a_run(1, 2)])
    ping_stream, later = layout.ping_stream, [Entry(3, T0, Tick()), a_run(4, 2)]

    def after_a_commit(connection: apsw.Connection, table: str, after_seq: int) -> Iterator[PingRow]:
        # The inputs that are no pings have been looked for already.
        if later:
            journal.commit_now(later)
            later.clear()
        yield from ping_stream(connection, table, after_seq)

    monkeypatch.setattr(layout, "ping_stream", after_a_commit)
    assert [entry.seq for entry in journal.entries()] == [1, 2]
    assert [entry.seq for entry in journal.entries()] == [1, 2, 3, 4, 5]
    journal.close()


def test_notes_and_snapshots_are_no_inputs_in_the_tally(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path, a_header())
    committed(journal, runs_of([3, 0, 1]))
    assert journal.tally.inputs == 5
    assert journal.sizes().database > 0
    assert journal.sizes().wal > 0
    journal.close()
    assert journal.sizes().wal == 0


def test_no_record_is_left_lying_however_it_meets_the_writer_falling_idle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "GROUP_S", 0.0)
    journal = SqliteJournal(tmp_path, a_header())
    told = threading.Event()
    last = 0

    def tell(ticket: int) -> None:
        if ticket == last:
            told.set()

    journal.start(tell, lambda _error: None)
    for seq in range(1, 1001):
        told.clear()
        last = seq
        assert journal.append(Entry(seq, T0, Tick())) == seq
        assert told.wait(5), f"record {seq} was never committed"
        # About when the writer goes to sleep, now before and now after.
        time.sleep(seq % 7 * 0.00002)
    journal.close()


class Watched(deque[Record]):
    """A queue that lets somebody in between when it is found empty for the first time."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        super().__init__()
        self._meanwhile: list[Callable[[], object]] = [meanwhile]

    def __bool__(self) -> bool:
        found = len(self) > 0
        if not found and self._meanwhile:
            appender = threading.Thread(target=self._meanwhile.pop())
            appender.start()
            # Either it is done by then, or it waits for the lock and goes on when the writer sleeps.
            appender.join(0.1)
        return found


def test_a_record_that_comes_between_look_and_sleep_is_not_left_lying(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path, a_header())
    told = threading.Event()
    journal._pending = Watched(lambda: journal.append(Entry(1, T0, Tick())))
    journal.start(lambda _ticket: told.set(), lambda _error: None)
    assert told.wait(2)
    journal.close()


def test_appending_takes_no_lock_while_the_writer_is_awake(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path, a_header())
    journal._idle = False
    done = threading.Event()

    def append_many() -> None:
        for seq in range(1, 1001):
            journal.append(a_run(seq, 1))
        done.set()

    with journal._wake:
        threading.Thread(target=append_many).start()
        assert done.wait(5)
    committed(journal, [])
    assert journal.tally.inputs == 1000
    journal.close()


def test_a_commit_of_any_records_is_one(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path, a_header())
    broken: list[Record] = [a_run(1, 3), Entry(4, T0, Tick()), Entry(4, T0, Tick())]
    with pytest.raises(OSError, match="UNIQUE"):
        journal.commit_now(broken)
    assert list(journal.entries()) == []
    journal.commit_now(broken[:2])
    assert [entry.seq for entry in journal.entries()] == [1, 2, 3, 4]
    journal.close()
