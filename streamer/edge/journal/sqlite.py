"""The journal of a live floor: SQLite in WAL mode, one writer thread, many inputs a commit.

It must not know what an input does, nor who waits; it calls back with the last durable ticket, or with the failure.
"""

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from streamer.core.errors import StorageError
from streamer.edge.journal import layout
from streamer.edge.journal.contract import (
    Base,
    Entry,
    FileSizes,
    JournalHeader,
    OnCommit,
    OnFailure,
    PingRun,
    Record,
    Snapshot,
    StorageFullError,
    Tally,
    Together,
    TrackPage,
    page_of,
)
from streamer.edge.journal.store import JournalStore

GROUP_S = 0.020
"""Under load, commits start this far apart; an idle journal commits at once."""
GROUP_MAX = 2_000
"""A commit takes no further record once it has so many inputs; what is left follows without a rest."""

BITE_REST_S = 0.020
"""How long an idle writer rests between two bites of pings that are too old."""


class SqliteJournal:
    """The journal in one file, `journal.db`, held by one program at a time.

    Attributes:
        path: the file.
        header: what the inputs have to be replayed with.
        cut: the tail that opening found missing or torn, or None.
        tally: what was committed since then.
    """

    instant = False

    def __init__(self, folder: Path, header: JournalHeader, vfs: str = "", retention_days: int | None = None) -> None:
        """Open the journal in `folder`, or begin one with `header`; an existing one keeps its own header.

        `vfs` names a SQLite file layer other than the system's. Pings older than `retention_days` of the floor's
        clock are dropped; None keeps them.

        Raises:
            ConfigurationError: another program holds it, SQLite is too old, or the journal is of a newer schema.
            JournalDamagedError: a row is missing or damaged and good ones follow it.
            StorageError: the files cannot be opened or written.
        """
        self._store = JournalStore(folder, header, vfs, retention_days)
        self.path, self.header, self.cut = self._store.path, self._store.header, self._store.cut
        self.tally = Tally()
        self._wake = threading.Condition()
        self._pending: deque[Record] = deque()
        self._ticket = self._taken = self._committed = 0
        self._failed: StorageError | None = None
        self._idle = self._closing = self._hurry = False
        self._began_s = 0.0
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
        """Queue a record and return its ticket; never waits. Only for the thread that runs the loop."""
        # No lock on the way of every frame: a deque takes and gives one item at a time by itself.
        self._pending.append(record)
        self._ticket = ticket = self._ticket + 1
        if self._idle:
            with self._wake:
                self._idle = False
                self._wake.notify_all()
        return ticket

    def sizes(self) -> FileSizes:
        """How large the files are, read now; may be called from any thread."""
        return self._store.sizes()

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
        self._store.probe()

    def limit_pages(self, pages: int) -> None:
        """Refuse to grow beyond so many pages of 4 KiB: a quota, above which the disk counts as full."""
        self._store.limit_pages(pages)

    def commit_now(self, records: Sequence[Record]) -> None:
        """Commit records together, on this thread: for tools that never `start` the writer.

        Raises:
            StorageError: none of them is durable.
        """
        self._store.commit(records)

    def close(self) -> None:
        """Write what is queued, stop the writer, and let go of the files."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        if self._thread is not None:
            self._thread.join()
        self._store.close(failed=self._failed is not None and not isinstance(self._failed, StorageFullError))

    # ------------------------------------------------------------ reading

    def snapshots(self) -> Iterator[Snapshot]:
        """The readable snapshots, newest first."""
        with closing(self._store.reader()) as connection:
            yield from layout.read_snapshots(connection)

    def entries(self, after_seq: int = 0) -> Iterator[Entry]:
        """The committed entries above `after_seq`, in order.

        Raises:
            HistoryGoneError: `after_seq` lies before the base.
            JournalDamagedError: one is missing or is not what was written.
        """
        return self._store.entries(after_seq)

    def base(self) -> Base | None:
        """Where the history begins; None: with the first input."""
        with closing(self._store.reader()) as connection:
            return layout.read_base(connection)

    def track(self, driver_id: str, from_ms: int, to_ms: int, after_seq: int, limit: int) -> TrackPage:
        """A driver's pings received in [from_ms, to_ms], in order, over a connection of its own.

        Raises:
            JournalDamagedError: a row in between is not what was written.
        """
        with closing(self._store.reader()) as connection:
            wanted = (
                entry
                for row in layout.ping_rows_between(connection, from_ms, to_ms, after_seq)
                # A row holds the pings of many drivers, and to look for a name is quicker than to decode them all.
                if driver_id.encode() in layout.checked(row).body
                for entry in row.entries()
                if entry.seq > after_seq and from_ms <= entry.at_ms <= to_ms
            )
            return page_of(wanted, driver_id, limit)

    # ------------------------------------------------------------ the writer's side

    def _write_on(self) -> None:
        more = False
        while True:
            group, inputs = self._take(BITE_REST_S if more else None)
            if not group and self._closing:
                return
            try:
                if group:
                    self._commit(group, inputs)
                more = self._failed is None and not self._closing and self._store.tidy()
            except StorageError as error:
                self._fail(error)
            except Exception as error:
                # Whatever it is, a writer that ended without a word would leave everybody waiting for ever.
                self._fail(StorageError(f"the journal failed: {error!r}"))

    def _take(self, patience_s: float | None) -> tuple[list[Record], int]:
        """Wait for a group of records, at most `patience_s`; it, and how many inputs are in it.

        Empty means that the journal is closing or that patience ran out.
        """
        with self._wake:
            # The rest comes first: a writer that was woken by the first record, only to rest, would be woken twice.
            rest_s = self._began_s + GROUP_S - time.monotonic()
            if rest_s > 0 and not self._closing:
                self._wake.wait_for(lambda: self._hurry or self._closing, rest_s)
            self._await_record(patience_s)
            if not self._pending or self._failed is not None:
                return [], 0
            self._began_s = time.monotonic()
            group, inputs = self._pop_group()
            self._taken += len(group)
            return group, inputs

    def _await_record(self, patience_s: float | None) -> None:
        while not self._closing:
            # Said before the queue is looked at. `append` does it the other way round, so one of the two always
            # sees the other, and no record is left lying.
            self._idle = True
            if self._pending and self._failed is None:
                break
            if not self._wake.wait(patience_s):
                break
        self._idle = False

    def _pop_group(self) -> tuple[list[Record], int]:
        group: list[Record] = []
        inputs = 0
        while self._pending and inputs < GROUP_MAX:
            record = self._pending.popleft()
            group.append(record)
            inputs += len(record.pings) if type(record) is PingRun else _inputs_in(record)
        if self._pending:
            # The rest is over for those left, too.
            self._began_s = 0.0
        return group, inputs

    def _fail(self, error: StorageError) -> None:
        with self._wake:
            self._failed = error
            self._wake.notify_all()
        self._on_failure(error)

    def _commit(self, group: list[Record], inputs: int) -> None:
        began_s = time.monotonic()
        self._store.commit(group)
        self.tally.commit_s.add(time.monotonic() - began_s)
        self.tally.commits += 1
        self.tally.inputs += inputs
        self.tally.last_inputs = inputs
        with self._wake:
            self._committed = ticket = self._taken
            self._wake.notify_all()
        self._on_commit(ticket)


def _inputs_in(record: Record) -> int:
    match record:
        case Together():
            return len(record.entries)
        case Entry():
            return 1
        case _:
            return 0
