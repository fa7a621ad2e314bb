"""How long every leg of a mall's plan takes: driving, parking and walking between seats, counters and doors.

It must not know what is planned, nor who decides: it measures, as `Travel` does, all pairs at once.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from streamer.core.geo import METRES_PER_DEG, flat_m
from streamer.core.malls import Mall
from streamer.core.settings import TravelRules
from streamer.core.state import Order
from streamer.core.travel import ARTERIAL_M, COLLECTOR_M, LOCAL_M
from streamer.dispatch.problem import Problem

WAY_BACK = 1.5
"""Metres walked for each metre between counters: the car stands at the door nearest to the first of them."""
NO_LEG_MS = 24 * 3_600_000
"""Of legs nobody drives."""

Points = NDArray[np.float64]
"""Latitude and longitude in degrees, shape (places, 2); or metres between such."""


class Start(Protocol):
    """Where a driver sets out from: a place, or the counter of an order it stands at."""

    @property
    def lat(self) -> float: ...
    @property
    def lng(self) -> float: ...
    @property
    def counter(self) -> str | None: ...


class Ways(Struct, frozen=True):
    """What of a problem's legs is driven, and between which points on the map: all that road times replace."""

    points: tuple[tuple[float, float], ...]
    """Each latitude and longitude once: seats, the mall, doors."""
    point_of: NDArray[np.intp]
    """The point of each place of the problem."""
    drives: NDArray[np.int64]
    """Milliseconds by the model in each leg, what was learned of the pace within; shape (places, places)."""
    driven: NDArray[np.bool_]

    def wanted(self) -> NDArray[np.bool_]:
        """Between which points somebody may drive; shape (points, points)."""
        found = np.zeros((len(self.points),) * 2, dtype=np.bool_)
        rows, columns = np.nonzero(self.driven)
        found[self.point_of[rows], self.point_of[columns]] = True
        return found


def on_roads(problem: Problem, ways: Ways, road_ms: NDArray[np.int64], is_road: NDArray[np.bool_]) -> Problem:
    """The problem with times of roads in place of the model's, wherever there are any.

    What was learned about driving corrects the model, so it goes out with it. Parking and walking stay.

    Args:
        road_ms: between `ways.points`, milliseconds; `is_road` says which of them are known.
    """
    if not len(ways.point_of):
        return problem
    pairs = np.ix_(ways.point_of, ways.point_of)
    known = ways.driven & is_road[pairs]
    longer_ms = np.where(known, road_ms[pairs] - ways.drives, 0)
    # The earliest conceivable delivery is by the same roads.
    orders = tuple(
        replace(order, earliest_ms=order.earliest_ms + int(longer_ms[order.pickups[-1], order.dropoff]))
        for order in problem.orders
    )
    return replace(problem, orders=orders, legs=problem.legs + longer_ms)


class Ground:
    """Milliseconds between all places: seats first, then the counter of each order, then its door.

    As `Travel` has it: a leg to a counter is driving, parking and the walk in; one from it the walk out and driving;
    between counters of the mall it is walking only.
    """

    def __init__(
        self, mall: Mall, rules: TravelRules, seats: Sequence[Start], orders: Sequence[Order], pace: float = 1.0
    ) -> None:
        """`pace` is how much longer driving takes than `Travel` has it, by what was learned."""
        self._mall, self._rules = mall, rules
        self._places = {place.id: place for place in mall.places}
        first = _points([self._place(order.stores[0]) for order in orders])
        last = _points([self._place(order.stores[-1]) for order in orders])
        inside_m = np.array([self._inside_m(order.stores) for order in orders], dtype=np.float64)
        doors_m = np.array([self._door_m(order.stores) for order in orders], dtype=np.float64)
        # Half the walk is before the goods are handed out and half after, as in `Planner.visits`.
        half_ms = self._walked_ms(inside_m + doors_m) // 2
        starts = _points([(seat.lat, seat.lng) for seat in seats])
        homes = _points([(order.dropoff.lat, order.dropoff.lng) for order in orders])
        s, n = len(seats), len(orders)
        at, to = slice(s, s + n), slice(s + n, None)
        self.drives = np.zeros((s + 2 * n,) * 2, dtype=np.int64)
        """The driving in each leg by the model; 0 where it is none, or only a walk."""
        self.drives[:s, at] = drive_ms(starts, first, rules, pace)
        self.drives[at, to] = drive_ms(first, homes, rules, pace)
        self.drives[to, at] = drive_ms(homes, first, rules, pace)
        self.drives[to, to] = drive_ms(homes, homes, rules, pace)
        self.driven = np.zeros_like(self.drives, dtype=np.bool_)
        self.driven[:s, at] = self.driven[at, to] = self.driven[to, at] = self.driven[to, to] = True
        np.fill_diagonal(self.driven, val=False)
        self.legs = np.full_like(self.drives, NO_LEG_MS)
        self.legs[:s, at] = self.drives[:s, at] + rules.park_ms + half_ms
        self.legs[at, at] = self._walked_ms(WAY_BACK * (metres(last, first) + inside_m))
        self.legs[at, to] = self.drives[at, to] + half_ms[:, None]
        self.legs[to, at] = self.drives[to, at] + rules.park_ms + half_ms
        self.legs[to, to] = self.drives[to, to]
        numbers = {order.id: s + number for number, order in enumerate(orders)}
        for number, seat in enumerate(seats):
            if seat.counter in numbers:
                self.legs[number, at] = self.legs[numbers[seat.counter], at]
                self.legs[number, numbers[seat.counter]] = 0
                self.drives[number], self.driven[number] = 0, False
        # Whoever comes to the mall parks at the mall: what is left of the way is walked.
        self.points = (*map(tuple, starts.tolist()), (mall.lat, mall.lng), *map(tuple, homes.tolist()))
        self.point_of = np.array([*range(s), *[s] * n, *range(s + 1, s + 1 + n)], dtype=np.intp)

    def _place(self, store: str) -> tuple[float, float]:
        place = self._places.get(store)
        return (place.lat, place.lng) if place else (self._mall.lat, self._mall.lng)

    def _door_m(self, stores: tuple[str, ...]) -> float:
        """From the door to the first store and from the last one back."""
        return sum(place.walk_m for store in (stores[0], stores[-1]) if (place := self._places.get(store)) is not None)

    def _inside_m(self, stores: tuple[str, ...]) -> float:
        places = [self._place(store) for store in stores]
        return sum(flat_m(*a, *b) for a, b in pairwise(places))

    def _walked_ms(self, walked_m: Points) -> NDArray[np.int64]:
        return np.rint(1000 * walked_m / self._rules.walk_mps).astype(np.int64)


def _points(places: Sequence[tuple[float, float]]) -> Points:
    return np.array(places, dtype=np.float64).reshape(len(places), 2)


def metres(a: Points, b: Points) -> Points:
    """`flat_m` from each of `a` to each of `b`."""
    east = (b[None, :, 1] - a[:, None, 1] + 180.0) % 360.0 - 180.0
    middle = np.radians((a[:, None, 0] + b[None, :, 0]) / 2)
    return METRES_PER_DEG * np.hypot(b[None, :, 0] - a[:, None, 0], east * np.cos(middle))


def drive_ms(a: Points, b: Points, rules: TravelRules, pace: float = 1.0) -> NDArray[np.int64]:
    """`Travel.drive_ms` from each of `a` to each of `b`, times `pace`."""
    left = metres(a, b) * rules.circuity
    seconds = np.zeros_like(left)
    classes = ((LOCAL_M, rules.local_mps), (COLLECTOR_M, rules.collector_mps), (ARTERIAL_M, rules.arterial_mps))
    for stretch_m, mps in classes:
        on_it = np.minimum(left, stretch_m)
        seconds += on_it / mps
        left -= on_it
    return np.rint(1000 * pace * (seconds + left / rules.freeway_mps)).astype(np.int64)
