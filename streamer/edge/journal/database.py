"""The file under the journal: its lock, its settings, its header, and the mending of a torn tail.

It must not know the writer thread or what the rows mean to the engine.
"""

import fcntl
import os
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import msgspec
from msgspec import Struct

from streamer.core.errors import ConfigurationError, StorageError
from streamer.edge.journal import audit, layout
from streamer.edge.journal.contract import SCHEMA, Base, Entry, JournalDamagedError, JournalHeader, Snapshot
from streamer.edge.journal.layout import PingRow, Row

MIN_SQLITE = 3_051_003
"""Before it, WAL could be corrupted by two connections. Source: https://sqlite.org/wal.html#walresetbug"""
PRAGMAS: dict[str, tuple[object, object]] = {
    "journal_mode": ("wal", "wal"),
    "synchronous": ("full", 2),
    "busy_timeout": (2000, 2000),
    "foreign_keys": ("on", 1),
    "trusted_schema": ("off", 0),
}
"""Each setting as written and as it must read back. NORMAL instead of FULL lost acknowledged rows in 412 of 500
simulated power cuts; FULL in none."""
JOURNAL_PRAGMAS: dict[str, tuple[object, object]] = {
    **PRAGMAS,
    "wal_autocheckpoint": (0, 0),
    "journal_size_limit": (67_108_864, 67_108_864),
    "secure_delete": ("on", 1),
}
"""The journal's own: it moves its WAL itself, to hear of errors that SQLite swallows there; a WAL that a long reader
held is cut to 64 MiB afterwards; and what is deleted is overwritten."""


class Cut(Struct, frozen=True):
    """A tail that was missing when the journal was opened: sequence numbers `from_seq` to `to_seq`.

    `rows` of it were there, torn, and were moved to the quarantine; the rest had vanished. When `to_seq` is below
    `from_seq`, only notes are missing.
    """

    from_seq: int
    to_seq: int
    rows: int


def require_sqlite() -> None:
    """Check the version of SQLite that apsw brings.

    Raises:
        ConfigurationError: it is too old to be trusted with a journal.
    """
    if apsw.SQLITE_VERSION_NUMBER < MIN_SQLITE:
        raise ConfigurationError(
            f"SQLite {apsw.sqlite_lib_version()} may corrupt a journal, 3.51.3 or later is needed: upgrade apsw"
        )


def apply_pragmas(connection: apsw.Connection, pragmas: dict[str, tuple[object, object]] = PRAGMAS) -> None:
    """Set what an acknowledgement rests on, and read it back.

    Raises:
        StorageError: a setting did not take.
    """
    for name, (value, expected) in pragmas.items():
        connection.pragma(name, value)
        if (found := connection.pragma(name)) != expected:
            raise StorageError(f"SQLite setting {name} is {found!r} and must be {expected!r}")


def open_to_read(path: Path, vfs: str = "") -> apsw.Connection:
    """A connection that cannot write; for reading beside a running server.

    Raises:
        StorageError: there is no journal, or it cannot be opened.
    """
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY, vfs=vfs or None)
        connection.pragma("busy_timeout", 2000)
        connection.pragma("query_only", "on")
    except apsw.Error as error:
        raise StorageError(f"there is no readable journal at {path}: {error}") from error
    return connection


def read_committed(path: Path, after_seq: int, vfs: str = "") -> Generator[Entry, None, None]:
    """The entries above `after_seq`, as they were committed when the reading began, over a connection of its own.

    Raises:
        HistoryGoneError: `after_seq` lies before the base.
        JournalDamagedError: one is missing or is not what was written.
        StorageError: the journal cannot be opened.
    """
    connection = open_to_read(path, vfs)
    try:
        # Rows come from several tables: without a transaction, a commit in between would look like a hole.
        connection.execute("BEGIN")
        yield from layout.read_entries(connection, after_seq)
    finally:
        connection.close()


@contextmanager
def transaction(connection: apsw.Connection) -> Iterator[None]:
    """All or nothing. The library's own `with connection` hides a full disk: SQLite has then rolled back already."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


class JournalReader:
    """A journal opened beside the server that writes it; sees what was committed when each reading began."""

    def __init__(self, folder: Path) -> None:
        """Open `folder`/journal.db.

        Raises:
            StorageError: there is none, or it cannot be opened.
            ConfigurationError: it is of a newer schema, or no journal of ours.
        """
        self.path = folder / "journal.db"
        self.connection = open_to_read(self.path)
        self.header = read_header(self.connection, self.path)

    def snapshots(self) -> Generator[Snapshot, None, None]:
        """The readable snapshots, newest first."""
        return layout.read_snapshots(self.connection)

    def entries(self, after_seq: int = 0) -> Iterator[Entry]:
        """The committed entries above `after_seq`, in order.

        Raises:
            HistoryGoneError: `after_seq` lies before the base.
            JournalDamagedError: one is missing or is not what was written.
        """
        return read_committed(self.path, after_seq)

    def base(self) -> Base | None:
        """Where the history begins; None: with the first input."""
        return layout.read_base(self.connection)

    def close(self) -> None:
        """Let go of the file."""
        self.connection.close()


def read_header(connection: apsw.Connection, path: Path) -> JournalHeader:
    """The header of a journal.

    Raises:
        ConfigurationError: it is of a newer schema, or no journal of ours.
    """
    try:
        ((header,),) = connection.execute("SELECT value FROM meta WHERE key = 'header'")
        schema = msgspec.json.decode(header, type=_Schema).schema
        if schema > SCHEMA:
            raise ConfigurationError(
                f"the journal {path} has schema {schema} and this version knows up to {SCHEMA}: update Mallard"
            )
        return msgspec.json.decode(header, type=JournalHeader)
    except (apsw.SQLError, ValueError) as error:
        if isinstance(error, ConfigurationError):
            raise
        raise ConfigurationError(f"{path} is not a journal of Mallard: {error}") from error


class _Schema(Struct):
    schema: int


def begin(connection: apsw.Connection, path: Path, header: JournalHeader) -> JournalHeader:
    """Make the tables and store `header`, unless the journal has them; return the journal's header.

    Raises:
        ConfigurationError: as `read_header`.
    """
    with transaction(connection):
        if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'meta'").fetchone():
            connection.execute(layout.TABLES)
            connection.execute("INSERT INTO meta VALUES ('header', ?)", (msgspec.json.encode(header),))
    return read_header(connection, path)


def mend(connection: apsw.Connection) -> Cut | None:
    """Cut a torn tail off, keeping its bytes in `quarantine`; None when the tail is whole.

    Raises:
        JournalDamagedError: the damage is not at the end.
    """
    torn = torn_tail(connection)
    if not torn:
        return None
    with transaction(connection):
        for row in torn:
            layout.set_aside(connection, time.time_ns() // 1_000_000, f"torn tail, seq {row.first_seq}", row.body)
            if isinstance(row, PingRow):
                connection.execute(f"DELETE FROM {row.table} WHERE first_seq = ?", (row.first_seq,))  # noqa: S608
            else:
                connection.execute("DELETE FROM entry WHERE seq = ? AND note = ?", (row.seq, row.note))
        audit.write_head(connection, audit.last_link(connection))
    return Cut(torn[0].first_seq, torn[-1].last_seq, len(torn))


def end(connection: apsw.Connection) -> tuple[int, int]:
    """The last sequence number, and how many notes follow it."""
    found = connection.execute("SELECT seq, note FROM entry ORDER BY seq DESC, note DESC LIMIT 1").fetchone()
    seq, notes = found or (0, 0)
    # A table may be empty, when its only rows were a torn tail.
    last = next(
        filter(None, (layout.last_seq_of(connection, name) for name in layout.ping_tables(connection)[::-1])), 0
    )
    return (last, 0) if last > seq else (seq, notes)


def torn_tail(connection: apsw.Connection) -> list[Row]:
    """The damaged rows at the very end, looked for from the newest snapshot on.

    Raises:
        JournalDamagedError: good rows follow a damaged or missing one, so this is no torn tail.
    """
    newest = next(layout.read_snapshots(connection), None)
    after_seq = newest.seq if newest else 0
    torn: list[Row] = []
    expected = after_seq + 1
    for row in layout.rows(connection, after_seq):
        if not row.intact():
            torn.append(row)
        elif torn:
            raise JournalDamagedError(
                f"the journal is damaged at seq {torn[0].first_seq} and goes on at {row.first_seq}: restore a backup"
            )
        elif row.note == 0 and row.first_seq > expected:
            raise JournalDamagedError(
                f"the journal has a hole: seq {expected} to {row.first_seq - 1} are missing: restore a backup"
            )
        expected = max(expected, row.last_seq + 1)
    return torn


def wal_of(path: Path) -> Path:
    """Where SQLite keeps the changes that are not in the file `path` yet."""
    return path.with_name(path.name + "-wal")


def size_of(path: Path) -> int:
    """The bytes of a file, 0 if there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def is_held(folder: Path) -> bool:
    """Whether a program is running on `folder` now."""
    try:
        descriptor = os.open(folder / "journal.lock", os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def lock(folder: Path) -> int:
    """Take the folder for this program; the lock ends with the program, however it ends."""
    descriptor = os.open(folder / "journal.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise ConfigurationError(f"another program is running on {folder}: stop it, or name another --data") from error
    return descriptor
