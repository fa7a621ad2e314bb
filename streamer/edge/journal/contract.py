"""What a journal is: every input that took effect, in order, before anybody hears that it did.

It must not know what an input does, nor who waits for its commit.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import Literal, Protocol

from msgspec import Struct, field

from streamer.core.errors import StorageError
from streamer.core.events import Input, Ping, Verdict
from streamer.core.settings import Settings
from streamer.edge.measures import Histogram

SCHEMA = 1
"""Version of the journal's layout; a newer one is refused, never guessed at."""

COMMIT_BOUNDS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

NoteKind = Literal[
    "login", "login_failed", "logout", "track_read", "journal_replayed", "lab_started", "tail_cut",
    "quarantine_retried", "erased",
]  # fmt: skip


class StorageFullError(StorageError):
    """Nothing can be written now, and later perhaps again: the disk is full, or another program holds the file."""


class JournalDamagedError(StorageError):
    """The journal cannot be read back to what was written; the message names the sequence number."""


class HistoryGoneError(StorageError):
    """What is asked for lies before the journal's base: its pings are past their retention."""


class JournalHeader(Struct, frozen=True):
    """What a replay needs besides the inputs. `malls` is the GeoJSON of PROTOCOL §5."""

    schema: int
    malls: dict[str, object]
    settings: Settings
    made_by: str
    created_ms: int


class Entry(Struct, frozen=True):
    """One input that took effect. `seq` is the engine's after it; `verdict` is a ping's, for its track."""

    seq: int
    at_ms: int
    input: Input
    verdict: Verdict | None = None


class PingRun(Struct, frozen=True):
    """Consecutive pings that took effect at one instant, as columns; never empty.

    `first_seq` is the engine's after the first of them; each of the others has one more.
    """

    first_seq: int
    at_ms: int
    verdicts: list[Verdict]
    pings: list[Ping]

    @property
    def last_seq(self) -> int:
        """The engine's after the last of them."""
        return self.first_seq + len(self.pings) - 1

    def entries(self) -> Iterator[Entry]:
        """The pings, each as an entry."""
        for seq, (verdict, ping) in enumerate(zip(self.verdicts, self.pings, strict=True), self.first_seq):
            yield Entry(seq, self.at_ms, ping, verdict)


class Together(Struct, frozen=True):
    """Consecutive inputs, none a ping, that become durable all or none."""

    entries: tuple[Entry, ...]


class Note(Struct, frozen=True, omit_defaults=True):
    """Something worth auditing that is no input: a log-in, a look at a driver's track, a repair."""

    at_ms: int
    kind: NoteKind
    actor: str
    detail: dict[str, str] = {}


class Snapshot(Struct, frozen=True):
    """The state after `seq`, as `core.snapshot.dump_state` wrote it."""

    seq: int
    at_ms: int
    body: bytes


class Quarantined(Struct, frozen=True):
    """An input that made a handler raise, kept with its error for whoever mends it."""

    at_ms: int
    error: str
    input: Input


class Released(Struct, frozen=True):
    """A quarantined input took effect after all, and leaves the quarantine."""

    quarantine_id: int


class Base(Struct, frozen=True):
    """Where the journal's history begins once pings are past their retention: after `seq`, at `at_ms`.

    There is a snapshot of exactly that `seq`. Ping tables up to `gone`, in order of name, are no longer read.
    """

    seq: int
    at_ms: int
    gone: str


class TrackPoint(Struct, frozen=True, omit_defaults=True):
    """One ping of a driver's track, with when it was received and what was made of it."""

    at_ms: int
    fix_ms: int
    lat: float
    lng: float
    verdict: Verdict
    seq: int | None = None
    accuracy_m: float | None = None
    speed_mps: float | None = None
    heading_deg: float | None = None
    battery: float | None = None


class TrackPage(Struct, frozen=True):
    """Part of a track. `next_seq` is the journal's sequence number to read on after, None at the end."""

    items: tuple[TrackPoint, ...]
    next_seq: int | None


class Tally(Struct):
    """What a journal has written since it was opened; the writer counts, anybody may read.

    Attributes:
        commits: how many groups of records became durable.
        inputs: how many inputs were in them.
        last_inputs: how many were in the last.
        commit_s: how long commits took, in seconds.
    """

    commits: int = 0
    inputs: int = 0
    last_inputs: int = 0
    commit_s: Histogram = field(default_factory=lambda: Histogram(COMMIT_BOUNDS_S))


class FileSizes(Struct, frozen=True):
    """How large the journal's files are now, in bytes: the database, and the log of changes not yet moved into it."""

    database: int = 0
    wal: int = 0


Record = Entry | PingRun | Together | Note | Snapshot | Quarantined | Released
OnCommit = Callable[[int], None]
OnFailure = Callable[[StorageError], None]


class ReadableJournal(Protocol):
    """What recovery and recording need of a journal."""

    header: JournalHeader

    def snapshots(self) -> Iterator[Snapshot]:
        """The readable snapshots, newest first."""

    def entries(self, after_seq: int = 0) -> Iterator[Entry]:
        """The committed entries above `after_seq`, in order.

        Raises:
            HistoryGoneError: `after_seq` lies before the base.
            JournalDamagedError: one is missing or is not what was written.
        """

    def base(self) -> Base | None:
        """Where the history begins; None: with the first input."""


class Journal(ReadableJournal, Protocol):
    """What the runner needs of a journal. A ticket is a number that rises with every record appended."""

    instant: bool
    """Whether `append` is the commit, so that nothing need be waited for."""
    tally: Tally

    def start(self, on_commit: OnCommit, on_failure: OnFailure) -> None:
        """Begin writing. Both callbacks may come from another thread; `on_commit` names the last durable ticket."""

    def append(self, record: Record) -> int:
        """Queue a record and return its ticket; never waits. Only for the thread that runs the loop."""

    def sizes(self) -> FileSizes:
        """How large the files are, read now; may be called from any thread."""

    def flush(self) -> None:
        """Wait until everything appended is durable.

        Raises:
            StorageError: it will not be.
        """

    def discard(self) -> None:
        """After a failure: forget what was not committed, and accept records again."""

    def probe(self) -> None:
        """Write and commit a trifle.

        Raises:
            StorageFullError: there is still no room.
        """

    def track(self, driver_id: str, from_ms: int, to_ms: int, after_seq: int, limit: int) -> TrackPage:
        """A driver's pings received in [from_ms, to_ms], in order; may be called from any thread."""

    def close(self) -> None:
        """Write what is queued and let go of the files."""


class MemoryJournal:
    """A journal that lasts as long as its program: for demos and headless replays. Everything is durable at once."""

    instant = True

    def __init__(self, header: JournalHeader) -> None:
        self.header = header
        self.notes: list[Note] = []
        self.quarantined: list[Quarantined] = []
        self.tally = Tally()
        self._entries: list[Entry | PingRun] = []
        self._snapshot: Snapshot | None = None
        self._ticket = 0

    def start(self, on_commit: OnCommit, on_failure: OnFailure) -> None:
        """Nothing to start: `append` is the commit."""

    def append(self, record: Record) -> int:
        """Keep a record; it is durable when this returns."""
        self._ticket += 1
        match record:
            case Entry() | PingRun():
                self._entries.append(record)
            case Together():
                self._entries.extend(record.entries)
            case Note():
                self.notes.append(record)
            case Snapshot():
                self._snapshot = record
            case Quarantined():
                self.quarantined.append(record)
        return self._ticket

    def sizes(self) -> FileSizes:
        """Nothing: there are no files."""
        return FileSizes()

    def flush(self) -> None:
        """Return: everything is durable."""

    def discard(self) -> None:
        """Return: nothing is ever left over."""

    def probe(self) -> None:
        """Return: there is room."""

    def snapshots(self) -> Iterator[Snapshot]:
        """The last snapshot, if there is one."""
        if self._snapshot is not None:
            yield self._snapshot

    def entries(self, after_seq: int = 0) -> Iterator[Entry]:
        """The entries above `after_seq`, in order."""
        start = bisect_right(self._entries, after_seq, key=_last_seq)
        for entry in unfolded(iter(self._entries[start:])):
            if entry.seq > after_seq:
                yield entry

    def base(self) -> Base | None:
        """None: nothing is ever dropped."""
        return None

    def track(self, driver_id: str, from_ms: int, to_ms: int, after_seq: int, limit: int) -> TrackPage:
        """A driver's pings received in [from_ms, to_ms], in order."""
        return page_of(
            (entry for entry in self.entries(after_seq) if from_ms <= entry.at_ms <= to_ms), driver_id, limit
        )

    def close(self) -> None:
        """Return: there is nothing to write."""


def unfolded(inputs: Iterator[Entry | PingRun]) -> Iterator[Entry]:
    """The same inputs, each as an entry of its own."""
    for item in inputs:
        if isinstance(item, PingRun):
            yield from item.entries()
        else:
            yield item


def _last_seq(item: Entry | PingRun) -> int:
    return item.last_seq if isinstance(item, PingRun) else item.seq


def page_of(entries: Iterator[Entry], driver_id: str, limit: int) -> TrackPage:
    """The first `limit` pings of one driver, and where to read on."""
    items: list[TrackPoint] = []
    for entry in entries:
        if isinstance(entry.input, Ping) and entry.input.driver_id == driver_id:
            items.append(_point(entry, entry.input))
            if len(items) == limit:
                return TrackPage(tuple(items), entry.seq)
    return TrackPage(tuple(items), None)


def _point(entry: Entry, ping: Ping) -> TrackPoint:
    return TrackPoint(
        entry.at_ms, ping.fix_ms, ping.lat, ping.lng, entry.verdict or "ok", ping.seq, ping.accuracy_m,
        ping.speed_mps, ping.heading_deg, ping.battery,
    )  # fmt: skip
