"""Plays a recording that answers: at the first decision of a person it becomes a fork, and drivers obey from there.

It must not know sockets or screens, nor how a fork is lived. What simulates is loaded only when a recording plays.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import structlog
from msgspec import Struct

from streamer.core.changes import Changes
from streamer.core.commands import AUTOPILOT
from streamer.core.comparison import Comparison
from streamer.core.errors import CallerError
from streamer.core.events import Command, Input, OrderPlaced, Output
from streamer.core.snapshot import dump_state, load_state
from streamer.edge.clock import PacedClock
from streamer.edge.recordings.adapt import shift
from streamer.edge.recordings.fixtures import FixtureReader, Line
from streamer.edge.recordings.replay import SLICE_S, ReplaySource
from streamer.edge.runner import Runner

if TYPE_CHECKING:
    from streamer.sim.fork import Fork
    from streamer.sim.outlook import Outlook
    from streamer.sim.takeover import Scene

log = structlog.get_logger("forking")


_Handled = tuple[int, Input, tuple[Output, ...]]


class Ground(Struct):
    """What a fork of a recording rests on, whenever it begins: made once, in a second or two."""

    outlook: "Outlook"
    scenes: "dict[str, Scene]"


class _Foreseen(Struct):
    """The floor before a person's decision: as bytes, with the recorded numbers of that moment."""

    state: bytes
    commands: dict[str, str]
    recorded_seq: int


class ForkingSource(ReplaySource):
    """A `ReplaySource` that forks: by itself when a person decides, or when told to by `fork_now`.

    Attributes:
        fork: what is played since then; None: the recording is.
        on_fork: told the instant of the fork, by this floor's clock.
    """

    def __init__(
        self, runner: Runner, fixture: FixtureReader, clock: PacedClock, seed: int = 1,
        recording: Callable[[], Iterable[Line]] | None = None,
    ) -> None:  # fmt: skip
        """`recording` reads the whole recording once more, by
        default the fixture's file; `seed` is of what is simulated.
        """
        super().__init__(runner, fixture, clock)
        self.fork: Fork | None = None
        self.on_fork: Callable[[int], None] | None = None
        self._seed = seed
        self._recording = recording or (lambda: _lines_of(fixture))
        self._grounding: asyncio.Task[Ground] | None = None
        self._foreseen: _Foreseen | None = None
        self._waiting: list[_Handled] | None = None
        runner.foresee = self._foresee

    async def play(self) -> None:
        """As `ReplaySource.play`; from the fork on, what happens in it. Both end with the recording.

        Raises:
            FixtureError: the file is damaged.
        """
        self.prepare()
        self.clock.go()
        while (due_ms := self.next_ms()) is not None:
            await asyncio.sleep(self.clock.wait_s(due_ms))
            if self._waiting is not None:
                await self._begin()
            self.advance(self.clock.now_ms(), SLICE_S)
        self._fixture.close()

    def prepare(self) -> None:
        """Begin to make what a fork rests on, beside everything else; needs a running loop."""
        if self._grounding is None:
            self._grounding = asyncio.create_task(asyncio.to_thread(self._ground))

    def next_ms(self) -> int | None:
        """The instant of what is played next, on this floor; None at the end."""
        if self.fork is not None:
            return self.fork.next_ms()
        line = self._peek()
        return None if line is None else line.at_ms + self.offset_ms

    def advance(self, until_ms: int, slice_s: float | None = None) -> None:
        """Play everything due up to `until_ms`, or as much of it as fits in `slice_s` seconds of the machine's time.

        Nothing while a fork is about to begin: then the recording is the fork's to read.
        """
        began_s = time.monotonic()
        while self._waiting is None and (due_ms := self.next_ms()) is not None and due_ms <= until_ms:
            if self.fork is not None:
                self._live(self.fork, due_ms)
            elif (line := self._peek()) is not None:
                self._submit(line)
            if slice_s is not None and time.monotonic() - began_s > slice_s:
                return

    async def fork_now(self, changes: Changes) -> None:
        """Fork at this moment, with changes; a fork is forked no more.

        Raises:
            CallerError: a change names what is not there, or the floor is a fork already.
        """
        self.prepare()
        assert self._grounding is not None
        ground = await self._grounding
        if self.fork is not None or self._waiting is not None:
            raise CallerError("this floor is a fork already: open the recording again for another")
        self._fork_from(ground, self._before(), [], changes)

    def comparison(self) -> Comparison | None:
        """The recording and its fork as they are now; None before there is one."""
        return None if self.fork is None else self.fork.comparison(self.runner.engine)

    # ------------------------------------------------------------ how it comes to a fork

    def _foresee(self, item: Input) -> None:
        """A fork needs the floor as it was before the decision it begins with; which may be refused, so none yet."""
        if self.fork is None and self._waiting is None and item is not self._own and is_by_people(item):
            # What has ended has nothing to fork: people go on alone.
            self._foreseen = None if self.next_ms() is None else self._before()

    def _before(self) -> _Foreseen:
        adapter = self.adapter
        return _Foreseen(dump_state(self.runner.engine.state), dict(adapter.commands), adapter.recorded_seq)

    def _handled(self, item: Input, outputs: tuple[Output, ...]) -> None:
        at_ms = self.runner.engine.state.at_ms
        if self.fork is not None:
            self.fork.learn(at_ms, item, outputs)
        elif self._waiting is not None:
            self._waiting.append((at_ms, item, outputs))
        elif item is not self._own and is_by_people(item) and self._foreseen is not None:
            self._waiting = [(at_ms, item, outputs)]
        else:
            super()._handled(item, outputs)

    async def _begin(self) -> None:
        """Leave the recording: somebody has decided. The floor's clock goes on meanwhile, and what became due is caught
        up with.
        """
        self.prepare()
        assert self._grounding is not None
        ground = await self._grounding
        assert self._foreseen is not None
        self._fork_from(ground, self._foreseen, self._waiting or [], Changes())

    def _fork_from(self, ground: Ground, before: _Foreseen, since: list[_Handled], changes: Changes) -> None:
        """From the floor as it was `before`, and what was handled on it `since`, without waiting for anything."""
        from streamer.sim.fork import Fork

        fork = Fork(
            load_state(before.state), self.runner.engine, self._rest(), ground.outlook, changes, ground.scenes,
            self._seed, commands=before.commands, recorded_seq=before.recorded_seq,
        )  # fmt: skip
        for at_ms, item, outputs in since:
            fork.learn(at_ms, item, outputs)
        self.fork, self._waiting, self._foreseen = fork, None, None
        log.info("forked", at_ms=fork.forked_at_ms)
        if self.on_fork is not None:
            self.on_fork(fork.forked_at_ms)

    def _live(self, fork: "Fork", until_ms: int) -> None:
        for at_ms, item in fork.due(self.runner.engine, until_ms):
            self.runner.submit(item, at_ms=at_ms)

    def _rest(self) -> Iterator[tuple[int, Input]]:
        while (line := self._peek()) is not None:
            self._next = None
            yield line.at_ms + self.offset_ms, self._moved(line.input)

    def _moved(self, item: Input) -> Input:
        return shift(item, self.offset_ms) if self.offset_ms else item

    def _ground(self) -> Ground:
        """In a thread: what it loads and draws would hold up the floor for a second."""
        from streamer.sim.outlook import Outlook
        from streamer.sim.parameters import parameters_of
        from streamer.sim.takeover import scenes_of

        lines = ((line.at_ms + self.offset_ms, self._moved(line.input)) for line in self._recording())
        header = self._fixture.header
        scenes = scenes_of(self.runner.engine.floor, header.seed or 0, parameters_of(header.parameters))
        return Ground(Outlook(lines), scenes)


def is_by_people(item: Input) -> bool:
    """Whether somebody decided: what phones, timers and the floor's own autopilot say forks nothing."""
    return isinstance(item, Command | OrderPlaced) and item.actor != AUTOPILOT


def _lines_of(fixture: FixtureReader) -> Iterator[Line]:
    with FixtureReader(fixture.path) as again:
        yield from again
