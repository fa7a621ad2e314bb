"""Drops whole days of pings once they are old enough, a bite at a time, and keeps a snapshot to begin from.

It must not know threads or commits; each call is inside a transaction of somebody else's.
"""

import apsw

from streamer.core.errors import StorageError
from streamer.core.snapshot import load_state
from streamer.edge.journal import layout
from streamer.edge.journal.contract import Base, Snapshot

DAYS = 14
"""How long raw pings are kept unless told otherwise, in days of the floor's clock.

Source: CNIL's recommendation for vehicle tracking is at most two months, unless there is a purpose for more.
"""
MAX_DAYS = 60
BITE_BYTES = 512 * 1024
"""So much at once, between two commits: a day may be 10 GB, and overwriting it takes as long as writing it did."""
_BITE_ROWS = 2_000
_HOUR_MS = 3_600_000


class Retention:
    """Which tables are to go, and the next piece of them."""

    def __init__(self, connection: apsw.Connection, days: int) -> None:
        self._connection = connection
        self._days = days
        self._looked = 0
        self._expired: list[str] = []

    @property
    def busy(self) -> bool:
        """Whether there is something left to drop."""
        return bool(self._expired)

    def is_due(self, at_ms: int) -> bool:
        """Whether an hour of the floor's clock began since `look`: a day that had to stay gets another chance."""
        return at_ms // _HOUR_MS > self._looked

    def forget(self) -> None:
        """What was done last was rolled back: look again at the next chance."""
        self._looked = 0
        self._expired = []

    def look(self, at_ms: int) -> Base | None:
        """Find what is too old at `at_ms`, and move the base behind it; return the base if it moved.

        A table stays until a readable snapshot at or above its last input can take its place.
        """
        self._looked = at_ms // _HOUR_MS
        first_kept = layout.day_table(max(0, at_ms - self._days * layout.DAY_MS))
        moved = self._move_base([name for name in layout.ping_tables(self._connection) if name < first_kept])
        base = moved or layout.read_base(self._connection)
        if base is not None:
            # Also what a program that ended half-way left.
            self._expired = [name for name in layout.all_ping_tables(self._connection) if name <= base.gone]
        return moved

    def bite(self) -> int:
        """Drop some rows of the oldest table, or the table once it is empty; return how many bytes of pings went."""
        table = self._expired[0]
        rows = layout.select(
            self._connection,
            f"SELECT first_seq, length(body) FROM {table} ORDER BY first_seq LIMIT ?",  # noqa: S608
            _BITE_ROWS,
        )
        last_seq = size = 0
        for first_seq, length in rows:
            if size and size + length > BITE_BYTES:
                break
            last_seq, size = first_seq, size + length
        if size:
            self._connection.execute(f"DELETE FROM {table} WHERE first_seq <= ?", (last_seq,))  # noqa: S608
        else:
            self._connection.execute(f"DROP TABLE {table}")
            del self._expired[0]
        return size

    def _move_base(self, expired: list[str]) -> Base | None:
        """The base behind as many of the `expired` tables as a snapshot allows."""
        for table in reversed(expired):
            snapshot = self._first_readable(layout.last_seq_of(self._connection, table))
            if snapshot is not None:
                base = Base(snapshot.seq, snapshot.at_ms, table)
                layout.write_base(self._connection, base)
                # Nothing can be replayed from an older one any more.
                self._connection.execute("DELETE FROM snapshot WHERE seq < ?", (base.seq,))
                return base
        return None

    def _first_readable(self, from_seq: int) -> Snapshot | None:
        """The oldest snapshot at or above `from_seq` that this version can start from."""
        for snapshot in layout.read_snapshots_from(self._connection, from_seq):
            try:
                load_state(snapshot.body)
            except StorageError:
                continue
            return snapshot
        return None
