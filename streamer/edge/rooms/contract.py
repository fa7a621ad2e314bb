"""What is said about replay rooms: the calls on the live floor's link, those on a room's own, and a room's process.

It must not know how any of it is answered. Instants are UTC epoch milliseconds, as they were recorded: a room is never
moved to now.
"""

from collections.abc import Iterator
from typing import Annotated, Literal, Protocol

from msgspec import Meta, Struct

from streamer.core.engine import Engine
from streamer.core.events import Id, Input, Instant, Output
from streamer.core.kpis import Kpis
from streamer.core.state import DriverState
from streamer.edge.accounts import Role

MAX_SPEED = 60.0
MIN_SPEED = 1.0
JOURNAL = "journal"
"""The source that is the live floor's own day."""

Kind = Literal["fixture", "journal"]
MarkKind = Literal["alarm", "command", "order"]
AlarmKind = Literal[
    "late", "will_be_late", "store_late", "driver_silent", "dwell_too_long", "decline_streak", "unassignable"
]  # fmt: skip
Do = Literal["play", "pause", "step", "seek", "speed"]
SourceId = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Speed = Annotated[float, Meta(ge=MIN_SPEED, le=MAX_SPEED)]
StepMs = Annotated[int, Meta(ge=1, le=3_600_000)]


# ------------------------------------------------------------ on the live floor's link


class RecordingItem(Struct, frozen=True, omit_defaults=True):
    """One entry of the gallery (`recordings` → {"items": […]}).

    With a `problem` it cannot be opened, and the figures are 0. `role` is the least role that may open it. `kpis` are
    the floor's at the end of a fixture.
    """

    id: str
    kind: Kind
    name: str
    story: str
    start_ms: int
    end_ms: int
    malls: tuple[str, ...]
    """Ids of its malls."""
    drivers: int
    orders: int
    role: Role = "viewer"
    problem: str | None = None
    kpis: Kpis | None = None


class OpenRoom(Struct, frozen=True):
    """Parameters of `open_room`. Without `at_ms` the room plays from the beginning, with it it stands there."""

    source: SourceId
    at_ms: Instant | None = None


class RoomView(Struct, frozen=True):
    """A room (`open_room`, and the items of `rooms`). `role` is the least role that may look into it.

    `at_ms` is where it was opened; where it is now, its own `transport` says. `readers` counts links open to it.
    """

    room: str
    url: str
    source: str
    kind: Kind
    name: str
    story: str
    role: Role
    start_ms: int
    end_ms: int
    at_ms: int
    opened_ms: int
    opened_by: str
    readers: int


class OfRoom(Struct, frozen=True):
    """Parameters of `close_room`."""

    room: Id


# ------------------------------------------------------------ on a room's link, besides the usual calls


class Transport(Struct, frozen=True):
    """Parameters of `transport`. No `do`: only the status. `seek` wants `at_ms`, `speed` wants `speed`.

    `step` goes on by `step_ms` (a second, if it is left out) and stands there; `play` may bring a `speed` too.
    """

    do: Do | None = None
    at_ms: Instant | None = None
    speed: Speed | None = None
    step_ms: StepMs | None = None


class TransportStatus(Struct, frozen=True):
    """Answer of `transport`.

    `seeking_ms` is the instant it is on its way to, where a seek takes longer than a moment; `indexed_ms` is how far
    the recording has been read: a seek up to there is fast. `problem` says why it cannot be read on.
    """

    playing: bool
    speed: float
    at_ms: int
    start_ms: int
    end_ms: int
    ended: bool
    forked_at_ms: int | None
    seeking_ms: int | None
    indexed_ms: int
    complete: bool
    problem: str | None


class AlarmMark(Struct, frozen=True):
    """An alarm of the recording, at the instant it opened."""

    at_ms: int
    kind: AlarmKind
    mall_id: str | None
    text: str
    order_ids: tuple[str, ...] = ()


class CommandMark(Struct, frozen=True, omit_defaults=True):
    """A decision of the recording, a person's or the autopilot's; a store's word that an order is ready is none."""

    at_ms: int
    actor: str
    action: str
    order_id: str | None = None
    driver_id: str | None = None


class KpiMark(Struct, frozen=True):
    """The figures of the whole floor at an instant; units as in docs/feed.md."""

    at_ms: int
    open: int
    unassigned: int
    at_risk: int
    late: int
    delivered: int
    free: int
    busy: int
    silent: int
    on_time: float | None
    orders_per_trip: float | None
    click_to_door_ms: int | None


class Marks(Struct, frozen=True):
    """Answer of `marks`: what is known of the recording up to `until_ms`, which is all of it once `complete`."""

    complete: bool
    until_ms: int
    alarms: tuple[AlarmMark, ...]
    commands: tuple[CommandMark, ...]
    kpis: tuple[KpiMark, ...]


class NextMark(Struct, frozen=True):
    """Parameters of `next_mark`: the first after `from_ms`, or, with `back`, the last before it.

    `command` finds people's decisions, not the autopilot's; `order` wants an `order_id`.
    """

    from_ms: Instant
    kind: MarkKind
    order_id: Id | None = None
    back: bool = False


class Mark(Struct, frozen=True, omit_defaults=True):
    """Answer of `next_mark`: `at_ms` is None when there is none, as far as the recording has been read."""

    at_ms: int | None
    complete: bool
    text: str = ""


class RecordedDrivers(Struct, frozen=True):
    """Answer of `recorded`: what a fork's map shows of the world it left, at the instant both have come to.

    Columns, a driver each, of those on duty in the recording that are more than 60 m from there in the fork, in another
    state, or not on duty; as recorded, with orders by the names they have in the fork. `parted`: a decision differs.
    """

    forked_at_ms: int
    at_ms: int
    parted: bool
    driver_id: tuple[str, ...]
    mall_id: tuple[str | None, ...]
    """The mall whose floor had it."""
    lat: tuple[float, ...]
    lng: tuple[float, ...]
    state: tuple[DriverState, ...]
    order_ids: tuple[tuple[str, ...], ...]
    forked_only: tuple[str, ...]
    """Drivers on duty in the fork alone."""


# ------------------------------------------------------------ what a room plays


class Source(Protocol):
    """What happens on a room's floor: a recording, or a fork of it (`streamer.sim.fork.Fork` fits)."""

    def due(self, engine: Engine, until_ms: int) -> Iterator[tuple[int, Input]]:
        """What happens up to `until_ms`, in order. Each is handled, and told to `learn`, before the next is asked for;
        who stops asking goes on later with a new call.
        """

    def learn(self, at_ms: int, item: Input, outputs: tuple[Output, ...]) -> None:
        """Hear of every input that took effect on the floor, whoever it came from, in order."""

    def next_ms(self) -> int | None:
        """The instant of what happens next; None when nothing will."""


# ------------------------------------------------------------ between a room's process and its keeper


class RoomOrder(Struct, frozen=True):
    """What a room is told on its standard input, as one line of JSON; the link's secret is in its environment.

    `path` is the fixture's file, or the folder of the journal, of which it plays from `start_ms` to `end_ms`. `folder`
    is the room's own: it is removed by the room when it ends, and by its keeper when the room could not. Whoever opened
    it may move it, even as a viewer.
    """

    room: str
    kind: Kind
    name: str
    path: str
    role: Role
    start_ms: int
    end_ms: int
    at_ms: int | None = None
    folder: str = ""
    opened_by: str = ""


class RoomSaid(Struct, frozen=True, omit_defaults=True):
    """What a room says on its standard output, a line each: that it listens, that it cannot, how many read."""

    port: int | None = None
    problem: str | None = None
    readers: int | None = None
