"""Plays a fixture: headless as fast as it will go, or paced by the clock into a running floor.

It must not know sockets or screens, and it never changes what a recording says until a person has intervened.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from streamer.core.engine import Engine
from streamer.core.errors import MallardError
from streamer.core.events import Input, Output, Tick
from streamer.core.kpis import Kpis, kpis
from streamer.core.lessons import Lessons, lessons
from streamer.core.malls import Floor, parse_malls
from streamer.core.snapshot import dump_state, load_state, state_hash
from streamer.core.state import State
from streamer.edge.clock import PacedClock
from streamer.edge.recordings.adapt import Adapter, shift, shift_state
from streamer.edge.recordings.fixtures import FixtureError, FixtureReader, Header, Line
from streamer.edge.runner import Runner

PROGRESS_EVERY = 5_000
FIRST_INSTANT_MS = 100_000_000_000
"""March 1973: anything smaller is no instant of a recording."""
SLICE_S = 0.05
"""However much is due, sockets get a turn this often."""

Progress = Callable[[int], None]
"""Called now and then with the number of inputs handled."""


class Outcome(Struct, frozen=True):
    """Where a headless replay arrived."""

    inputs: int
    effective: int
    at_ms: int
    hash: str
    kpis: Kpis
    learned: tuple[Lessons, ...]
    """What each mall taught, in the order of the malls' file."""


def replay(
    path: Path, speed: float | None = None, until_ms: int | None = None, progress: Progress | None = None
) -> Outcome:
    """Run a fixture through an engine and say where it arrived.

    Args:
        speed: recorded seconds a wall second; None for as fast as possible.
        until_ms: stop before the first input after this recorded instant (UTC epoch milliseconds).
        progress: told now and then how many inputs were handled.

    Raises:
        FixtureError: the file is damaged, or no fixture.
        MallFileError: its malls are none.
    """
    with FixtureReader(path) as fixture:
        engine = floor_of(fixture.header, fixture.header.start_ms)
        clock = PacedClock(fixture.header.start_ms, speed) if speed else None
        if clock is not None:
            clock.go()
        inputs, first_seq = 0, engine.state.seq
        with blaming(path):
            for line in fixture:
                if until_ms is not None and line.at_ms > until_ms:
                    break
                if clock is not None and (wait_s := clock.wait_s(line.at_ms)) > 0:
                    time.sleep(wait_s)
                engine.handle(line.at_ms, line.input)
                inputs += 1
                if progress is not None and inputs % PROGRESS_EVERY == 0:
                    progress(inputs)
            state = engine.state
            learned = tuple(lessons(state, mall, engine.planner.forecast) for mall in engine.floor.malls.values())
            return Outcome(inputs, state.seq - first_seq, state.at_ms, state_hash(state), kpis(state, None), learned)


@contextmanager
def blaming(path: Path) -> Iterator[None]:
    """Word what an engine raises on a recording: it has been checked line by line, but not against itself.

    Raises:
        FixtureError: in place of anything that is not Mallard's own error, nor the system's.
    """
    try:
        yield
    except (MallardError, OSError):
        raise
    except Exception as error:
        raise FixtureError(f"fixture {path} contradicts itself, and cannot be replayed: {error!r}") from error


def instant_of(path: Path, until_ms: int | None) -> int | None:
    """The instant meant by `--until`: small numbers count from the start of play, as nothing was recorded in 1970.

    Raises:
        FixtureError: the file is damaged, or no fixture.
    """
    if until_ms is None or until_ms >= FIRST_INSTANT_MS:
        return until_ms
    with FixtureReader(path) as fixture:
        return fixture.header.start_ms + until_ms


class ReplaySource:
    """Plays a fixture into a runner, moved in time, and keeps it sensible once people have intervened.

    Where drivers are to obey them, a `ForkingSource` plays it.

    Inputs before the header's `start_ms` are the warm-up: `warm_up` handles them at once. `play` then paces the rest by
    the clock and ends with the recording.

    Attributes:
        adapter: counts what was left out, and knows whether anybody intervened.
    """

    def __init__(self, runner: Runner, fixture: FixtureReader, clock: PacedClock) -> None:
        """`clock.start_ms` is the instant at which the play begins on the floor, see `floor_of`."""
        self.runner = runner
        self.clock = clock
        self.offset_ms = clock.start_ms - fixture.header.start_ms
        runner.clock_offset_ms = -self.offset_ms
        self.adapter = Adapter(runner.engine.state)
        self._fixture = fixture
        self._lines = iter(fixture)
        self._next: Line | None = None
        self._own: Input | None = None
        self._own_outputs: tuple[Output, ...] | None = None
        runner.hooks.append(self._handled)

    async def warm_up(self, progress: Progress | None = None) -> None:
        """Handle everything before the play begins, at full speed.

        Raises:
            FixtureError: the file is damaged.
        """
        inputs, slice_s = 0, time.monotonic()
        while (line := self._peek()) is not None and line.at_ms < self._fixture.header.start_ms:
            self._submit(line)
            inputs += 1
            if time.monotonic() - slice_s > SLICE_S:
                if progress is not None:
                    progress(inputs)
                await asyncio.sleep(0)
                slice_s = time.monotonic()

    async def play(self) -> None:
        """Handle the rest, each input when the clock has reached its instant; return at the recording's end.

        Raises:
            FixtureError: the file is damaged.
        """
        self.clock.go()
        while (line := self._peek()) is not None:
            # Sleeping even for nothing lets sockets speak while a fast replay catches up.
            await asyncio.sleep(self.clock.wait_s(line.at_ms + self.offset_ms))
            slice_s = time.monotonic()
            while (line := self._peek()) is not None and line.at_ms + self.offset_ms <= self.clock.now_ms():
                self._submit(line)
                if time.monotonic() - slice_s > SLICE_S:
                    break
        self._fixture.close()

    def _peek(self) -> Line | None:
        if self._next is None:
            self._next = next(self._lines, None)
        return self._next

    def _submit(self, line: Line) -> None:
        self._next = None
        recorded = shift(line.input, self.offset_ms) if self.offset_ms else line.input
        item = self.adapter.adapt(recorded, self.runner.engine.state)
        self._own_outputs = None
        if item is not None:
            self._own = item
            self.runner.submit(item, at_ms=line.at_ms + self.offset_ms)
            self._own = None
        self.adapter.follow(recorded, self.runner.engine.state, self._own_outputs)

    def _handled(self, item: Input, outputs: tuple[Output, ...]) -> None:
        """See every input that takes effect, in step with the engine."""
        if item is self._own:
            self._own_outputs = outputs
        else:
            self.adapter.touch(item, outputs)


def floor_of(header: Header, start_ms: int) -> Engine:
    """The engine a recording begins with, moved so that its play starts at `start_ms`.

    Raises:
        FixtureError: the state in the header contradicts itself.
        MallFileError: the malls in the header are none.
    """
    floor = parse_malls(header.malls)
    try:
        start = shift_state(header.start, start_ms - header.start_ms) if header.start is not None else None
        if start is not None:
            _check(floor, start)
        engine = Engine(floor, header.settings, start)
        if start is not None:
            _try_out(engine)
        return engine
    except Exception as error:
        raise FixtureError(f"the state that this recording begins with contradicts itself: {error!r}") from error


def _check(floor: Floor, state: State) -> None:
    """See that drivers and orders agree with each other and with the malls; raises what does not."""
    for driver_id, driver in state.drivers.items():
        known = [state.orders[order_id].driver_id for order_id in driver.order_ids]
        if driver.id != driver_id or any(owner != driver_id for owner in known):
            raise ValueError(f"driver {driver_id} and its orders do not agree")
        if not {stop.order_id for stop in driver.route} <= set(driver.order_ids):
            raise ValueError(f"driver {driver_id} has stops of orders that are not its own")
    for order_id, order in state.orders.items():
        if order.id != order_id or order.mall_id not in floor.malls:
            raise ValueError(f"order {order_id} is of no mall here")
        # Of an ended one the driver may have stayed behind, in a recording cut out for one mall.
        if order.driver_id is not None and order.ended_ms is None and order.driver_id not in state.drivers:
            raise ValueError(f"order {order_id} is with a driver that is not here")


def _try_out(engine: Engine) -> None:
    """Let a twin live through one tick, which looks at everything in its state; raises what that raises."""
    twin = engine.twin(load_state(dump_state(engine.state)))
    twin.handle(max(0, twin.state.at_ms) + 1, Tick())
    kpis(twin.state, None)
