"""The journal: what was appended comes back, in order, whole, or not at all and loudly."""

import os
import threading
import time
from pathlib import Path

import apsw
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.core.engine import Engine
from streamer.core.errors import ConfigurationError, StorageError
from streamer.core.events import OrderCommand, OrderPlaced, Tick
from streamer.core.snapshot import dump_state
from streamer.edge.journal import audit, layout, sqlite
from streamer.edge.journal.audit import AuditError
from streamer.edge.journal.contract import (
    Entry,
    JournalDamagedError,
    MemoryJournal,
    Note,
    Quarantined,
    Snapshot,
    StorageFullError,
)
from streamer.edge.journal.database import JournalReader, apply_pragmas
from streamer.edge.journal.recovery import recover
from streamer.edge.journal.sqlite import SqliteJournal
from tests.builders import T0, a_floor, a_ping
from tests.edge.floor_kit import a_day, a_header, live_through, replayed_hash, write_journal

DAY_MS = 86_400_000


def a_history(rounds: int = 20) -> tuple[Engine, list[Entry]]:
    engine = Engine(a_floor())
    return engine, live_through(engine, a_day(rounds))


def read_back(folder: Path) -> list[Entry]:
    reader = JournalReader(folder)
    try:
        return list(reader.entries())
    finally:
        reader.close()


def change(folder: Path, sql: str, *bindings: object) -> None:
    connection = apsw.Connection(str(folder / "journal.db"))
    connection.execute(sql, bindings)  # type: ignore[arg-type]
    assert connection.changes() > 0
    connection.close()


# ---------------------------------------------------------------- what goes in comes out


def test_entries_come_back_as_they_were_in_order(tmp_path: Path) -> None:
    _, entries = a_history()
    write_journal(tmp_path, entries)
    assert read_back(tmp_path) == entries


def test_consecutive_pings_are_one_row(tmp_path: Path) -> None:
    entries = [Entry(n, T0 + n, a_ping(seq=n), "ok") for n in range(1, 1001)]
    write_journal(tmp_path, entries)
    reader = JournalReader(tmp_path)
    (table,) = layout.ping_tables(reader.connection)
    rows = list(layout.ping_stream(reader.connection, table, 0))
    assert len(rows) <= 3
    assert (rows[0].first_seq, rows[-1].last_seq) == (1, 1000)
    assert list(reader.entries()) == entries
    reader.close()


def test_pings_lie_in_the_table_of_their_utc_day(tmp_path: Path) -> None:
    midnight_ms = T0 // DAY_MS * DAY_MS + DAY_MS
    entries = [Entry(n, midnight_ms - 3 + n, a_ping(seq=n), "ok") for n in range(1, 6)]
    write_journal(tmp_path, entries)
    reader = JournalReader(tmp_path)
    before, after = layout.ping_tables(reader.connection)
    assert [row.last_seq for row in layout.ping_stream(reader.connection, before, 0)] == [2]
    assert [row.first_seq for row in layout.ping_stream(reader.connection, after, 0)] == [3]
    assert list(reader.entries()) == entries
    reader.close()


@settings(max_examples=25)
@given(st.integers(0, 150))
def test_reading_can_start_anywhere(tmp_path_factory: pytest.TempPathFactory, after: int) -> None:
    _, entries = a_history()
    folder = tmp_path_factory.mktemp("journal")
    write_journal(folder, entries)
    reader = JournalReader(folder)
    assert list(reader.entries(after)) == entries[after:]
    reader.close()


def test_memory_and_sqlite_journals_tell_the_same_track(tmp_path: Path) -> None:
    _, entries = a_history()
    memory = MemoryJournal(a_header())
    for entry in entries:
        memory.append(entry)
    write_journal(tmp_path, entries)
    journal = SqliteJournal(tmp_path, a_header())
    window = ("d-2", T0 + 10_000, T0 + 60_000)
    whole = memory.track(*window, 0, 1000)
    assert [point.at_ms for point in whole.items] == list(range(T0 + 10_000, T0 + 60_001, 5_000))
    assert journal.track(*window, 0, 1000) == whole
    pages, after = [], 0
    while True:
        page = journal.track(*window, after, 4)
        pages += page.items
        if page.next_seq is None:
            break
        after = page.next_seq
    assert tuple(pages) == whole.items
    journal.close()


# ---------------------------------------------------------------- committing


def test_an_idle_journal_commits_at_once(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path, a_header())
    done = threading.Event()
    journal.start(lambda _ticket: done.set(), lambda _error: None)
    took = []
    for n in range(1, 6):
        time.sleep(2 * sqlite.GROUP_S)
        done.clear()
        began = time.perf_counter()
        journal.append(Entry(n, T0, Tick()))
        assert done.wait(5)
        took.append(time.perf_counter() - began)
    assert min(took) < sqlite.GROUP_S
    journal.close()


def test_under_load_inputs_share_commits_and_tickets_rise(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path, a_header())
    tickets: list[int] = []
    journal.start(tickets.append, lambda _error: None)
    for n in range(1, 5001):
        journal.append(Entry(n, T0, a_ping(seq=n), "ok"))
    journal.flush()
    journal.close()
    assert tickets == sorted(tickets)
    assert tickets[-1] == 5000
    assert 3 <= len(tickets) <= 20


def test_an_entry_is_on_disk_when_its_ticket_is_told(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path, a_header())
    seen: list[int] = []
    done = threading.Event()

    def look(_ticket: int) -> None:
        seen.append(len(read_back(tmp_path)))
        done.set()

    journal.start(look, lambda _error: None)
    journal.append(Entry(1, T0, Tick()))
    assert done.wait(5)
    assert seen == [1]
    journal.close()


def test_settings_that_acks_rest_on_are_read_back(tmp_path: Path) -> None:
    connection = apsw.Connection(str(tmp_path / "a.db"))
    apply_pragmas(connection)
    assert connection.pragma("synchronous") == 2
    assert connection.pragma("journal_mode") == "wal"
    connection.close()
    with pytest.raises(StorageError, match="journal_mode is 'memory' and must be 'wal'"):
        apply_pragmas(apsw.Connection(":memory:"))


def test_a_full_disk_fails_the_batch_and_a_probe_tells_when_there_is_room(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path, a_header())
    failures: list[StorageError] = []
    journal.start(lambda _ticket: None, failures.append)
    journal.append(Entry(1, T0, Tick()))
    journal.flush()
    journal.limit_pages(1)
    for n in range(2, 3000):
        journal.append(Entry(n, T0, OrderCommand("hold", "o-1", n, reason="x" * 400)))
    with pytest.raises(StorageFullError):
        journal.flush()
    assert isinstance(failures[0], StorageFullError)
    with pytest.raises(StorageFullError):
        journal.probe()
    journal.discard()
    journal.limit_pages(1_000_000)
    journal.probe()
    journal.append(Entry(2, T0, Tick()))
    journal.flush()
    journal.close()
    assert [entry.seq for entry in read_back(tmp_path)] == [1, 2]


# ---------------------------------------------------------------- opening


def test_nobody_else_can_read_what_is_made(tmp_path: Path) -> None:
    old = os.umask(0o022)
    try:
        journal = SqliteJournal(tmp_path / "floor", a_header())
    finally:
        os.umask(old)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "floor").iterdir()}
    journal.close()
    names = "journal.db", "journal.db-wal", "journal.db-shm", "journal.lock", "journal.mark"
    assert modes == dict.fromkeys(names, 0o600)
    assert (tmp_path / "floor").stat().st_mode & 0o777 == 0o700


def test_two_programs_cannot_hold_one_journal(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path, a_header())
    with pytest.raises(ConfigurationError, match="another program is running"):
        SqliteJournal(tmp_path, a_header())
    journal.close()
    SqliteJournal(tmp_path, a_header()).close()


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    write_journal(tmp_path, [])
    newer = msgspec.json.encode(a_header(schema=2))
    change(tmp_path, "UPDATE meta SET value = ? WHERE key = 'header'", newer)
    with pytest.raises(ConfigurationError, match="schema 2 and this version knows up to 1: update Mallard"):
        SqliteJournal(tmp_path, a_header())


def test_a_file_that_is_no_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"not a database at all, but long enough to be read as one" * 100)
    with pytest.raises(StorageError, match="cannot open the journal"):
        SqliteJournal(tmp_path, a_header())


def test_a_journal_keeps_the_header_it_was_begun_with(tmp_path: Path) -> None:
    write_journal(tmp_path, [])
    journal = SqliteJournal(tmp_path, a_header(made_by="somebody else"))
    assert journal.header == a_header()
    journal.close()


# ---------------------------------------------------------------- damage


def test_a_torn_tail_is_cut_and_reported(tmp_path: Path) -> None:
    _, entries = a_history()
    write_journal(tmp_path, entries)
    last = entries[-1].seq
    change(tmp_path, "UPDATE entry SET body = zeroblob(4) WHERE seq = ?", last)
    journal = SqliteJournal(tmp_path, a_header())
    assert journal.cut is not None
    assert (journal.cut.from_seq, journal.cut.rows) == (last, 1)
    assert list(journal.entries()) == entries[:-1]
    journal.close()
    assert SqliteJournal(tmp_path, a_header()).cut is None


def test_a_cut_tail_leaves_a_chain_that_verifies_and_goes_on(tmp_path: Path) -> None:
    _, entries = a_history()
    chained = next(n for n in range(len(entries) - 1, 0, -1) if isinstance(entries[n].input, OrderCommand))
    write_journal(tmp_path, entries[: chained + 1])
    change(tmp_path, "UPDATE entry SET body = zeroblob(4) WHERE seq = ?", entries[chained].seq)
    journal = SqliteJournal(tmp_path, a_header())
    assert journal.cut is not None
    journal.start(lambda _ticket: None, lambda _error: None)
    for entry in entries[chained:]:
        journal.append(entry)
    journal.flush()
    journal.close()
    reader = JournalReader(tmp_path)
    audit.verify(reader.connection)
    assert list(reader.entries()) == entries
    reader.close()


@pytest.mark.parametrize(
    "sql", ["UPDATE entry SET body = zeroblob(4) WHERE seq = ?", "DELETE FROM entry WHERE seq = ?"]
)
def test_damage_in_the_middle_is_refused_with_its_seq(tmp_path: Path, sql: str) -> None:
    _, entries = a_history()
    write_journal(tmp_path, entries)
    middle = next(entry.seq for entry in entries[50:] if isinstance(entry.input, OrderCommand))
    change(tmp_path, sql, middle)
    with pytest.raises(JournalDamagedError, match=str(middle)):
        SqliteJournal(tmp_path, a_header())


def test_a_damaged_row_of_pings_is_not_served(tmp_path: Path) -> None:
    _, entries = a_history()
    write_journal(tmp_path, entries)
    change(tmp_path, f"UPDATE {layout.day_table(T0)} SET crc = crc + 1 WHERE first_seq < 20")
    with pytest.raises(JournalDamagedError, match="the checksum does not fit"):
        read_back(tmp_path)


@pytest.mark.parametrize("offset", range(5, 100, 10))
def test_a_flipped_bit_anywhere_in_the_file_is_never_served_as_truth(tmp_path: Path, offset: int) -> None:
    _, entries = a_history(60)
    write_journal(tmp_path, entries)
    path = tmp_path / "journal.db"
    content = bytearray(path.read_bytes())
    content[len(content) * offset // 100] ^= 0x40
    path.write_bytes(content)
    try:
        journal = SqliteJournal(tmp_path, a_header())
    except (StorageError, ConfigurationError):
        return
    try:
        found = list(journal.entries())
        assert found == entries[: len(found)]
        assert len(found) == len(entries) or journal.cut is not None
    except (StorageError, apsw.Error):
        pass
    finally:
        journal.close()


# ---------------------------------------------------------------- snapshots and recovery


@settings(max_examples=15)
@given(st.integers(1, 100))
def test_snapshot_and_tail_give_the_same_state_as_a_full_replay(
    tmp_path_factory: pytest.TempPathFactory, at: int
) -> None:
    engine, entries = a_history()
    half = Engine(a_floor())
    for entry in entries[:at]:
        half.handle(entry.at_ms, entry.input)
    folder = tmp_path_factory.mktemp("journal")
    snapshot = Snapshot(half.state.seq, half.state.at_ms, dump_state(half.state))
    write_journal(folder, entries[:at], snapshot, *entries[at:])
    journal = SqliteJournal(folder, a_header())
    quick, full = recover(journal), recover(journal, use_snapshots=False)
    journal.close()
    assert (quick.snapshot_seq, quick.replayed) == (at, len(entries) - at)
    assert quick.engine.hash() == full.engine.hash() == engine.hash() == replayed_hash(folder)


def test_a_damaged_snapshot_gives_way_to_an_older_one(tmp_path: Path) -> None:
    engine, entries = a_history()
    half = Engine(a_floor())
    snapshots = []
    for entry in entries:
        half.handle(entry.at_ms, entry.input)
        if entry.seq in {40, 80}:
            snapshots.append(Snapshot(entry.seq, entry.at_ms, dump_state(half.state)))
    write_journal(tmp_path, entries, *snapshots)
    change(tmp_path, "UPDATE snapshot SET body = zeroblob(100) WHERE seq = 80")
    journal = SqliteJournal(tmp_path, a_header())
    recovered = recover(journal)
    journal.close()
    assert recovered.snapshot_seq == 40
    assert recovered.engine.hash() == engine.hash()


def test_the_newest_snapshots_are_kept_and_the_first_of_each_day(tmp_path: Path) -> None:
    write_journal(tmp_path, [], *(Snapshot(n, T0 + n // 5 * DAY_MS, b"x") for n in range(1, 10)))
    reader = JournalReader(tmp_path)
    assert [snapshot.seq for snapshot in reader.snapshots()] == [9, 8, 7, 5, 1]
    reader.close()


# ---------------------------------------------------------------- audit


def verified(folder: Path) -> audit.Head:
    reader = JournalReader(folder)
    try:
        return audit.verify(reader.connection)
    finally:
        reader.close()


def test_the_chain_covers_decisions_orders_and_notes_and_survives_reopening(tmp_path: Path) -> None:
    _, entries = a_history()
    write_journal(tmp_path, entries[:60], Note(T0, "login", "maya"))
    write_journal(tmp_path, entries[60:], Note(T0, "track_read", "olga", {"driver_id": "d-1"}))
    chained = sum(
        type(entry.input).__name__ in {"OrderCommand", "OrderPlaced", "DriverRegistered"} for entry in entries
    )
    assert verified(tmp_path).links == chained + 2


@pytest.mark.parametrize(
    ("sql", "first_bad"),
    [
        ("UPDATE entry SET body = CAST(replace(CAST(body AS TEXT), 'maya', 'anna') AS BLOB) WHERE seq = {n}", 0),
        ("DELETE FROM entry WHERE seq = {n}", 1),
        ("UPDATE entry SET link = zeroblob(32) WHERE seq = {n}", 0),
        ("UPDATE entry SET kind = 'tick', link = NULL WHERE seq = {n}", 1),
    ],
    ids=["one byte", "a row taken out", "a link", "a row hidden"],
)  # fmt: skip
def test_tampering_is_found_at_its_seq(tmp_path: Path, sql: str, first_bad: int) -> None:
    _, entries = a_history()
    write_journal(tmp_path, entries)
    commands = [entry.seq for entry in entries if isinstance(entry.input, OrderCommand)]
    orders = [entry.seq for entry in entries if isinstance(entry.input, OrderPlaced)]
    target = commands[10]
    following = min(seq for seq in orders if seq > target)
    change(tmp_path, sql.format(n=target))
    with pytest.raises(AuditError) as caught:
        verified(tmp_path)
    assert caught.value.seq == (following if first_bad else target)


def test_swapped_rows_and_a_cut_end_are_found(tmp_path: Path) -> None:
    _, entries = a_history()
    write_journal(tmp_path, entries)
    commands = [entry.seq for entry in entries if isinstance(entry.input, OrderCommand)]
    change(tmp_path, "DELETE FROM entry WHERE seq > ?", commands[-2])
    with pytest.raises(AuditError) as caught:
        verified(tmp_path)
    assert caught.value.seq == commands[-2] + 1


def test_a_quarantined_input_is_kept_with_its_error(tmp_path: Path) -> None:
    write_journal(tmp_path, [], Quarantined(T0, "KeyError('x')", Tick()))
    reader = JournalReader(tmp_path)
    assert list(reader.connection.execute("SELECT at_ms, reason, body FROM quarantine")) == [
        (T0, "KeyError('x')", b'{"type":"tick"}')
    ]
    reader.close()
