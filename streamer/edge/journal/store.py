"""The open file of a journal: commits, the high-water mark, and the housekeeping between commits.

It must not know the queue, the writer thread or who waits. Only one thread commits; `probe` may come from another.
"""

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import apsw
import structlog

from streamer.core.errors import StorageError
from streamer.edge.journal import database
from streamer.edge.journal.contract import Entry, FileSizes, JournalHeader, Note, Record, StorageFullError
from streamer.edge.journal.database import Cut
from streamer.edge.journal.mark import MarkFile
from streamer.edge.journal.retention import Retention
from streamer.edge.journal.writing import RecordWriter

log = structlog.get_logger("journal")

CHECKPOINT_PAGES = 1_000
"""The WAL is moved into the database each time it grew by so many pages of 4 KiB; SQLite's own choice of number."""
CROWDED_WAL_PAGES = 4_000
"""16 MiB: above it readers overlap each other so that there is never a moment without one, and are waited for."""
READERS_MS = 100
"""How long they are: most reads take less, and commits stand still meanwhile."""
LONG_WAL_PAGES = 16_384
"""64 MiB: above it somebody reads so long that the WAL cannot begin anew, and the log says so."""


class JournalStore:
    """One program's hold of `journal.db`, from its lock to its last checkpoint.

    Attributes:
        header: what the inputs have to be replayed with.
        cut: the tail that was missing when it was opened, or None.
    """

    def __init__(self, folder: Path, header: JournalHeader, vfs: str, retention_days: int | None) -> None:
        """Open the journal, or begin it with `header`; `vfs` names a SQLite file layer other than the system's.

        Raises:
            ConfigurationError: another program holds it, SQLite is too old, or the journal is of a newer schema.
            JournalDamagedError: a row is missing or damaged and good ones follow it.
            StorageError: the files cannot be opened or written.
        """
        database.require_sqlite()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = folder / "journal.db"
        self._vfs = vfs
        self._writing = threading.Lock()
        self._wal_pages = self._moved_pages = 0
        self._is_long = False
        self._lock = database.lock(folder)
        try:
            # Made before SQLite opens it, so that it is never readable by others; -wal and -shm inherit the mode.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            self._mark = MarkFile(folder / "journal.mark")
            self._connection = apsw.Connection(str(self.path), vfs=vfs or None)
            self._open(header)
            sync_folder(folder)
        except BaseException as error:
            self._let_go()
            if isinstance(error, StorageError) or not isinstance(error, apsw.Error | OSError):
                raise
            raise StorageError(f"cannot open the journal {self.path}: {error}") from error
        self._retention = Retention(self._connection, retention_days) if retention_days is not None else None

    def _open(self, header: JournalHeader) -> None:
        connection = self._connection
        database.apply_pragmas(connection, database.JOURNAL_PRAGMAS)
        connection.set_wal_hook(self._committed)
        self.header = database.begin(connection, self.path, header)
        torn = database.mend(connection)
        self._writer = RecordWriter(connection)
        self.cut = self._missing(torn)
        if self.cut is not None:
            fields = {"from_seq": str(self.cut.from_seq), "to_seq": str(self.cut.to_seq), "rows": str(self.cut.rows)}
            with database.transaction(connection):
                self._writer.write([Note(time.time_ns() // 1_000_000, "tail_cut", "mallard", fields)])
        self._write_mark()
        self._mark.sync()

    def _missing(self, torn: Cut | None) -> Cut | None:
        """What the mark says was committed, or what was found torn, and is not there."""
        place, mark = self._writer.place, self._mark.found
        if mark is None or (mark.seq, mark.notes) <= (place.last_seq, place.notes):
            return torn
        return Cut(place.last_seq + 1, max(mark.seq, torn.to_seq if torn else 0), torn.rows if torn else 0)

    def _committed(self, _connection: apsw.Connection, _schema: str, pages: int) -> int:
        self._wal_pages = pages
        # Fewer than before: the WAL began anew.
        self._moved_pages = min(self._moved_pages, pages)
        return apsw.SQLITE_OK

    # ------------------------------------------------------------ writing

    def commit(self, records: Sequence[Record]) -> None:
        """Write the records as one; they are durable when this returns.

        Raises:
            StorageFullError: there is no room, or another program holds the file; none of them was written.
            StorageError: nobody knows what is on the disk now.
        """
        place = self._writer.place
        try:
            with self._writing, _blamed(), database.transaction(self._connection):
                self._writer.write(records)
        except BaseException:
            self._writer.go_back(place)
            raise
        with _blamed():
            self._write_mark()

    def tidy(self) -> bool:
        """One step of what can wait: move a long WAL into the database, drop pings that are too old.

        Returns whether there is more to do.

        Raises:
            StorageError: nobody knows what is on the disk now.
        """
        with self._writing:
            try:
                with _blamed():
                    self._watch_wal()
                    return self._retention is not None and self._drop(self._retention)
            except StorageFullError:
                # Nothing is lost by it, and whoever commits next hears of it.
                if self._retention is not None:
                    self._retention.forget()
                return False

    def _watch_wal(self) -> None:
        if self._wal_pages - self._moved_pages >= CHECKPOINT_PAGES:
            self._moved_pages = self._wal_pages
            self._move_wal()
            self._mark.sync()
        is_long = self._wal_pages > LONG_WAL_PAGES
        if is_long and not self._is_long:
            log.warning("wal_is_long", pages=self._wal_pages, hint="somebody reads the journal for very long")
        self._is_long = is_long

    def _move_wal(self) -> None:
        if self._wal_pages < CROWDED_WAL_PAGES:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            return
        # Once all is moved, whoever begins to read needs no WAL: those who do are the last ones.
        self._connection.set_busy_timeout(READERS_MS)
        try:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
        except apsw.BusyError:
            pass
        finally:
            database.apply_pragmas(self._connection, {"busy_timeout": database.PRAGMAS["busy_timeout"]})

    def _drop(self, retention: Retention) -> bool:
        if retention.is_due(self._writer.at_ms):
            with database.transaction(self._connection):
                moved = retention.look(self._writer.at_ms)
            if moved is not None:
                log.info("pings_expired", until=moved.gone, base_seq=moved.seq)
        if retention.busy:
            with database.transaction(self._connection):
                retention.bite()
        return retention.busy

    def probe(self) -> None:
        """Write and commit a page's worth; may be called from any thread.

        Raises:
            StorageFullError: there is still no room.
            StorageError: nobody knows what is on the disk now.
        """
        with self._writing, _blamed(), database.transaction(self._connection):
            self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('probe', randomblob(8192))")

    def limit_pages(self, pages: int) -> None:
        """Refuse to grow beyond so many pages of 4 KiB."""
        with self._writing:
            self._connection.pragma("max_page_count", pages)

    def _write_mark(self) -> None:
        place = self._writer.place
        self._mark.write(place.last_seq, place.notes)

    # ------------------------------------------------------------ reading and closing

    def reader(self) -> apsw.Connection:
        """A connection of its own for whoever reads: the writer's must not be shared between threads.

        Raises:
            StorageError: it cannot be opened.
        """
        return database.open_to_read(self.path, self._vfs)

    def entries(self, after_seq: int) -> Iterator[Entry]:
        """The committed entries above `after_seq`, in order; as `database.read_committed`."""
        return database.read_committed(self.path, after_seq, self._vfs)

    def sizes(self) -> FileSizes:
        """How large the files are, read now."""
        return FileSizes(database.size_of(self.path), database.size_of(database.wal_of(self.path)))

    def close(self, failed: bool = False) -> None:
        """Move the WAL into the database and let go of the files; after a failure leave them as they are."""
        if not failed:
            try:
                # Not for long: whoever reads just now will be gone when the next program looks.
                self._connection.pragma("busy_timeout", 0)
                self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
                self._mark.sync()
            except (apsw.BusyError, apsw.FullError):
                pass
            except (apsw.Error, OSError) as error:
                log.error("checkpoint_failed", error=str(error))
                failed = True
        if failed:
            # Closing would checkpoint, and so try again an fsync that failed.
            self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        self._let_go()

    def _let_go(self) -> None:
        """Close what was opened; the lock last."""
        if hasattr(self, "_connection"):
            self._connection.close()
        if hasattr(self, "_mark"):
            self._mark.close()
        os.close(self._lock)


def sync_folder(folder: Path) -> None:
    """Wait until the names of the files in a folder are on the disk, and its own.

    Raises:
        OSError: they never will be.
    """
    for directory in (folder, folder.absolute().parent):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _blamed() -> Iterator[None]:
    """Words what SQLite and the system raise."""
    try:
        yield
    except (apsw.FullError, apsw.BusyError) as error:
        raise StorageFullError(f"the journal cannot be written: {error}") from error
    except (apsw.Error, OSError) as error:
        raise StorageError(f"the journal failed: {error}") from error
