"""DIR/accounts.db: its tables, its settings, and statements that are durable when they return.

It must not know what a token or a password is.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from streamer.core.errors import StorageError
from streamer.edge.journal.database import apply_pragmas

Value = str | int | float | bytes | None
Row = tuple[Value, ...]

SCHEMA = """
CREATE TABLE IF NOT EXISTS driver (
  id TEXT PRIMARY KEY, name TEXT NOT NULL, capacity INTEGER NOT NULL, mall_ids TEXT NOT NULL, shift_end_ms INTEGER
) STRICT;
CREATE TABLE IF NOT EXISTS token (
  digest BLOB PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, role TEXT, mall_ids TEXT NOT NULL,
  created_ms INTEGER NOT NULL, revoked_ms INTEGER
) STRICT;
CREATE TABLE IF NOT EXISTS person (
  name TEXT PRIMARY KEY, password TEXT NOT NULL, role TEXT NOT NULL, mall_ids TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS session (
  digest BLOB PRIMARY KEY, name TEXT NOT NULL, opened_ms INTEGER NOT NULL, seen_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS login_try (name TEXT NOT NULL, place TEXT NOT NULL, at_ms INTEGER NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS login_try_by_name ON login_try (name, place, at_ms);
CREATE INDEX IF NOT EXISTS login_try_by_place ON login_try (place, at_ms);
CREATE TABLE IF NOT EXISTS device (
  digest BLOB PRIMARY KEY, name TEXT NOT NULL, seen_ms INTEGER NOT NULL
) STRICT;
DROP TABLE IF EXISTS failed_login;
"""


class AccountsFile:
    """One connection to the file, for several threads; other programs may have theirs."""

    def __init__(self, directory: Path) -> None:
        """Opens the file, making it (0600) and its directory (0700) when missing.

        Raises:
            StorageError: the directory or the file cannot be used.
        """
        self.path = directory / "accounts.db"
        self._lock = threading.Lock()
        self._own_changes = 0
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Made before SQLite opens it, so that it is never readable by others; -wal and -shm inherit the mode.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            self._db = apsw.Connection(str(self.path))
            self._set_up()
        except (OSError, apsw.Error) as error:
            raise StorageError(f"cannot use {self.path}: {error}") from error

    def _set_up(self) -> None:
        apply_pragmas(self._db)
        self._db.pragma("secure_delete", "on")
        self._db.execute(SCHEMA)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._db.close()

    def compact(self) -> None:
        """Writes the file anew, so that nothing deleted is left in it or in its WAL.

        Raises:
            StorageError: it cannot be written, or is being read.
        """
        try:
            with self._lock:
                self._db.execute("VACUUM")
                self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except apsw.Error as error:
            raise StorageError(f"cannot write {self.path} anew: {error}") from error

    def version(self) -> tuple[int, int]:
        """Differs from an earlier answer if anything was written since, here or by another program."""
        return int(str(self.read("PRAGMA data_version")[0][0])), self._own_changes

    def read(self, query: str, values: Row = ()) -> list[Row]:
        """The rows of a query.

        Raises:
            StorageError: they cannot be read.
        """
        try:
            with self._lock:
                return self._db.execute(query, values).fetchall()
        except apsw.Error as error:
            raise StorageError(f"cannot read {self.path}: {error}") from error

    def write(self, statement: str, values: Row) -> bool:
        """Runs one statement; whether it changed a row.

        Raises:
            StorageError: it is not durable.
        """
        with self.change() as db:
            db.execute(statement, values)
            return db.changes() > 0

    @contextmanager
    def change(self) -> Iterator[apsw.Connection]:
        """Several statements as one: all or, when the block raises, none. The first one should write.

        Raises:
            StorageError: they are not durable.
        """
        try:
            with self._lock, self._db:
                yield self._db
                self._own_changes += 1
        except apsw.Error as error:
            raise StorageError(f"cannot write {self.path}: {error}") from error
