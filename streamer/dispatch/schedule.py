"""A plan in the making: every driver's loads in turn, what they cost, and what it would cost to put in one order more.

It must not know how plans are made better. Orders and drivers are indices; costs are milliseconds of one customer's
waiting. Every state that a `keep` left behind is a valid plan.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from streamer.dispatch.loads import Load, Loads, Orders
from streamer.dispatch.problem import NOWHERE, PlanOrder, Problem
from streamer.dispatch.reach import Reach, mates

NOBODY = -1
BARE_MS = 1e12
"""What it costs to leave a driver under way with nothing to collect: more than anything else together."""

Mark = tuple[int, int, float]
"""When and where a driver is free between two loads, and what it cost so far."""
Option = tuple[float, int, tuple[Load, ...]]
"""What an order would add, and the loads that replace those from an index of the route on."""


class Route(Struct, frozen=True, gc=False):
    """A driver's loads; `marks` has one more than `loads`."""

    loads: tuple[Load, ...]
    marks: tuple[Mark, ...]
    cost_ms: float
    options: dict[int, Option | None]
    """What orders would add to this very route, as far as it was asked."""


class Schedule:
    """All routes. `cost_ms` is that of the whole plan, kept up to date."""

    def __init__(self, problem: Problem) -> None:
        self.problem, self.settings = problem, problem.settings
        self.orders: tuple[PlanOrder, ...] = (*problem.orders, *problem.expected)
        self.drivers = problem.drivers
        self.real = len(problem.orders)
        """Orders from this index on are only expected."""
        self.legs: list[list[int]] = problem.legs.tolist()
        self.loads = Loads(self.orders, self.legs, problem.service, problem.settings)
        index = {driver.id: d for d, driver in enumerate(self.drivers)}
        self.told = [index.get(order.told or "", NOBODY) for order in self.orders]
        self._barred = [{index[driver] for driver in order.barred if driver in index} for order in self.orders]
        self._only = [NOBODY if order.only is None else index.get(order.only, len(index)) for order in self.orders]
        self._off_ms = [driver.off_ms + problem.service.pickup_ms // 2 for driver in self.drivers]
        self._home_ms = [driver.home_ms + problem.service.dropoff_ms // 2 for driver in self.drivers]
        self.most = [min(driver.capacity, self.settings.trip_orders) for driver in self.drivers]
        """Orders a trip, by driver."""
        self.heading = [self._heading(d) for d in range(len(self.drivers))]
        self.carrier = [NOBODY] * len(self.orders)
        self.cost_ms = sum(map(self.unserved_ms, range(len(self.orders))))
        self._known: dict[tuple[int, tuple[Orders, ...]], Route] = {}
        self.routes = [self._route(d, ()) for d in range(len(self.drivers))]
        self.cost_ms += sum(route.cost_ms for route in self.routes)
        self._old_routes: dict[int, Route] = {}
        self._old_carriers: dict[int, int] = {}
        self.kept_ms = self.cost_ms
        self._reach = Reach(problem, self.orders)
        self._mates = mates(problem, self.orders)

    def _heading(self, d: int) -> int:
        """Where a driver is under way to, if anything is left to collect there."""
        store = self.drivers[d].heading
        left = any(
            self.told[o] == d and order.pickups[0] == store and self.allows(o, d) for o, order in enumerate(self.orders)
        )
        return store if left else NOWHERE

    def unserved_ms(self, o: int) -> float:
        """What an order costs that nobody takes."""
        return self.settings.unserved_ms * self.orders[o].weight

    def change_ms(self, o: int, d: int) -> float:
        """What it costs to give an order to this driver after another was told."""
        return self.settings.told_ms if self.told[o] not in (NOBODY, d) else 0

    def allows(self, o: int, d: int) -> bool:
        """Whether people and vehicles let this driver take the order at all."""
        return self._only[o] in (NOBODY, d) and d not in self._barred[o] and self.most[d] > 0

    # ------------------------------------------------------------ what a route costs

    def start(self, d: int) -> Mark:
        """Where and when the driver's first load begins."""
        driver = self.drivers[d]
        return driver.free_ms, driver.place if driver.heading == NOWHERE else driver.heading, 0.0

    def leave_ms(self, mark: Mark, load: Load) -> int:
        """When a driver who is free at `mark` leaves with a load."""
        return max(mark[0] + self.legs[mark[1]][load.first] + load.gather_ms, load.ready_ms)

    def _route(self, d: int, loads: tuple[Load, ...]) -> Route:
        key = (d, tuple(load.orders for load in loads))
        route = self._known.get(key)
        if route is None:
            marks = [self.start(d)]
            for load in loads:
                marks.append(self._after(marks[-1], load, self.drivers[d].doubt_ms))
            route = Route(loads, tuple(marks), marks[-1][2] + self._bare_ms(d, loads), {})
            self._known[key] = route
        return route

    def _after(self, mark: Mark, load: Load, doubt_ms: int) -> Mark:
        leave_ms = self.leave_ms(mark, load)
        work_ms = self.legs[mark[1]][load.first] + load.gather_ms + load.length_ms
        cost_ms = load.weight * (leave_ms + doubt_ms) + load.constant_ms + self.settings.driver_minute * work_ms
        if leave_ms > load.relaxed_ms:
            cost_ms += self.settings.late_weight * load.late_ms(leave_ms, self.orders)
        return leave_ms + load.length_ms, load.last, mark[2] + cost_ms

    def _bare_ms(self, d: int, loads: Sequence[Load]) -> float:
        return BARE_MS if self.heading[d] != NOWHERE and not (loads and self._fits_way(d, loads[0])) else 0.0

    def _fits_way(self, d: int, load: Load) -> bool:
        return load.first == self.heading[d] and load.orders[0] < self.real

    def _tail_cost_ms(self, d: int, mark: Mark, loads: Sequence[Load]) -> float:
        """Of a route that has these loads from `mark` on; infinite when one is beyond the shift.

        The innermost loop: it is `_after` written out, and stops early.
        """
        time_ms, place, cost_ms = mark
        legs, settings = self.legs, self.settings
        off_ms, home_ms, doubt_ms = self._off_ms[d], self._home_ms[d], self.drivers[d].doubt_ms
        minute, late_weight = settings.driver_minute, settings.late_weight
        for load in loads:
            leg_ms = legs[place][load.first]
            leave_ms = time_ms + leg_ms + load.gather_ms
            if leave_ms < load.ready_ms:  # noqa: PLR1730 (three times as fast as max)
                leave_ms = load.ready_ms
            time_ms = leave_ms + load.length_ms
            if leave_ms > off_ms or time_ms > home_ms:
                return float("inf")
            work_ms = leg_ms + load.gather_ms + load.length_ms
            cost_ms += load.weight * (leave_ms + doubt_ms) + load.constant_ms + minute * work_ms
            if leave_ms > load.relaxed_ms:
                cost_ms += late_weight * load.late_ms(leave_ms, self.orders)
            place = load.last
        return cost_ms

    def fits(self, d: int, mark: Mark, loads: Sequence[Load]) -> bool:
        """Whether a driver can carry these loads out from `mark` on before its shift ends."""
        return self._tail_cost_ms(d, mark, loads) < float("inf")

    def sure(self, d: int) -> tuple[Load, ...]:
        """The driver's loads before the first that is only expected: what stands behind one is not planned yet."""
        loads = self.routes[d].loads
        count = next((at for at, load in enumerate(loads) if load.orders[0] >= self.real), len(loads))
        return loads[:count]

    # ------------------------------------------------------------ one order more

    def option(self, o: int, d: int) -> Option | None:
        """The cheapest way to put an order into a driver's route, or None when there is none."""
        options = self.routes[d].options
        if o not in options:
            options[o] = self._option(o, d) if self.allows(o, d) else None
        return options[o]

    def _option(self, o: int, d: int) -> Option | None:
        route = self.routes[d]
        best_ms, best_at = float("inf"), 0
        best_tail: tuple[Load, ...] = ()
        for at, tail in self._tails(o, d, route.loads):
            cost_ms = self._tail_cost_ms(d, route.marks[at], tail)
            if cost_ms < best_ms:
                best_ms, best_at, best_tail = cost_ms, at, tail
        if best_ms == float("inf"):
            return None
        bare_ms = self._bare_ms(d, (*route.loads[:best_at], *best_tail))
        return best_ms + bare_ms - route.cost_ms + self.change_ms(o, d), best_at, best_tail

    def _tails(self, o: int, d: int, loads: tuple[Load, ...]) -> Iterable[tuple[int, tuple[Load, ...]]]:
        """Every way: into a load there is, or as a load of its own."""
        heading = self.heading[d]
        for at, load in enumerate(loads):
            if len(load.key) < self.most[d] and (load.orders[0] < self.real) == (o < self.real):
                key = tuple(sorted((*load.key, o)))
                merged = self.loads.best(key, heading if at == 0 else NOWHERE)
                if merged is not None:
                    yield at, (merged, *loads[at + 1 :])
        if len(loads) < self.settings.trips_ahead:
            for at in range(len(loads) + 1):
                alone = self.loads.best((o,), heading if at == 0 else NOWHERE)
                if alone is not None and (at or heading == NOWHERE or o < self.real):
                    yield at, (alone, *loads[at:])

    # ------------------------------------------------------------ changes

    def assign(self, o: int, d: int, option: Option) -> None:
        """Put an order where `option` has it."""
        _, at, tail = option
        self._put(d, self._route(d, (*self.routes[d].loads[:at], *tail)))
        self._carry(o, d)
        self.cost_ms += self.change_ms(o, d) - self.unserved_ms(o)

    def assign_load(self, d: int, load: Load) -> None:
        """Put a load behind all others, whether or not it is within the shift."""
        self._put(d, self._route(d, (*self.routes[d].loads, load)))
        for o in load.orders:
            self._carry(o, d)
            self.cost_ms += self.change_ms(o, d) - self.unserved_ms(o)

    def take_out(self, orders: Iterable[int]) -> list[int]:
        """Take orders out, and with them what can then no longer stay as it is. Returns all that are out now."""
        gone = set(orders)
        for d in sorted({self.carrier[o] for o in gone} - {NOBODY}):
            kept: list[Load] = []
            for load in self.routes[d].loads:
                rest = load if gone.isdisjoint(load.key) else self._rest(d, load, gone, is_first=not kept)
                if rest is None:
                    gone.update(load.key)
                else:
                    kept.append(rest)
            if not self.fits(d, self.start(d), kept):
                # Legs are no metric: a way that leaves out a door can be longer, and then too long for the shift.
                gone.update(o for load in kept for o in load.key)
                kept = []
            self._put(d, self._route(d, tuple(kept)))
        for o in gone:
            if self.carrier[o] != NOBODY:
                self.cost_ms += self.unserved_ms(o) - self.change_ms(o, self.carrier[o])
                self._carry(o, NOBODY)
        return sorted(gone)

    def spared_ms(self, o: int) -> float:
        """What the plan would cost less without this order, were it not missed."""
        d = self.carrier[o]
        kept = [self._rest(d, load, {o}, is_first=not at) for at, load in enumerate(self.routes[d].loads)]
        rest = self._route(d, tuple(load for load in kept if load is not None))
        return self.routes[d].cost_ms - rest.cost_ms + self.change_ms(o, d)

    def _rest(self, d: int, load: Load, gone: set[int], *, is_first: bool) -> Load | None:
        key = tuple(o for o in load.key if o not in gone)
        return self.loads.best(key, self.heading[d] if is_first else NOWHERE) if key else None

    def _put(self, d: int, route: Route) -> None:
        self._old_routes.setdefault(d, self.routes[d])
        self.cost_ms += route.cost_ms - self.routes[d].cost_ms
        self._set(d, route)

    def _set(self, d: int, route: Route) -> None:
        self.routes[d] = route
        packed = all(len(load.key) >= self.most[d] for load in route.loads)
        self._reach.moved(d, route.marks[-1][0], route.marks[-1][1], len(route.loads), packed=packed)

    def _carry(self, o: int, d: int) -> None:
        self._old_carriers.setdefault(o, self.carrier[o])
        self.carrier[o] = d

    def keep(self) -> None:
        """Make all changes since the last `keep` final."""
        self._old_routes.clear()
        self._old_carriers.clear()
        self.kept_ms = self.cost_ms

    def undo(self) -> None:
        """Forget all changes since the last `keep`."""
        for d, route in self._old_routes.items():
            self._set(d, route)
        for o, d in self._old_carriers.items():
            self.carrier[o] = d
        self.cost_ms = self.kept_ms
        self.keep()

    # ------------------------------------------------------------ who to ask

    def tried(self, o: int) -> list[int]:
        """The drivers worth trying for an order: who could be there first, who was told, and who may share a trip."""
        only = self._only[o]
        if only != NOBODY:
            return [only] if only < len(self.drivers) else []
        there = {self.carrier[other] for other in self._mates[o]}
        return sorted({*self._reach.drivers(o), *there, self.told[o]} - {NOBODY})

    def are_mates(self, o: int, other: int) -> bool:
        """Whether whoever carries `other` is worth trying for `o`, however far away."""
        return other in self._mates[o]
