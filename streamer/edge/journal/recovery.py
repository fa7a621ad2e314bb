"""From a journal back to an engine: the newest good snapshot, then the tail through the same `handle`.

It must not know who listens: nothing heard once is told again, because nobody is attached yet.
"""

from msgspec import Struct

from streamer.core.engine import Engine
from streamer.core.errors import StorageError
from streamer.core.malls import parse_malls
from streamer.core.snapshot import load_state
from streamer.core.state import State
from streamer.edge.journal.contract import HistoryGoneError, JournalDamagedError, ReadableJournal
from streamer.edge.journal.layout import utc


class Recovered(Struct, frozen=True):
    """An engine as the journal has it. `snapshot_seq` is where the tail began, `replayed` its length."""

    engine: Engine
    snapshot_seq: int
    replayed: int


def recover(journal: ReadableJournal, use_snapshots: bool = True) -> Recovered:
    """Rebuild the engine; without snapshots from the first input on that is still there, as a check of them.

    Raises:
        JournalDamagedError: the tail has a hole, a damaged row, or an input that no longer does what it did.
        HistoryGoneError: pings are past their retention, and no snapshot can be read to begin from.
        MallFileError: the malls in the header are none.
    """
    state = (_newest_state(journal) if use_snapshots else None) or first_state(journal)
    engine = Engine(parse_malls(journal.header.malls), journal.header.settings, state)
    snapshot_seq = engine.state.seq
    for entry in journal.entries(snapshot_seq):
        try:
            engine.handle(entry.at_ms, entry.input)
        except Exception as error:
            raise JournalDamagedError(f"seq {entry.seq} of the journal cannot be handled: {error!r}") from error
        if engine.state.seq != entry.seq:
            raise JournalDamagedError(f"seq {entry.seq} of the journal is refused by this version of Mallard")
    return Recovered(engine, snapshot_seq, engine.state.seq - snapshot_seq)


def first_state(journal: ReadableJournal) -> State:
    """The state before the first input that can be replayed: an empty one, or the base's.

    Raises:
        HistoryGoneError: the base's snapshot is damaged, or was written by another version.
    """
    base = journal.base()
    if base is None:
        return State()
    body = next((snapshot.body for snapshot in journal.snapshots() if snapshot.seq == base.seq), b"")
    try:
        return load_state(body)
    except StorageError as error:
        raise HistoryGoneError(
            f"pings before {utc(base.at_ms)} are past their retention, and the snapshot at seq {base.seq} that took "
            "their place cannot be read: restore a backup, or use the version of Mallard that wrote it"
        ) from error


def _newest_state(journal: ReadableJournal) -> State | None:
    for snapshot in journal.snapshots():
        try:
            return load_state(snapshot.body)
        except StorageError:
            # Written by another version: an older one, or the tail from the beginning, leads to the same state.
            continue
    return None
