"""A journal whose disk is slow, full, broken or cut off when the seed says so; the real code writes to it.

It must not know drivers or sockets. Rows, checksums, the audit chain and reading back are the product's own, on a
SQLite database in memory; only the writer's thread and the moment of its commits are simulated.
"""

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import apsw

from streamer.core.errors import StorageError
from streamer.edge.journal import audit, database, layout
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
    unfolded,
)
from streamer.edge.journal.writing import RecordWriter
from tests.faults.simulation.loop import SimulatedLoop

BROKEN = "the simulated fsync failed"
Committed = Callable[[list[Entry]], None]


class Disk:
    """What survives a crash, and how the hardware feels today.

    Attributes:
        slow_s: a commit takes up to so long.
        is_full: commits are refused, and nothing of them is kept.
        breaks: the next commit fails as a failed fsync does: it may be on the disk or not.
    """

    def __init__(self, header: JournalHeader, rng: Random, committed: Committed) -> None:
        self.rng = rng
        self.connection = apsw.Connection(":memory:")
        self.header = database.begin(self.connection, Path(":memory:"), header)
        self.slow_s = 0.03
        self.is_full = False
        self.breaks = False
        self._committed = committed

    def write(self, writer: RecordWriter, group: list[Record]) -> None:
        """Commit a group, or raise and keep nothing of it."""
        place = writer.place
        try:
            with database.transaction(self.connection):
                writer.write(group)
        except BaseException:
            writer.go_back(place)
            raise
        for record in group:
            match record:
                case Together():
                    self._committed(list(record.entries))
                case Entry() | PingRun():
                    self._committed(list(unfolded(iter([record]))))
                case _:
                    pass

    def verify_chain(self) -> audit.Head:
        """Walk the audit chain (I10)."""
        return audit.verify(self.connection)


class SimulatedJournal:
    """One program's hold on the disk; `crash` ends it with whatever was not committed."""

    instant = False

    def __init__(self, disk: Disk, loop: SimulatedLoop) -> None:
        self.header = disk.header
        self.tally = Tally()
        self.disk = disk
        self.lost = 0
        self._loop = loop
        self._writer = RecordWriter(disk.connection)
        self._pending: deque[Record] = deque()
        self._group: list[Record] = []
        self._ticket = self._taken = 0
        self._failed: StorageError | None = None
        self._busy = False
        self._dead = False
        self._reported_s = 0.0

    # ------------------------------------------------------------ the contract

    def start(self, on_commit: OnCommit, on_failure: OnFailure) -> None:
        self._on_commit, self._on_failure = on_commit, on_failure

    def append(self, record: Record) -> int:
        self._ticket += 1
        if not self._dead:
            self._pending.append(record)
            self._begin()
        return self._ticket

    def flush(self) -> None:
        if self._dead:
            return
        self._drain()
        if self._failed is not None:
            raise self._failed

    def discard(self) -> None:
        if self._dead:
            return
        self._pending.clear()
        self._group.clear()
        self._taken = self._ticket
        self._failed = None

    def probe(self) -> None:
        if self.disk.is_full:
            raise StorageFullError("still full")

    def sizes(self) -> FileSizes:
        return FileSizes()

    def track(self, driver_id: str, from_ms: int, to_ms: int, after_seq: int, limit: int) -> TrackPage:
        raise NotImplementedError("nobody asks for tracks in the simulation")

    def close(self) -> None:
        if not self._dead:
            self._drain()
        self._dead = True

    def snapshots(self) -> Iterator[Snapshot]:
        return layout.read_snapshots(self.disk.connection)

    def entries(self, after_seq: int = 0) -> Iterator[Entry]:
        return layout.read_entries(self.disk.connection, after_seq)

    def base(self) -> Base | None:
        return layout.read_base(self.disk.connection)

    # ------------------------------------------------------------ the writer, and its end

    def crash(self) -> None:
        """The program is gone. A commit under way may still have reached the disk; nobody will hear of it."""
        if self._group and self._failed is None and not self.disk.is_full and self.disk.rng.random() < 0.5:
            self.disk.write(self._writer, self._group)
            self._group = []
        self.lost = len(self._group) + len(self._pending)
        self._dead = True

    def _begin(self) -> None:
        if self._busy or self._dead or self._failed is not None or not self._pending:
            return
        self._busy = True
        self._take_group()
        self._loop.call_later(self.disk.rng.uniform(0.001, self.disk.slow_s), self._end)

    def _take_group(self) -> None:
        # Not always everything: the real writer bounds a group, and what is left follows.
        size = len(self._pending) if self.disk.rng.random() < 0.8 else self.disk.rng.randint(1, len(self._pending) or 1)
        while self._pending and size > 0:
            self._group.append(self._pending.popleft())
            size -= 1
        self._taken = self._ticket - len(self._pending)

    def _drain(self) -> None:
        self._finish()
        while self._pending and self._failed is None:
            self._take_group()
            self._finish()

    def _end(self) -> None:
        self._busy = False
        if not self._dead:
            self._finish()
            self._begin()

    def _finish(self) -> None:
        """Commit the group under way, or fail; the news of either reaches the program a little later."""
        if not self._group or self._failed is not None:
            return
        if self.disk.breaks:
            self._break()
        elif self.disk.is_full:
            self._failed = StorageFullError("the simulated disk is full")
            self._report(self._on_failure, self._failed)
        else:
            group, self._group = self._group, []
            try:
                self.disk.write(self._writer, group)
            except apsw.Error as error:
                self._failed = StorageError(f"the journal failed: {error}")
                self._report(self._on_failure, self._failed)
            else:
                self._report(self._on_commit, self._taken)

    def _break(self) -> None:
        self.disk.breaks = False
        if self.disk.rng.random() < 0.5:
            self.disk.write(self._writer, self._group)
        self._group = []
        self._failed = StorageError(BROKEN)
        self._report(self._on_failure, self._failed)

    def _report(self, receiver: Callable[..., None], news: object) -> None:
        def deliver() -> None:
            if not self._dead:
                receiver(news)

        # The writer is one thread, so its news arrive in order, some later than others.
        delay_s = self.disk.rng.choice((0.0, 0.0, 0.002, 0.02))
        self._reported_s = max(self._reported_s + 1e-6, self._loop.time() + delay_s)
        self._loop.call_at(self._reported_s, deliver)
