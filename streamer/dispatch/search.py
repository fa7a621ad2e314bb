"""The search for a plan: orders into trips, trips onto drivers, better and better until the effort is spent.

It must not know what the places are. Every state between two rounds is a valid plan.

Source: regret insertion and large-neighbourhood search as in Ropke and Pisinger 2006 (doi:10.1287/trsc.1050.0135);
re-planning all that is not collected and committing only what must leave as in Reyes et al. 2018.
"""

from itertools import permutations

import numpy as np
from msgspec import Struct

from streamer.dispatch.problem import NOWHERE, Plan, Problem
from streamer.dispatch.problem import Trip as Planned


NEVER = 1 << 60


class Load(Struct, frozen=True, gc=False):
    """A set of orders carried out at once, in its best sequence: two numbers say when it leaves, two what it costs.

    It leaves at max(arrival + `gather_ms`, `ready_ms`), and its drop-offs follow at fixed distances from there.
    """

    orders: tuple[int, ...]
    first: int
    gather_ms: int
    ready_ms: int
    count: float
    constant_ms: float
    relaxed_ms: int
    """Leaving no later than this, nobody is late."""
    last: int
    length_ms: int
    offsets: tuple[int, ...]


class Search:
    """One search over one problem. Costs are milliseconds of customers' waiting."""

    def __init__(self, problem: Problem, seed: int) -> None:
        self.problem = problem
        settings, service = problem.settings, problem.service
        self.orders, self.drivers = problem.orders, problem.drivers
        self.legs: list[list[int]] = problem.legs.tolist()
        self.half_pickup = service.pickup_ms // 2
        self.pickup = service.pickup_ms
        self.half_dropoff = service.dropoff_ms // 2
        self.dropoff = service.dropoff_ms
        self.minute = settings.driver_minute
        self.late = settings.late_weight
        self.random = np.random.default_rng(seed)
        self.loads: dict[tuple[int, ...], Load] = {}
        self.end = self._ends()
        self.routes: list[list[Load]] = [[] for _ in self.drivers]
        self.marks: list[list[tuple[int, int, float]]] = [[(d.free_ms, d.place, 0.0)] for d in self.drivers]
        self.total: list[float] = [self.end[d.place] for d in self.drivers]
        self.where = [-1] * len(self.orders)
        self.number = {driver.id: d for d, driver in enumerate(self.drivers)}
        self.told = [self.number.get(order.told or "", -1) for order in self.orders]
        self.barred = [{self.number[i] for i in o.barred if i in self.number} for o in self.orders]
        self.fixed = [self.number.get(o.only or "", -1) for o in self.orders]
        self.off = [d.off_ms + self.half_pickup for d in self.drivers]
        self.home = [d.home_ms + self.half_dropoff for d in self.drivers]
        self.place_d = np.array([d.heading if d.heading != NOWHERE else d.place for d in self.drivers], dtype=np.int64)
        self.end_t = np.array([d.free_ms for d in self.drivers], dtype=np.int64)
        self.end_p = self.place_d.copy()
        self.start_t = self.end_t.copy()
        self.start_p = self.place_d.copy()
        self.doubt = np.array([d.doubt_ms for d in self.drivers], dtype=np.int64)
        self.off_np = np.array(self.off)
        self.under_way = np.array([d.heading != NOWHERE for d in self.drivers], dtype=bool)
        self.full = np.zeros(len(self.drivers), dtype=bool)
        self.evaluations = 0
        self.known: dict[tuple[object, ...], dict[int, tuple[float, int, list[Load]] | None]] = {}
        self.found: list[dict[int, tuple[float, int, list[Load]] | None]] = [{} for _ in self.drivers]
        self.at_store: dict[int, list[int]] = {}
        for o, order in enumerate(self.orders):
            self.at_store.setdefault(order.pickups[0], []).append(o)

    def _ends(self) -> list[float]:
        problem = self.problem
        n = len(problem.legs)
        weight = problem.settings.end_weight
        if not problem.demand or not weight:
            return [0.0] * n
        stores = np.array([place for place, _ in problem.demand])
        rates = np.array([rate for _, rate in problem.demand])
        legs = problem.legs[:, stores]
        order = np.argsort(legs, axis=1, kind="stable")
        sorted_legs = np.take_along_axis(legs, order, axis=1)
        share = np.cumsum(rates[order] / rates.sum(), axis=1)
        before = np.concatenate([np.zeros((n, 1)), share[:, :-1]], axis=1)
        part = np.clip(problem.settings.near_share - before, 0, None)
        part = np.minimum(part, share - before)
        result: list[float] = (weight * (part * sorted_legs).sum(axis=1) / part.sum(axis=1)).tolist()
        return result

    # Loads

    def load(self, orders: tuple[int, ...]) -> Load:
        """The best load of a set of orders (sorted indices), remembered."""
        found = self.loads.get(orders)
        if found is None:
            found = self.loads[orders] = self._sequence(orders)
        return found

    def _sequence(self, orders: tuple[int, ...]) -> Load:
        if len(orders) <= 3:
            return min((self._timed(s) for s in permutations(orders)), key=self._worth)
        best = self.load(orders[:-1]).orders
        new = orders[-1]
        options = [self._timed((*best[:i], new, *best[i:])) for i in range(len(best) + 1)]
        other = self.load(orders[1:]).orders
        options += [self._timed((*other[:i], orders[0], *other[i:])) for i in range(len(other) + 1)]
        return min(options, key=self._worth)

    def _worth(self, load: Load) -> float:
        return load.count * load.ready_ms + load.constant_ms + self.minute * load.length_ms

    def _timed(self, sequence: tuple[int, ...]) -> Load:
        legs, orders = self.legs, self.orders
        stores = list(dict.fromkeys(p for o in sequence for p in orders[o].pickups))
        first = here = stores[0]
        gather = self.pickup
        for store in stores[1:]:
            gather += legs[here][store] + self.pickup
            here = store
        # leaving = max over stores of (ready there + what is left to do)
        ready = 0
        left = self.half_pickup
        for number in range(len(stores) - 1, -1, -1):
            store = stores[number]
            at = max((orders[o].ready_ms for o in sequence if store in orders[o].pickups))
            ready = max(ready, at + left)
            if number:
                left += self.pickup + legs[stores[number - 1]][store]
        t = 0
        constant = 0.0
        weight = 0.0
        relaxed = 1 << 62
        offsets = []
        for o in sequence:
            order = orders[o]
            t += legs[here][order.dropoff] + self.half_dropoff
            offsets.append(t)
            constant += order.weight * (t - order.earliest_ms)
            weight += order.weight
            relaxed = min(relaxed, order.due_ms - t)
            t += self.half_dropoff
            here = order.dropoff
        return Load(sequence, first, gather, ready, weight, constant, relaxed, here, t, tuple(offsets))

    # Routes

    def _follow(self, d: int, at: int, loads: list[Load]) -> float | None:
        """Cost of these loads from mark `at` on, or None when one is after the shift."""
        t, place, cost = self.marks[d][at]
        legs, minute, off, home = self.legs, self.minute, self.off[d], self.home[d]
        self.evaluations += 1
        for load in loads:
            leg = legs[place][load.first]
            leave = t + leg + load.gather_ms
            if leave < load.ready_ms:
                leave = load.ready_ms
            if leave > off or leave + load.length_ms > home:
                return None
            cost += load.count * leave + load.constant_ms + minute * (leg + load.gather_ms + load.length_ms)
            if leave > load.relaxed_ms:
                cost += self._lateness(load, leave)
            t = leave + load.length_ms
            place = load.last
        return cost + self.end[place]

    def _lateness(self, load: Load, leave: int) -> float:
        return self.late * sum(
            max(0, leave + offset - self.orders[o].due_ms) for o, offset in zip(load.orders, load.offsets, strict=True)
        )

    def _put(self, d: int, loads: list[Load]) -> None:
        """Makes this the driver's route."""
        driver = self.drivers[d]
        t, place, cost = driver.free_ms, driver.place if driver.heading == NOWHERE else driver.heading, 0.0
        marks = [(t, place, cost)]
        legs, minute = self.legs, self.minute
        for load in loads:
            leg = legs[place][load.first]
            leave = max(t + leg + load.gather_ms, load.ready_ms)
            cost += load.count * leave + load.constant_ms + minute * (leg + load.gather_ms + load.length_ms)
            if leave > load.relaxed_ms:
                cost += self._lateness(load, leave)
            t, place = leave + load.length_ms, load.last
            marks.append((t, place, cost))
        self.routes[d], self.marks[d] = loads, marks
        self.total[d] = cost + self.end[place]
        self.found[d] = self.known.setdefault((d, *[load.orders for load in loads]), {})
        self.end_t[d], self.end_p[d] = t, place
        self.full[d] = len(loads) >= self.problem.settings.trips_ahead

    def cost(self) -> float:
        """Of the whole plan."""
        total = sum(self.total)
        for o, d in enumerate(self.where):
            if d < 0:
                total += self.problem.settings.unserved_ms
            elif self.told[o] >= 0 and self.told[o] != d:
                total += self.problem.settings.told_ms
        return total

    def place(self, o: int, d: int) -> tuple[float, int, list[Load]] | None:
        found = self.found[d]
        if o in found:
            return found[o]
        found[o] = result = self.best_place(o, d)
        return result

    def best_place(self, o: int, d: int) -> tuple[float, int, list[Load]] | None:
        """The cheapest way to put an order into a driver's route: what it adds, from which mark on, the new tail."""
        if self.drivers[d].capacity < 1 or d in self.barred[o] or self.fixed[o] not in (-1, d):
            return None
        route, marks = self.routes[d], self.marks[d]
        settings = self.problem.settings
        best_cost, best_at = float("inf"), -1
        best_tail: list[Load] = []
        pickups = self.orders[o].pickups
        heading = self.drivers[d].heading
        limit = min(self.drivers[d].capacity, settings.trip_orders)
        for at, load in enumerate(route):
            if len(load.orders) < limit and self._together(load, pickups):
                merged = self.load(tuple(sorted((*load.orders, o))))
                if at == 0 and heading != NOWHERE and merged.first != heading:
                    continue
                tail = [merged, *route[at + 1 :]]
                cost = self._follow(d, at, tail)
                if cost is not None and cost < best_cost:
                    best_cost, best_at, best_tail = cost, at, tail
        if len(route) < settings.trips_ahead:
            alone = self.load((o,))
            start = 1 if heading != NOWHERE and alone.first != heading else 0
            if start == 1 and not route:
                return None
            for at in range(start, len(route) + 1):
                if at == 0 and heading != NOWHERE and alone.first != heading:
                    continue
                tail = [alone, *route[at:]]
                cost = self._follow(d, at, tail)
                if cost is not None and cost < best_cost:
                    best_cost, best_at, best_tail = cost, at, tail
        if best_at < 0:
            return None
        change = settings.told_ms if self.told[o] >= 0 and self.told[o] != d else 0
        return best_cost - self.total[d] + change + self.drivers[d].doubt_ms, best_at, best_tail

    def _together(self, load: Load, pickups: tuple[int, ...]) -> bool:
        if load.first == pickups[0] and len(pickups) == 1:
            return True
        reach = self.problem.settings.multi_pickup_ms
        return reach > 0 and self.legs[load.first][pickups[0]] <= reach

    def tried(self, o: int) -> list[int]:
        """The drivers worth trying for an order: those who could be at its store first, and those who go there anyway."""
        if not self.drivers:
            return []
        store = self.orders[o].pickups[0]
        column = self.problem.legs[:, store]
        ready = self.orders[o].ready_ms - self.half_pickup
        start = self.start_t + column[self.start_p]
        end = self.end_t + column[self.end_p]
        from_start = np.maximum(start, ready) + 0.2 * column[self.start_p]
        from_end = np.maximum(end, ready) + 0.2 * column[self.end_p]
        from_start[self.under_way] = NEVER
        from_start[start > self.off_np] = NEVER
        from_end[end > self.off_np] = NEVER
        from_end[self.full] = NEVER
        arrive = np.minimum(from_start, from_end) + self.doubt
        k = self.problem.settings.drivers_tried
        n = len(self.drivers)
        chosen = list(range(n)) if n <= k else np.argpartition(arrive, k)[:k].tolist()
        there = {self.where[other] for other in self.at_store[store]}
        for extra in (self.told[o], self.fixed[o], *there):
            if extra >= 0 and extra not in chosen:
                chosen.append(extra)
        return sorted(chosen)

    def insert_all(self, orders: list[int], noise: float = 0.0) -> None:
        """Puts orders in by regret: first the one that would suffer most from waiting for its second choice."""
        options: dict[int, dict[int, tuple[float, int, list[Load]]]] = {}
        for o in orders:
            options[o] = {}
            for d in self.tried(o):
                found = self.place(o, d)
                if found is not None:
                    options[o][d] = found
        pending = list(orders)
        unserved = float(self.problem.settings.unserved_ms)
        while pending:
            best_o, best_d, best_key = -1, -1, (float("-inf"), 0.0)
            for o in pending:
                first = second = unserved
                first_d = -1
                for d, (delta, _, _) in options[o].items():
                    if delta < first:
                        first, second, first_d = delta, first, d
                    elif delta < second:
                        second = delta
                if first_d < 0:
                    continue
                key = (second - first, -first)
                if key > best_key:
                    best_o, best_d, best_key = o, first_d, key
            if best_o < 0:
                return
            _, at, tail = options[best_o][best_d]
            self._put(best_d, [*self.routes[best_d][:at], *tail])
            self.where[best_o] = best_d
            pending.remove(best_o)
            store = self.orders[best_o].pickups[0]
            for o in pending:
                if best_d in options[o] or self.orders[o].pickups[0] == store:
                    found = self.place(o, best_d)
                    if found is None:
                        options[o].pop(best_d, None)
                    else:
                        options[o][best_d] = found

    def remove(self, orders: list[int]) -> None:
        """Takes orders out of their routes."""
        for d in {self.where[o] for o in orders if self.where[o] >= 0}:
            gone = {o for o in orders if self.where[o] == d}
            kept: list[Load] = []
            for load in self.routes[d]:
                if gone.isdisjoint(load.orders):
                    kept.append(load)
                else:
                    rest = tuple(sorted(o for o in load.orders if o not in gone))
                    if rest:
                        kept.append(self.load(rest))
            self._put(d, kept)
        for o in orders:
            self.where[o] = -1

    def feasible_start(self) -> bool:
        """Whether every driver under way still has a load at the store it heads for."""
        return all(
            driver.heading == NOWHERE or (self.routes[d] and self.routes[d][0].first == driver.heading)
            for d, driver in enumerate(self.drivers)
        )

    def improve(self, rounds: int) -> int:
        """Large-neighbourhood search: take related orders out, put them back, keep what is better."""
        n = len(self.orders)
        if n < 2 or not self.drivers:
            return 0
        place = np.array([order.pickups[0] for order in self.orders])
        drop = np.array([order.dropoff for order in self.orders])
        ready = np.array([order.ready_ms for order in self.orders])
        legs = self.problem.legs
        related: dict[int, list[int]] = {}
        cost = self.cost()
        draws = self.random.random((rounds, 3)).tolist()
        done = 0
        for pick, size, spread in draws:
            done += 1
            seed = int(pick * n)
            if seed not in related:
                nearness = legs[place[seed]][place] + 0.5 * legs[drop[seed]][drop] + 0.5 * np.abs(ready - ready[seed])
                related[seed] = np.argsort(nearness, kind="stable").tolist()
            k = min(n, 3 + int(size * 8))
            if spread < 0.35:
                near = related[seed][: 4 * k]
                chosen = sorted(set(near[i] for i in self.random.permutation(len(near))[:k].tolist()) | {seed})
            elif spread < 0.7:
                chosen = sorted(related[seed][:k])
            else:
                ds = []
                for o in related[seed]:
                    if self.where[o] >= 0 and self.where[o] not in ds:
                        ds.append(self.where[o])
                    if len(ds) == 3:
                        break
                chosen = sorted(o for o in range(n) if self.where[o] in ds or o == seed)
            touched_before = {}
            where_before = list(self.where)
            before_routes = list(self.routes)
            before_marks = list(self.marks)
            found = list(self.found)
            total = list(self.total)
            end_t, end_p, full = self.end_t.copy(), self.end_p.copy(), self.full.copy()
            self.remove(chosen)
            # the drivers under way first
            self.insert_all(chosen)
            new = self.cost()
            if new < cost - 1 and self.feasible_start():
                cost = new
            else:
                self.where, self.routes, self.marks, self.found = where_before, before_routes, before_marks, found
                self.total = total
                self.end_t, self.end_p, self.full = end_t, end_p, full
        return done


def plan(problem: Problem, seed: int = 0) -> Plan:
    """A plan for the problem."""
    search = Search(problem, seed)
    horizon = problem.at_ms + problem.settings.horizon_ms
    # the told first: drivers under way keep what they have
    for d, driver in enumerate(search.drivers):
        if driver.heading != NOWHERE or d in search.told:
            theirs = tuple(o for o in range(len(search.orders)) if search.told[o] == d)
            search._put(d, [search.load(theirs)])
            for o in theirs:
                search.where[o] = d
    fresh = [o for o in range(len(search.orders)) if search.where[o] < 0 and search.orders[o].ready_ms <= horizon]
    search.insert_all(fresh)
    rounds = search.improve(problem.settings.effort)
    return search_result(search, rounds)


def search_result(search: Search, rounds: int) -> Plan:
    trips: dict[str, tuple[Planned, ...]] = {}
    for d, route in enumerate(search.routes):
        if not route:
            continue
        planned = []
        for (t, place, _), load in zip(search.marks[d], route, strict=False):
            leg = search.legs[place][load.first]
            leave = max(t + leg + load.gather_ms, load.ready_ms)
            depart = max(t, leave - load.gather_ms - leg)
            planned.append(
                Planned(tuple(search.orders[o].id for o in load.orders), depart, leave, tuple(leave + x for x in load.offsets))
            )
        trips[search.drivers[d].id] = tuple(planned)
    unserved = tuple(search.orders[o].id for o, d in enumerate(search.where) if d < 0)
    return Plan(trips, unserved, search.cost(), rounds)
