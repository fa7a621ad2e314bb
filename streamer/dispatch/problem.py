"""What a plan is made from: orders, drivers, travel times and settings, as plain values any simulator can build.

It must not know the engine, malls or coordinates: places are numbers, and a table says how long each leg takes.
"""

from typing import Annotated, Literal

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

Legs = NDArray[np.int64]
"""Milliseconds from place (row) to place (column), driven and walked; shape (places, places)."""
Weight = Annotated[float, Meta(ge=0, le=1_000)]
NOWHERE = -1


class PlanOrder(Struct, frozen=True):
    """An order nobody has collected yet. Instants in milliseconds on one clock; places are indices into `Legs`."""

    id: str
    pickups: tuple[int, ...]
    """The stores to collect at, in the order they are walked."""
    dropoff: int
    ready_ms: int
    """When the last of its stores is expected to be ready."""
    due_ms: int
    earliest_ms: int
    """The earliest conceivable delivery, had a driver stood waiting: what the order is measured against."""
    weight: float = 1.0
    told: str | None = None
    """The driver who knows of it. Changing that costs `PlanSettings.told_ms`."""
    only: str | None = None
    """The driver it must stay with: pinned by a person."""
    barred: frozenset[str] = frozenset()
    """Drivers it must not go to: those who declined it, or cannot carry it."""


class PlanDriver(Struct, frozen=True):
    """A driver, from where and when it is free of what it has collected."""

    id: str
    place: int
    free_ms: int
    off_ms: int
    """No pick-up after this."""
    capacity: int
    """Orders a trip."""
    heading: int = NOWHERE
    """The store it is driving to or waiting at, there at `free_ms`: its first trip starts there."""
    home_ms: int = 2**53
    """No drop-off after this."""
    doubt_ms: int = 0
    """What an old fix costs: the time it may be further away than it looks."""


class Service(Struct, frozen=True):
    """Service times, milliseconds: half of each is before the order changes hands, half after."""

    pickup_ms: int
    dropoff_ms: int


class PlanSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How a plan weighs and how hard it looks. Minutes of customers' waiting are the currency."""

    horizon_ms: int = 30 * 60_000
    """Orders ready later than this from now are left for later."""
    look_ms: int = 5 * 60_000
    """Time to the next look: what need not leave before it is not committed."""
    trip_orders: int = 5
    trips_ahead: int = 3
    drivers_tried: int = 10
    mates_tried: int = 10
    """Orders of other stores near enough to share a trip whose drivers are tried beside; 0: only who is there first."""
    driver_minute: Weight = 0.1
    """What a minute of a driver's driving and collecting is worth in minutes of one customer's waiting."""
    trip_ms: int = 0
    """What a trip costs on top of its driving, in one customer's waiting: what filling trips is worth."""
    late_weight: Weight = 4.0
    """A minute past due on top of the waiting it is: a promise is broken."""
    told_ms: int = 60_000
    """What it costs to give an order to another driver than the one who was told."""
    unserved_ms: int = 240 * 60_000
    """What an order costs that no driver takes."""
    expected_weight: Weight = 0.25
    """What an order that is only expected counts beside one that is placed; 0: nothing is expected."""
    multi_pickup_ms: int = 0
    """Stores at most this far from a trip's first may share it; 0: one store a trip, but for orders of several."""
    effort: int = 500
    """Rounds of improvement."""
    explained: bool = True
    """Whether the plan says why, order by order."""


class Problem(Struct, frozen=True):
    """All a plan depends on, beside its seed."""

    at_ms: int
    orders: tuple[PlanOrder, ...]
    drivers: tuple[PlanDriver, ...]
    legs: Legs
    service: Service
    settings: PlanSettings = PlanSettings()
    expected: tuple[PlanOrder, ...] = ()
    """Orders nobody has placed yet, but somebody may (`forecast`). They are planned for and never given out: a driver
    is kept for one when that is worth more, by its `weight`, than what else it could do."""
    last: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Trips of the last plan that nobody was told of: driver and orders. The search begins from them."""


class Trip(Struct, frozen=True):
    """What a driver carries out at once: orders by id in the sequence of their drop-offs."""

    order_ids: tuple[str, ...]
    depart_ms: int
    """The latest departure that delays nobody."""
    leave_ms: int
    """When everything is collected."""
    dropoff_ms: tuple[int, ...]


Word = Literal["planned", "held", "later", "unserved"]


class Verdict(Struct, frozen=True):
    """Why an order is where the plan has it."""

    order_id: str
    word: Word
    """`held`: it leaves later than it could, so that others share its trip. `later`: it is not planned yet."""
    why: str
    driver_id: str | None = None
    terms: dict[str, float] = {}
    """Minutes of one customer's waiting, by name; they sum to `cost_min`. See `verdicts`."""
    cost_min: float = 0.0
    second_id: str | None = None
    """The best other driver, with everything else as it is."""
    regret_min: float | None = None
    """What the whole plan would cost more with that driver; None when there is no other. Below 0, had the search gone
    on, it would have moved the order."""
    hold_ms: int = 0


class Plan(Struct, frozen=True):
    """Trips by driver, the orders no driver takes, and those that are not planned yet: each order is once in these."""

    trips: dict[str, tuple[Trip, ...]]
    unserved: tuple[str, ...]
    cost_ms: float
    """Of all, expected orders too: what the search made small."""
    rounds: int = 0
    later: tuple[str, ...] = ()
    """Ready beyond the horizon, or behind an order that is only expected."""
    verdicts: tuple[Verdict, ...] = ()
    """One an order, in the problem's order."""
