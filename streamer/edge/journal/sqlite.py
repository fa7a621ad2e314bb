"""The journal of a live floor: SQLite in WAL mode, one writer thread, many inputs a commit.

It must not know what an input does, nor who waits; it calls back with the last durable ticket, or with the failure.
"""

import os
import threading
import time
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import apsw
import msgspec
import zstandard

from streamer.core.errors import ConfigurationError, StorageError
from streamer.core.events import Ping
from streamer.edge.journal import audit, database, layout
from streamer.edge.journal.contract import (
    Entry,
    JournalHeader,
    Note,
    OnCommit,
    OnFailure,
    Quarantined,
    Record,
    Snapshot,
    StorageFullError,
    TrackPage,
    page_of,
)
from streamer.edge.journal.layout import CHAINED, EntryRow, PingRow

GROUP_S = 0.020
"""Under load, commits start this far apart; an idle journal commits at once."""
GROUP_MAX = 2_000
SNAPSHOTS_KEPT = 3


class SqliteJournal:
    """The journal in one file, `journal.db`, held by one program at a time.

    Attributes:
        header: what the inputs have to be replayed with.
        cut: the torn tail that opening found and removed, or None.
    """

    instant = False

    def __init__(self, folder: Path, header: JournalHeader, vfs: str = "") -> None:
        """Open the journal in `folder`, or begin one with `header`; an existing one keeps its own header.

        `vfs` names a SQLite file layer other than the system's.

        Raises:
            ConfigurationError: another program holds it, SQLite is too old, or the journal is of a newer schema.
            JournalDamagedError: a row is missing or damaged and good ones follow it.
            StorageError: the files cannot be opened or written.
        """
        database.require_sqlite()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = folder / "journal.db"
        # Made before SQLite opens it, so that it is never readable by others; -wal and -shm inherit the mode.
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        self._lock = database.lock(folder)
        try:
            self._connection = apsw.Connection(str(self.path), vfs=vfs or None)
            database.apply_pragmas(self._connection)
            self.header = database.begin(self._connection, self.path, header)
            self.cut = database.mend(self._connection)
            self._head = audit.read_head(self._connection)
            self._last_seq, self._notes = database.end(self._connection)
        except apsw.Error as error:
            os.close(self._lock)
            raise StorageError(f"cannot open the journal {self.path}: {error}") from error
        except (ConfigurationError, StorageError):
            self._connection.close()
            os.close(self._lock)
            raise
        self._wake = threading.Condition()
        self._writing = threading.Lock()
        self._pending: list[Record] = []
        self._ticket = self._taken = self._committed = 0
        self._failed: StorageError | None = None
        self._idle = self._closing = self._hurry = False
        self._began_s = 0.0
        self._days: set[str] = set()
        self._on_commit: OnCommit = lambda ticket: None
        self._on_failure: OnFailure = lambda error: None
        self._thread: threading.Thread | None = None

    # ------------------------------------------------------------ the loop's side

    def start(self, on_commit: OnCommit, on_failure: OnFailure) -> None:
        """Start the writer; both callbacks come from its thread."""
        self._on_commit, self._on_failure = on_commit, on_failure
        self._thread = threading.Thread(target=self._write_on, name="journal", daemon=True)
        self._thread.start()

    def append(self, record: Record) -> int:
        """Queue a record and return its ticket; never waits for the disk."""
        with self._wake:
            self._ticket += 1
            self._pending.append(record)
            if self._idle or len(self._pending) == GROUP_MAX:
                self._wake.notify_all()
            return self._ticket

    def flush(self) -> None:
        """Wait until everything appended is durable.

        Raises:
            StorageError: it will not be.
        """
        with self._wake:
            self._hurry = True
            self._wake.notify_all()
            self._wake.wait_for(lambda: self._committed == self._ticket or self._failed is not None)
            self._hurry = False
            if self._failed is not None:
                raise self._failed

    def discard(self) -> None:
        """After a failure: forget what was not committed, and accept records again."""
        with self._wake:
            self._pending.clear()
            self._committed = self._taken = self._ticket
            self._failed = None

    def probe(self) -> None:
        """Write and commit a page's worth; may be called from any thread.

        Raises:
            StorageFullError: there is still no room.
        """
        try:
            with self._writing, database.transaction(self._connection):
                self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('probe', randomblob(8192))")
        except (apsw.FullError, apsw.BusyError) as error:
            raise StorageFullError(f"the journal cannot be written: {error}") from error

    def limit_pages(self, pages: int) -> None:
        """Refuse to grow beyond so many pages of 4 KiB: a quota, above which the disk counts as full."""
        with self._writing:
            self._connection.pragma("max_page_count", pages)

    def close(self) -> None:
        """Write what is queued, stop the writer, and let go of the files."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        if self._thread is not None:
            self._thread.join()
        self._connection.close()
        os.close(self._lock)

    # ------------------------------------------------------------ reading

    def snapshots(self) -> Iterator[Snapshot]:
        """The readable snapshots, newest first."""
        return layout.read_snapshots(self._connection)

    def entries(self, after_seq: int = 0) -> Iterator[Entry]:
        """The committed entries above `after_seq`, in order.

        Raises:
            JournalDamagedError: one is missing or is not what was written.
        """
        return layout.read_entries(self._connection, after_seq)

    def track(self, driver_id: str, from_ms: int, to_ms: int, after_seq: int, limit: int) -> TrackPage:
        """A driver's pings received in [from_ms, to_ms], in order, over a connection of its own.

        Raises:
            JournalDamagedError: a row in between is not what was written.
        """
        connection = database.open_to_read(self.path)
        try:
            first, last = layout.day_table(from_ms), layout.day_table(to_ms)
            tables = [name for name in layout.ping_tables(connection) if first <= name <= last]
            wanted = (
                entry
                for table in tables
                for row in layout.ping_stream(connection, table, after_seq)
                if row.last_ms >= from_ms and row.first_ms <= to_ms
                for entry in _checked(row)
                if entry.seq > after_seq and from_ms <= entry.at_ms <= to_ms
            )
            return page_of(wanted, driver_id, limit)
        finally:
            connection.close()

    # ------------------------------------------------------------ the writer's side

    def _write_on(self) -> None:
        while batch := self._take():
            try:
                self._commit(batch)
            except (apsw.FullError, apsw.BusyError) as error:
                self._fail(StorageFullError(f"the journal cannot be written: {error}"))
            except apsw.Error as error:
                self._fail(StorageError(f"the journal failed: {error}"))
            else:
                with self._wake:
                    self._committed = ticket = self._taken
                    self._wake.notify_all()
                self._on_commit(ticket)

    def _take(self) -> list[Record]:
        """Wait for records, and under load for a group of them; empty means the journal is closing."""
        with self._wake:
            while True:
                self._idle = True
                self._wake.wait_for(lambda: (self._pending and self._failed is None) or self._closing)
                self._idle = False
                rest_s = self._began_s + GROUP_S - time.monotonic()
                if rest_s > 0:
                    self._wake.wait_for(lambda: len(self._pending) >= GROUP_MAX or self._hurry or self._closing, rest_s)
                self._began_s = time.monotonic()
                batch = [] if self._failed else self._pending[:GROUP_MAX]
                # `discard` may have emptied the queue during the wait; only closing ends the writer.
                if batch or self._closing:
                    del self._pending[: len(batch)]
                    self._taken += len(batch)
                    return batch

    def _fail(self, error: StorageError) -> None:
        with self._wake:
            self._failed = error
            self._wake.notify_all()
        self._on_failure(error)

    def _commit(self, batch: list[Record]) -> None:
        head, last_seq, notes = self._head, self._last_seq, self._notes
        try:
            with self._writing, database.transaction(self._connection):
                for are_pings, run in groupby(batch, _is_ping):
                    if are_pings:
                        self._insert_pings([record for record in run if isinstance(record, Entry)])
                    else:
                        for record in run:
                            self._insert(record)
                if self._head is not head:
                    audit.write_head(self._connection, self._head)
        except BaseException:
            self._head, self._last_seq, self._notes = head, last_seq, notes
            self._days.clear()
            raise

    def _insert_pings(self, entries: list[Entry]) -> None:
        for row in layout.ping_rows(entries):
            if row.table not in self._days:
                self._connection.execute(layout.PINGS_TABLE.format(name=row.table))
                self._days.add(row.table)
            self._connection.execute(
                f"INSERT INTO {row.table} VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608 - a name of day_table
                (row.first_seq, row.last_seq, row.first_ms, row.last_ms, row.body, row.crc),
            )
        self._last_seq, self._notes = entries[-1].seq, 0

    def _insert(self, record: Record) -> None:
        match record:
            case Entry():
                self._last_seq, self._notes = record.seq, 0
                self._insert_row(layout.entry_row(record))
            case Note():
                self._notes += 1
                self._insert_row(layout.note_row(record, self._last_seq, self._notes))
            case Snapshot():
                self._insert_snapshot(record)
            case Quarantined():
                self._connection.execute(
                    "INSERT INTO quarantine(at_ms, reason, body) VALUES (?, ?, ?)",
                    (record.at_ms, record.error, msgspec.json.encode(record.input)),
                )

    def _insert_row(self, row: EntryRow) -> None:
        link = None
        if row.kind in CHAINED:
            self._head = audit.extend(self._head, row)
            link = self._head.link
        self._connection.execute(
            "INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?)",
            (row.seq, row.note, row.at_ms, row.kind, row.body, row.crc, link),
        )

    def _insert_snapshot(self, snapshot: Snapshot) -> None:
        body = zstandard.compress(snapshot.body, 3)
        columns = snapshot.seq, snapshot.at_ms
        self._connection.execute(
            "INSERT OR REPLACE INTO snapshot VALUES (?, ?, ?, ?)",
            (*columns, body, layout.crc_of(columns, body)),
        )
        self._connection.execute(
            "DELETE FROM snapshot WHERE seq NOT IN (SELECT seq FROM snapshot ORDER BY seq DESC LIMIT ?)",
            (SNAPSHOTS_KEPT,),
        )


def _is_ping(record: Record) -> bool:
    return isinstance(record, Entry) and isinstance(record.input, Ping)


def _checked(row: PingRow) -> Iterator[Entry]:
    if not row.intact():
        raise layout.damaged(row)
    return row.entries()
