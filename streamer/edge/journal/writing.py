"""Puts records into the tables: rows, audit chain, snapshots and quarantine, a group at a time.

It must not know threads, tickets or when to commit; every call is inside a transaction of somebody else's.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby

import apsw
import msgspec
import zstandard

from streamer.core.events import Ping
from streamer.edge.journal import audit, database, layout
from streamer.edge.journal.contract import Entry, Note, PingRun, Quarantined, Record, Released, Snapshot, Together
from streamer.edge.journal.layout import CHAINED, EntryRow

SNAPSHOTS_KEPT = 3
"""And besides the newest, the first of each day: one of them will be the base when the pings before it go."""


class Place(msgspec.Struct, frozen=True):
    """How far the rows go: end of the audit chain, last sequence number, and how many notes follow it."""

    head: audit.Head
    last_seq: int
    notes: int


class RecordWriter:
    """Writes records behind what a journal has already."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._head = audit.read_head(connection)
        self._last_seq, self._notes = database.end(connection)
        self._days: set[str] = set()
        self.at_ms = 0
        """When the newest input written since then took effect, on the floor's clock."""

    @property
    def place(self) -> Place:
        """How far the rows go; for `go_back`."""
        return Place(self._head, self._last_seq, self._notes)

    def go_back(self, place: Place) -> None:
        """What was written since `place` was rolled back."""
        self._head, self._last_seq, self._notes = place.head, place.last_seq, place.notes
        self._days.clear()

    def write(self, group: Iterable[Record]) -> None:
        """Insert the records, consecutive pings as one row a day, and the new head of the chain."""
        head = self._head
        for are_pings, records in groupby(group, _is_ping):
            if are_pings:
                self._insert_pings(list(_runs(records)))
            else:
                for record in records:
                    self._insert(record)
        if self._head is not head:
            audit.write_head(self._connection, self._head)

    def _insert_pings(self, runs: list[PingRun]) -> None:
        for row in layout.ping_rows(runs):
            if row.table not in self._days:
                self._connection.execute(layout.PINGS_TABLE.format(name=row.table))
                self._days.add(row.table)
            self._connection.execute(
                f"INSERT INTO {row.table} VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608 - a name of day_table
                (row.first_seq, row.last_seq, row.first_ms, row.last_ms, row.body, row.crc),
            )
        self._last_seq, self._notes, self.at_ms = runs[-1].last_seq, 0, runs[-1].at_ms

    def _insert(self, record: Record) -> None:
        match record:
            case Together():
                for entry in record.entries:
                    self._insert(entry)
            case Entry():
                self._last_seq, self._notes, self.at_ms = record.seq, 0, record.at_ms
                self._insert_row(layout.entry_row(record))
            case Note():
                self._notes += 1
                self._insert_row(layout.note_row(record, self._last_seq, self._notes))
            case Snapshot():
                self._insert_snapshot(record)
            case Quarantined():
                layout.set_aside(self._connection, record.at_ms, record.error, msgspec.json.encode(record.input))
            case Released():
                self._connection.execute("DELETE FROM quarantine WHERE id = ?", (record.quarantine_id,))

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
        body = zstandard.compress(snapshot.body, 1)
        columns = snapshot.seq, snapshot.at_ms
        self._connection.execute(
            "INSERT OR REPLACE INTO snapshot VALUES (?, ?, ?, ?)",
            (*columns, body, layout.crc_of(columns, body)),
        )
        self._connection.execute(
            "DELETE FROM snapshot WHERE seq NOT IN (SELECT seq FROM snapshot ORDER BY seq DESC LIMIT ?)"
            " AND seq NOT IN (SELECT min(seq) FROM snapshot GROUP BY at_ms / ?)",
            (SNAPSHOTS_KEPT, layout.DAY_MS),
        )


def _is_ping(record: Record) -> bool:
    return type(record) is PingRun or (isinstance(record, Entry) and isinstance(record.input, Ping))


def _runs(records: Iterable[Record]) -> Iterator[PingRun]:
    for record in records:
        if isinstance(record, PingRun):
            yield record
        elif isinstance(record, Entry) and isinstance(record.input, Ping):
            yield PingRun(record.seq, record.at_ms, [record.verdict or "ok"], [record.input])
