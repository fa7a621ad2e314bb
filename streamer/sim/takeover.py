"""Simulated drivers that go on where recorded ones stood: with their place, their route, and what they carry.

It must not know why a driver is taken over, nor the recording beyond what `Outlook` says of the driver's own day.
"""

from collections.abc import Iterator, Mapping
from math import cos, radians, sin

from msgspec.structs import replace
from numpy.random import Generator

from streamer.core.events import DriverRegistered, Stop
from streamer.core.malls import Floor, Mall
from streamer.core.state import Driver, Order
from streamer.sim.car import Car
from streamer.sim.drivers import SimDriver
from streamer.sim.habits import Habits, habits
from streamer.sim.incidents import DriverTrouble
from streamer.sim.outlook import Life
from streamer.sim.parameters import USUAL, Parameters
from streamer.sim.phone import Phone
from streamer.sim.town import Point, Span, Surroundings, roads_stream, stream
from streamer.sim.truths import Truth

DECLINE = 0.045
"""Share of offers declined by a driver of whom too little is known; the mean of `habits`."""
ROLLING_MPS = 3.0
AHEAD_M = 90.0
"""A car that rolls turns off at the next crossing at the earliest: half a block further, about."""
REPORTS_FROM = 1_000_000
"""Reports of a driver taken over are numbered from here, so that none is taken for one of the recording."""
HABITS, PHONE, EXTRA = 3_000, 4_000, 5_000
"""Branches of the seed; below them are those of `World`."""


class Scene(Surroundings):
    """The surroundings of a mall in a recording, where orders are known from the floor.

    `orders` is the floor's, `truths` what the fork knows of them.
    """

    def __init__(self, mall: Mall, seed: int, number: int, span: Span, parameters: Parameters = USUAL) -> None:
        super().__init__(mall, roads_stream(seed, number), span, parameters)
        self.orders: Mapping[str, Order] = {}
        self.truths: Mapping[str, Truth] = {}

    def remember(self, stops: tuple[Stop, ...]) -> None:
        """Nothing has to be learned: the floor's orders are known."""

    def counters(self, stop: Stop) -> list[Point]:
        """Store by store; a stop of no known store is where it says."""
        order = self.orders.get(stop.order_id)
        places = [self._places[store] for store in order.stores if store in self._places] if order else []
        return places or [self.plane.to_xy(stop.lat, stop.lng)]

    def ready_ms(self, order_id: str) -> int:
        """When the order is really ready; what a store has called ready is."""
        order, truth = self.orders.get(order_id), self.truths.get(order_id)
        if order is None or order.is_ready or truth is None:
            return 0
        return truth.ready_ms

    def is_in(self, order_id: str) -> bool | None:
        """As it was recorded, whoever comes."""
        truth = self.truths.get(order_id)
        return None if truth is None else truth.somebody_in


def scenes_of(floor: Floor, seed: int, parameters: Parameters = USUAL) -> dict[str, Scene]:
    """The surroundings of every mall, without anything going on there; drawing their roads takes a second.

    `seed` and `parameters` are those of the world a recording was simulated in, if it was: then the roads are the same,
    and drivers taken over are of the same kind.
    """
    never = Span(0, 0, 0)
    return {
        mall_id: Scene(mall, seed, number, never, parameters)
        for number, (mall_id, mall) in enumerate(floor.malls.items())
    }


class Successor(SimDriver):
    """A driver from the middle of its day on. Where exactly it is in serving a stop, it guesses from the floor's state:
    whoever has stood at a door for a minute needs a minute less there.
    """

    def __init__(self, driver: Driver, scene: Scene, ways: Habits, phone: Phone, rng: Generator,
                 troubles: tuple[DriverTrouble, ...], at_ms: int) -> None:  # fmt: skip
        registered = DriverRegistered(driver.id, driver.name, driver.capacity, driver.mall_ids, driver.shift_end_ms)
        super().__init__(registered, scene, ways, phone, rng, troubles, REPORTS_FROM)
        orders = scene.orders
        self.at_ms = at_ms
        self.on_duty = True
        self._on_break = driver.duty == "on_break"
        self.assignment, self.route = driver.assignment, list(driver.route)
        self._known = {stop.order_id for stop in self.route}
        for order_id in driver.order_ids:
            if orders[order_id].status == "assigned":
                self._offers[order_id] = at_ms + int(rng.integers(*ways.accept_s)) * 1000
            elif orders[order_id].status == "arrived_at_pickup":
                self._said.add(("arrived_at_pickup", order_id))
            elif orders[order_id].status == "arrived_at_dropoff":
                self._said.add(("arrived_at_dropoff", order_id))
        self._spent_s = 0
        self._place(driver, scene, at_ms)

    def _place(self, driver: Driver, scene: Scene, at_ms: int) -> None:
        if driver.ping is None:
            return
        self.x, self.y = scene.plane.to_xy(driver.ping.lat, driver.ping.lng)
        self._parked = self.x, self.y
        self._speed_mps = driver.ping.speed_mps or 0.0
        self._heading_deg = round(driver.ping.heading_deg or 0.0) % 360
        self._indoors = driver.mall_id == scene.mall.id
        stop = driver.route[0] if driver.route else None
        if stop is not None:
            self._place_at(stop, driver, scene, at_ms)
        if self._indoors:
            self._parked, self._sky, self._speed_mps = scene.door((self.x, self.y)), "indoors", 0.0
        elif self._speed_mps > ROLLING_MPS:
            self._roll(scene)

    def _place_at(self, stop: Stop, driver: Driver, scene: Scene, at_ms: int) -> None:
        """Whoever has arrived stands where it arrived, whatever its phone makes of that."""
        order = scene.orders[stop.order_id]
        if order.status == "arrived_at_dropoff" and stop.kind == "dropoff":
            self.x, self.y = scene.plane.to_xy(stop.lat, stop.lng)
            self._indoors, self._spent_s = False, (at_ms - order.updated_ms) // 1000
        elif order.status == "arrived_at_pickup" and stop.kind == "pickup":
            (self.x, self.y), self._indoors = scene.counters(stop)[0], True
            before_ms = [scene.orders[carried].picked_up_ms or 0 for carried in driver.order_ids]
            begun_ms = max(order.arrived_pickup_ms or 0, scene.ready_ms(order.id), order.ready_ms or 0, *before_ms)
            self._spent_s = max(0, (at_ms - begun_ms) // 1000) if order.is_ready else 0

    def _roll(self, scene: Scene) -> None:
        """A car under way goes on to the crossing ahead of it before it takes another road."""
        turn = radians(self._heading_deg)
        ahead = self.x + AHEAD_M * sin(turn), self.y + AHEAD_M * cos(turn)
        node = scene.roads.nearest(*ahead)
        path = scene.roads.path((self.x, self.y), (0.0, 0.0), node)
        self._car = Car(path, self.ways.pace, self._rng, self._speed_mps)

    def _stand(self, seconds: tuple[int, int]) -> Iterator[None]:
        """The first service goes on where it was."""
        spent_s, counts = self._spent_s, seconds in (self._rules.collect_s, self._rules.door_s)
        self._spent_s = 0 if counts else spent_s
        for number, _ in enumerate(super()._stand(seconds)):
            if not counts or number >= spent_s:
                yield


class Cast:
    """Makes the drivers of one fork, each from its own branch of the seed."""

    def __init__(self, seed: int, span: Span) -> None:
        self._seed, self._span = seed, span

    def take_over(self, driver: Driver, number: int, scene: Scene, life: Life, at_ms: int) -> Successor:
        """The `number`th driver of the floor goes on from `at_ms`; its shift, rests and silences are as recorded."""
        rng = stream(self._seed, HABITS, number)
        drawn = habits(rng, self._span.start_ms, self._span.end_ms, True, scene.parameters)
        ways = replace(
            drawn, on_ms=at_ms, decline=life.declines(DECLINE),
            off_ms=next((off_ms for off_ms in life.offs if off_ms > at_ms), drawn.off_ms),
            break_ms=next((rest_ms for rest_ms in life.breaks if rest_ms > at_ms), None),
        )  # fmt: skip
        play_ms = self._span.play_ms
        silences = tuple(
            DriverTrouble("silent", number, max(begun_ms, at_ms) - play_ms, over_ms - play_ms)
            for begun_ms, over_ms in life.silences if over_ms > at_ms
        )  # fmt: skip
        rng_of_phone, rules = stream(self._seed, PHONE, number), scene.parameters.phones
        phone = Phone(driver.id, scene.plane, rng_of_phone, (), max(0, driver.last_seq), rules)
        return Successor(driver, scene, ways, phone, rng, silences, at_ms)

    def hire(self, registered: DriverRegistered, number: int, scene: Scene) -> SimDriver:
        """A driver more, on duty from the beginning of the fork to its end."""
        rng = stream(self._seed, EXTRA, number)
        ways = habits(rng, self._span.start_ms, self._span.end_ms, True, scene.parameters)
        ways = replace(ways, on_ms=self._span.start_ms)
        rng_of_phone, rules = stream(self._seed, EXTRA + PHONE, number), scene.parameters.phones
        phone = Phone(registered.driver_id, scene.plane, rng_of_phone, (), rules=rules)
        return SimDriver(registered, scene, ways, phone, rng, ())
