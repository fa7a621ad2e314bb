"""What a journal is: every input that took effect, in order, before anybody hears that it did.

It must not know what an input does, nor who waits for its commit.
"""

from collections.abc import Callable, Iterator
from typing import Literal, Protocol

from msgspec import Struct

from streamer.core.errors import StorageError
from streamer.core.events import Input, Ping, Verdict
from streamer.core.settings import Settings

SCHEMA = 1
"""Version of the journal's layout; a newer one is refused, never guessed at."""

NoteKind = Literal["login", "login_failed", "logout", "track_read", "tail_cut"]


class StorageFullError(StorageError):
    """Nothing can be written now, and later perhaps again: the disk is full, or another program holds the file."""


class JournalDamagedError(StorageError):
    """The journal cannot be read back to what was written; the message names the sequence number."""


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


Record = Entry | Note | Snapshot | Quarantined
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
            JournalDamagedError: one is missing or is not what was written.
        """


class Journal(ReadableJournal, Protocol):
    """What the runner needs of a journal. A ticket is a number that rises with every record appended."""

    instant: bool
    """Whether `append` is the commit, so that nothing need be waited for."""

    def start(self, on_commit: OnCommit, on_failure: OnFailure) -> None:
        """Begin writing. Both callbacks may come from another thread; `on_commit` names the last durable ticket."""

    def append(self, record: Record) -> int:
        """Queue a record and return its ticket; never waits for the disk."""

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
        self._entries: list[Entry] = []
        self._snapshot: Snapshot | None = None
        self._ticket = 0

    def start(self, on_commit: OnCommit, on_failure: OnFailure) -> None:
        """Nothing to start: `append` is the commit."""

    def append(self, record: Record) -> int:
        """Keep a record; it is durable when this returns."""
        self._ticket += 1
        match record:
            case Entry():
                self._entries.append(record)
            case Note():
                self.notes.append(record)
            case Snapshot():
                self._snapshot = record
            case Quarantined():
                self.quarantined.append(record)
        return self._ticket

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
        start = 0
        if self._entries:
            # Entries are numbered without a gap, so the place of one is its distance from the first.
            start = max(0, after_seq + 1 - self._entries[0].seq)
        yield from self._entries[start:]

    def track(self, driver_id: str, from_ms: int, to_ms: int, after_seq: int, limit: int) -> TrackPage:
        """A driver's pings received in [from_ms, to_ms], in order."""
        return page_of(
            (entry for entry in self.entries(after_seq) if from_ms <= entry.at_ms <= to_ms), driver_id, limit
        )

    def close(self) -> None:
        """Return: there is nothing to write."""


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
