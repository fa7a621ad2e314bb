"""Our floor as a planning problem: which orders may move, which drivers may take them, and how long every leg takes.

It must not decide anything, nor change anything: it reads the engine's state.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from streamer.core.commands import AUTOPILOT
from streamer.core.engine import Engine
from streamer.core.geo import METRES_PER_DEG, flat_m
from streamer.core.malls import Mall
from streamer.core.orders import GIVEN, QUEUED
from streamer.core.routes import without
from streamer.core.settings import AutopilotRules, TravelRules
from streamer.core.state import Driver, Order
from streamer.core.travel import ARTERIAL_M, COLLECTOR_M, LOCAL_M
from streamer.dispatch.candidates import unfit
from streamer.dispatch.costs import DRIVER_WEIGHT, FIX_AGE_WEIGHT, LATE_WEIGHT, TOLD_MIN, WAITING_WEIGHT
from streamer.dispatch.problem import PlanDriver, PlanOrder, PlanSettings, Problem, Service

NEAREST = 300
"""Drivers looked at, nearest to the mall first; whoever was told something is looked at in any case."""
TRIED, AHEAD = 20, 2
"""Drivers tried for an order, and trips planned ahead of each."""
HORIZON_MS = 45 * 60_000
UNSERVED_MS = 30_000 * 60_000
"""Dearer than any lateness: an order that is late already is still delivered."""
UNPROMISED_MS = 15 * 60_000
"""A store that promises nothing is taken to need this long."""
CAUTION = 0.3
"""A store is planned to need so much longer than it promises, as a share of its promise: the last of several stores
makes a trip leave, and a driver's waiting is dearer than an order's on the counter."""
LEAST_OVERDUE_MS = 6 * 60_000
"""What no store has said ready is never planned to be so before this."""
UNSAID_MS = 25 * 60_000
"""So long after its promise an order is ready, and its store does not say such things."""
LOST_MS = 5 * 60_000
"""A driver not heard of for so long, or in no believable place, loses what it has not collected."""
SAFETY_MS = 12 * 60_000
"""A plan aims to be this much before due: half of all trips leave the mall some minutes later than planned."""
WAY_BACK = 1.5
"""Metres walked for each metre between counters: the car stands at the door nearest to the first of them."""
NO_LEG_MS = 24 * 3_600_000
"""Of legs nobody drives."""

Points = NDArray[np.float64]
"""Latitude and longitude in degrees, shape (places, 2); or metres between such."""
Standing = Literal["free", "kept", "out"]
"""`free`: the autopilot may move it. `kept`: it stays with its driver, others may join. `out`: it is left to people."""


class Seat(Struct, frozen=True):
    """Where a driver begins its next trip from here: after what it has collected, or right where it is."""

    driver: Driver
    lat: float
    lng: float
    free_ms: int
    counter: str | None = None
    """The order at whose counter it stands."""


class Standings(Struct, frozen=True):
    """All of a mall that the autopilot may plan, and what it may not."""

    orders: tuple[Order, ...]
    kept: frozenset[str]
    out: tuple[Order, ...]
    seats: tuple[Seat, ...]


def problem_of(engine: Engine, mall_id: str, at_ms: int, rules: AutopilotRules) -> Problem:
    """The planning problem of a mall as it stands at `at_ms`."""
    found = standings(engine, mall_id, at_ms, rules)
    mall, travel = engine.floor.malls[mall_id], engine.settings.travel
    first_counter, first_door = len(found.seats), len(found.seats) + len(found.orders)
    forecast = engine.planner.forecast
    ground = Ground(mall, travel, found.seats, found.orders, forecast.pace(mall_id, at_ms))
    seated = {seat.driver.id for seat in found.seats}
    plan_orders = []
    for number, order in enumerate(found.orders):
        promised_ms = forecast.promised(order) if forecast.rules.use else order.ready_ms
        ready_ms = expected_ready_ms(order, promised_ms, at_ms)
        counter, door = first_counter + number, first_door + number
        told = order.driver_id if order.driver_id in seated else None
        plan_orders.append(
            PlanOrder(
                order.id, (counter,), door, ready_ms, order.due_ms - SAFETY_MS,
                ready_ms + travel.pickup_ms // 2 + int(ground.legs[counter, door]) + travel.dropoff_ms // 2,
                WAITING_WEIGHT * (1 + order.priority), told, told if order.id in found.kept else None,
                frozenset(order.declined_by),
            )
        )  # fmt: skip
    drivers = tuple(
        PlanDriver(
            seat.driver.id, number, seat.free_ms, _shift_end_ms(seat.driver), seat.driver.capacity,
            doubt_ms=round(FIX_AGE_WEIGHT * _fix_age_ms(seat.driver, at_ms)), home_ms=_shift_end_ms(seat.driver),
        )
        for number, seat in enumerate(found.seats)
    )  # fmt: skip
    service = Service(travel.pickup_ms, travel.dropoff_ms)
    last = _last(found.orders)
    return Problem(at_ms, tuple(plan_orders), drivers, ground.legs, service, settings_of(rules), last=last)


def _last(orders: Sequence[Order]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The trips that the last look advised for what is still in the queue, soonest first."""
    trips: dict[tuple[str, tuple[str, ...]], int] = {}
    for order in orders:
        advice = order.advice
        if order.status in QUEUED and advice is not None and advice.driver_id is not None and advice.depart_ms:
            trips.setdefault((advice.driver_id, advice.trip), advice.depart_ms)
    return tuple(sorted(trips, key=lambda trip: (trips[trip], trip)))


def settings_of(rules: AutopilotRules) -> PlanSettings:
    """How a floor's plan weighs: the words and weights of `costs`."""
    return PlanSettings(
        horizon_ms=HORIZON_MS, look_ms=rules.look_ms, trip_orders=rules.trip_orders, trips_ahead=AHEAD,
        driver_minute=DRIVER_WEIGHT, late_weight=LATE_WEIGHT, told_ms=round(TOLD_MIN * 60_000),
        unserved_ms=UNSERVED_MS, multi_pickup_ms=NO_LEG_MS, effort=60, drivers_tried=TRIED,
        explained=False,
    )  # fmt: skip


def expected_ready_ms(order: Order, promised_ms: int | None, at_ms: int) -> int:
    """When the last of an order's stores is expected to be ready; what is overdue is taken to stay so for a while.

    `promised_ms` is the stores' word, and what was learned of how they keep it.
    """
    if order.is_ready:
        return min(at_ms, order.ready_ms or at_ms)
    if promised_ms is None:
        promised_ms = order.placed_ms + UNPROMISED_MS
    overdue_ms = at_ms - promised_ms
    if overdue_ms > UNSAID_MS:
        return at_ms
    usual_ms = promised_ms + round(CAUTION * max(0, promised_ms - order.placed_ms))
    return max(usual_ms, at_ms + LEAST_OVERDUE_MS)


# ---------------------------------------------------------------- who and what may move


def standings(engine: Engine, mall_id: str, at_ms: int, rules: AutopilotRules) -> Standings:
    """Sorts the mall's orders that nobody has collected, and seats its drivers."""
    drivers = _drivers(engine, mall_id, at_ms, rules)
    orders: list[Order] = []
    kept: set[str] = set()
    out: list[Order] = []
    for order in engine.state.orders.values():
        if order.mall_id != mall_id or order.ended_ms is not None or order.status not in (*QUEUED, *GIVEN):
            continue
        word = standing(engine, order, at_ms, rules)
        if word != "out" and order.driver_id is not None and order.driver_id not in drivers:
            # Who is out of the plan for a moment keeps its orders; who is lost keeps only what people gave it.
            word = "free" if word == "free" and _lost(engine, order, at_ms) else "out"
        if word == "out":
            out.append(order)
            continue
        orders.append(order)
        if word == "kept":
            kept.add(order.id)
    planned = {order.id for order in orders}
    seats = tuple(seat(engine, driver, planned, at_ms) for driver in drivers.values())
    return Standings(tuple(orders), frozenset(kept), tuple(out), seats)


def standing(engine: Engine, order: Order, at_ms: int, rules: AutopilotRules) -> Standing:
    """Whether the autopilot may move an order that nobody has collected."""
    if order.held or touched_lately(order.touched_ms, at_ms, rules):
        return "out"
    if order.status in QUEUED:
        return "free"
    driver = engine.state.drivers[order.driver_id or ""]
    if touched_lately(driver.touched_ms, at_ms, rules) or _collecting(driver, engine.state.orders):
        return "out"
    if order.pinned or order.status == "arrived_at_pickup" or giver(order) != AUTOPILOT:
        return "kept"
    return "free"


def touched_lately(touched_ms: int, at_ms: int, rules: AutopilotRules) -> bool:
    """Whether a person decided so short ago that the autopilot stands down."""
    return touched_ms > 0 and at_ms - touched_ms < rules.stand_down_ms


def giver(order: Order) -> str:
    """Who gave the order to the driver it is with."""
    gave = ("assign", "reassign", "hand_over")
    return next((line.actor for line in reversed(order.history) if line.action in gave), "")


def _drivers(engine: Engine, mall_id: str, at_ms: int, rules: AutopilotRules) -> dict[str, Driver]:
    """Those the plan may use, by id in the order of ids: near enough, and nothing but their being full against it."""
    mall, known = engine.floor.malls[mall_id], engine.state.drivers
    near = {driver_id for driver_id, _ in engine.nearest(mall.lat, mall.lng, NEAREST, free_only=False)}
    near.update(driver.id for driver in known.values() if driver.order_ids)
    return {
        driver_id: known[driver_id]
        for driver_id in sorted(near)
        if unfit(known[driver_id], mall_id) is None
        and not touched_lately(known[driver_id].touched_ms, at_ms, rules)
    }  # fmt: skip


def _lost(engine: Engine, order: Order, at_ms: int) -> bool:
    driver = engine.state.drivers[order.driver_id or ""]
    return at_ms - max(driver.received_ms, driver.last_active_ms) >= LOST_MS


def _collecting(driver: Driver, orders: Mapping[str, Order]) -> bool:
    """Whether the driver has some goods of the trip in hand and is still to fetch others: that trip is made."""
    statuses = {orders[order_id].status for order_id in driver.order_ids}
    return "picked_up" in statuses and not statuses.isdisjoint(GIVEN)


def seat(engine: Engine, driver: Driver, planned: set[str], at_ms: int) -> Seat:
    """Where and when a driver is free of everything the plan does not decide."""
    ping, orders = driver.ping, engine.state.orders
    assert ping is not None, "a driver without a position is unfit"
    stops = driver.route
    for order_id in driver.order_ids:
        if order_id in planned:
            stops = without(stops, order_id)
    if stops:
        last = engine.planner.visits(ping.lat, ping.lng, at_ms, stops, orders)[-1]
        return Seat(driver, last.stop.lat, last.stop.lng, max(at_ms, last.depart_ms))
    standing_at = next((i for i in driver.order_ids if orders[i].status == "arrived_at_pickup"), None)
    return Seat(driver, ping.lat, ping.lng, at_ms, standing_at)


def _shift_end_ms(driver: Driver) -> int:
    return 2**53 if driver.shift_end_ms is None else driver.shift_end_ms


def _fix_age_ms(driver: Driver, at_ms: int) -> int:
    return max(0, at_ms - driver.ping.fix_ms) if driver.ping else 0


# ---------------------------------------------------------------- legs


class Ground:
    """Milliseconds between all places: seats first, then the counter of each order, then its door.

    As `Travel` has it: a leg to a counter is driving, parking and the walk in; one from it the walk out and driving;
    between counters of the mall it is walking only.
    """

    def __init__(
        self, mall: Mall, rules: TravelRules, seats: Sequence[Seat], orders: Sequence[Order], pace: float = 1.0
    ) -> None:
        """`pace` is how much longer driving takes than `Travel` has it, by what was learned."""
        self._mall, self._rules = mall, rules
        self._places = {place.id: place for place in mall.places}
        first = _points([self._place(order.stores[0]) for order in orders])
        last = _points([self._place(order.stores[-1]) for order in orders])
        inside_m = np.array([self._inside_m(order.stores) for order in orders], dtype=np.float64)
        doors_m = np.array([self._door_m(order.stores) for order in orders], dtype=np.float64)
        # Half the walk is before the goods are handed out and half after, as in `Planner.visits`.
        half_ms = self._walked_ms(inside_m + doors_m) // 2
        starts = _points([(seat.lat, seat.lng) for seat in seats])
        homes = _points([(order.dropoff.lat, order.dropoff.lng) for order in orders])
        s, n = len(seats), len(orders)
        at, to = slice(s, s + n), slice(s + n, None)
        self.legs = np.full((s + 2 * n,) * 2, NO_LEG_MS, dtype=np.int64)
        self.legs[:s, at] = drive_ms(starts, first, rules, pace) + rules.park_ms + half_ms
        self.legs[at, at] = self._walked_ms(WAY_BACK * (metres(last, first) + inside_m))
        self.legs[at, to] = drive_ms(first, homes, rules, pace) + half_ms[:, None]
        self.legs[to, at] = drive_ms(homes, first, rules, pace) + rules.park_ms + half_ms
        self.legs[to, to] = drive_ms(homes, homes, rules, pace)
        numbers = {order.id: s + number for number, order in enumerate(orders)}
        for number, seat in enumerate(seats):
            if seat.counter in numbers:
                self.legs[number, at] = self.legs[numbers[seat.counter], at]
                self.legs[number, numbers[seat.counter]] = 0

    def _place(self, store: str) -> tuple[float, float]:
        place = self._places.get(store)
        return (place.lat, place.lng) if place else (self._mall.lat, self._mall.lng)

    def _door_m(self, stores: tuple[str, ...]) -> float:
        """From the door to the first store and from the last one back."""
        return sum(place.walk_m for store in (stores[0], stores[-1]) if (place := self._places.get(store)) is not None)

    def _inside_m(self, stores: tuple[str, ...]) -> float:
        places = [self._place(store) for store in stores]
        return sum(flat_m(*a, *b) for a, b in pairwise(places))

    def _walked_ms(self, walked_m: Points) -> NDArray[np.int64]:
        return np.rint(1000 * walked_m / self._rules.walk_mps).astype(np.int64)


def _points(places: Sequence[tuple[float, float]]) -> Points:
    return np.array(places, dtype=np.float64).reshape(len(places), 2)


def metres(a: Points, b: Points) -> Points:
    """`flat_m` from each of `a` to each of `b`."""
    east = (b[None, :, 1] - a[:, None, 1] + 180.0) % 360.0 - 180.0
    middle = np.radians((a[:, None, 0] + b[None, :, 0]) / 2)
    return METRES_PER_DEG * np.hypot(b[None, :, 0] - a[:, None, 0], east * np.cos(middle))


def drive_ms(a: Points, b: Points, rules: TravelRules, pace: float = 1.0) -> NDArray[np.int64]:
    """`Travel.drive_ms` from each of `a` to each of `b`, times `pace`."""
    left = metres(a, b) * rules.circuity
    seconds = np.zeros_like(left)
    classes = ((LOCAL_M, rules.local_mps), (COLLECTOR_M, rules.collector_mps), (ARTERIAL_M, rules.arterial_mps))
    for stretch_m, mps in classes:
        on_it = np.minimum(left, stretch_m)
        seconds += on_it / mps
        left -= on_it
    return np.rint(1000 * pace * (seconds + left / rules.freeway_mps)).astype(np.int64)
