"""How journal records lie in SQLite: tables, row bytes, checksums, and reading them back merged in order.

It must not know transactions, threads or the engine.
"""

import heapq
import re
import zlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, get_args

import apsw
import msgspec
import zstandard
from msgspec import Struct

from streamer.core.events import Input, Ping, Verdict
from streamer.edge.journal.contract import Entry, JournalDamagedError, Note, NoteKind, Snapshot

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
NOTE_KINDS: frozenset[str] = frozenset(get_args(NoteKind))
CHAINED: frozenset[str] = frozenset({"command", "hand_over", "undo", "duty", "order", "driver"}) | NOTE_KINDS
"""What the audit chain covers: every decision, order, registration and note. Not pings, reports and ticks."""
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


def damaged(row: Row) -> JournalDamagedError:
    """The error of a row that is not what was written."""
    return JournalDamagedError(f"the journal is damaged at seq {row.first_seq}: the checksum does not fit the row")


LAST_INSTANT_MS = 253_402_300_799_999
"""The end of the year 9999, where calendars stop."""


def select(connection: apsw.Connection, sql: str, *bindings: int | str) -> Iterator[Any]:
    """The rows of a query, whose columns only the query's text types."""
    yield from connection.execute(sql, bindings)


def crc_of(columns: tuple[object, ...], body: bytes) -> int:
    """The checksum of a row: CRC-32 of its columns and its body."""
    return zlib.crc32(body, zlib.crc32(repr(columns).encode()))


def day_table(at_ms: int) -> str:
    """The table of the UTC day an instant lies in; beyond the year 9999, of that year's last day."""
    return f"pings_{datetime.fromtimestamp(min(at_ms, LAST_INSTANT_MS) / 1000, UTC):%Y%m%d}"


def entry_row(entry: Entry) -> EntryRow:
    """The row of an input that is no ping; its link is set by the chain."""
    kind = str(entry.input.__struct_config__.tag)
    body = msgspec.json.encode(entry.input)
    return EntryRow(entry.seq, 0, entry.at_ms, kind, body, crc_of((entry.seq, 0, entry.at_ms, kind), body), None)


def note_row(note: Note, seq: int, number: int) -> EntryRow:
    """The row of the `number`-th note after `seq`; its link is set by the chain."""
    body = msgspec.json.encode(note)
    return EntryRow(
        seq, number, note.at_ms, note.kind, body, crc_of((seq, number, note.at_ms, note.kind), body), None
    )  # fmt: skip


def ping_rows(entries: Sequence[Entry]) -> Iterator[PingRow]:
    """The rows of consecutive pings: one, or two when midnight UTC lies between them."""
    start = 0
    tables = [day_table(entry.at_ms) for entry in (entries[0], entries[-1])]
    if tables[0] != tables[1]:
        start = next(i for i, entry in enumerate(entries) if day_table(entry.at_ms) != tables[0])
        yield from ping_rows(entries[:start])
        yield from ping_rows(entries[start:])
        return
    batch = PingBatch(
        [entry.at_ms for entry in entries],
        [entry.verdict or "ok" for entry in entries],
        [entry.input for entry in entries if isinstance(entry.input, Ping)],
    )
    columns = entries[0].seq, entries[-1].seq, entries[0].at_ms, entries[-1].at_ms
    body = msgspec.msgpack.encode(batch)
    yield PingRow(*columns, body, crc_of(columns, body), tables[0])


def ping_tables(connection: apsw.Connection) -> list[str]:
    """The days that have pings, oldest first."""
    names = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
    # Names go into SQL text below; only what `day_table` makes may.
    return [name for (name,) in names if _PINGS_NAME.fullmatch(name)]


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
        f"SELECT first_seq, last_seq, first_ms, last_ms, body, crc FROM {table}"  # noqa: S608 - a name of ping_tables
        " WHERE last_seq > ? ORDER BY first_seq",
        after_seq,
    )
    return (PingRow(*(*columns, table)) for columns in found)


def read_entries(connection: apsw.Connection, after_seq: int) -> Iterator[Entry]:
    """The inputs above `after_seq`, in order and without a gap.

    Raises:
        JournalDamagedError: one is missing or is not what was written.
    """
    expected = after_seq + 1
    for row in rows(connection, after_seq):
        if not row.intact():
            raise JournalDamagedError(
                f"the journal is damaged at seq {row.first_seq}: the checksum does not fit the row"
            )
        for entry in row.entries():
            if entry.seq > after_seq:
                if entry.seq != expected:
                    raise JournalDamagedError(f"the journal has a hole: seq {expected} to {entry.seq - 1} are missing")
                expected += 1
                yield entry


def read_snapshots(connection: apsw.Connection) -> Iterator[Snapshot]:
    """The snapshots whose checksum fits, newest first."""
    for seq, at_ms, body, crc in connection.execute("SELECT seq, at_ms, body, crc FROM snapshot ORDER BY seq DESC"):
        if crc == crc_of((seq, at_ms), body):
            yield Snapshot(seq, at_ms, zstandard.decompress(body))
