"""Plays a room's source into its floor: play, pause, speed, step, and seek by the nearest snapshot and what follows it.

It must not know sockets or calls, nor where the source comes from.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import structlog

from streamer.core.engine import Engine
from streamer.core.errors import ConfigurationError
from streamer.core.events import Input, Output
from streamer.edge.feed import Feed
from streamer.edge.frames import Sign
from streamer.edge.journal.contract import MemoryJournal, Record, Snapshot
from streamer.edge.recordings.fixtures import Line
from streamer.edge.rooms.contract import Source, TransportStatus
from streamer.edge.rooms.index import Index
from streamer.edge.rooms.recorded import Recorded
from streamer.edge.runner import Runner

log = structlog.get_logger("room")

SLICE_S = 0.05
"""However much is due, whoever looks gets a turn this often."""
STEP_MS = 1_000
PATIENCE_S = 4.0
"""A seek that takes longer is answered before it is there; dashboards wait for an answer no longer than 10 s."""


class RoomClock:
    """Stands, or runs `speed` times as fast as the machine's; it can be set, also back."""

    def __init__(self, at_ms: int) -> None:
        self._at_ms = at_ms
        self._speed = 1.0
        self._since_ns: int | None = None

    @property
    def speed(self) -> float:
        """Recorded seconds a second, when it runs."""
        return self._speed

    def now_ms(self) -> int:
        """The room's instant, UTC epoch milliseconds."""
        if self._since_ns is None:
            return self._at_ms
        return self._at_ms + int((time.monotonic_ns() - self._since_ns) / 1_000_000 * self._speed)

    def set(self, at_ms: int, speed: float, running: bool) -> None:
        """Be at `at_ms`, and go on from there, or stand."""
        self._at_ms, self._speed = at_ms, speed
        self._since_ns = time.monotonic_ns() if running else None

    def wait_s(self, until_ms: int) -> float:
        """Wall seconds until `until_ms`, if it runs on as it does; 0 when that has passed."""
        return max(0.0, (until_ms - self.now_ms()) / 1000 / self._speed)


class RoomJournal(MemoryJournal):
    """Keeps no more than what a rebuild needs: what came after the last snapshot."""

    def append(self, record: Record) -> int:
        """Keep a record; a snapshot stands for all before it."""
        if isinstance(record, Snapshot):
            self._entries.clear()
        return super().append(record)


class Player:
    """The transport of one room.

    Attributes:
        source: what happens on its floor.
        forked_at_ms: since when that is no longer the recording.
        playing: whether its clock runs.
    """

    def __init__(self, runner: Runner, index: Index, clock: RoomClock, sign: Sign, feed: Feed) -> None:
        """Does not play before `run`, and stands at no instant of the play before the first `seek`."""
        self.runner = runner
        self.index = index
        self.source: Source = Recorded(iter(()), runner.engine.state)
        self.forked_at_ms: int | None = None
        self.playing = False
        self._clock = clock
        self._sign = sign
        self._feed = feed
        self._due: Iterator[tuple[int, Input]] | None = None
        self._seeking_ms: int | None = None
        self._seek: asyncio.Task[None] | None = None
        self._holds = 0
        self._changed = asyncio.Event()
        runner.hooks.append(self._handled)
        sign.playing = False

    # ------------------------------------------------------------ what viewers ask for

    def status(self) -> TransportStatus:
        """How it stands."""
        recording, index = self.index.recording, self.index
        return TransportStatus(
            self.playing, self._clock.speed, self._now_ms(), recording.start_ms, recording.end_ms, self._sign.ended,
            self.forked_at_ms, self._seeking_ms, index.at_ms, index.complete, index.problem,
        )  # fmt: skip

    async def play(self) -> None:
        """Let the clock run; from the beginning when it stands at the end.

        Raises:
            ConfigurationError: the recording cannot be read.
        """
        if self._sign.ended:
            await self.seek(self.index.recording.start_ms)
        self._set(self._now_ms(), self._clock.speed, True)

    def pause(self) -> None:
        """Let the clock stand."""
        self._set(self._now_ms(), self._clock.speed, False)

    def set_speed(self, speed: float) -> None:
        """Recorded seconds a second, from now on."""
        self._set(self._now_ms(), speed, self.playing)

    async def step(self, step_ms: int) -> None:
        """Go on by so much and stand there."""
        at_ms = min(self._now_ms() + step_ms, self.index.recording.end_ms)
        self._set(at_ms, self._clock.speed, False)
        while True:
            if self._advance(at_ms):
                break
            await asyncio.sleep(0)
        if at_ms >= self.index.recording.end_ms:
            self._end()
        self._feed.tick()

    async def seek(self, at_ms: int, patience_s: float = PATIENCE_S) -> None:
        """Go to any instant of the recording, playing on as before; return when there, or after `patience_s`.

        A seek that is asked for meanwhile takes its place. What people did here is forgotten: this is the recording.

        Raises:
            ConfigurationError: the recording cannot be read so far.
        """
        recording = self.index.recording
        self._seeking_ms = min(max(at_ms, recording.start_ms), recording.end_ms)
        if self._seek is not None:
            self._seek.cancel()
        self._set(self._now_ms(), self._clock.speed, self.playing)
        self._seek = seek = asyncio.create_task(self._go_to(self._seeking_ms))
        seek.add_done_callback(_look_at)
        await asyncio.wait((seek,), timeout=patience_s)
        if seek.done() and not seek.cancelled():
            seek.result()

    def swap(self, source: Source, at_ms: int | None = None) -> None:
        """Play something else from now on, as a fork does; `at_ms` is then when it left the recording."""
        self._due = None
        self.source, self.forked_at_ms = source, at_ms
        self._sign.forked_at_ms = at_ms
        self._changed.set()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Stand until the end of the block, and then go on as asked for meanwhile."""
        self._holds += 1
        self._set(self._now_ms(), self._clock.speed, self.playing)
        try:
            yield
        finally:
            self._holds -= 1
            self._set(self._now_ms(), self._clock.speed, self.playing)

    async def catch_up_to(self, place: int) -> tuple[Engine, Iterator[tuple[int, Line]]]:
        """An engine of its own at a place of the recording that was read, and the recording's lines from there on."""
        engine, _, lines = await _catch_up(self.index, *self.index.before_place(place), until_place=place)
        return engine, lines

    async def recorded_from(self, at_ms: int) -> tuple[Engine, int, Iterator[tuple[int, Line]]]:
        """An engine of its own behind everything up to `at_ms`, its place, and the recording's lines from there on.

        Raises:
            ConfigurationError: the recording cannot be read so far.
        """
        await self.index.reach(at_ms)
        if not self.index.complete and self.index.at_ms <= at_ms:
            raise ConfigurationError(self.index.problem or "the recording ends before")
        return await _catch_up(self.index, *self.index.state_at(at_ms), until_ms=at_ms)

    async def close(self) -> None:
        """Give up a seek that is under way."""
        if self._seek is not None:
            self._seek.cancel()
            await asyncio.wait((self._seek,))

    # ------------------------------------------------------------ how it goes on

    async def run(self) -> None:
        """Play whenever it is asked for, until cancelled."""
        while True:
            self._changed.clear()
            if not self.playing or self._stands:
                await self._changed.wait()
                continue
            next_ms = self.source.next_ms()
            end_ms = self.index.recording.end_ms
            if next_ms is None and self._clock.now_ms() >= end_ms:
                self._end()
                continue
            wait_s = self._clock.wait_s(end_ms if next_ms is None else next_ms)
            # Waiting even for nothing lets sockets speak while a fast room catches up.
            with suppress(TimeoutError):
                async with asyncio.timeout(max(wait_s, 0.0001)):
                    await self._changed.wait()
            if self.playing and not self._stands:
                self._advance(self._clock.now_ms())

    def _advance(self, until_ms: int) -> bool:
        """Handle what is due, for one slice; whether that was all of it."""
        stop_s = time.monotonic() + SLICE_S
        while (next_ms := self.source.next_ms()) is not None and (self._due is not None or next_ms <= until_ms):
            self._due = self._due or self.source.due(self.runner.engine, until_ms)
            for at_ms, item in self._due:
                self.runner.submit(item, at_ms=at_ms)
                if time.monotonic() > stop_s:
                    return False
            self._due = None
        self._due = None
        return True

    def _handled(self, item: Input, outputs: tuple[Output, ...]) -> None:
        """See every input that takes effect, in step with the engine."""
        self.source.learn(self.runner.engine.state.at_ms, item, outputs)

    async def _go_to(self, at_ms: int) -> None:
        try:
            engine, place, lines = await self.recorded_from(at_ms)
        except ConfigurationError:
            self._seeking_ms = None
            self._set(self._now_ms(), self._clock.speed, self.playing)
            raise
        self._seeking_ms = None
        self.runner.restart(engine)
        self.swap(Recorded(lines, engine.state, place))
        self._sign.ended = False
        self._set(at_ms, self._clock.speed, self.playing)
        self._feed.tick()

    def _end(self) -> None:
        self._set(self.index.recording.end_ms, self._clock.speed, False)
        self._sign.ended = True
        self._feed.tick()

    @property
    def _stands(self) -> bool:
        """On its way to another instant, or held."""
        return self._seeking_ms is not None or self._holds > 0

    def _now_ms(self) -> int:
        return min(self._clock.now_ms(), self.index.recording.end_ms)

    def _set(self, at_ms: int, speed: float, playing: bool) -> None:
        # On the way to another instant it stands.
        self._clock.set(at_ms, speed, playing and not self._stands)
        self.playing = self._sign.playing = playing
        self._sign.speed = speed
        self._changed.set()


def _look_at(seek: asyncio.Task[None]) -> None:
    """Take note of how a seek ended, also when whoever asked for it has been answered already."""
    if not seek.cancelled() and (error := seek.exception()) is not None:
        log.warning("seek_failed", error=str(error))


async def _catch_up(
    index: Index, place: int, engine: Engine, until_ms: int | None = None, until_place: int | None = None
) -> tuple[Engine, int, Iterator[tuple[int, Line]]]:
    """Handle the recording's lines from `place` on, up to an instant or to a place."""
    stop_s = time.monotonic() + SLICE_S
    for behind, line in index.recording.lines(place):
        if (until_ms is not None and line.at_ms > until_ms) or (until_place is not None and behind > until_place):
            break
        engine.handle(line.at_ms, line.input)
        place = behind
        if time.monotonic() > stop_s:
            await asyncio.sleep(0)
            stop_s = time.monotonic() + SLICE_S
    return engine, place, index.recording.lines(place)
