"""The journal in trouble: a failing fsync, another program's lock, a reader that stays, a tail that vanished."""

import asyncio
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from streamer.core.engine import Engine
from streamer.core.errors import StorageError
from streamer.core.events import Output, Refused, Tick
from streamer.edge.clock import ManualClock
from streamer.edge.journal import audit, database, store
from streamer.edge.journal.contract import Entry, Note, PingRun, StorageFullError
from streamer.edge.journal.database import Cut, JournalReader, is_held, open_to_read
from streamer.edge.journal.mark import MarkFile, read_mark
from streamer.edge.journal.sqlite import SqliteJournal
from streamer.edge.runner import Runner
from tests.builders import T0, a_floor, a_ping
from tests.edge.floor_kit import a_header, write_journal
from tests.edge.test_journal import a_history, change, read_back


def a_run(first_seq: int, count: int = 500) -> PingRun:
    return PingRun(first_seq, T0, ["ok"] * count, [a_ping(f"d-{n}", T0, seq=first_seq + n) for n in range(count)])


# ---------------------------------------------------------------- fsync


class SickFile(apsw.VFSFile):
    """A file whose fsync fails once the disk is sick; `suffix` picks the files that it happens to."""

    def __init__(self, vfs: "SickDisk", name: object, flags: list[int]) -> None:
        super().__init__("", name, flags)  # type: ignore[arg-type]
        self._vfs = vfs
        self._name = name.filename() if isinstance(name, apsw.URIFilename) else str(name)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        if self._vfs.suffix is not None and self._name.endswith(self._vfs.suffix):
            self._vfs.refused += 1
            raise apsw.IOError("fsync failed")
        super().xSync(flags)


class SickDisk(apsw.VFS):
    """Counts the fsyncs it refused."""

    def __init__(self) -> None:
        super().__init__("sick", "")
        self.suffix: str | None = None
        self.refused = 0

    def xOpen(self, name: object, flags: list[int]) -> SickFile:  # type: ignore[override]  # noqa: N802
        return SickFile(self, name, flags)


@pytest.fixture
def disk() -> Iterator[SickDisk]:
    sick = SickDisk()
    yield sick
    sick.unregister()


def test_a_failed_fsync_acknowledges_nothing_and_is_never_tried_again(tmp_path: Path, disk: SickDisk) -> None:
    journal = SqliteJournal(tmp_path, a_header(), vfs="sick")
    told: list[int] = []
    failures: list[StorageError] = []
    failed = threading.Event()
    journal.start(told.append, lambda error: (failures.append(error), failed.set()))  # type: ignore[func-returns-value]
    journal.append(Entry(1, T0, Tick()))
    journal.flush()
    disk.suffix = "-wal"
    journal.append(Entry(2, T0, Tick()))
    assert failed.wait(5)
    journal.append(Entry(3, T0, Tick()))
    with pytest.raises(StorageError, match="the journal failed"):
        journal.flush()
    time.sleep(0.05)
    journal.close()
    assert told == [1]
    assert disk.refused == 1
    assert len(failures) == 1
    assert not isinstance(failures[0], StorageFullError)
    assert read_back(tmp_path)[0].seq == 1


def test_a_failed_fsync_of_a_checkpoint_ends_the_journal_too(
    tmp_path: Path, disk: SickDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "CHECKPOINT_PAGES", 20)
    journal = SqliteJournal(tmp_path, a_header(), vfs="sick")
    told: list[int] = []
    failed = threading.Event()
    journal.start(told.append, lambda _error: failed.set())
    disk.suffix = "journal.db"
    journal.append(a_run(1))
    assert failed.wait(5)
    # The commit itself was durable, in the WAL.
    assert told == [1]
    journal.close()
    assert disk.refused == 1
    assert len(read_back(tmp_path)) == 500


async def test_the_program_is_told_to_end_after_a_failed_fsync(tmp_path: Path, disk: SickDisk) -> None:
    journal = SqliteJournal(tmp_path, a_header(), vfs="sick")
    runner = Runner(Engine(a_floor()), journal, ManualClock(T0))
    await runner.start()
    await runner.ask(Tick())
    disk.suffix = "-wal"
    heard: list[object] = []
    runner.submit(Tick(), heard.append)
    async with asyncio.timeout(5):
        await runner.broken.wait()
    await asyncio.sleep(0.05)
    assert heard == []
    assert isinstance(runner.fault, StorageError)
    await runner.stop()


# ---------------------------------------------------------------- locked by another program

LOCKER = """
import sys, time, apsw
connection = apsw.Connection(sys.argv[1])
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
time.sleep(float(sys.argv[2]))
connection.execute("ROLLBACK")
"""


def locked_for(path: Path, seconds: float) -> "subprocess.Popen[str]":
    words = [sys.executable, "-c", LOCKER, str(path), str(seconds)]
    locker = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert locker.stdout is not None
    assert locker.stdout.readline() == "held\n"
    return locker


async def longest_pause(over: asyncio.Event) -> float:
    """How long the loop stood still at most, in seconds."""
    worst, last = 0.0, time.perf_counter()
    while not over.is_set():
        await asyncio.sleep(0.005)
        now = time.perf_counter()
        worst, last = max(worst, now - last), now
    return worst


async def test_a_short_lock_is_waited_for(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path, a_header())
    runner = Runner(Engine(a_floor()), journal, ManualClock(T0))
    await runner.start()
    with locked_for(journal.path, 0.7) as locker:
        began = time.perf_counter()
        outputs = await runner.ask(Tick())
        assert time.perf_counter() - began > 0.4
        assert not any(isinstance(output, Refused) for output in outputs)
        locker.wait()
    await runner.stop()


async def test_a_long_lock_refuses_as_retryable_blocks_no_loop_and_passes_by_itself(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path, a_header())
    runner = Runner(Engine(a_floor()), journal, ManualClock(T0))
    await runner.start()
    over = asyncio.Event()
    pause = asyncio.create_task(longest_pause(over))
    with locked_for(journal.path, 4.0) as locker:
        began = time.perf_counter()
        outputs = await runner.ask(Tick())
        waited = time.perf_counter() - began
        assert 1.5 < waited < 3.5
        assert isinstance(outputs[0], Refused)
        assert outputs[0].retryable
        assert runner.engine.state.seq == 0
        async with asyncio.timeout(10):
            while runner.full:
                await asyncio.sleep(0.05)
        locker.wait()
    taken: tuple[Output, ...] = await runner.ask(Tick())
    assert not any(isinstance(output, Refused) for output in taken)
    over.set()
    assert await pause < 0.5
    await runner.stop()
    assert [entry.seq for entry in read_back(tmp_path)] == [1]


# ---------------------------------------------------------------- the WAL


def test_the_wal_begins_anew_under_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "CHECKPOINT_PAGES", 100)
    journal = SqliteJournal(tmp_path, a_header())
    journal.start(lambda _ticket: None, lambda _error: None)
    largest = 0
    for n in range(40):
        journal.append(a_run(1 + n * 500))
        journal.flush()
        largest = max(largest, journal.sizes().wal)
    assert journal.sizes().database > 2_000_000
    assert largest < 1_500_000
    journal.close()


def test_a_reader_that_stays_is_seen_in_sizes_and_log_and_the_wal_shrinks_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(store, "CHECKPOINT_PAGES", 100)
    monkeypatch.setattr(store, "LONG_WAL_PAGES", 300)
    monkeypatch.setitem(database.JOURNAL_PRAGMAS, "journal_size_limit", (400_000, 400_000))
    journal = SqliteJournal(tmp_path, a_header())
    journal.start(lambda _ticket: None, lambda _error: None)
    journal.append(a_run(1))
    journal.flush()
    reader = open_to_read(journal.path)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM entry").fetchall()
    for n in range(1, 40):
        journal.append(a_run(1 + n * 500))
        journal.flush()
    grown = journal.sizes().wal
    assert grown > 2_000_000
    assert "".join(capsys.readouterr()).count("wal_is_long") == 1
    reader.close()
    for n in range(40, 46):
        journal.append(a_run(1 + n * 500))
        journal.flush()
    assert journal.sizes().wal <= 1_000_000
    journal.close()
    assert journal.sizes().wal == 0
    assert len(read_back(tmp_path)) == 46 * 500


# ---------------------------------------------------------------- a tail that vanished


def killed_after(tmp_path: Path, entries: list[Entry]) -> Path:
    """The folder of a journal whose program was killed: nothing was moved out of the WAL."""
    live = tmp_path / "live"
    journal = SqliteJournal(live, a_header())
    for entry in entries:
        journal.commit_now([entry])
    left = tmp_path / "left"
    shutil.copytree(live, left)
    journal.close()
    return left


def test_a_killed_program_s_journal_is_whole(tmp_path: Path) -> None:
    _, entries = a_history()
    left = killed_after(tmp_path, entries)
    journal = SqliteJournal(left, a_header())
    assert journal.cut is None
    assert list(journal.entries()) == entries
    journal.close()


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.7, 0.95])
def test_a_truncated_wal_is_noticed_with_what_is_missing(tmp_path: Path, kept: float) -> None:
    _, entries = a_history()
    left = killed_after(tmp_path, entries)
    wal = left / "journal.db-wal"
    content = wal.read_bytes()
    wal.write_bytes(content[: int(len(content) * kept)])
    journal = SqliteJournal(left, a_header())
    found = list(journal.entries())
    assert found == entries[: len(found)]
    assert journal.cut == Cut(len(found) + 1, len(entries), 0)
    journal.close()


def test_a_flipped_bit_in_the_wal_is_noticed_and_left_in_the_audit_chain(tmp_path: Path) -> None:
    _, entries = a_history()
    left = killed_after(tmp_path, entries)
    wal = left / "journal.db-wal"
    content = bytearray(wal.read_bytes())
    content[len(content) // 2] ^= 1
    wal.write_bytes(content)
    journal = SqliteJournal(left, a_header())
    assert journal.cut is not None
    assert (journal.cut.to_seq, journal.cut.rows) == (len(entries), 0)
    kept = len(list(journal.entries()))
    journal.commit_now([Entry(kept + 1, T0, Tick())])
    journal.close()
    again = SqliteJournal(left, a_header())
    assert again.cut is None
    again.close()
    with closing(JournalReader(left)) as reader:
        audit.verify(reader.connection)
        notes = reader.connection.execute("SELECT body FROM entry WHERE kind = 'tail_cut'").fetchall()
    assert len(notes) == 1
    assert f'"to_seq":"{len(entries)}"'.encode() in notes[0][0]


def test_a_vanished_note_is_noticed(tmp_path: Path) -> None:
    write_journal(tmp_path, [Entry(1, T0, Tick())], Note(T0, "login", "maya"))
    change(tmp_path, "DELETE FROM entry WHERE note = 1")
    journal = SqliteJournal(tmp_path, a_header())
    assert journal.cut == Cut(2, 1, 0)
    journal.close()


def test_a_mark_survives_one_torn_slot(tmp_path: Path) -> None:
    path = tmp_path / "journal.mark"
    mark = MarkFile(path)
    assert mark.found is None
    for seq in range(1, 6):
        mark.write(seq, seq % 2)
    mark.sync()
    mark.close()
    newest = read_mark(path)
    assert newest is not None
    assert (newest.seq, newest.notes) == (5, 1)
    content = bytearray(path.read_bytes())
    content[512] ^= 1
    path.write_bytes(content)
    older = read_mark(path)
    assert older is not None
    assert older.seq == 4


def test_a_journal_from_before_there_were_marks_opens(tmp_path: Path) -> None:
    _, entries = a_history()
    write_journal(tmp_path, entries)
    (tmp_path / "journal.mark").unlink()
    journal = SqliteJournal(tmp_path, a_header())
    assert journal.cut is None
    journal.close()
    found = read_mark(tmp_path / "journal.mark")
    assert found is not None
    assert found.seq == len(entries)


def test_whether_a_program_holds_the_folder_can_be_asked_without_taking_it(tmp_path: Path) -> None:
    assert not is_held(tmp_path)
    journal = SqliteJournal(tmp_path, a_header())
    assert is_held(tmp_path)
    journal.close()
    assert not is_held(tmp_path)
