"""A driver's stops, worded for the driver: addresses, stores, and what the customer wrote.

It must not know sockets, nor how a route came about.
"""

from collections.abc import Sequence

from msgspec import UNSET

from streamer.core.engine import Engine
from streamer.core.events import Stop
from streamer.core.malls import Mall
from streamer.core.state import Driver, Order
from streamer.edge.wire import Route, RouteStop, RouteStore


def route_of(engine: Engine, assignment: int, stops: Sequence[Stop], driver_id: str | None = None) -> Route:
    """The message that tells a driver, or with `driver_id` a gateway, all its stops."""
    worded = tuple(_stop(engine, stop) for stop in stops)
    return Route(assignment, worded, UNSET if driver_id is None else driver_id)


def route_now(engine: Engine, driver: Driver, driver_id: str | None = None) -> Route:
    """The route as the engine has it now; tell nobody before it is durable."""
    return route_of(engine, driver.assignment, driver.route, driver_id)


def _stop(engine: Engine, stop: Stop) -> RouteStop:
    order = engine.state.orders.get(stop.order_id)
    mall = engine.floor.malls.get(order.mall_id) if order else None
    if order is None or mall is None:
        # The order was forgotten between the change and its telling.
        return RouteStop(stop.kind, stop.order_id, stop.lat, stop.lng, "", stop.eta_ms)
    if stop.kind == "dropoff":
        to = order.dropoff
        return RouteStop(
            stop.kind, stop.order_id, stop.lat, stop.lng, to.address, stop.eta_ms, name=to.name, notes=to.notes
        )
    until_ms = UNSET if order.offered_until_ms is None else order.offered_until_ms
    return RouteStop(
        stop.kind, stop.order_id, stop.lat, stop.lng, mall.name, stop.eta_ms, mall.id, _stores(mall, order),
        offered_until_ms=until_ms,
    )  # fmt: skip


def _stores(mall: Mall, order: Order) -> tuple[RouteStore, ...]:
    places = ((store_id, mall.place(store_id)) for store_id in order.stores)
    return tuple(RouteStore(store_id, place.name if place else store_id) for store_id, place in places)
