"""Makes a room answer: at a person's first decision, or when told to, its floor leaves the recording and drivers obey.

It must not know sockets, nor how a fork is lived. What simulates is loaded with the first fork: most rooms have none.
"""

import asyncio
from typing import TYPE_CHECKING

import structlog
from msgspec import Struct

from streamer.core.changes import Changes
from streamer.core.comparison import Comparison
from streamer.core.errors import CallerError
from streamer.core.events import Input, Output
from streamer.edge.recordings.forking import is_by_people
from streamer.edge.rooms.player import Player
from streamer.edge.rooms.recorded import Recorded

if TYPE_CHECKING:
    from streamer.sim.fork import Fork
    from streamer.sim.outlook import Outlook
    from streamer.sim.takeover import Scene

log = structlog.get_logger("room")


class Ground(Struct):
    """What a fork of this recording rests on, whenever it begins: made once, in a second or two."""

    outlook: "Outlook"
    scenes: "dict[str, Scene]"


class Forks:
    """Forks a room, and compares it with its recording. While it comes to a fork, the room stands.

    Attributes:
        seed: of what is simulated: the same fork of the same room is lived the same again.
    """

    def __init__(self, player: Player, seed: int = 1) -> None:
        self.player = player
        self.seed = seed
        self._fork: Fork | None = None
        self._ground: Ground | None = None
        self._since: list[tuple[int, Input, tuple[Output, ...]]] = []
        self._beginning: asyncio.Task[None] | None = None
        player.runner.hooks.append(self._handled)

    async def fork(self, changes: Changes) -> None:
        """Fork here and now, with changes.

        Raises:
            CallerError: a change names what is not there, or this is a fork already.
            ConfigurationError: the recording is damaged.
        """
        if self._beginning is not None or not isinstance(self.player.source, Recorded):
            raise CallerError("this room is a fork already: seek, and it is the recording again")
        if self.player.source.next_ms() is None:
            raise CallerError("this recording has ended: seek to the moment it is to be forked at")
        await self._begin(changes)

    @property
    def current(self) -> "Fork | None":
        """The fork that is played; None while the recording is."""
        return self._fork if self.player.source is self._fork else None

    def comparison(self) -> Comparison | None:
        """The recording and its fork as they are now; None while there is none."""
        fork = self.current
        return None if fork is None else fork.comparison(self.player.runner.engine)

    async def close(self) -> None:
        """Give up a fork that is about to begin."""
        if self._beginning is not None:
            self._beginning.cancel()
            await asyncio.wait((self._beginning,))

    def _handled(self, item: Input, outputs: tuple[Output, ...]) -> None:
        source = self.player.source
        if not isinstance(source, Recorded) or source.says(item) or not is_by_people(item):
            return
        if source.next_ms() is None:
            return  # What has ended has nothing to fork: people go on alone.
        self._since.append((self.player.runner.engine.state.at_ms, item, outputs))
        if self._beginning is None:
            self._beginning = asyncio.create_task(self._begin_by_itself())

    async def _begin_by_itself(self) -> None:
        try:
            await self._begin(Changes())
        finally:
            self._beginning = None

    async def _begin(self, changes: Changes) -> None:
        player, source = self.player, self.player.source
        assert isinstance(source, Recorded)
        with player.held():
            try:
                if self._ground is None:
                    self._ground = await asyncio.to_thread(self._look)
                ground = self._ground
                engine, lines = await player.catch_up_to(source.place)
                if player.source is not source:
                    return  # Somebody sought meanwhile: what was decided here is forgotten.
                from streamer.sim.fork import Fork

                fork = Fork(
                    engine.state, player.runner.engine, ((line.at_ms, line.input) for _, line in lines),
                    ground.outlook, changes, ground.scenes, self.seed,
                )  # fmt: skip
                for given in self._since:
                    fork.learn(*given)
                self._fork = fork
                player.swap(fork, fork.forked_at_ms)
                log.info("forked", at_ms=fork.forked_at_ms)
            finally:
                self._since.clear()

    def _look(self) -> Ground:
        """In a thread: what it loads and draws would hold up whoever looks for a second."""
        from streamer.sim.outlook import Outlook
        from streamer.sim.parameters import parameters_of
        from streamer.sim.takeover import scenes_of

        recording = self.player.index.recording
        lines = ((line.at_ms, line.input) for _, line in recording.lines(recording.first))
        parameters = parameters_of(recording.parameters)
        return Ground(Outlook(lines), scenes_of(self.player.index.engine.floor, recording.seed, parameters))
