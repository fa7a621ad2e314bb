"""The calls a room answers besides the usual ones: its transport and its marks.

It must not check roles, and it must not know how a recording is played or indexed.
"""

from typing import TypeVar, assert_never

from streamer.core.apart import added, elsewhere
from streamer.core.changes import Changes
from streamer.core.errors import CallerError, ConfigurationError
from streamer.edge.accounts import ROLES, Role
from streamer.edge.desk.calls import Answer, Caller, CallRefusedError, Nothing, Track
from streamer.edge.desk.desk import Entry
from streamer.edge.desk.reads import sees_driver
from streamer.edge.rooms.contract import NextMark, RecordedDrivers, Transport
from streamer.edge.rooms.forking import Forks
from streamer.edge.rooms.player import STEP_MS, Player

OF_PEOPLE = frozenset({"login", "session", "bearer", "logout", "accounts"})
"""Who logs in does so at the live floor."""
NOT_FORKED = "this room plays its recording: fork it, or decide something"
Number = TypeVar("Number", int, float)


class RoomCalls:
    """What viewers ask of a room."""

    def __init__(self, player: Player, forks: Forks, opened_by: str) -> None:
        self.player = player
        self.forks = forks
        self.opened_by = opened_by

    async def transport(self, who: Caller, params: Transport) -> Answer:
        """Play, pause, step, seek or speed; the status as it then is. A viewer moves nobody else's room."""
        player = self.player
        if params.do is None and (params.at_ms, params.speed, params.step_ms) != (None, None, None):
            raise CallRefusedError(422, "bad_field", "do: it is missing")
        if params.do is not None and who.role == "viewer" and who.name != self.opened_by:
            raise CallRefusedError(
                403, "forbidden", f"{self.opened_by} opened this room: open one of your own to move in"
            )
        try:
            match params.do:
                case None:
                    pass
                case "play":
                    if params.speed is not None:
                        player.set_speed(params.speed)
                    await player.play()
                case "pause":
                    player.pause()
                case "speed":
                    player.set_speed(_given(params.speed, "speed"))
                case "step":
                    await player.step(params.step_ms or STEP_MS)
                case "seek":
                    await player.seek(_given(params.at_ms, "at_ms"))
                case other:
                    assert_never(other)
        except ConfigurationError as error:
            raise CallRefusedError(409, "damaged", str(error)) from error
        return Answer(player.status())

    async def fork(self, who: Caller, params: Changes) -> Answer:
        """Leave the recording here, with changes; the transport's status."""
        try:
            await self.forks.fork(params)
        except CallerError as error:
            raise CallRefusedError(409, "not_forked", str(error)) from error
        except ConfigurationError as error:
            raise CallRefusedError(409, "damaged", str(error)) from error
        return Answer(self.player.status())

    async def comparison(self, who: Caller, params: Nothing) -> Answer:
        """The recording and its fork, side by side."""
        compared = self.forks.comparison()
        if compared is None:
            raise CallRefusedError(409, "not_forked", NOT_FORKED)
        return Answer(compared)

    async def recorded(self, who: Caller, params: Nothing) -> Answer:
        """Drivers of the recorded world that are not as they are in the fork, within the caller's scope."""
        fork = self.forks.current
        if fork is None:
            raise CallRefusedError(409, "not_forked", NOT_FORKED)
        there, here = fork.recorded.state, self.player.runner.engine.state
        places = [(one, one.ping) for one in elsewhere(there, here) if one.ping is not None and sees_driver(who, one)]
        return Answer(
            RecordedDrivers(
                fork.forked_at_ms, max(there.at_ms, here.at_ms), fork.difference is not None,
                tuple(one.id for one, _ in places), tuple(one.region for one, _ in places),
                tuple(ping.lat for _, ping in places), tuple(ping.lng for _, ping in places),
                tuple(one.state for one, _ in places),
                tuple(tuple(map(fork.numbers.order, one.order_ids)) for one, _ in places),
                tuple(one.id for one in added(there, here) if sees_driver(who, one)),
            )
        )  # fmt: skip

    async def marks(self, who: Caller, params: Nothing) -> Answer:
        """Alarms, decisions and figures, as far as the recording has been read."""
        index = self.player.index
        return Answer(index.watch.marks(index.complete))

    async def next_mark(self, who: Caller, params: NextMark) -> Answer:
        """Where to jump to."""
        if params.kind == "order" and params.order_id is None:
            raise CallRefusedError(422, "bad_field", "order_id: which order's events?")
        index = self.player.index
        return Answer(index.watch.next(params, index.complete))

    async def track(self, who: Caller, params: Track) -> Answer:
        """Refused: a room keeps no pings, and a look at a track is audited, which only the live floor does."""
        raise CallRefusedError(409, "not_in_a_room", "a replay shows no tracks: ask the live floor")


def table_of_room(usual: dict[str, Entry], calls: RoomCalls, least: Role) -> dict[str, Entry]:
    """The table of a room's desk: the usual calls without log-ins, its own, and none for less than its least role."""
    table = {name: entry for name, entry in usual.items() if name not in OF_PEOPLE}
    table |= {
        "transport": Entry("viewer", Transport, calls.transport),
        "marks": Entry("viewer", Nothing, calls.marks),
        "next_mark": Entry("viewer", NextMark, calls.next_mark),
        "fork": Entry("dispatcher", Changes, calls.fork),
        "comparison": Entry("viewer", Nothing, calls.comparison),
        "recorded": Entry("viewer", Nothing, calls.recorded),
        "track": Entry("ops-lead", Track, calls.track),
    }
    return {name: _for(entry, least) for name, entry in table.items()}


def _for(entry: Entry, least: Role) -> Entry:
    if entry.role is None or ROLES.index(entry.role) >= ROLES.index(least):
        return entry
    return Entry(least, entry.params, entry.answer)


def _given(value: Number | None, name: str) -> Number:
    if value is None:
        raise CallRefusedError(422, "bad_field", f"{name}: it is missing")
    return value
