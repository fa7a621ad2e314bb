"""Takes one person out of a floor's files for good, and leaves an audit chain that still verifies.

It must not know the command line, nor what makes a row somebody's (`subjects` does). The floor must not be running.

How the chain survives: it rests on digests of bodies, and each body carries a random salt. A body that is written anew
leaves its old digest in `redacted`; without body and salt that digest tells nothing. The erasure itself is a chained
note that names each such row and what it was made to be, so nothing can be changed in the name of privacy that
`audit verify` would not show. The price: replay begins anew at the erasure, as it does behind retention.
"""

import os
from collections.abc import Sequence
from contextlib import closing, suppress
from hashlib import sha256
from pathlib import Path

import apsw
import msgspec
from msgspec import Struct

from streamer.core.errors import ConfigurationError
from streamer.core.snapshot import dump_state
from streamer.edge.accounts import Accounts
from streamer.edge.journal import audit, backup, database, layout
from streamer.edge.journal.contract import Base, Note, Snapshot
from streamer.edge.journal.database import JournalReader
from streamer.edge.journal.layout import EntryRow
from streamer.edge.journal.recovery import recover
from streamer.edge.journal.sqlite import SqliteJournal
from streamer.edge.journal.subjects import Found, Subject, blank, find, is_in_use, pings_without, without

NAMED_ROWS = 100
"""Rows one note accounts for."""
MIN_SEARCHED = 5
"""Characters of a text that is looked for afterwards: shorter ones are found anywhere."""


class Erased(Struct, frozen=True):
    """What an erasure came to. `left`: texts of the person that files still hold, as somebody else's, and the file."""

    orders: int
    rows: int
    ping_rows: int
    left: tuple[tuple[str, str], ...]


def erase(folder: Path, subject: Subject, at_ms: int, actor: str) -> Erased:
    """Take the subject out of journal and accounts in `folder`; to be repeated after it was interrupted.

    Raises:
        ConfigurationError: a floor is running on it, nobody is found, or the person is at work or awaits an order.
        StorageError: the journal cannot be read or written.
    """
    with closing(JournalReader(folder)) as reader, closing(SqliteJournal(folder, reader.header)) as journal:
        engine = recover(journal).engine
        state = engine.state
        found = find(reader.connection, subject, state)
        if not found.rows and not found.order_ids and subject.driver_id not in state.drivers:
            raise ConfigurationError(f"nothing is known about {subject.driver_id or subject.customer}")
        if reason := is_in_use(subject, found, state):
            raise ConfigurationError(f"cannot erase yet: {reason}")
        blank(state, subject, found)
        changed = [_written_anew(row, msgspec.json.encode(without(item))) for row, item in found.rows]
        notes = _notes(at_ms, actor, subject, [row for row in changed if row.link is not None])
        journal.commit_now([*notes, Snapshot(state.seq, state.at_ms, dump_state(state))])
    ping_rows = _rewrite(folder, subject, found, changed, Base(state.seq, state.at_ms, ""))
    if subject.driver_id and (folder / "accounts.db").exists():
        with closing(Accounts(folder)) as accounts:
            accounts.forget_driver(subject.driver_id)
    return Erased(len(found.order_ids), len(changed), ping_rows, tuple(search(folder, found.texts)))


def _written_anew(row: EntryRow, body: bytes) -> EntryRow:
    columns = row.seq, row.note, row.at_ms, row.kind
    return EntryRow(*columns, body, layout.crc_of(columns, body), row.link)


def _notes(at_ms: int, actor: str, subject: Subject, rows: Sequence[EntryRow]) -> list[Note]:
    """The notes that account for the rows; at least one. A customer's phone number is not written into it."""
    who = {"driver_id": subject.driver_id} if subject.driver_id else {"customer": ""}
    groups = [rows[start : start + NAMED_ROWS] for start in range(0, len(rows), NAMED_ROWS)] or [[]]
    return [Note(at_ms, "erased", actor, who | dict(map(audit.redaction, group))) for group in groups]


def _rewrite(folder: Path, subject: Subject, found: Found, changed: Sequence[EntryRow], base: Base) -> int:
    """Changes the rows in place, and has SQLite overwrite what was there; returns the rows of pings changed."""
    lock = database.lock(folder)
    try:
        with closing(apsw.Connection(str(folder / "journal.db"))) as connection:
            database.apply_pragmas(connection, database.JOURNAL_PRAGMAS)
            with database.transaction(connection):
                _replace_rows(connection, changed)
                known = layout.read_base(connection)
                layout.write_base(connection, msgspec.structs.replace(base, gone=known.gone if known else ""))
                connection.execute("DELETE FROM snapshot WHERE seq < ?", (base.seq,))
                _empty_quarantine(connection, subject, found)
                count = _replace_pings(connection, subject.driver_id) if subject.driver_id else 0
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            connection.execute("VACUUM")
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            return count
    finally:
        os.close(lock)


def _replace_rows(connection: apsw.Connection, changed: Sequence[EntryRow]) -> None:
    connection.execute(layout.REDACTED_TABLE)
    for row in changed:
        if row.link is not None:
            ((body,),) = layout.select(
                connection, "SELECT body FROM entry WHERE seq = ? AND note = ?", row.seq, row.note
            )
            # The digest of the first body stays, however often a row is written anew.
            connection.execute(
                "INSERT OR IGNORE INTO redacted VALUES (?, ?, ?)", (row.seq, row.note, sha256(body).digest())
            )
        connection.execute(
            "UPDATE entry SET body = ?, crc = ? WHERE seq = ? AND note = ?", (row.body, row.crc, row.seq, row.note)
        )


def _replace_pings(connection: apsw.Connection, driver_id: str) -> int:
    count = 0
    for table in layout.all_ping_tables(connection):
        for row in list(layout.ping_stream(connection, table, 0)):
            if (anew := pings_without(layout.checked(row), driver_id)) is not None:
                connection.execute(
                    f"UPDATE {table} SET body = ?, crc = ? WHERE first_seq = ?",  # noqa: S608 - of all_ping_tables
                    (anew.body, anew.crc, anew.first_seq),
                )
                count += 1
    return count


def _empty_quarantine(connection: apsw.Connection, subject: Subject, found: Found) -> None:
    """What could not be handled is not worth keeping when it may be about somebody who is to be forgotten."""
    wanted = [text.encode() for text in (*found.texts, subject.driver_id, subject.customer) if len(text) >= 2]
    for row_id, body in list(connection.execute("SELECT id, body FROM quarantine")):
        if any(text in bytes(body) for text in wanted):
            connection.execute("DELETE FROM quarantine WHERE id = ?", (row_id,))


def export(folder: Path, subject: Subject) -> dict[str, object]:
    """All that the files hold about the subject, as a person may ask for; beside a running floor too.

    Raises:
        ConfigurationError: nobody is found.
        StorageError: the journal cannot be read.
    """
    with closing(JournalReader(folder)) as reader:
        state = recover(reader).engine.state
        found = find(reader.connection, subject, state)
        rows = [{"seq": row.seq, "at_ms": row.at_ms, "input": item} for row, item in found.rows]
        orders = [state.orders[order_id] for order_id in sorted(found.order_ids & state.orders.keys())]
        pings = [
            {"at_ms": entry.at_ms, "ping": entry.input, "verdict": entry.verdict}
            for table in (layout.ping_tables(reader.connection) if subject.driver_id else ())
            for row in layout.ping_stream(reader.connection, table, 0)
            for entry in layout.checked(row).entries()
            if entry.input.driver_id == subject.driver_id  # type: ignore[union-attr]  # a row of pings holds pings
        ]
    driver = state.drivers.get(subject.driver_id)
    if not rows and not orders and driver is None:
        raise ConfigurationError(f"nothing is known about {subject.driver_id or subject.customer}")
    return {"subject": subject, "inputs": rows, "orders": orders, "driver": driver, "pings": pings}


def erase_in_backup(folder: Path, subject: Subject, at_ms: int, actor: str) -> Erased:
    """The same in what `mallard backup` wrote, whose digests are made anew.

    Raises:
        ConfigurationError: as `erase`, or it is no backup.
        StorageError: it cannot be read or written.
    """
    manifest = folder / backup.MANIFEST
    if not manifest.exists():
        raise ConfigurationError(f"{folder} is no backup: there is no {backup.MANIFEST} in it")
    erased = erase(folder, subject, at_ms, actor)
    for name in ("journal.db", "accounts.db"):
        if (folder / name).exists():
            with closing(apsw.Connection(str(folder / name))) as connection:
                connection.pragma("journal_mode", "delete")
    for name in ("journal.mark", "journal.lock"):
        with suppress(FileNotFoundError):
            (folder / name).unlink()
    manifest.write_bytes(msgspec.json.encode(backup.verify(folder)))
    return erased


def search(folder: Path, texts: set[str]) -> list[tuple[str, str]]:
    """Which of the texts the files in `folder` still hold, byte for byte; state inside compressed snapshots too."""
    left = []
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
    with closing(JournalReader(folder)) as reader:
        files["snapshots"] = b"".join(snapshot.body for snapshot in reader.snapshots())
    for text in sorted(texts):
        if len(text) >= MIN_SEARCHED:
            left += [(text, name) for name, content in files.items() if text.encode() in content]
    return left
