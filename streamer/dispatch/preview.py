"""What a reassignment would do to every order of every driver it touches, before anybody commits to it.

It must not change anything.
"""

from itertools import zip_longest

from msgspec import Struct
from msgspec.structs import replace

from streamer.core.engine import Engine
from streamer.core.errors import CallerError
from streamer.core.events import Stop
from streamer.core.orders import GIVEN, QUEUED
from streamer.core.routes import Visit, place_of, without
from streamer.core.state import Driver, Order
from streamer.dispatch.candidates import as_unassigned, visits_of


class Effect(Struct, frozen=True):
    """One order before and after. Instants in UTC epoch milliseconds; lateness is past due, never negative."""

    order_id: str
    driver_before: str | None
    driver_after: str | None
    eta_before_ms: int | None
    eta_after_ms: int | None
    lateness_before_ms: int
    lateness_after_ms: int


def preview(
    engine: Engine, order_ids: tuple[str, ...], driver_id: str, positions: tuple[int | None, ...] = ()
) -> tuple[Effect, ...]:
    """The effects of giving these orders, in turn, to this driver: the moved ones first, then the rest by id.

    The routes are made by the very function that assigning uses, so when nothing else changes, this is what happens.
    `positions` are those of the commands that would be given, order by order; without them each order goes where it
    costs least.

    Raises:
        CallerError: an order or the driver is unknown, or an order has left the store.
    """
    driver = engine.state.drivers.get(driver_id)
    if driver is None:
        raise CallerError(f"there is no driver {driver_id}")
    orders = [_movable(engine, order_id) for order_id in dict.fromkeys(order_ids)]
    losers = sorted({order.driver_id for order in orders if order.driver_id not in (None, driver_id)})
    before = dict(_etas(visits_of(engine.planner, driver, engine)))
    after: dict[str, int] = {}
    for loser_id in losers:
        loser = engine.state.drivers[str(loser_id)]
        before.update(_etas(visits_of(engine.planner, loser, engine)))
        after.update(_after_losing(engine, loser, orders))
    after.update(_after_taking(engine, driver, orders, positions))
    moved = {order.id: driver_id for order in orders}
    touched = list(moved) + sorted({*before, *after} - moved.keys())
    return tuple(_effect(engine.state.orders[order_id], moved, before, after) for order_id in touched)


def _movable(engine: Engine, order_id: str) -> Order:
    order = engine.state.orders.get(order_id)
    if order is None:
        raise CallerError(f"there is no order {order_id}")
    if order.status not in (*QUEUED, *GIVEN):
        raise CallerError(f"order {order_id} is {order.status.replace('_', ' ')}: only a hand-over moves it now")
    return order


def _etas(visits: list[Visit]) -> dict[str, int]:
    return {visit.stop.order_id: visit.eta_ms for visit in visits if visit.stop.kind == "dropoff"}


def _timed(engine: Engine, driver: Driver, stops: tuple[Stop, ...], orders: dict[str, Order]) -> dict[str, int]:
    if not stops:
        return {}
    lat, lng = place_of(driver, stops[0])
    return _etas(engine.planner.visits(lat, lng, engine.state.at_ms, stops, orders))


def _after_losing(engine: Engine, loser: Driver, orders: list[Order]) -> dict[str, int]:
    stops = loser.route
    for order in orders:
        stops = without(stops, order.id)
    return _timed(engine, loser, stops, engine.state.orders)


def _after_taking(
    engine: Engine, driver: Driver, orders: list[Order], positions: tuple[int | None, ...]
) -> dict[str, int]:
    known = dict(engine.state.orders)
    taker = replace(driver)
    for order, position in zip_longest(orders, positions[: len(orders)]):
        taker.route = without(taker.route, order.id)
        known[order.id] = as_unassigned(order)
        taker.route = engine.planner.insert(taker, known[order.id], known, engine.state.at_ms, position)
    return _timed(engine, driver, taker.route, known)


def _effect(order: Order, moved: dict[str, str], before: dict[str, int], after: dict[str, int]) -> Effect:
    eta_before = before.get(order.id, order.eta_dropoff_ms)
    eta_after = after.get(order.id)
    return Effect(
        order.id, order.driver_id, moved.get(order.id, order.driver_id), eta_before, eta_after,
        max(0, (eta_before or 0) - order.due_ms), max(0, (eta_after or 0) - order.due_ms),
    )  # fmt: skip
