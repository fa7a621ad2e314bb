"""Everything that may enter the engine, and everything that may leave it.

It must not know sockets, files, clocks or screens: an input is checked already, an output is a fact.
"""

from typing import Annotated, Literal, NewType

from msgspec import Meta, Struct

from streamer.core.settings import AutopilotRules

Hex = NewType("Hex", int)
"""An H3 cell as the 64-bit integer of `h3.api.basic_int`."""

Id = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+(?!\n)$")]
Instant = Annotated[int, Meta(ge=0, le=2**53)]
"""UTC epoch milliseconds; the bound is the largest integer every JSON reader keeps exactly."""
Lat = Annotated[float, Meta(ge=-90, le=90)]
Lng = Annotated[float, Meta(ge=-180, le=180)]
ShortText = Annotated[str, Meta(max_length=512)]
Key = Annotated[str, Meta(min_length=1, max_length=160)]
Count = Annotated[int, Meta(ge=0, le=2**53)]

ReportKind = Literal[
    "on_duty", "off_duty", "on_break", "accepted", "declined", "arrived_at_pickup",
    "picked_up", "arrived_at_dropoff", "delivered", "failed", "returned",
]  # fmt: skip
Action = Literal["assign", "reassign", "unassign", "hold", "release", "pin", "ready", "cancel"]
Verdict = Literal["ok", "duplicate", "late", "jump", "inaccurate"]
Duty = Literal["off_duty", "on_duty", "on_break"]
AdviceWord = Literal["waits", "planned", "suggested", "failed", "left_to_people"]
"""`waits`: in the queue on purpose. `planned`: its driver is told in time. `suggested`: a person is to decide.
`failed`: nobody can take it now. `left_to_people`: held, pinned, or touched by a person a moment ago."""


class Event(Struct, frozen=True, tag_field="type", omit_defaults=True):
    """A frozen, tagged record; JSON carries the tag as `type`, as in PROTOCOL §2 and §6."""


# ---------------------------------------------------------------- inputs


class Ping(Event, frozen=True, tag="ping", gc=False):
    """One location report of a driver's phone. `fix_ms` is the phone's clock; `seq` rises by driver."""

    fix_ms: Instant
    lat: Lat
    lng: Lng
    driver_id: str = ""
    seq: Count | None = None
    accuracy_m: Annotated[float, Meta(ge=0, le=100_000)] | None = None
    speed_mps: Annotated[float, Meta(ge=0, le=400)] | None = None
    heading_deg: Annotated[float, Meta(ge=0, le=360)] | None = None
    battery: Annotated[float, Meta(ge=0, le=1)] | None = None


class Report(Event, frozen=True, tag="report"):
    """A driver says what happened: to duty, or to the orders of an assignment it was given."""

    id: Id
    report: ReportKind
    fix_ms: Instant
    driver_id: str = ""
    order_ids: Annotated[tuple[Id, ...], Meta(max_length=64)] = ()
    assignment: Count | None = None
    reason: ShortText = ""


class DriverRegistered(Event, frozen=True, tag="driver"):
    """A driver exists, or its particulars changed. `capacity` counts orders, `shift_end_ms` guards late work."""

    driver_id: Id
    name: Annotated[str, Meta(max_length=120)] = ""
    capacity: Annotated[int, Meta(ge=1, le=64)] = 5
    mall_ids: tuple[Id, ...] = ()
    shift_end_ms: Instant | None = None


class Dropoff(Struct, frozen=True, omit_defaults=True):
    """Where an order is delivered, and to whom."""

    lat: Lat
    lng: Lng
    name: ShortText = ""
    phone: Annotated[str, Meta(max_length=32)] = ""
    address: ShortText = ""
    notes: ShortText = ""


class OrderPlaced(Event, frozen=True, tag="order"):
    """A shopper's order: collect at `stores` of one mall, deliver by `due_ms`."""

    mall_id: Id
    stores: Annotated[tuple[Id, ...], Meta(min_length=1, max_length=16)]
    dropoff: Dropoff
    placed_ms: Instant
    due_ms: Instant
    ready_ms: Instant | None = None
    external_id: Annotated[str, Meta(max_length=128)] | None = None
    items: Annotated[int, Meta(ge=1, le=1000)] = 1
    priority: Annotated[int, Meta(ge=0, le=9)] = 0
    actor: ShortText = ""
    key: Key | None = None


class OrderCommand(Event, frozen=True, tag="command"):
    """One decision about one order, by a person or the autopilot; `expected_version` is what the decider saw."""

    action: Action
    order_id: Id
    expected_version: Count
    actor: ShortText = ""
    driver_id: Id | None = None
    position: Annotated[int, Meta(ge=0, le=128)] | None = None
    ready_ms: Instant | None = None
    reason: ShortText = ""
    key: Key | None = None


class HandOver(Event, frozen=True, tag="hand_over"):
    """All orders of a driver go to another, or, with none named, those not yet collected go back to the queue."""

    driver_id: Id
    to_driver_id: Id | None = None
    actor: ShortText = ""
    reason: ShortText = ""
    key: Key | None = None


class Undo(Event, frozen=True, tag="undo"):
    """The compensating command for `command_id`; refused once a later change depends on it."""

    command_id: Id
    actor: ShortText = ""
    reason: ShortText = ""
    key: Key | None = None


class SetDuty(Event, frozen=True, tag="duty"):
    """The floor puts a driver on or off duty (a driver's own word is a `Report`)."""

    driver_id: Id
    duty: Duty
    actor: ShortText = ""
    reason: ShortText = ""
    key: Key | None = None


class Advice(Struct, frozen=True, omit_defaults=True):
    """What the autopilot makes of one order that nobody has collected yet, and why; shown to people, binding nobody.

    `trip` are the orders that would leave the mall together, in the sequence of their drop-offs. Instants are UTC epoch
    milliseconds, costs minutes; `regret_min` is how much more the next best driver would cost.
    """

    order_id: Id
    word: AdviceWord
    reason: ShortText = ""
    driver_id: Id | None = None
    trip: Annotated[tuple[Id, ...], Meta(max_length=64)] = ()
    depart_ms: Instant | None = None
    """When the driver has to set off at the latest, or the order is given out."""
    leave_ms: Instant | None = None
    """When the trip leaves the mall."""
    eta_dropoff_ms: Instant | None = None
    cost_min: float | None = None
    terms: dict[str, float] = {}
    """The parts of the cost, minutes; they sum to `cost_min`."""
    regret_min: float | None = None


class PlanMade(Event, frozen=True, tag="plan"):
    """The autopilot looked at a mall: its advice on each order where that is not what it was before.

    Journaled, so that a replay shows the reasons without planning again.
    """

    mall_id: Id
    advice: tuple[Advice, ...] = ()


class SetAutopilot(Event, frozen=True, tag="autopilot"):
    """A person changes how the autopilot works at a mall, from now on."""

    mall_id: Id
    rules: AutopilotRules
    actor: ShortText = ""
    reason: ShortText = ""
    key: Key | None = None


class Tick(Event, frozen=True, tag="tick"):
    """Time passed. Timers, dwell, silence and risk move only on inputs, and this is the one that always comes."""


Command = OrderCommand | HandOver | Undo | SetDuty | SetAutopilot
Input = (
    Ping | Report | DriverRegistered | OrderPlaced | OrderCommand | HandOver | Undo | SetDuty | SetAutopilot | PlanMade
    | Tick
)  # fmt: skip


# ---------------------------------------------------------------- outputs


class Stop(Struct, frozen=True, omit_defaults=True):
    """One visit of a route: collect an order at its stores, bring it to its door, or return it."""

    kind: Literal["pickup", "dropoff", "return"]
    order_id: str
    lat: float
    lng: float
    eta_ms: int = 0


class PingTaken(Struct, frozen=True, gc=False):
    """A ping was acknowledged. Only the verdict `ok` moved the marker; `duplicate` had no effect at all."""

    driver_id: str
    seq: int | None
    verdict: Verdict


class Refused(Struct, frozen=True):
    """An input changed nothing. `code` is PROTOCOL's; `order_id` names the order a stale command met."""

    code: str
    message: str
    retryable: bool = False
    order_id: str | None = None


class ReportTaken(Struct, frozen=True):
    """A report took effect (or had already: `repeated`)."""

    driver_id: str
    id: str
    repeated: bool = False


class CommandDone(Struct, frozen=True):
    """A command took effect. `order_ids` are the orders it touched; `repeated` means its key was seen before."""

    command_id: str
    order_ids: tuple[str, ...]
    repeated: bool = False


class OrderChanged(Struct, frozen=True):
    """Something shown of an order changed; `versioned` when its version rose."""

    order_id: str
    mall_id: str
    versioned: bool = True


class DriverChanged(Struct, frozen=True):
    """Something shown of a driver other than its position changed."""

    driver_id: str


class RouteChanged(Struct, frozen=True):
    """The stops of a driver changed; it must be told, with the number it has to present from now on."""

    driver_id: str
    assignment: int
    stops: tuple[Stop, ...]


class FenceCrossed(Struct, frozen=True):
    """A driver entered, left or dwelt in a fence, after debounce and the accuracy gate."""

    driver_id: str
    mall_id: str
    fence_id: str
    event: Literal["enter", "leave", "dwell"]
    at_ms: int


Output = PingTaken | Refused | ReportTaken | CommandDone | OrderChanged | DriverChanged | RouteChanged | FenceCrossed
