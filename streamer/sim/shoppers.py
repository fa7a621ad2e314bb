"""Shoppers: who orders what, when, where to, and by when it is promised.

It must not know drivers or the engine's order ids.
"""

from bisect import bisect_left, insort
from math import cos, exp, hypot, pi, sin

from msgspec import Struct
from numpy.random import Generator

from streamer.core.events import Dropoff, OrderPlaced
from streamer.core.malls import Mall
from streamer.sim import names
from streamer.sim.incidents import Incidents
from streamer.sim.parameters import USUAL, Parameters, ShopperRules
from streamer.sim.plane import Plane
from streamer.sim.roads import Roads
from streamer.sim.stores import Store, open_stores

CARRIED_MS = 28 * 60_000
"""Orders placed this long before the world begins are still on the floor when it does."""
NEIGHBOURHOODS, NEAREST_M, HOMES_SPREAD_M = 30, 1_500.0, 550.0
PULL_M = 4_500.0
"""People order from a mall near them: a neighbourhood's weight falls by e every this many metres (assumed)."""
HOUR_MS = 3_600_000


class Wish(Struct, frozen=True):
    """An order as the world knows it: what is sent to the floor, and the truth about its readiness."""

    placed: OrderPlaced
    ready_ms: int
    door: tuple[float, float]
    """Where the parcel goes, in metres of the mall's plane."""

    @property
    def name(self) -> str:
        """The external id, which names it in the world."""
        return self.placed.external_id or ""


def local_hour(at_ms: int, lng: float) -> int:
    """Hour of the day by the sun, which needs no time zone tables; within an hour and a half of the clock."""
    return int((at_ms / HOUR_MS + lng / 15) % 24)


def order_times(
    rng: Generator, lng: float, start_ms: int, end_ms: int, count: int, rules: ShopperRules = USUAL.shoppers
) -> list[int]:
    """Instants (UTC epoch ms, whole seconds, rising) of `count` orders that follow the hours' weights."""
    first = start_ms - CARRIED_MS
    minutes = range(first, end_ms, 60_000)
    total, heights = 0.0, []
    for minute in minutes:
        total += rules.hourly[local_hour(minute, lng)]
        heights.append(total)
    times: list[int] = []
    for draw in rng.uniform(0, total, count):
        minute = minutes[bisect_left(heights, float(draw))]
        insort(times, min(minute + int(rng.integers(60)) * 1000, end_ms - 1000))
    return times


class Shoppers:
    """Everybody who orders from one mall in one world."""

    def __init__(self, rng: Generator, mall: Mall, plane: Plane, roads: Roads, parameters: Parameters = USUAL) -> None:
        self._rng, self._mall, self._plane, self._roads = rng, mall, plane, roads
        self._rules = parameters.shoppers
        self._stores = open_stores(mall, rng, parameters.stores)
        self._areas = [self._area() for _ in range(NEIGHBOURHOODS)]
        weights = [exp(-hypot(x, y) / PULL_M) for x, y in self._areas]
        self._area_odds = [w / sum(weights) for w in weights]
        self._doors: set[tuple[float, float]] = set()
        self._store_odds = [s.weight / sum(o.weight for o in self._stores) for s in self._stores]

    def wishes(self, times: list[int], play_ms: int, incidents: Incidents, first_number: int) -> list[Wish]:
        """One order for each instant of `times`, numbered on; troubles of stores count from `play_ms`."""
        return [self._wish(number, at_ms, play_ms, incidents) for number, at_ms in enumerate(times, first_number)]

    def _area(self) -> tuple[float, float]:
        reach = self._mall.service_radius_m * 0.9
        away = NEAREST_M + (reach - NEAREST_M) * float(self._rng.random()) ** 0.7
        angle = float(self._rng.uniform(0, 2 * pi))
        return away * cos(angle), away * sin(angle)

    def _wish(self, number: int, placed_ms: int, play_ms: int, incidents: Incidents) -> Wish:
        rng, mall, rules = self._rng, self._mall, self._rules
        stores = self._pick_stores()
        items = 1 + int(rng.poisson(rules.items_mean))
        rush = rules.hourly[local_hour(placed_ms, mall.lng)] / max(rules.hourly)
        promised = max(store.promise_ms(placed_ms, items, rush) for store in stores)
        real = [store.ready_ms(placed_ms, promised, rng) for store in stores]
        ready = max(r + incidents.store_extra_ms(s.id, r, play_ms) for s, r in zip(stores, real, strict=True))
        door, dropoff = self._home()
        due_ms = placed_ms + int(rng.choice(range(*rules.due_min, rules.due_step_min))) * 60_000
        placed = OrderPlaced(
            mall_id=mall.id, stores=tuple(store.id for store in stores), dropoff=dropoff, placed_ms=placed_ms,
            due_ms=due_ms, ready_ms=promised, external_id=f"{mall.id[:2].upper()}-{number}", items=items,
            priority=int(rng.random() < 0.04), actor="orders",
        )  # fmt: skip
        return Wish(placed, ready, door)

    def _pick_stores(self) -> list[Store]:
        count = 2 if len(self._stores) > 1 and self._rng.random() < self._rules.two_stores else 1
        picked = self._rng.choice(len(self._stores), size=count, replace=False, p=self._store_odds)
        return [self._stores[int(n)] for n in picked]

    def _home(self) -> tuple[tuple[float, float], Dropoff]:
        """A house beside a road of some neighbourhood, within the service radius."""
        rng, reach = self._rng, self._mall.service_radius_m * 0.97
        while True:
            x, y = self._areas[int(rng.choice(NEIGHBOURHOODS, p=self._area_odds))]
            x, y = x + HOMES_SPREAD_M * float(rng.standard_normal()), y + HOMES_SPREAD_M * float(rng.standard_normal())
            node = self._roads.nearest(x, y)
            along, aside = float(rng.uniform(-70, 70)), float(rng.choice((-18.0, 18.0)))
            way, line = self._roads.street(node)
            turn = self._roads.angle + (0 if way == "row" else pi / 2)
            x = float(self._roads.xy[node, 0]) + along * cos(turn) - aside * sin(turn)
            y = float(self._roads.xy[node, 1]) + along * sin(turn) + aside * cos(turn)
            lat, lng = self._plane.to_degrees(x, y)
            # Every door is its own, because a driver's phone knows an order by where it goes.
            if NEAREST_M / 2 < hypot(x, y) < reach and (lat, lng) not in self._doors:
                break
        self._doors.add((lat, lng))
        number = 100 + int(rng.integers(4, 98)) * 100 + int(along) % 90
        flat = f" Apt {int(rng.integers(1, 40))}" if rng.random() < 0.25 else ""
        dropoff = Dropoff(
            lat=lat, lng=lng, name=names.person(rng), phone=names.phone(rng, self._mall.timezone),
            address=f"{number} {names.street(way, line)}{flat}", notes=names.notes(rng),
        )  # fmt: skip
        return (x, y), dropoff
