"""A recording that can be read on from any place in it: a fixture unpacked once, or a live floor's journal.

It must not know engines, clocks or rooms. Nothing here writes to what it reads from.
"""

from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Protocol

from streamer.core.settings import Settings
from streamer.core.snapshot import load_state
from streamer.core.state import State
from streamer.edge.journal.contract import Entry
from streamer.edge.journal.database import JournalReader, read_committed
from streamer.edge.journal.recovery import first_state
from streamer.edge.recordings.fixtures import FixtureError, FixtureReader, Line, decode_line

MAX_UNPACKED_BYTES = 4 * 1024**3
"""On disk, for as long as the room lives. saturday-rush takes 26 MB."""
BATCH = 2_000
"""Entries read of a journal at a time. In between its file is let go of: who reads on holds up its clearing."""


class Recording(Protocol):
    """What a room needs of a recording. A place is a number that only the recording understands.

    Attributes:
        malls: the GeoJSON of PROTOCOL §5.
        start_ms: where play begins; what is before is the warm-up.
        end_ms: the last instant of it.
        begins: the state before the first line.
        first: the place of the first line.
        seed: of the world it was simulated in; 0 where it was not.
        parameters: of that world; None for the usual ones.
    """

    malls: dict[str, object]
    settings: Settings
    start_ms: int
    end_ms: int
    begins: State
    first: int
    seed: int
    parameters: dict[str, object] | None

    def lines(self, place: int) -> Iterator[tuple[int, Line]]:
        """Every line from `place` on, each with the place behind it.

        Raises:
            ConfigurationError: the line there is damaged.
            StorageError: likewise, of a journal.
        """


class FixtureRecording:
    """A fixture, unpacked into a file of its own. A place is a byte in that."""

    def __init__(self, path: Path, folder: Path, end_ms: int) -> None:
        """Unpacks `path` into `folder`, which takes a tenth of a second for 100,000 inputs.

        Raises:
            FixtureError: the file is damaged, truncated, too new, too long, or no fixture.
            OSError: `folder` cannot be written to.
        """
        self._path = path
        self._unpacked = folder / "lines.ndjson"
        with FixtureReader(path) as fixture:
            header = fixture.header
            size = 0
            with self._unpacked.open("wb") as file:
                for text in fixture.texts():
                    size += file.write(text + b"\n")
                    if size > MAX_UNPACKED_BYTES:
                        raise FixtureError(f"fixture {path} unpacks to more than {MAX_UNPACKED_BYTES} bytes")
        self.malls, self.settings, self.start_ms = header.malls, header.settings, header.start_ms
        self.end_ms = end_ms
        self.begins = header.start or State()
        self.first = 0
        self.seed = header.seed or 0
        self.parameters = header.parameters

    def lines(self, place: int) -> Iterator[tuple[int, Line]]:
        """See `Recording`."""
        with self._unpacked.open("rb") as file:
            file.seek(place)
            for text in file:
                try:
                    line = decode_line(text)
                except ValueError as error:
                    raise FixtureError(f"fixture {self._path} is damaged behind byte {place}: {error}") from error
                place += len(text)
                yield place, line


class JournalRecording:
    """A stretch of a journal, beside the server that writes it. A place is a sequence number."""

    def __init__(self, folder: Path, start_ms: int, end_ms: int) -> None:
        """Begins at the newest snapshot before `start_ms`, else with the first input that is still there.

        Raises:
            StorageError: there is no journal, or it cannot be read.
            ConfigurationError: it is of a newer schema.
        """
        self.start_ms, self.end_ms = start_ms, end_ms
        reader = JournalReader(folder)
        try:
            self._path = reader.path
            self.malls, self.settings = reader.header.malls, reader.header.settings
            self.begins = _state_before(reader, start_ms)
        finally:
            reader.close()
        self.first = self.begins.seq
        self.seed = 0
        self.parameters: dict[str, object] | None = None

    def lines(self, place: int) -> Iterator[tuple[int, Line]]:
        """See `Recording`."""
        while batch := self._batch(place):
            for entry in batch:
                if entry.at_ms > self.end_ms:
                    return
                yield entry.seq, Line(entry.seq, entry.at_ms, entry.input)
            place = batch[-1].seq

    def _batch(self, after_seq: int) -> list[Entry]:
        with closing(read_committed(self._path, after_seq)) as entries:
            return list(islice(entries, BATCH))


def _state_before(reader: JournalReader, start_ms: int) -> State:
    with closing(reader.snapshots()) as snapshots:
        for snapshot in snapshots:
            if snapshot.at_ms < start_ms:
                return load_state(snapshot.body)
    return first_state(reader)
