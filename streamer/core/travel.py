"""How long it takes to get somewhere: the first model, straight-line metres by circuity and speed class.

It must not know orders, routes or the clock.
"""

from itertools import pairwise

from streamer.core.geo import flat_m
from streamer.core.malls import Mall
from streamer.core.settings import TravelRules

LOCAL_M, COLLECTOR_M, ARTERIAL_M = 800.0, 1_600.0, 9_600.0
"""Metres driven on each class before the next takes over: half a mile, one mile and six miles of a section grid."""


class Travel:
    """Durations in milliseconds between points and inside malls."""

    def __init__(self, rules: TravelRules) -> None:
        self.rules = rules

    def drive_ms(self, lat1: float, lng1: float, lat2: float, lng2: float) -> int:
        """Driving time between two points: each stretch of the trip at the speed of its class.

        A trip starts and ends on locals, then takes collectors, arterials and at last a freeway, so time grows
        continuously with distance. Source: circuity as in `TravelRules`.
        """
        metres = flat_m(lat1, lng1, lat2, lng2) * self.rules.circuity
        rules, seconds = self.rules, 0.0
        for stretch_m, mps in (
            (LOCAL_M, rules.local_mps), (COLLECTOR_M, rules.collector_mps), (ARTERIAL_M, rules.arterial_mps),
        ):  # fmt: skip
            if metres <= stretch_m:
                return round(1000 * (seconds + metres / mps))
            seconds += stretch_m / mps
            metres -= stretch_m
        return round(1000 * (seconds + metres / rules.freeway_mps))

    def walk_ms(self, mall: Mall, stores: tuple[str, ...]) -> int:
        """From the car to every one of `stores` and back: one way in, store to store, the same way out."""
        places = [place for store in stores if (place := mall.place(store)) is not None]
        if not places:
            return 0
        metres = places[0].walk_m + places[-1].walk_m
        metres += sum(flat_m(a.lat, a.lng, b.lat, b.lng) for a, b in pairwise(places))
        return round(1000 * metres / self.rules.walk_mps)
