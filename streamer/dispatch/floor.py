"""Our floor as a planning problem: which orders may move, which drivers may take them, and how long every leg takes.

It must not decide anything, nor change anything: it reads the engine's state.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct

from streamer.core.commands import AUTOPILOT
from streamer.core.engine import Engine
from streamer.core.orders import GIVEN, QUEUED
from streamer.core.routes import without
from streamer.core.settings import AutopilotRules
from streamer.core.state import Driver, Order
from streamer.dispatch.candidates import unfit
from streamer.dispatch.costs import DRIVER_WEIGHT, FIX_AGE_WEIGHT, LATE_WEIGHT, TOLD_MIN, WAITING_WEIGHT
from streamer.dispatch.ground import NO_LEG_MS, Ground, Ways
from streamer.dispatch.problem import PlanDriver, PlanOrder, PlanSettings, Problem, Service

NEAREST = 300
"""Drivers looked at, nearest to the mall first; whoever was told something is looked at in any case."""
TRIED, AHEAD = 20, 2
"""Drivers tried for an order, and trips planned ahead of each."""
MATES = 0
"""Nobody is tried for what they carry beside those: with ten orders' drivers more, plans took longer and trips were
emptier (saturday-rush: 2.52 orders a trip for 2.67, 99.1 % in time for 99.3)."""
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
"""A plan aims to be this much before due: half of all trips leave the mall some minutes later than planned. Three
minutes more were not better (saturday-rush: 98.9 % in time, emptier trips)."""

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
    return laid_out(engine, mall_id, at_ms, rules)[0]


def laid_out(engine: Engine, mall_id: str, at_ms: int, rules: AutopilotRules) -> tuple[Problem, Ways]:
    """The problem, and what of its legs is driven where, for whoever knows better how long that takes."""
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
    problem = Problem(at_ms, tuple(plan_orders), drivers, ground.legs, service, settings_of(rules), last=last)
    return problem, Ways(ground.points, ground.point_of, ground.drives, ground.driven)


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
        unserved_ms=UNSERVED_MS, multi_pickup_ms=NO_LEG_MS, effort=60, drivers_tried=TRIED, mates_tried=MATES,
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
