"""The search for a plan: orders in by regret, then some out and in again, better and better until the effort is spent.

It must not know what the places are, nor the time: whoever is in a hurry says when to stop.
Source: regret insertion and large-neighbourhood search as in Ropke and Pisinger 2006 (doi:10.1287/trsc.1050.0135);
planning all that is not collected and committing only what must leave as in Reyes et al. 2018.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet

import numpy as np

from streamer.dispatch.loads import Load
from streamer.dispatch.problem import NOWHERE, Plan, Problem, Trip
from streamer.dispatch.schedule import NOBODY, Mark, Option, Schedule
from streamer.dispatch.verdicts import verdicts

LEAST_MS = 1.0
"""A plan is better when it is by so much; less is rounding."""
SMALLEST, SPREAD = 3, 8
"""Orders taken out at once: `SMALLEST` and up to `SPREAD` more."""
WHOLE_ROUTES = 3
BLOCK = 1024


def plan(problem: Problem, seed: int = 0, stop: Callable[[], bool] | None = None) -> Plan:
    """The best plan found in `settings.effort` rounds, or until `stop`, asked before each, says so.

    The same problem and seed give the same plan; with more rounds, one that costs no more.
    """
    schedule = Schedule(problem)
    horizon_ms = problem.at_ms + problem.settings.horizon_ms
    far = {
        o
        for o, order in enumerate(problem.orders)
        if order.ready_ms > horizon_ms and schedule.told[o] == NOBODY and order.only is None
    }
    orders = [o for o in range(len(schedule.orders)) if o not in far]
    begin(schedule, orders)
    rounds = 0
    for _ in improve(schedule, orders, seed):
        if rounds >= problem.settings.effort or (stop is not None and stop()):
            break
        rounds += 1
    return written(schedule, far, rounds)


def begin(schedule: Schedule, orders: Sequence[int]) -> None:
    """The first plan: who is under way keeps what it was told, who was told is asked first, the rest by regret."""
    for d, heading in enumerate(schedule.heading):
        if heading != NOWHERE:
            theirs = [o for o in orders if schedule.told[o] == d and schedule.allows(o, d)]
            schedule.assign_load(d, _under_way(schedule, d, theirs))
    for o in orders:
        told = schedule.told[o]
        if told != NOBODY and schedule.carrier[o] == NOBODY:
            option = schedule.option(o, told)
            if option is not None:
                schedule.assign(o, told, option)
    _begin_from_last(schedule, orders)
    insert(schedule, [o for o in orders if schedule.carrier[o] == NOBODY])
    left = [o for o in orders if schedule.carrier[o] == NOBODY and o < schedule.real]
    insert(schedule, left, ask_all=True)
    schedule.keep()


def _begin_from_last(schedule: Schedule, orders: Sequence[int]) -> None:
    """Puts back the trips of the last plan that are still possible, for drivers with nothing to do yet."""
    drivers = {driver.id: d for d, driver in enumerate(schedule.drivers)}
    free = {schedule.orders[o].id: o for o in orders if schedule.carrier[o] == NOBODY}
    for driver_id, order_ids in schedule.problem.last:
        d = drivers.get(driver_id, NOBODY)
        theirs = sorted(free[order_id] for order_id in order_ids if order_id in free)
        if d == NOBODY or not theirs or schedule.routes[d].loads or len(theirs) > schedule.most[d]:
            continue
        load = schedule.loads.best(tuple(theirs)) if all(schedule.allows(o, d) for o in theirs) else None
        if load is not None and schedule.fits(d, schedule.start(d), (load,)):
            schedule.assign_load(d, load)
            for order_id in order_ids:
                free.pop(order_id, None)


def _under_way(schedule: Schedule, d: int, theirs: list[int]) -> Load:
    """What a driver under way collects: all it was told, or as many of it as fit and may share a trip from there."""
    orders, heading = schedule.orders, schedule.heading[d]
    theirs.sort(key=lambda o: (orders[o].pickups[0] != heading, orders[o].ready_ms, o))
    counts = range(min(len(theirs), schedule.most[d]), 0, -1)
    loads = (schedule.loads.best(tuple(sorted(theirs[:count])), heading) for count in counts)
    return next(load for load in loads if load is not None)


def insert(schedule: Schedule, orders: Iterable[int], *, ask_all: bool = False) -> None:
    """Put orders in by regret: first the one that would suffer most from getting its second choice."""
    pending = list(orders)
    everyone = range(len(schedule.drivers))
    options: dict[int, dict[int, Option]] = {}
    ranks: dict[int, tuple[float, float, int] | None] = {}
    for o in pending:
        options[o] = {}
        for d in everyone if ask_all else schedule.tried(o):
            option = schedule.option(o, d)
            if option is not None:
                options[o][d] = option
        ranks[o] = _rank(options[o], schedule.unserved_ms(o))
    while pending:
        best, best_rank = NOBODY, (float("-inf"), 0.0, NOBODY)
        for o in pending:
            rank = ranks[o]
            if rank is not None and rank[:2] > best_rank[:2]:
                best, best_rank = o, rank
        if best == NOBODY:
            return
        d = best_rank[2]
        schedule.assign(best, d, options[best][d])
        pending.remove(best)
        for o in pending:
            if d in options[o] or schedule.are_mates(o, best):
                option = schedule.option(o, d)
                if option is None:
                    options[o].pop(d, None)
                else:
                    options[o][d] = option
                ranks[o] = _rank(options[o], schedule.unserved_ms(o))


def _rank(options: dict[int, Option], unserved_ms: float) -> tuple[float, float, int] | None:
    """Regret, cheapness and the cheapest driver; None when nobody is cheaper than leaving it."""
    first_ms = second_ms = unserved_ms
    first = NOBODY
    for d, (added_ms, _, _) in options.items():
        if added_ms < first_ms:
            first_ms, second_ms, first = added_ms, first_ms, d
        elif added_ms < second_ms:
            second_ms = added_ms
    return None if first == NOBODY else (second_ms - first_ms, -first_ms, first)


# ---------------------------------------------------------------- better and better


def improve(schedule: Schedule, orders: Sequence[int], seed: int) -> Iterator[None]:
    """Rounds without end, each asked for by the caller: take related orders out, put them back, keep what is better."""
    if not orders or not schedule.drivers:
        return
    related = Related(schedule, orders)
    draws = uniform(seed)
    while True:
        yield
        out = schedule.take_out(related.draw(draws))
        before_ms = schedule.kept_ms
        insert(schedule, out)
        if schedule.cost_ms < before_ms - LEAST_MS:
            schedule.keep()
        else:
            schedule.undo()


def uniform(seed: int) -> Iterator[float]:
    """Numbers from 0 to 1 without end; however many are taken, the same seed gives the same."""
    random = np.random.Generator(np.random.PCG64(seed))
    while True:
        yield from random.random(BLOCK).tolist()


class Related:
    """Orders whose places and times are alike: to change one for the better, the others must move too."""

    def __init__(self, schedule: Schedule, orders: Sequence[int]) -> None:
        self._schedule, self._orders = schedule, orders
        of = [schedule.orders[o] for o in orders]
        self._stores = np.array([order.pickups[0] for order in of])
        self._doors = np.array([order.dropoff for order in of])
        self._ready_ms = np.array([order.ready_ms for order in of])
        self._known: dict[int, list[int]] = {}

    def draw(self, draws: Iterator[float]) -> list[int]:
        """Some to take out: the nearest to one, some of those near it, or all of a few drivers near it."""
        seed = int(next(draws) * len(self._orders))
        near = self._near(seed)
        size = min(len(near), SMALLEST + int(next(draws) * SPREAD))
        kind = next(draws)
        if kind < 0.35:
            pool = near[1 : 4 * size]
            for at in range(min(size, len(pool))):
                other = at + int(next(draws) * (len(pool) - at))
                pool[at], pool[other] = pool[other], pool[at]
            return [near[0], *pool[: size - 1]]
        if kind < 0.7:
            return near[:size]
        return self._routes(near)

    def _near(self, seed: int) -> list[int]:
        """All orders, the most alike first."""
        found = self._known.get(seed)
        if found is None:
            legs = self._schedule.problem.legs
            apart_ms = legs[self._stores[seed]][self._stores] + 0.5 * legs[self._doors[seed]][self._doors]
            apart_ms += 0.5 * np.abs(self._ready_ms - self._ready_ms[seed])
            apart_ms[seed] = -1
            found = [self._orders[at] for at in np.argsort(apart_ms, kind="stable").tolist()]
            self._known[seed] = found
        return found

    def _routes(self, near: Sequence[int]) -> list[int]:
        schedule = self._schedule
        drivers: list[int] = []
        for o in near:
            d = schedule.carrier[o]
            if d != NOBODY and d not in drivers:
                drivers.append(d)
                if len(drivers) == WHOLE_ROUTES:
                    break
        carried = [o for d in drivers for load in schedule.routes[d].loads for o in load.orders]
        return carried if schedule.carrier[near[0]] != NOBODY else [near[0], *carried]


# ---------------------------------------------------------------- what comes of it


def written(schedule: Schedule, far: AbstractSet[int], rounds: int) -> Plan:
    """The plan as others read it, without what is only expected. `far` are orders ready beyond the horizon."""
    problem = schedule.problem
    trips: dict[str, tuple[Trip, ...]] = {}
    planned: set[int] = set()
    for d, driver in enumerate(schedule.drivers):
        loads = schedule.sure(d)
        if loads:
            marks = schedule.routes[d].marks
            trips[driver.id] = tuple(_trip(schedule, *pair) for pair in zip(marks, loads, strict=False))
            planned.update(o for load in loads for o in load.orders)
    left = [o for o in range(schedule.real) if o not in planned]
    unserved = tuple(problem.orders[o].id for o in left if schedule.carrier[o] == NOBODY and o not in far)
    later = tuple(problem.orders[o].id for o in left if schedule.carrier[o] != NOBODY or o in far)
    said = verdicts(schedule, far) if problem.settings.explained else ()
    return Plan(trips, unserved, schedule.cost_ms, rounds, later, said)


def _trip(schedule: Schedule, mark: Mark, load: Load) -> Trip:
    leave_ms = schedule.leave_ms(mark, load)
    depart_ms = max(mark[0], leave_ms - load.gather_ms - schedule.legs[mark[1]][load.first])
    ids = tuple(schedule.orders[o].id for o in load.orders)
    return Trip(ids, depart_ms, leave_ms, tuple(leave_ms + offset_ms for offset_ms in load.offsets_ms))
