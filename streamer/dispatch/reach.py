"""Which drivers are worth trying for an order: those who could be at its store first.

It must not know loads or costs: it sees a driver's start and the end of its route, and nothing between.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from streamer.dispatch.problem import NOWHERE, PlanDriver, PlanOrder, Problem

NEVER = 1e15
"""Milliseconds no clock shows: whoever could not collect before its shift ends comes last."""


class Reach:
    """For each order and driver, when it could be collected, with a little for the way there."""

    def __init__(self, problem: Problem, orders: Sequence[PlanOrder]) -> None:
        settings, half_pickup_ms = problem.settings, problem.service.pickup_ms // 2
        self._few, self._trips_ahead, self._minute = (
            settings.drivers_tried,
            settings.trips_ahead,
            settings.driver_minute,
        )
        stores = [order.pickups[0] for order in orders]
        self._legs_ms = problem.legs[:, stores].T.astype(np.float64)
        self._ready_ms = np.array([[order.ready_ms - half_pickup_ms] for order in orders], dtype=np.float64)
        drivers = problem.drivers
        self._off_ms = np.array([driver.off_ms + half_pickup_ms for driver in drivers], dtype=np.float64)
        self._doubt_ms = np.array([driver.doubt_ms for driver in drivers], dtype=np.float64)
        self._free_ms = np.array([driver.free_ms for driver in drivers], dtype=np.float64)
        self._places = np.array([_start(driver) for driver in drivers], dtype=np.intp)
        self._full = np.zeros(len(drivers), dtype=np.bool_)
        self._closed = np.zeros(len(drivers), dtype=np.bool_)
        """Nothing more goes in anywhere: to ask them would only keep others from being asked."""
        everyone = np.arange(len(drivers))
        self._from_start_ms = self._times_ms(everyone) if orders else np.zeros((0, len(drivers)))
        self._from_start_ms[:, [driver.heading != NOWHERE for driver in drivers]] = NEVER
        self._first_ms = self._from_start_ms.copy()
        self._moved: set[int] = set()

    def moved(self, d: int, free_ms: int, place: int, loads: int, *, packed: bool) -> None:
        """Say where and when a driver's route ends now, of how many loads it is, and whether none has room left."""
        self._free_ms[d], self._places[d], self._full[d] = free_ms, place, loads >= self._trips_ahead
        self._closed[d] = self._full[d] and packed
        self._moved.add(d)

    def drivers(self, o: int) -> list[int]:
        """The few to try, by index."""
        if self._moved:
            moved = np.array(sorted(self._moved))
            starts_ms = np.where(self._closed[moved], NEVER, self._from_start_ms[:, moved])
            self._first_ms[:, moved] = np.minimum(starts_ms, self._times_ms(moved))
            self._moved.clear()
        times_ms = self._first_ms[o]
        if len(times_ms) <= self._few:
            return list(range(len(times_ms)))
        found: list[int] = np.argpartition(times_ms, self._few)[: self._few].tolist()
        return found

    def _times_ms(self, drivers: NDArray[np.intp]) -> NDArray[np.float64]:
        """Of all orders and these drivers, from the ends of their routes; shape (orders, drivers)."""
        ways_ms = self._legs_ms[:, self._places[drivers]]
        there_ms = self._free_ms[drivers] + ways_ms
        times_ms: NDArray[np.float64] = np.maximum(there_ms, self._ready_ms) + self._minute * ways_ms
        times_ms += self._doubt_ms[drivers]
        times_ms[(there_ms > self._off_ms[drivers]) | self._full[drivers]] = NEVER
        return times_ms


def _start(driver: PlanDriver) -> int:
    return driver.place if driver.heading == NOWHERE else driver.heading


def mates(problem: Problem, orders: Sequence[PlanOrder]) -> list[frozenset[int]]:
    """For each order those it may well share a trip with: all of its store, and of the stores near enough to share
    trips the `mates_tried` whose counters and doors are nearest to its own.
    """
    at_store: dict[int, list[int]] = {}
    for o, order in enumerate(orders):
        at_store.setdefault(order.pickups[0], []).append(o)
    own = [at_store[order.pickups[0]] for order in orders]
    near_ms, most = problem.settings.multi_pickup_ms, problem.settings.mates_tried
    if not near_ms or not most or not orders:
        return [frozenset(found) for found in own]
    stores, doors = [order.pickups[0] for order in orders], [order.dropoff for order in orders]
    walks_ms, ways_ms = problem.legs[np.ix_(stores, stores)], problem.legs[np.ix_(doors, doors)]
    apart_ms = np.where(np.minimum(walks_ms, walks_ms.T) <= near_ms, walks_ms + ways_ms, NEVER)
    nearest = np.argsort(apart_ms, axis=1, kind="stable")[:, :most]
    return [
        frozenset((*own[o], *(int(other) for other in nearest[o] if apart_ms[o, other] < NEVER)))
        for o in range(len(orders))
    ]
