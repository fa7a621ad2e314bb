"""Rolling-horizon matching: bundles by insertion at each restaurant, then drivers to bundles by linear assignment.

It must not know anything of our own search. One restaurant a trip, as the paper has it.
Source: Reyes, Erera, Savelsbergh, Sahasrabudhe and O'Neil, "The Meal Delivery Routing Problem", 2018, section 4.
"""

import math
from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from scipy.optimize import linear_sum_assignment

from streamer.dispatch.problem import NOWHERE, Plan, PlanDriver, PlanOrder, Problem, Trip

MINUTE_MS = 60_000
NEVER = 1e12


class Tuning(Struct, frozen=True):
    """What the paper leaves to be set; these did best on four public instances."""

    orders_ahead_ms: int = 20 * MINUTE_MS
    """Orders ready within this from now are bundled and matched, to drivers free within as long."""
    size_orders_ms: int = 10 * MINUTE_MS
    """Orders ready within this from now, over the drivers free within the next, give the target size of bundles."""
    size_drivers_ms: int = 5 * MINUTE_MS
    delay_weight: float = 0.5
    """θ: what a minute of late pick-up takes from a match, whose worth is orders a minute of its driver."""
    spread_weight: float = 1.5
    """β: a minute an order waits for the others of its bundle, in minutes of driving."""


class Bundle(Struct, frozen=True):
    """Orders of one restaurant in the sequence of their drop-offs. `length_ms`: from leaving to the last drop-off."""

    store: int
    orders: tuple[PlanOrder, ...]
    ready_ms: int
    length_ms: int


class Matching:
    """One problem. `plan` may be called once."""

    def __init__(self, problem: Problem, tuning: Tuning) -> None:
        self.problem, self.tuning = problem, tuning
        self.legs = problem.legs.tolist()
        self.at_ms = problem.at_ms
        self.under_way = [driver for driver in problem.drivers if driver.heading != NOWHERE]
        self.until_ms = self.at_ms + tuning.orders_ahead_ms
        self.free = [d for d in problem.drivers if d.heading == NOWHERE and d.free_ms <= self.until_ms]
        self.most = min([problem.settings.trip_orders, *(driver.capacity for driver in problem.drivers)])
        ready = sum(order.ready_ms <= self.at_ms + tuning.size_orders_ms for order in problem.orders)
        soon = sum(driver.free_ms <= self.at_ms + tuning.size_drivers_ms for driver in problem.drivers)
        self.target_size = max(1, math.ceil(ready / max(1, soon)))

    def plan(self) -> Plan:
        """Those under way first, then the free; what is overdue already before what can still be in time."""
        trips: dict[str, tuple[Trip, ...]] = {}
        bundles: list[Bundle] = []
        for store, orders in self._by_store().items():
            waiting = [driver for driver in self.under_way if driver.heading == store]
            made = self._bundles(store, orders, len(waiting))
            matched = self._match(waiting, made)
            if len(matched) < len(waiting):
                matched = [(driver, self._told(store, driver, orders)) for driver in waiting]
                kept = {order.id for _, bundle in matched for order in bundle.orders}
                made = self._bundles(store, [order for order in orders if order.id not in kept], 0)
            for driver, bundle in matched:
                trips[driver.id] = (self._trip(driver, bundle),)
                if bundle in made:
                    made.remove(bundle)
            bundles += made
        free = list(self.free)
        for overdue in (True, False):
            group = [bundle for bundle in bundles if self._is_overdue(bundle) == overdue]
            for driver, bundle in self._match(free, group):
                trips[driver.id] = (self._trip(driver, bundle),)
                free.remove(driver)
        given = {order_id for (trip,) in trips.values() for order_id in trip.order_ids}
        return Plan(trips, tuple(order.id for order in self.problem.orders if order.id not in given), 0.0)

    def _by_store(self) -> dict[int, list[PlanOrder]]:
        told = {driver.id for driver in self.under_way}
        found: dict[int, list[PlanOrder]] = {}
        for order in sorted(self.problem.orders, key=lambda order: (order.ready_ms, order.id)):
            if order.told in told or order.ready_ms <= self.until_ms:
                found.setdefault(order.pickups[0], []).append(order)
        return found

    def _told(self, store: int, driver: PlanDriver, orders: Sequence[PlanOrder]) -> Bundle:
        theirs = [order for order in orders if order.told == driver.id]
        made = self._bundle(store, theirs[:1])
        for order in theirs[1:]:
            made = min(self._insertions(made, order), key=self._cost)
        return made

    # ---------------------------------------------------------------- bundles

    def _bundles(self, store: int, orders: Sequence[PlanOrder], at_least: int) -> list[Bundle]:
        """Parallel insertion in order of readiness, then each order once out and in again."""
        count = min(len(orders), max(at_least, math.ceil(len(orders) / min(self.target_size, self.most))))
        bundles: list[Bundle | None] = [None] * count
        for order in orders:
            self._insert(bundles, store, order)
        for order in orders:
            place = next(n for n, bundle in enumerate(bundles) if bundle is not None and order in bundle.orders)
            bundle = bundles[place]
            assert bundle is not None
            if len(bundle.orders) > 1:
                bundles[place] = self._bundle(store, [other for other in bundle.orders if other is not order])
                self._insert(bundles, store, order)
        return [bundle for bundle in bundles if bundle is not None]

    def _insert(self, bundles: list[Bundle | None], store: int, order: PlanOrder) -> None:
        """Where it costs least; into an empty bundle it costs a trip of its own."""
        best_cost, best_place, best = math.inf, -1, None
        for place, bundle in enumerate(bundles):
            if bundle is None:
                options, before = [self._bundle(store, [order])], 0.0
            elif len(bundle.orders) < self.most:
                options, before = self._insertions(bundle, order), self._cost(bundle)
            else:
                continue
            for option in options:
                cost = self._cost(option) - before
                if cost < best_cost:
                    best_cost, best_place, best = cost, place, option
        if best is None:
            bundles.append(self._bundle(store, [order]))
        else:
            bundles[best_place] = best

    def _insertions(self, bundle: Bundle, order: PlanOrder) -> list[Bundle]:
        orders = bundle.orders
        return [self._bundle(bundle.store, [*orders[:at], order, *orders[at:]]) for at in range(len(orders) + 1)]

    def _bundle(self, store: int, orders: Sequence[PlanOrder]) -> Bundle:
        here, length_ms = store, -(self.problem.service.dropoff_ms // 2)
        for order in orders:
            length_ms += self.legs[here][order.dropoff] + self.problem.service.dropoff_ms
            here = order.dropoff
        return Bundle(store, tuple(orders), max(order.ready_ms for order in orders), length_ms)

    def _cost(self, bundle: Bundle) -> float:
        """Driving, and what its orders wait for each other and on the way, beyond their earliest deliveries."""
        time_ms, here, waited_ms = (
            max(bundle.ready_ms, self.at_ms) + self.problem.service.pickup_ms // 2,
            bundle.store,
            0,
        )
        half_ms = self.problem.service.dropoff_ms // 2
        for order in bundle.orders:
            time_ms += self.legs[here][order.dropoff] + half_ms
            waited_ms += time_ms - order.earliest_ms
            time_ms += half_ms
            here = order.dropoff
        return bundle.length_ms + self.tuning.spread_weight * waited_ms

    # ---------------------------------------------------------------- drivers to bundles

    def _is_overdue(self, bundle: Bundle) -> bool:
        """Whether one of its orders is past due even if it is collected now."""
        late_ms = max(0, self.at_ms + self.problem.service.pickup_ms // 2 - bundle.ready_ms)
        return any(order.earliest_ms + late_ms > order.due_ms for order in bundle.orders)

    def _match(self, drivers: Sequence[PlanDriver], bundles: Sequence[Bundle]) -> list[tuple[PlanDriver, Bundle]]:
        """The assignment of the most orders a minute, less delay; whoever would collect after its shift is left out."""
        if not drivers or not bundles:
            return []
        half_ms = self.problem.service.pickup_ms // 2
        free_ms = np.array([driver.free_ms for driver in drivers])[:, None]
        arrive_ms = (
            free_ms
            + self.problem.legs[np.ix_([driver.place for driver in drivers], [bundle.store for bundle in bundles])]
        )
        ready_ms = np.array([bundle.ready_ms for bundle in bundles])
        pickup_ms = np.maximum(arrive_ms + half_ms, ready_ms)
        length_ms = np.array([bundle.length_ms + half_ms for bundle in bundles])
        sizes = np.array([len(bundle.orders) for bundle in bundles])
        busy_min = (pickup_ms + length_ms - free_ms) / MINUTE_MS
        cost = self.tuning.delay_weight * (pickup_ms - ready_ms) / MINUTE_MS - sizes / busy_min
        cost[pickup_ms > np.array([driver.off_ms for driver in drivers])[:, None]] = NEVER
        rows, columns = linear_sum_assignment(cost)
        return [
            (drivers[row], bundles[column])
            for row, column in zip(rows, columns, strict=True)
            if cost[row, column] < NEVER
        ]

    def _trip(self, driver: PlanDriver, bundle: Bundle) -> Trip:
        """Two stages: off if it must be before the next look; else the driver waits, and all of it may yet change."""
        arrive_ms = driver.free_ms + self.legs[driver.place][bundle.store]
        half_ms = self.problem.service.pickup_ms // 2
        leave_ms = max(arrive_ms + half_ms, bundle.ready_ms) + half_ms
        spare_ms = leave_ms - arrive_ms - self.problem.service.pickup_ms
        return Trip(tuple(order.id for order in bundle.orders), driver.free_ms + spare_ms, leave_ms, ())


def matching(problem: Problem) -> Plan:
    """A plan for the problem."""
    return Matching(problem, Tuning()).plan()
