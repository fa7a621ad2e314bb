"""Forks of a recording without a running floor: opened at a moment, lived through at full speed, compared.

It must not be imported by a program that serves: it brings the simulator.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct

from streamer.core.changes import Changes
from streamer.core.comparison import Comparison
from streamer.core.engine import Engine
from streamer.core.errors import CallerError
from streamer.core.snapshot import dump_state, load_state
from streamer.edge.recordings.fixtures import FixtureReader, Header
from streamer.edge.recordings.replay import floor_of
from streamer.sim.fork import Fork, run
from streamer.sim.outlook import Outlook, Recorded
from streamer.sim.parameters import parameters_of
from streamer.sim.policy import EFFORT
from streamer.sim.takeover import Scene, scenes_of

Progress = Callable[[float], None]
"""Called with the share of the rest that is lived through, 0-1."""


class Moment(Struct):
    """A recording up to some moment, from which any number of forks can be lived, one after the other.

    `state` are the bytes of the floor's; `skip` inputs of the recording come before the moment.
    """

    path: Path
    at_ms: int
    header: Header
    floor: Engine
    state: bytes
    skip: int
    outlook: Outlook
    scenes: dict[str, Scene]

    def rest(self) -> Iterator[Recorded]:
        """The inputs after the moment."""
        with FixtureReader(self.path) as fixture:
            for number, line in enumerate(fixture):
                if number >= self.skip:
                    yield line.at_ms, line.input

    def fork(
        self, changes: Changes, seed: int = 1, everybody: bool = False, effort: int = EFFORT
    ) -> tuple[Fork, Engine]:
        """A fork that begins here, and the engine of its floor.

        Raises:
            CallerError: a change names what is not there.
        """
        engine = self.floor.twin(load_state(self.state))
        fork = Fork(
            load_state(self.state), engine, self.rest(), self.outlook, changes, self.scenes, seed, everybody,
            effort=effort,
        )  # fmt: skip
        return fork, engine


def moment_of(path: Path, at_ms: int) -> Moment:
    """A fixture at an instant (UTC epoch milliseconds): all its inputs up to then are handled.

    Raises:
        FixtureError: the file is damaged, or no fixture.
        CallerError: the recording does not reach that instant.
    """
    with FixtureReader(path) as fixture:
        header = fixture.header
        engine, skip = floor_of(header, header.start_ms), 0
        lines = iter(fixture)
        for line in lines:
            if line.at_ms > at_ms:
                break
            engine.handle(line.at_ms, line.input)
            skip += 1
        else:
            raise CallerError(f"{path.name} has ended by then: it reaches to {engine.state.at_ms} (UTC epoch ms)")
    if not skip and header.start is None:
        raise CallerError(f"{path.name} has not begun by then: its first input is of {line.at_ms} (UTC epoch ms)")
    found = Moment(
        path, engine.state.at_ms, header, engine, dump_state(engine.state), skip, Outlook(()),
        scenes_of(engine.floor, header.seed or 0, parameters_of(header.parameters)),
    )  # fmt: skip
    found.outlook = Outlook(found.rest())
    return found


def live(
    moment: Moment, changes: Changes, seed: int = 1, everybody: bool = False, effort: int = EFFORT,
    minutes: float | None = None, progress: Progress | None = None,
) -> Comparison:  # fmt: skip
    """Live one fork to the recording's end, or for some minutes.

    Raises:
        CallerError: a change names what is not there, or the floor refuses the decision.
    """
    fork, engine = moment.fork(changes, seed, everybody, effort)
    end_ms = moment.outlook.end_ms
    if minutes is not None:
        end_ms = min(end_ms, moment.at_ms + round(minutes * 60_000))
    length_ms = max(1, end_ms - moment.at_ms)
    tell = None if progress is None else (lambda at_ms: progress((at_ms - moment.at_ms) / length_ms))
    return run(fork, engine, end_ms, tell)
