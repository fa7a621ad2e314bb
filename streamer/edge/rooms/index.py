"""Passes through a recording once, in the background: snapshots to seek from, and its marks.

It must not know the room's clock or who looks. Snapshots are files in the room's folder, at most `MOST` of them: one
more, and every second is dropped and the distance doubled.
"""

import asyncio
import time
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

import structlog
import zstandard
from msgspec import Struct

from streamer.core.engine import Engine
from streamer.core.errors import ConfigurationError, StorageError
from streamer.core.malls import parse_malls
from streamer.core.snapshot import dump_state, load_state
from streamer.edge.recordings.fixtures import Line
from streamer.edge.rooms.marks import Watch
from streamer.edge.rooms.recording import Recording

log = structlog.get_logger("room")

EVERY_MS = 60_000
EVERY_INPUTS = 2_000
"""Between snapshots, whichever comes first. A snapshot of saturday-rush takes 20 ms and 180 KB at most."""
MOST = 480
SLICE_S = 0.02
"""So long at a stretch; then whoever looks into the room has a turn."""


class Place(Struct, frozen=True):
    """Where to read a recording on, from which state: `file` holds it. All up to `at_ms` may not be in it yet."""

    at_ms: int
    place: int
    file: Path


class Index:
    """What is known of a recording. Use `run` once.

    Attributes:
        complete: the whole recording was read.
        problem: why it cannot be read on; what is before stays.
        engine: the one that passes through; its fences and floor are those of every other.
        watch: has the marks.
    """

    def __init__(self, recording: Recording, folder: Path) -> None:
        """Puts its snapshots into `folder`.

        Raises:
            MallFileError: the recording's malls are none.
        """
        self.recording = recording
        self.complete = False
        self.problem: str | None = None
        self.engine = Engine(parse_malls(recording.malls), recording.settings, load_state(dump_state(recording.begins)))
        self.watch = Watch(recording.start_ms)
        self._folder = folder
        self._places: list[Place] = []
        self._every_ms, self._every_inputs = EVERY_MS, EVERY_INPUTS
        self._made = 0
        self._since = 0
        self._at_ms = 0
        self._read_on = asyncio.Event()
        self._keep(recording.first)

    @property
    def at_ms(self) -> int:
        """Everything up to, but perhaps not at, this instant was read."""
        return self.recording.end_ms if self.complete else self._at_ms

    async def run(self) -> None:
        """Read to the end, in slices; a damaged place ends it with a `problem`."""
        slice_s = time.monotonic()
        try:
            for _ in self._pass():
                if time.monotonic() - slice_s > SLICE_S:
                    self._tell()
                    await asyncio.sleep(0)
                    slice_s = time.monotonic()
            self.complete = True
        except (ConfigurationError, StorageError) as error:
            self.problem = str(error)
            log.error("recording_damaged", error=self.problem, at_ms=self._at_ms)
        finally:
            self._tell()

    async def reach(self, at_ms: int) -> None:
        """Return once everything up to `at_ms` was read, or all that can be."""
        while not self.complete and self.problem is None and self._at_ms <= at_ms:
            await self._read_on.wait()

    def _tell(self) -> None:
        self._read_on.set()
        self._read_on = asyncio.Event()

    def state_at(self, at_ms: int) -> tuple[int, Engine]:
        """The place of the last snapshot not after `at_ms`, and an engine there."""
        return self._at(bisect_right(self._places, at_ms, key=_instant) - 1)

    def before_place(self, place: int) -> tuple[int, Engine]:
        """The same for the last snapshot not behind a place."""
        return self._at(bisect_right(self._places, place, key=_place) - 1)

    def _at(self, number: int) -> tuple[int, Engine]:
        found = self._places[max(0, number)]
        state = load_state(zstandard.decompress(found.file.read_bytes()))
        return found.place, self.engine.twin(state)

    def _pass(self) -> Iterator[None]:
        engine, watch, seq = self.engine, self.watch, -1
        for place, line in self.recording.lines(self.recording.first):
            self._check(line, seq)
            seq, self._at_ms = line.seq, line.at_ms
            before = engine.state.seq
            outputs = engine.handle(line.at_ms, line.input)
            if engine.state.seq > before:
                watch.hear(engine, engine.state.at_ms, line.input, outputs)
            self._since += 1
            if self._since >= self._every_inputs or line.at_ms - self._places[-1].at_ms >= self._every_ms:
                self._keep(place)
            yield

    def _check(self, line: Line, seq: int) -> None:
        if line.seq <= seq or line.at_ms < self._at_ms:
            raise ConfigurationError(f"the recording is damaged: line {line.seq} is not behind the one above it")

    def _keep(self, place: int) -> None:
        """Keep the state as it is now, read up to `place`."""
        self._made += 1
        self._since = 0
        file = self._folder / f"state-{self._made}.zst"
        file.write_bytes(zstandard.compress(dump_state(self.engine.state), 1))
        self._places.append(Place(self._at_ms, place, file))
        if len(self._places) > MOST:
            for dropped in self._places[1::2]:
                dropped.file.unlink()
            self._places = self._places[::2]
            self._every_ms, self._every_inputs = self._every_ms * 2, self._every_inputs * 2


def _instant(place: Place) -> int:
    return place.at_ms


def _place(place: Place) -> int:
    return place.place
