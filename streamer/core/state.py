"""What the engine knows: plain records, one `State`, nothing derived that an input order could disturb.

It must not know how inputs change it; indexes that only speed up look-ups live in the engine and are rebuilt from here.
"""

from typing import Literal

from msgspec import Struct, field

from streamer.core.events import Advice, Dropoff, Duty, Ping, Stop, Verdict
from streamer.core.settings import AutopilotRules

Status = Literal[
    "placed", "ready", "assigned", "enroute_to_pickup", "arrived_at_pickup", "picked_up", "enroute_to_dropoff",
    "arrived_at_dropoff", "delivered", "cancelled", "failed", "returning", "returned",
]  # fmt: skip
Risk = Literal["on_time", "at_risk", "late"]
DriverState = Literal["off_duty", "free", "busy", "at_store", "on_break", "silent"]


class HistoryItem(Struct, frozen=True, omit_defaults=True):
    """One line of an order's story. `changed` maps a field to its new value as text."""

    at_ms: int
    actor: str
    action: str
    reason: str = ""
    changed: dict[str, str] = {}
    command_id: str | None = None


class Order(Struct):
    """An order and where it stands. Status moves only through the table in `orders.py`."""

    id: str
    mall_id: str
    stores: tuple[str, ...]
    dropoff: Dropoff
    placed_ms: int
    due_ms: int
    ready_ms: int | None
    external_id: str | None
    items: int
    priority: int
    updated_ms: int
    status: Status = "placed"
    version: int = 1
    driver_id: str | None = None
    assignment: int | None = None
    held: bool = False
    pinned: bool = False
    risk: Risk = "on_time"
    eta_pickup_ms: int | None = None
    eta_dropoff_ms: int | None = None
    is_ready: bool = False
    """The store said so; until then `ready_ms` is its promise."""
    arrived_pickup_ms: int | None = None
    picked_up_ms: int | None = None
    ended_ms: int | None = None
    offered_until_ms: int | None = None
    """When the offer its driver has not answered lapses; None: it is given for good, or to nobody."""
    touched_ms: int = 0
    """When a person last decided about it; 0: never."""
    advice: Advice | None = None
    """What the autopilot makes of it, while nobody has it."""
    eta_low_ms: int | None = None
    eta_high_ms: int | None = None
    """Where four of five deliveries come between; around `eta_dropoff_ms`."""
    declined_by: list[str] = field(default_factory=list)
    history: list[HistoryItem] = field(default_factory=list)


class FencePresence(Struct):
    """One driver and one fence: inside or not, since when, and how many fixes in a row said otherwise."""

    inside: bool = False
    since_ms: int = 0
    against: int = 0
    dwelt: bool = False


class Driver(Struct):
    """A driver: duty, the last believed ping, what it carries and in which order it will stop.

    Its lists are tuples: most are empty, and all empty tuples are one, which saves a third of a driver's memory.
    """

    id: str
    name: str
    capacity: int
    mall_ids: tuple[str, ...]
    shift_end_ms: int | None
    duty: Duty = "off_duty"
    state: DriverState = "off_duty"
    ping: Ping | None = None
    received_ms: int = 0
    """When the engine took the last believed ping; 0 before the first."""
    cell: int = 0
    """H3 cell (res 9) of the last believed ping; 0 before the first."""
    mall_id: str | None = None
    """The mall whose footprint holds the last believed ping."""
    region: str | None = None
    """The mall whose floor shows this driver."""
    verdict: Verdict | None = None
    last_seq: int = -1
    gaps: tuple[tuple[int, int], ...] = ()
    """Sequence numbers below `last_seq` not seen yet, as closed ranges, oldest first."""
    forgotten_seq: int = -1
    """Up to here it is no longer known which sequence numbers were seen."""
    recent: tuple[tuple[int, float, float], ...] = ()
    """Identities of the last pings that came without a `seq`."""
    jumps: tuple[Ping, ...] = ()
    assignment: int = 0
    order_ids: tuple[str, ...] = ()
    route: tuple[Stop, ...] = ()
    fences: dict[str, FencePresence] = field(default_factory=dict)
    reports: tuple[str, ...] = ()
    """Ids of the last reports, so that a repeat has no second effect."""
    last_active_ms: int = 0
    touched_ms: int = 0
    """When a person last decided about it or its orders; 0: nobody did."""


class Before(Struct, frozen=True):
    """What an order was before a command, for its undo."""

    order_id: str
    status: Status
    driver_id: str | None
    position: int | None
    held: bool
    pinned: bool
    is_ready: bool
    ready_ms: int | None


class CommandRecord(Struct):
    """A command that took effect, kept so that it can be undone, repeated and audited."""

    id: str
    at_ms: int
    actor: str
    action: str
    before: tuple[Before, ...]
    undone_by: str | None = None


class KeyRecord(Struct, frozen=True):
    """What an idempotency key stands for: the request's fingerprint and the answer it got.

    `answer` is the JSON array of the orders as they were then, in the outside's form.
    """

    at_ms: int
    fingerprint: str
    command_id: str
    order_ids: tuple[str, ...]
    answer: bytes = b"[]"


class Tally(Struct):
    """Running figures of one mall since the start of the journal."""

    delivered: int = 0
    on_time: int = 0
    cancelled: int = 0
    failed: int = 0
    trips: int = 0
    trip_orders: int = 0
    reassigned: int = 0
    offers: int = 0
    """Orders the autopilot gave out for a driver to accept."""
    declined: int = 0
    lapsed: int = 0
    """Offers nobody answered in time."""
    wait_ms: int = 0
    waits: int = 0
    click_to_door_ms: list[int] = field(default_factory=list)
    """Kept sorted, so that the median is a look-up."""


class State(Struct):
    """Everything. Two engines with equal `State` behave alike for ever."""

    seq: int = 0
    """Inputs that took effect."""
    at_ms: int = 0
    drivers: dict[str, Driver] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)
    orders_placed: int = 0
    external: dict[str, str] = field(default_factory=dict)
    """`mall_id/external_id` -> order id."""
    assignments: int = 0
    """The last assignment number given out."""
    commands: dict[str, CommandRecord] = field(default_factory=dict)
    keys: dict[str, KeyRecord] = field(default_factory=dict)
    verdicts: dict[str, int] = field(default_factory=dict)
    """Pings by verdict."""
    tallies: dict[str, Tally] = field(default_factory=dict)
    autopilot: dict[str, AutopilotRules] = field(default_factory=dict)
    """By mall, where a person has set them; else those of the settings."""
