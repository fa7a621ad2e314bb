"""How long drives of a given length take in the drawn towns, at any pace: what recorded drives are held against.

It must not know recordings beyond one drive. The real roads are not drawn, so a drive is compared with drawn ones of
the same straight-line length, never of the same ends.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from math import exp, hypot, log

import numpy as np
from msgspec import Struct
from numpy.random import Generator

from streamer.core.malls import Mall
from streamer.sim.calibration.observed import Drive
from streamer.sim.car import Car
from streamer.sim.incidents import Incidents
from streamer.sim.parameters import Parameters
from streamer.sim.shoppers import HOUR_MS
from streamer.sim.town import Point, Span, Town, stream

PACES = (0.45, 0.6, 0.8, 1.1)
SHORTEST_M = 150.0
NEIGHBOURS = 7
"""A drawn duration is that of one of so many drawn drives nearest in length."""
LONGEST_S = 7_200


class Drawn(Struct, frozen=True):
    """A drawn drive: straight-line metres, and seconds at each of `PACES`."""

    metres: float
    seconds: tuple[float, ...]


class Reference:
    """Drawn drives around one mall.

    Args:
        towns: how many towns are drawn; the chance of one grid's angle averages out.
        drives: drawn in each, from the mall and between doors.
    """

    def __init__(self, mall: Mall, parameters: Parameters, towns: int = 3, drives: int = 120) -> None:
        made: dict[bool, list[Drawn]] = {True: [], False: []}
        for seed in range(towns):
            town = Town(mall, seed, 0, Span(0, 0, HOUR_MS), 3 * drives, Incidents(), 1, parameters)
            rng = stream(seed, 3_000)
            for from_mall, start, goal in _pairs(town, rng, drives):
                made[from_mall].append(_drawn(town, start, goal, rng))
        self._drawn = {key: sorted(drawn, key=lambda d: (d.metres, d.seconds)) for key, drawn in made.items()}
        self._line = {key: _line(drawn) for key, drawn in self._drawn.items()}

    def parts(self, drive: Drive) -> tuple[float, float]:
        """Seconds of such a drive that do not depend on the pace, and those that are divided by it."""
        a0, a1, b0, b1 = self._line[drive.from_mall]
        return a0 + a1 * drive.metres, b0 + b1 * drive.metres

    def expected_s(self, drive: Drive, pace: float) -> float:
        """How long such a drive takes, on average."""
        fixed_s, paced_s = self.parts(drive)
        return fixed_s + paced_s / pace

    def seconds(self, drive: Drive, pace: float, rng: Generator) -> float:
        """How long one drawn drive of about that length took."""
        drawn = self._drawn[drive.from_mall]
        at = bisect_left(drawn, drive.metres, key=lambda d: d.metres)
        first = min(max(0, at - NEIGHBOURS // 2), len(drawn) - NEIGHBOURS)
        picked = drawn[first + int(rng.integers(NEIGHBOURS))]
        at_pace = float(np.interp(1 / pace, [1 / p for p in reversed(PACES)], picked.seconds[::-1]))
        # What is longer by a little takes longer by a little.
        return at_pace * self.expected_s(drive, pace) / self._expected(drive.from_mall, picked.metres, pace)

    def _expected(self, from_mall: bool, metres: float, pace: float) -> float:
        a0, a1, b0, b1 = self._line[from_mall]
        return a0 + a1 * metres + (b0 + b1 * metres) / pace


def references(
    malls: list[Mall], parameters: Parameters, towns: int, told: Callable[[float], None] | None = None
) -> dict[str, Reference]:
    """The reference of each mall, telling the share done."""
    made: dict[str, Reference] = {}
    for number, mall in enumerate(malls, 1):
        made[mall.id] = Reference(mall, parameters, towns)
        if told is not None:
            told(number / len(malls))
    return made


def _pairs(town: Town, rng: Generator, drives: int) -> Iterator[tuple[bool, Point, Point]]:
    """Ends of drives: from a store's door to a home, and from a home to another, of all lengths alike."""
    homes = [wish.door for wish in town.wishes]
    stores = [town.plane.to_xy(store.lat, store.lng) for store in town.mall.stores] or [(0.0, 0.0)]
    reach = log(town.mall.service_radius_m * 1.2 / SHORTEST_M)
    for number in range(drives):
        home = homes[number % len(homes)]
        yield True, town.door(stores[int(rng.integers(len(stores)))]), home
        wanted_m = SHORTEST_M * exp(float(rng.uniform(0.0, reach)))
        others = [other for other in homes if other != home]
        yield False, home, min(others, key=lambda o: (abs(hypot(o[0] - home[0], o[1] - home[1]) - wanted_m), o))


def _drawn(town: Town, start: Point, goal: Point, rng: Generator) -> Drawn:
    legs, rules = town.roads.path(start, goal), town.parameters.cars
    seconds = []
    for pace in PACES:
        car, took_s = Car(legs, pace, rng, 0.0, rules), 0
        while not car.arrived and took_s < LONGEST_S:
            car.step()
            took_s += 1
        seconds.append(float(took_s))
    return Drawn(hypot(goal[0] - start[0], goal[1] - start[1]), tuple(seconds))


def _line(drawn: list[Drawn]) -> tuple[float, float, float, float]:
    """Seconds as a line in the length and in one over the pace, by least squares."""
    rows = [(1.0, d.metres, 1 / pace, d.metres / pace) for d in drawn for pace in PACES]
    took = [seconds for d in drawn for seconds in d.seconds]
    found = np.linalg.lstsq(np.array(rows), np.array(took), rcond=None)[0]
    return float(found[0]), float(found[1]), float(found[2]), float(found[3])
