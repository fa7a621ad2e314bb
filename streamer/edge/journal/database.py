"""The file under the journal: its lock, its settings, its header, and the mending of a torn tail.

It must not know the writer thread or what the rows mean to the engine.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import msgspec
from msgspec import Struct

from streamer.core.errors import ConfigurationError, StorageError
from streamer.edge.journal import audit, layout
from streamer.edge.journal.contract import SCHEMA, Entry, JournalDamagedError, JournalHeader, Snapshot
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


class Cut(Struct, frozen=True):
    """A torn tail that was cut off when the journal was opened: from which sequence number, and how many rows."""

    from_seq: int
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


def apply_pragmas(connection: apsw.Connection) -> None:
    """Set what an acknowledgement rests on, and read it back.

    Raises:
        StorageError: a setting did not take.
    """
    for name, (value, expected) in PRAGMAS.items():
        connection.pragma(name, value)
        if (found := connection.pragma(name)) != expected:
            raise StorageError(f"SQLite setting {name} is {found!r} and must be {expected!r}")


def open_to_read(path: Path) -> apsw.Connection:
    """A connection that cannot write; for reading beside a running server.

    Raises:
        StorageError: there is no journal, or it cannot be opened.
    """
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        connection.pragma("busy_timeout", 2000)
        connection.pragma("query_only", "on")
    except apsw.Error as error:
        raise StorageError(f"there is no readable journal at {path}: {error}") from error
    return connection


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
        self.connection = open_to_read(folder / "journal.db")
        self.header = read_header(self.connection, folder / "journal.db")

    def snapshots(self) -> Iterator[Snapshot]:
        """The readable snapshots, newest first."""
        return layout.read_snapshots(self.connection)

    def entries(self, after_seq: int = 0) -> Iterator[Entry]:
        """The committed entries above `after_seq`, in order.

        Raises:
            JournalDamagedError: one is missing or is not what was written.
        """
        return layout.read_entries(self.connection, after_seq)

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
    newest = next(layout.read_snapshots(connection), None)
    torn = _torn_tail(connection, newest.seq if newest else 0)
    if not torn:
        return None
    with transaction(connection):
        for row in torn:
            connection.execute(
                "INSERT INTO quarantine(at_ms, reason, body) VALUES (?, ?, ?)",
                (time.time_ns() // 1_000_000, f"torn tail, seq {row.first_seq}", row.body),
            )
            if isinstance(row, PingRow):
                connection.execute(f"DELETE FROM {row.table} WHERE first_seq = ?", (row.first_seq,))  # noqa: S608
            else:
                connection.execute("DELETE FROM entry WHERE seq = ? AND note = ?", (row.seq, row.note))
        audit.write_head(connection, audit.last_link(connection))
    return Cut(torn[0].first_seq, len(torn))


def end(connection: apsw.Connection) -> tuple[int, int]:
    """The last sequence number, and how many notes follow it."""
    found = connection.execute("SELECT seq, note FROM entry ORDER BY seq DESC, note DESC LIMIT 1").fetchone()
    seq, notes = found or (0, 0)
    for table in layout.ping_tables(connection)[-1:]:
        (last,) = connection.execute(f"SELECT max(last_seq) FROM {table}").fetchone() or (None,)  # noqa: S608
        if last is not None and last > seq:
            seq, notes = last, 0
    return seq, notes


def _torn_tail(connection: apsw.Connection, after_seq: int) -> list[Row]:
    """The damaged rows at the very end.

    Raises:
        JournalDamagedError: good rows follow a damaged or missing one, so this is no torn tail.
    """
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


def lock(folder: Path) -> int:
    """Take the folder for this program; the lock ends with the program, however it ends."""
    descriptor = os.open(folder / "journal.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise ConfigurationError(f"another program is running on {folder}: stop it, or name another --data") from error
    return descriptor
