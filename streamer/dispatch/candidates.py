"""Who could carry an order, best first, and why each of the others could not.

It must not change anything: it reads the engine's state, and its answer is a suggestion.
"""

from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from streamer.core import drivers as driving
from streamer.core.engine import Engine
from streamer.core.errors import CallerError
from streamer.core.orders import GIVEN, QUEUED
from streamer.core.routes import Planner, Visit, place_of
from streamer.core.state import Driver, Order
from streamer.dispatch.costs import terms_of

CONSIDERED = 24
"""Drivers costed exactly; the rest are further away than any of these."""

Reason = Literal[
    "off duty", "on break", "silent", "position doubtful", "no position", "full", "serves other malls",
    "declined before", "carries it now", "further away", "shift ends before delivery",
]  # fmt: skip


class Candidate(Struct, frozen=True):
    """A driver who could carry the order. `terms` are minutes and sum to `cost`; ETAs are UTC epoch milliseconds."""

    driver_id: str
    cost: float
    terms: dict[str, float]
    eta_pickup_ms: int
    eta_dropoff_ms: int
    regret_min: float | None = None
    """How much more it costs than the driver the plan has for the order, in minutes; below 0, it is cheaper for this
    order, and the plan has others in mind. None without a plan."""


class Excluded(Struct, frozen=True):
    """A driver who is not suggested, and why."""

    driver_id: str
    reason: Reason


class Ranking(Struct, frozen=True):
    """The best few by cost, and everybody else with the reason."""

    items: tuple[Candidate, ...]
    excluded: tuple[Excluded, ...]


def rank(engine: Engine, order_id: str, limit: int = 5) -> Ranking:
    """Ranks the drivers for an order that is not collected yet.

    Raises:
        CallerError: there is no such order, or it has left the store.
    """
    order = engine.state.orders.get(order_id)
    if order is None:
        raise CallerError(f"there is no order {order_id}")
    if order.status not in (*QUEUED, *GIVEN):
        raise CallerError(f"order {order_id} is {order.status.replace('_', ' ')}: only a hand-over moves it now")
    excluded: list[Excluded] = []
    fit: list[Driver] = []
    for driver in engine.state.drivers.values():
        reason = exclusion(driver, order)
        if reason is None:
            fit.append(driver)
        else:
            excluded.append(Excluded(driver.id, reason))
    near = _nearest(engine, order, fit)
    chosen = {driver.id for driver in near}
    excluded += [Excluded(driver.id, "further away") for driver in fit if driver.id not in chosen]
    costed: list[Candidate] = []
    for driver in near:
        candidate = cost_of(engine, order, driver)
        if _ends_too_early(driver, candidate):
            excluded.append(Excluded(driver.id, "shift ends before delivery"))
        else:
            costed.append(candidate)
    costed.sort(key=lambda candidate: (candidate.cost, candidate.driver_id))
    if order.advice is not None and (planned_min := order.advice.cost_min) is not None:
        costed = [replace(one, regret_min=round(one.cost - planned_min, 2)) for one in costed]
    excluded += [Excluded(candidate.driver_id, "further away") for candidate in costed[limit:]]
    return Ranking(tuple(costed[:limit]), tuple(sorted(excluded, key=lambda one: (one.reason, one.driver_id))))


def exclusion(driver: Driver, order: Order) -> Reason | None:
    """The hard rule that keeps this driver from being suggested, or None."""
    if order.driver_id == driver.id:
        return "carries it now"
    if driver.id in order.declined_by:
        return "declined before"
    return unfit(driver, order.mall_id) or ("full" if driving.room(driver) == 0 else None)


def unfit(driver: Driver, mall_id: str) -> Reason | None:
    """The hard rule that keeps a driver from being given any order of a mall, its room apart, or None."""
    checks: tuple[tuple[bool, Reason], ...] = (
        (driver.duty == "off_duty", "off duty"),
        (driver.duty == "on_break", "on break"),
        (bool(driver.mall_ids) and mall_id not in driver.mall_ids, "serves other malls"),
        (driver.ping is None, "no position"),
        (driver.state == "silent", "silent"),
        (bool(driver.jumps), "position doubtful"),
    )
    return next((reason for applies, reason in checks if applies), None)


def cost_of(engine: Engine, order: Order, driver: Driver) -> Candidate:
    """The exact cost of giving the order to this driver now, at its cheapest place in the route."""
    at_ms, orders = engine.state.at_ms, engine.state.orders
    before = visits_of(engine.planner, driver, engine)
    stops = engine.planner.insert(driver, as_unassigned(order), orders, at_ms)
    lat, lng = place_of(driver, stops[0])
    known = {**orders, order.id: as_unassigned(order)}
    after = engine.planner.visits(lat, lng, at_ms, stops, known)
    terms = terms_of(driver, order, before, after, known, at_ms).as_mapping()
    etas = {visit.stop.kind: visit.eta_ms for visit in after if visit.stop.order_id == order.id}
    return Candidate(driver.id, round(sum(terms.values()), 2), terms, etas["pickup"], etas["dropoff"])


def visits_of(planner: Planner, driver: Driver, engine: Engine) -> list[Visit]:
    """The driver's visits as they stand."""
    if not driver.route:
        return []
    lat, lng = place_of(driver, driver.route[0])
    return planner.visits(lat, lng, engine.state.at_ms, driver.route, engine.state.orders)


def as_unassigned(order: Order) -> Order:
    """The order as its next driver meets it: nobody is at the counter for it yet."""
    return replace(order, status="ready" if order.is_ready else "placed", driver_id=None)


def _nearest(engine: Engine, order: Order, fit: list[Driver]) -> list[Driver]:
    """The fit drivers nearest to the mall, by rings of hexes."""
    mall = engine.floor.malls[order.mall_id]
    allowed = {driver.id: driver for driver in fit}
    ranked = engine.nearest(mall.lat, mall.lng, len(engine.everyone), free_only=False)
    return [allowed[driver_id] for driver_id, _ in ranked if driver_id in allowed][:CONSIDERED]


def _ends_too_early(driver: Driver, candidate: Candidate) -> bool:
    return driver.shift_end_ms is not None and candidate.eta_dropoff_ms > driver.shift_end_ms
