"""How journal records lie in SQLite: tables, row bytes, checksums, and reading them back merged in order.

It must not know transactions, threads or the engine.
"""

import heapq
import re
import secrets
import zlib
from collections.abc import Generator, Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby, takewhile
from typing import Any, TypeVar, get_args

import apsw
import msgspec
import zstandard
from msgspec import Struct

from streamer.core.events import Input, Ping, Verdict
from streamer.edge.journal.contract import (
    Base,
    Entry,
    HistoryGoneError,
    JournalDamagedError,
    Note,
    NoteKind,
    PingRun,
    Snapshot,
)

TABLES = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE entry(
  seq INTEGER NOT NULL,   -- the engine's, after the input; of a note, the last one before it
  note INTEGER NOT NULL,  -- 0 for an input, 1.. for the notes that follow it
  at_ms INTEGER NOT NULL, kind TEXT NOT NULL, body BLOB NOT NULL, crc INTEGER NOT NULL,
  link BLOB,              -- the chain's hash up to here; null when the row is not chained
  PRIMARY KEY (seq, note)) STRICT, WITHOUT ROWID;
CREATE TABLE snapshot(seq INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, body BLOB NOT NULL, crc INTEGER NOT NULL) STRICT;
CREATE TABLE quarantine(
  id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, reason TEXT NOT NULL, body BLOB NOT NULL) STRICT;
"""
PINGS_TABLE = """
CREATE TABLE IF NOT EXISTS {name}(
  first_seq INTEGER PRIMARY KEY, last_seq INTEGER NOT NULL, first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL,
  body BLOB NOT NULL, crc INTEGER NOT NULL) STRICT;
"""
REDACTED_TABLE = """
CREATE TABLE IF NOT EXISTS redacted(
  seq INTEGER NOT NULL, note INTEGER NOT NULL,
  digest BLOB NOT NULL,   -- of the body as it was written, which the chain rests on
  PRIMARY KEY (seq, note)) STRICT, WITHOUT ROWID;
"""
"""Made by the first erasure: rows whose body was written anew without what told of a person."""
NOTE_KINDS: frozenset[str] = frozenset(get_args(NoteKind))
CHAINED: frozenset[str] = (
    frozenset({"command", "hand_over", "undo", "duty", "autopilot", "order", "driver"}) | NOTE_KINDS
)
"""What the audit chain covers: every decision, order, registration and note. Not pings, reports, plans and ticks."""
QUARANTINE_ROWS = 10_000
"""Above it the oldest go: a flood of them has one cause."""
_PINGS_NAME = re.compile(r"pings_[0-9]{8}")


class PingBatch(Struct, frozen=True, array_like=True):
    """Consecutive pings of one UTC day, as columns; they are one row, so a ping costs about a microsecond."""

    at_ms: list[int]
    verdicts: list[Verdict]
    pings: list[Ping]


_inputs = msgspec.json.Decoder(Input)
_batches = msgspec.msgpack.Decoder(PingBatch)


class EntryRow(Struct, frozen=True):
    """One row of `entry`, not decoded yet."""

    seq: int
    note: int
    at_ms: int
    kind: str
    body: bytes
    crc: int
    link: bytes | None

    @property
    def first_seq(self) -> int:
        """As of `PingRow`: a row of one."""
        return self.seq

    @property
    def last_seq(self) -> int:
        """As of `PingRow`: a row of one."""
        return self.seq

    def intact(self) -> bool:
        """Whether the row is what was written."""
        return self.crc == crc_of((self.seq, self.note, self.at_ms, self.kind), self.body)

    def entries(self) -> Iterator[Entry]:
        """The input of this row; none when it is a note."""
        if self.note == 0:
            yield Entry(self.seq, self.at_ms, _inputs.decode(self.body))


class PingRow(Struct, frozen=True):
    """One row of a day's pings, not decoded yet."""

    first_seq: int
    last_seq: int
    first_ms: int
    last_ms: int
    body: bytes
    crc: int
    table: str
    note: int = 0

    def intact(self) -> bool:
        """Whether the row is what was written."""
        return self.crc == crc_of((self.first_seq, self.last_seq, self.first_ms, self.last_ms), self.body)

    def entries(self) -> Iterator[Entry]:
        """The pings of this row."""
        batch = _batches.decode(self.body)
        for seq, (at_ms, verdict, ping) in enumerate(
            zip(batch.at_ms, batch.verdicts, batch.pings, strict=True), self.first_seq
        ):
            yield Entry(seq, at_ms, ping, verdict)


Row = EntryRow | PingRow
AnyRow = TypeVar("AnyRow", EntryRow, PingRow, Row)


def checked(row: AnyRow) -> AnyRow:
    """The row.

    Raises:
        JournalDamagedError: it is not what was written.
    """
    if not row.intact():
        raise JournalDamagedError(f"the journal is damaged at seq {row.first_seq}: the checksum does not fit the row")
    return row


DAY_MS = 86_400_000
LAST_INSTANT_MS = 253_402_300_799_999
"""The end of the year 9999, where calendars stop."""


def select(connection: apsw.Connection, sql: str, *bindings: int | str) -> Iterator[Any]:
    """The rows of a query, whose columns only the query's text types.

    Raises:
        JournalDamagedError: SQLite cannot make sense of the file.
    """
    try:
        yield from connection.execute(sql, bindings)
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise JournalDamagedError(f"the journal is damaged: {error}; restore a backup") from error


def crc_of(columns: tuple[object, ...], body: bytes) -> int:
    """The checksum of a row: CRC-32 of its columns and its body."""
    return zlib.crc32(body, zlib.crc32(repr(columns).encode()))


def day_table(at_ms: int) -> str:
    """The table of the UTC day an instant lies in; beyond the year 9999, of that year's last day."""
    return f"pings_{datetime.fromtimestamp(min(at_ms, LAST_INSTANT_MS) / 1000, UTC):%Y%m%d}"


def utc(at_ms: int) -> str:
    """An instant for people, to the second."""
    return f"{datetime.fromtimestamp(min(at_ms, LAST_INSTANT_MS) / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def entry_row(entry: Entry) -> EntryRow:
    """The row of an input that is no ping; its link is set by the chain."""
    kind = str(entry.input.__struct_config__.tag)
    body = _body(kind, entry.input)
    return EntryRow(entry.seq, 0, entry.at_ms, kind, body, crc_of((entry.seq, 0, entry.at_ms, kind), body), None)


def note_row(note: Note, seq: int, number: int) -> EntryRow:
    """The row of the `number`-th note after `seq`; its link is set by the chain."""
    body = _body(note.kind, note)
    return EntryRow(
        seq, number, note.at_ms, note.kind, body, crc_of((seq, number, note.at_ms, note.kind), body), None
    )  # fmt: skip


def _body(kind: str, written: Struct) -> bytes:
    """JSON; of a chained row with a salt, which readers ignore.

    Erasing a body leaves its digest, and without a salt, who guesses a phone number could check the guess against that.
    """
    body = msgspec.json.encode(written)
    return body[:-1] + b',"salt":"' + secrets.token_urlsafe(16).encode() + b'"}' if kind in CHAINED else body


def ping_rows(runs: Sequence[PingRun]) -> Iterator[PingRow]:
    """The rows of consecutive pings: one, or one a day when midnight UTC lies between them."""
    if _day_of(runs[0]) == _day_of(runs[-1]):  # Time never decreases, so those between are of it, too.
        yield _ping_row(runs)
        return
    for _, of_day in groupby(runs, _day_of):
        yield _ping_row(list(of_day))


def _day_of(run: PingRun) -> int:
    return min(run.at_ms, LAST_INSTANT_MS) // DAY_MS


def _ping_row(runs: Sequence[PingRun]) -> PingRow:
    at_ms: list[int] = []
    verdicts: list[Verdict] = []
    pings: list[Ping] = []
    for run in runs:
        at_ms += [run.at_ms] * len(run.pings)
        verdicts += run.verdicts
        pings += run.pings
    columns = runs[0].first_seq, runs[-1].last_seq, runs[0].at_ms, runs[-1].at_ms
    body = msgspec.msgpack.encode(PingBatch(at_ms, verdicts, pings))
    return PingRow(*columns, body, crc_of(columns, body), day_table(runs[0].at_ms))


def ping_tables(connection: apsw.Connection) -> list[str]:
    """The days whose pings may be read, oldest first."""
    base = read_base(connection)
    return [name for name in all_ping_tables(connection) if base is None or name > base.gone]


def all_ping_tables(connection: apsw.Connection) -> list[str]:
    """Also the days that are being dropped, oldest first."""
    names = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
    # Names go into SQL text below; only what `day_table` makes may.
    return [name for (name,) in names if _PINGS_NAME.fullmatch(name)]


def read_redacted(connection: apsw.Connection) -> dict[tuple[int, int], bytes]:
    """The digests of bodies that are not what was written any more, by sequence number and note."""
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'redacted'").fetchone():
        return {}
    return {(seq, note): digest for seq, note, digest in select(connection, "SELECT seq, note, digest FROM redacted")}


def read_base(connection: apsw.Connection) -> Base | None:
    """Where the history begins; None: with the first input."""
    found = connection.execute("SELECT value FROM meta WHERE key = 'base'").fetchone()
    return msgspec.msgpack.decode(found[0], type=Base) if found else None


def write_base(connection: apsw.Connection, base: Base) -> None:
    """Let the history begin at `base`, inside the transaction that saw its snapshot."""
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('base', ?)", (msgspec.msgpack.encode(base),))


def rows(connection: apsw.Connection, after_seq: int) -> Iterator[Row]:
    """Every row with anything above `after_seq`, merged by sequence number; not checked."""
    entries = select(
        connection,
        "SELECT seq, note, at_ms, kind, body, crc, link FROM entry WHERE seq > ? ORDER BY seq, note",
        after_seq,
    )
    streams: list[Iterator[Row]] = [(EntryRow(*row) for row in entries)]
    streams += [ping_stream(connection, table, after_seq) for table in ping_tables(connection)]
    yield from heapq.merge(*streams, key=lambda row: (row.first_seq, row.note))


def ping_stream(connection: apsw.Connection, table: str, after_seq: int) -> Iterator[PingRow]:
    """The rows of one day with anything above `after_seq`, in order."""
    found = select(
        connection,
        # The subquery finds where to begin by the key: a day may have millions of rows.
        f"SELECT first_seq, last_seq, first_ms, last_ms, body, crc FROM {table}"  # noqa: S608 - a name of ping_tables
        f" WHERE first_seq >= coalesce((SELECT max(first_seq) FROM {table} WHERE first_seq <= ?), 0)"
        " AND last_seq > ? ORDER BY first_seq",
        after_seq,
        after_seq,
    )
    return (PingRow(*(*columns, table)) for columns in found)


def ping_rows_between(connection: apsw.Connection, from_ms: int, to_ms: int, after_seq: int) -> Iterator[PingRow]:
    """The rows above `after_seq` with pings received in [from_ms, to_ms], and perhaps a few before, in order."""
    first, last = day_table(from_ms), day_table(to_ms)
    for table in ping_tables(connection):
        if first <= table <= last:
            rows_of_day = ping_stream(connection, table, max(after_seq, seq_before(connection, table, from_ms)))
            yield from takewhile(lambda row: row.first_ms <= to_ms, rows_of_day)


def last_seq_of(connection: apsw.Connection, table: str) -> int:
    """The last sequence number in a day's table, 0 if it is empty."""
    found = connection.execute(f"SELECT last_seq FROM {table} ORDER BY first_seq DESC LIMIT 1").fetchone()  # noqa: S608
    return found[0] if found else 0


def seq_before(connection: apsw.Connection, table: str, at_ms: int) -> int:
    """A sequence number with no ping of `table` received at or after `at_ms` up to it, nearly the highest one.

    Rows have no index by time, and need none: time never decreases from row to row, so this halves the range.
    """
    ((low, high),) = select(connection, f"SELECT coalesce(min(first_seq), 1), max(last_seq) FROM {table}")  # noqa: S608
    below: int = low - 1
    while high is not None and high - below > 1:
        middle = (below + high) // 2
        row = connection.execute(
            f"SELECT last_seq, last_ms FROM {table} WHERE first_seq <= ? ORDER BY first_seq DESC LIMIT 1",  # noqa: S608
            (middle,),
        ).fetchone()
        if row is not None and row[1] < at_ms:
            below = max(middle, row[0])
        else:
            high = middle
    return below


def read_entries(connection: apsw.Connection, after_seq: int) -> Iterator[Entry]:
    """The inputs above `after_seq`, in order and without a gap.

    Raises:
        HistoryGoneError: `after_seq` lies before the base.
        JournalDamagedError: one is missing or is not what was written.
    """
    base = read_base(connection)
    if base is not None and after_seq < base.seq:
        raise HistoryGoneError(f"pings before {utc(base.at_ms)} are past their retention: read on from seq {base.seq}")
    expected = after_seq + 1
    for row in rows(connection, after_seq):
        for entry in checked(row).entries():
            if entry.seq > after_seq:
                if entry.seq != expected:
                    raise JournalDamagedError(f"the journal has a hole: seq {expected} to {entry.seq - 1} are missing")
                expected += 1
                yield entry


def set_aside(connection: apsw.Connection, at_ms: int, reason: str, body: bytes) -> None:
    """Put something into the quarantine."""
    connection.execute("INSERT INTO quarantine(at_ms, reason, body) VALUES (?, ?, ?)", (at_ms, reason, body))
    connection.execute("DELETE FROM quarantine WHERE id <= (SELECT max(id) FROM quarantine) - ?", (QUARANTINE_ROWS,))


def read_snapshots(connection: apsw.Connection) -> Generator[Snapshot, None, None]:
    """The snapshots whose checksum fits, newest first."""
    return _intact(select(connection, "SELECT seq, at_ms, body, crc FROM snapshot ORDER BY seq DESC"))


def read_snapshots_from(connection: apsw.Connection, seq: int) -> Iterator[Snapshot]:
    """The snapshots at or above `seq` whose checksum fits, oldest first."""
    return _intact(select(connection, "SELECT seq, at_ms, body, crc FROM snapshot WHERE seq >= ? ORDER BY seq", seq))


def _intact(found: Iterator[Any]) -> Generator[Snapshot, None, None]:
    for seq, at_ms, body, crc in found:
        if crc == crc_of((seq, at_ms), body):
            yield Snapshot(seq, at_ms, zstandard.decompress(body))
