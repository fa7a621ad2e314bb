"""A driver's route: in which order it stops, and when it will be where.

It must not know commands or pings; it is given a place, a time and stops, and gives stops and times.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from streamer.core.events import Stop
from streamer.core.forecast import PARK_SPREAD, SERVICE_SPREAD, WALK_SPREAD, Forecast
from streamer.core.learned import Learned
from streamer.core.malls import Floor
from streamer.core.settings import LearningRules
from streamer.core.state import Driver, Order
from streamer.core.travel import Travel

LATE_MINUTE_COST = 4.0
"""One minute late weighs as much as this many minutes of a customer's waiting, when a stop is put into a route."""


class Visit(Struct, frozen=True):
    """One stop as it will happen. `eta_ms` is the pick-up or the handing over itself, between arrival and departure."""

    stop: Stop
    arrive_ms: int
    eta_ms: int
    depart_ms: int
    drive_ms: int
    walk_ms: int
    wait_ms: int
    variance: float = 0.0
    """Of `eta_ms`, in ms²; 0 where nothing is known of it."""
    left_variance: float = 0.0
    """Of `depart_ms`."""


class Planner:
    """Times routes and puts orders into them."""

    def __init__(self, floor: Floor, travel: Travel, forecast: Forecast | None = None) -> None:
        """Without a `forecast` stores keep their promises and drives take what the travel model says."""
        self.floor = floor
        self.travel = travel
        self.forecast = forecast or Forecast(travel, Learned(), LearningRules(learn=False, use=False))

    def stops_for(self, order: Order) -> tuple[Stop, Stop]:
        """Where an order is collected (its first store) and delivered."""
        mall = self.floor.malls[order.mall_id]
        store = mall.place(order.stores[0])
        lat, lng = (store.lat, store.lng) if store else (mall.lat, mall.lng)
        return (
            Stop("pickup", order.id, lat, lng),
            Stop("dropoff", order.id, order.dropoff.lat, order.dropoff.lng),
        )

    def visits(
        self, lat: float, lng: float, at_ms: int, stops: Sequence[Stop], orders: Mapping[str, Order]
    ) -> list[Visit]:
        """Follows the stops from a place and a time. Stops at one mall in a row are walked, not driven."""
        visits: list[Visit] = []
        here: tuple[float, float] = (lat, lng)
        mall_id: str | None = None
        now_ms, variance = at_ms, 0.0
        if stops and stops[0].kind == "dropoff" and orders[stops[0].order_id].status == "picked_up":
            at_ms, variance = self._out_of_mall(stops, orders, at_ms)
        for stop in stops:
            order = orders[stop.order_id]
            visit = self._visit(here, mall_id, at_ms, stop, order, now_ms, variance)
            visits.append(visit)
            here, at_ms, variance = (stop.lat, stop.lng), visit.depart_ms, visit.left_variance
            mall_id = None if stop.kind == "dropoff" else order.mall_id
        return visits

    def _visit(
        self, here: tuple[float, float], mall_id: str | None, at_ms: int, stop: Stop, order: Order, now_ms: int,
        variance: float,
    ) -> Visit:  # fmt: skip
        """The next stop of somebody who leaves `here` at `at_ms`, give or take `variance`, as seen at `now_ms`."""
        rules = self.travel.rules
        there = order.status == ("arrived_at_dropoff" if stop.kind == "dropoff" else "arrived_at_pickup")
        same_mall = stop.kind != "dropoff" and mall_id == order.mall_id
        drive_ms, doubt = 0, 0.0
        if not (there or same_mall):
            drive_ms, doubt = self.forecast.drive_of(order.mall_id, at_ms, *here, stop.lat, stop.lng)
            variance += doubt
        if stop.kind == "dropoff":
            leave_ms, doubt = self.forecast.leave_of(mall_id) if mall_id is not None else (0, 0.0)
            variance += doubt
            arrive_ms = at_ms + leave_ms + drive_ms
            half = rules.dropoff_ms // 2
            doubt = self.forecast.doubt(half, SERVICE_SPREAD)
            return Visit(
                stop, arrive_ms, arrive_ms + half, arrive_ms + 2 * half, drive_ms, leave_ms, 0, variance + doubt,
                variance + 4 * doubt,
            )  # fmt: skip
        if not (there or same_mall):
            variance += self.forecast.doubt(rules.park_ms, PARK_SPREAD)
        arrive_ms = at_ms + drive_ms + (0 if there or same_mall else rules.park_ms)
        walk_ms = self.travel.walk_ms(self.floor.malls[order.mall_id], order.stores)
        walk_doubt = self.forecast.doubt(walk_ms // 2, WALK_SPREAD)
        at_counter_ms, variance = (arrive_ms, variance) if there else (arrive_ms + walk_ms // 2, variance + walk_doubt)
        wait_ms, variance = self.forecast.wait(order, now_ms, at_counter_ms, variance)
        variance += self.forecast.doubt(rules.pickup_ms, SERVICE_SPREAD)
        eta_ms = at_counter_ms + wait_ms + rules.pickup_ms
        return Visit(
            stop, arrive_ms, eta_ms, eta_ms + walk_ms // 2, drive_ms, walk_ms, wait_ms, variance, variance + walk_doubt
        )

    def _out_of_mall(self, stops: Sequence[Stop], orders: Mapping[str, Order], at_ms: int) -> tuple[int, float]:
        """When somebody who has collected all it came for is out of the mall, and the variance of that."""
        inside = [order for stop in stops if (order := orders[stop.order_id]).status == "picked_up"]
        leave_ms, variance = self.forecast.leave_of(inside[0].mall_id)
        if not leave_ms:
            return at_ms, variance
        out_ms = max(order.picked_up_ms or 0 for order in inside) + self.walk_out_ms(inside) + leave_ms
        return max(at_ms, out_ms), variance

    def walk_out_ms(self, orders: Sequence[Order]) -> int:
        """The way to the car from where the last of these was collected."""
        last = max(orders, key=lambda order: (order.picked_up_ms or 0, order.id))
        return self.travel.walk_ms(self.floor.malls[last.mall_id], last.stores) // 2

    def insert(
        self, driver: Driver, order: Order, orders: Mapping[str, Order], at_ms: int, position: int | None = None
    ) -> tuple[Stop, ...]:
        """The driver's stops with this order put in where it costs the customers least.

        `position` fixes its rank among the driver's drop-offs (0 is delivered first). The stop the driver is standing
        at stays first. Cost: minutes until every delivery, plus `LATE_MINUTE_COST` a minute late.
        """
        pickup, dropoff = self.stops_for(order)
        route = driver.route
        lat, lng = place_of(driver, pickup)
        known = {**orders, order.id: order}
        best: tuple[float, int, int] | None = None
        for at in range(_first_free(route, orders), len(route) + 1):
            for to in range(at, len(route) + 1):
                if position is not None and _rank(route, to) != min(position, _rank(route, len(route))):
                    continue
                stops = (*route[:at], pickup, *route[at:to], dropoff, *route[to:])
                cost = _cost(self.visits(lat, lng, at_ms, stops, known), known)
                if best is None or (cost, at, to) < best:
                    best = (cost, at, to)
        at, to = best[1:] if best else (len(route), len(route))
        return (*route[:at], pickup, *route[at:to], dropoff, *route[to:])


def _cost(visits: Sequence[Visit], orders: Mapping[str, Order]) -> float:
    cost = 0.0
    for visit in visits:
        if visit.stop.kind == "dropoff":
            late_ms = max(0, visit.eta_ms - orders[visit.stop.order_id].due_ms)
            cost += (visit.eta_ms - visits[0].arrive_ms + visits[0].drive_ms + LATE_MINUTE_COST * late_ms) / 60_000
    return cost + visits[-1].depart_ms / 60_000


def _first_free(route: Sequence[Stop], orders: Mapping[str, Order]) -> int:
    """The first place in the route where something may still be put: after a stop the driver is standing at."""
    standing = ("arrived_at_pickup", "arrived_at_dropoff")
    return 1 if route and orders[route[0].order_id].status in standing else 0


def _rank(route: Sequence[Stop], to: int) -> int:
    return sum(stop.kind == "dropoff" for stop in route[:to])


def place_of(driver: Driver, otherwise: Stop) -> tuple[float, float]:
    """Where the driver is: its last believed fix, or, before the first, taken to be at the stop itself."""
    return (driver.ping.lat, driver.ping.lng) if driver.ping else (otherwise.lat, otherwise.lng)


def without(route: Sequence[Stop], order_id: str) -> tuple[Stop, ...]:
    """The stops less those of one order."""
    return tuple(stop for stop in route if stop.order_id != order_id)


def passed(route: Sequence[Stop], order_id: str, kind: str) -> tuple[Stop, ...]:
    """The stops less the one just made."""
    return tuple(stop for stop in route if not (stop.order_id == order_id and stop.kind == kind))


def timed(visits: Sequence[Visit]) -> tuple[Stop, ...]:
    """The stops with their times."""
    return tuple(replace(visit.stop, eta_ms=visit.eta_ms) for visit in visits)
