"""One mall and its surroundings: roads, doors, stores, and who ordered what. Drivers look things up here.

It must not know drivers.
"""

from abc import abstractmethod
from math import hypot

from msgspec import Struct
from numpy.random import PCG64, Generator, SeedSequence

from streamer.core.events import Stop
from streamer.core.malls import Mall
from streamer.sim.incidents import Incidents
from streamer.sim.parameters import USUAL, Parameters
from streamer.sim.plane import Plane
from streamer.sim.roads import Roads
from streamer.sim.shoppers import Shoppers, Wish, order_times

Point = tuple[float, float]


class Span(Struct, frozen=True):
    """When a world begins, when play begins in it, and when it ends: UTC epoch ms."""

    start_ms: int
    play_ms: int
    end_ms: int


def stream(seed: int, *branch: int) -> Generator:
    """A generator of its own for a branch of the world, so that one part's draws never move another's."""
    return Generator(PCG64(SeedSequence([seed, *branch])))


def roads_stream(seed: int, number: int) -> Generator:
    """What the roads of the `number`th mall of a world are drawn from."""
    return stream(seed, number, 0)


class Surroundings:
    """What lies around one mall: roads, doors, places. Positions are metres of `plane`."""

    def __init__(self, mall: Mall, roads_rng: Generator, span: Span, parameters: Parameters = USUAL) -> None:
        self.mall, self.span, self.parameters = mall, span, parameters
        self.plane = Plane(mall.lat, mall.lng)
        self.ring = [self.plane.to_xy(lat, lng) for lat, lng in mall.ring]
        self.roads = Roads(roads_rng, mall.service_radius_m, self.ring, parameters.roads)
        self._places = {place.id: self.plane.to_xy(place.lat, place.lng) for place in mall.places}
        self._doors = [self._places[place.id] for place in mall.places if place.kind != "store"]

    @abstractmethod
    def remember(self, stops: tuple[Stop, ...]) -> None:
        """Learn of the stops that a driver was told."""

    @abstractmethod
    def counters(self, stop: Stop) -> list[Point]:
        """Where the goods of a stop are handed out, store by store."""

    @abstractmethod
    def ready_ms(self, order_id: str) -> int:
        """When an order is really ready."""

    def is_in(self, order_id: str) -> bool | None:
        """Whether somebody will be there to take the order; None leaves it to chance."""
        return None

    def door(self, point: Point) -> Point:
        """The mall's door nearest to a point inside it, or the point itself in a mall without doors."""
        return min(self._doors, key=lambda d: (hypot(d[0] - point[0], d[1] - point[1]), d), default=point)

    def kerb(self, number: int) -> Point:
        """A place on the line of the footprint, a few metres out: where a fence is hardest to judge."""
        k = number % len(self.ring)
        (x0, y0), (x1, y1) = self.ring[k], self.ring[(k + 1) % len(self.ring)]
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
        out = 4.0 / max(1.0, hypot(x, y))
        return x * (1 + out), y * (1 + out)


class Town(Surroundings):
    """The surroundings of one mall, and everybody who orders there."""

    def __init__(
        self, mall: Mall, seed: int, number: int, span: Span, orders: int, incidents: Incidents, first_number: int,
        parameters: Parameters = USUAL,
    ) -> None:  # fmt: skip
        super().__init__(mall, roads_stream(seed, number), span, parameters)
        shoppers = Shoppers(stream(seed, number, 1), mall, self.plane, self.roads, parameters)
        times = order_times(stream(seed, number, 2), mall.lng, span.start_ms, span.end_ms, orders, parameters.shoppers)
        self.wishes = shoppers.wishes(times, span.play_ms, incidents, first_number)
        self._by_door = {(w.placed.dropoff.lat, w.placed.dropoff.lng): w for w in self.wishes}
        self._by_order: dict[str, Wish] = {}

    def remember(self, stops: tuple[Stop, ...]) -> None:
        """Learn which order is whose: a drop-off is known by its door. Orders of strangers stay unknown."""
        for stop in stops:
            wish = self._by_door.get((stop.lat, stop.lng))
            if wish is not None and stop.kind == "dropoff":
                self._by_order[stop.order_id] = wish

    def wish(self, order_id: str) -> Wish | None:
        """What the world knows of an order on somebody's route."""
        return self._by_order.get(order_id)

    def counters(self, stop: Stop) -> list[Point]:
        """Where the goods of a stop are handed out, store by store."""
        wish = self.wish(stop.order_id)
        if wish is None:
            return [self.plane.to_xy(stop.lat, stop.lng)]
        return [self._places[store] for store in wish.placed.stores]

    def ready_ms(self, order_id: str) -> int:
        """When an order is really ready; a stranger's has been since the beginning."""
        wish = self.wish(order_id)
        return self.span.start_ms if wish is None else wish.ready_ms
