"""Drivers: they take offers or not, drive, park, walk, wait, hand over, and wander back toward the mall.

It must not know the engine: a driver hears routes and says reports and pings, as through its phone. What a driver does
is written as generators, one `yield` a second, so that a trip reads from top to bottom and can be dropped when the
floor changes its mind.
"""

from collections.abc import Iterator
from math import cos, hypot, pi, sin
from typing import Literal

from numpy.random import Generator

from streamer.core.events import DriverRegistered, Ping, Report, ReportKind, RouteChanged, Stop
from streamer.sim.car import Car
from streamer.sim.habits import Habits, rested
from streamer.sim.incidents import DriverTrouble, Trouble
from streamer.sim.phone import Phone, Sky
from streamer.sim.shoppers import local_hour
from streamer.sim.town import Point, Surroundings

Key = tuple[Literal["pickup", "dropoff", "return"], str]

RETRY_MS = 60_000
"""A stop that is still on the route this long after it was reported done is done again."""
STROLL_MPS = 0.4
QUEUE_S = (480, 900)
"""A flapping driver waits this long on the line of the footprint."""
BAD_SKY_M = 450.0
"""A flapping phone sees too few satellites this near the mall: garages, walls, a metro bridge (assumed)."""


class SimDriver:
    """One driver with car and phone. `step` once a second; `learn` whenever a route is pushed to its phone."""

    def __init__(
        self, registered: DriverRegistered, town: Surroundings, ways: Habits, phone: Phone, rng: Generator,
        troubles: tuple[DriverTrouble, ...], first_report: int = 0,
    ) -> None:  # fmt: skip
        self.registered, self.town, self.ways, self.phone, self._rng = registered, town, ways, phone, rng
        self.id, self._rules = registered.driver_id, town.parameters.drivers
        self._troubles = troubles
        self.at_ms = town.span.start_ms
        self.x, self.y = self._somewhere(300.0, 5_000.0)
        self.on_duty = self._left = False
        self.route: list[Stop] = []
        self.assignment = 0
        self._car: Car | None = None
        self._parked: Point = (self.x, self.y)
        self._indoors = self._on_break = self._committed = False
        self._speed_mps, self._heading_deg = 0.0, int(rng.integers(360))
        self._sky: Sky = "parked"
        self._serving: Key | None = None
        self._known: set[str] = set()
        self._offers: dict[str, int] = {}
        self._done: dict[Key, int] = {}
        self._said: set[tuple[ReportKind, str]] = set()
        self._reports = first_report
        self._outbox: list[Report | Ping] = []
        self._silent_from_ms: int | None = None
        self._news: RouteChanged | None = None
        self._life = self._live()

    # ------------------------------------------------------------ what the world calls

    def learn(self, news: RouteChanged) -> None:
        """Take the route the floor pushed; a phone without network takes the last one when it is back."""
        self._news = news
        if not self._silent:
            self._read_news()

    def step(self, at_ms: int) -> list[Report | Ping]:
        """Live one second and return what the phone sends in it, reports first."""
        self.at_ms = at_ms
        if not self.on_duty and not self._start_shift():
            return []
        self._mind_silence()
        self._answer_offers()
        if self._interrupted():
            self._life = self._live()
        next(self._life)
        if self._silent:
            return []
        sent, self._outbox = self._outbox, []
        if self._left:
            self.on_duty = False
            return sent
        if self._on_break:
            return sent
        sky: Sky = "bad" if self._trouble("flapping") and hypot(self.x, self.y) < BAD_SKY_M else self._sky
        # Under a bad sky a phone takes its own errors for movement, and speaks as often as one that moves.
        moving = self._speed_mps > STROLL_MPS or sky == "bad"
        since_play_ms = at_ms - self.town.span.play_ms
        return sent + self.phone.look(
            at_ms, since_play_ms, self.x, self.y, self._speed_mps, self._heading_deg, sky, moving
        )

    @property
    def carrying(self) -> list[str]:
        """Orders in the car."""
        waiting = {stop.order_id for stop in self.route if stop.kind == "pickup"}
        return [stop.order_id for stop in self.route if stop.kind != "pickup" and stop.order_id not in waiting]

    # ------------------------------------------------------------ phone, offers and routes

    def _say(self, kind: ReportKind, order_ids: tuple[str, ...] = (), reason: str = "") -> None:
        self._reports += 1
        self._outbox.append(
            Report(
                id=f"{self.id}-{self._reports}", report=kind, fix_ms=self.at_ms - self.phone.latency_ms,
                driver_id=self.id, order_ids=order_ids, reason=reason,
                assignment=self.assignment if order_ids else None,
            )
        )  # fmt: skip

    def _say_once(self, kind: ReportKind, order_id: str) -> None:
        if (kind, order_id) not in self._said:
            self._said.add((kind, order_id))
            self._say(kind, (order_id,))

    def _read_news(self) -> None:
        if self._news is None:
            return
        self.assignment, stops, self._news = self._news.assignment, self._news.stops, None
        self.town.remember(stops)
        done = {key for key, when in self._done.items() if self.at_ms - when < RETRY_MS}
        self.route = [stop for stop in stops if (stop.kind, stop.order_id) not in done]
        mine = {stop.order_id for stop in self.route}
        offered = [stop.order_id for stop in self.route if stop.kind == "pickup"]
        for order_id in offered:
            if order_id not in self._known:
                self._offers[order_id] = self.at_ms + int(self._rng.integers(*self.ways.accept_s)) * 1000
        for gone in [order_id for order_id in self._known if order_id not in mine]:
            self._said -= {("arrived_at_pickup", gone), ("arrived_at_dropoff", gone)}
        self._known = mine
        self._offers = {order_id: when for order_id, when in self._offers.items() if order_id in mine}

    def _answer_offers(self) -> None:
        due = [order_id for order_id, when in self._offers.items() if when <= self.at_ms]
        if self._silent:
            return
        for order_id in due:
            del self._offers[order_id]
            # A chance is drawn in any case, so that trouble with one driver does not move its other draws.
            unwilling = self._rng.random() < self.ways.decline
            if unwilling or self._trouble("declining"):
                self._say("declined", (order_id,), "too far" if unwilling else "not taking orders now")
                self.route = [stop for stop in self.route if stop.order_id != order_id]
                self._known.discard(order_id)
            else:
                self._say("accepted", (order_id,))

    def _next_stop(self) -> Stop | None:
        return next((stop for stop in self.route if stop.order_id not in self._offers), None)

    def _interrupted(self) -> bool:
        stop = self._next_stop()
        if self._serving is None:
            return stop is not None
        if all((s.kind, s.order_id) != self._serving for s in self.route):
            return True
        return not self._committed and stop is not None and (stop.kind, stop.order_id) != self._serving

    def _trouble(self, kind: Trouble) -> bool:
        since_ms = self.at_ms - self.town.span.play_ms
        return any(t.kind == kind and t.from_ms <= since_ms < t.to_ms for t in self._troubles)

    @property
    def _silent(self) -> bool:
        return self._silent_from_ms is not None

    def _mind_silence(self) -> None:
        since_ms = self.at_ms - self.town.span.play_ms
        for t in self._troubles:
            if t.kind != "silent":
                continue
            if self._silent_from_ms is not None and self.at_ms - self._silent_from_ms >= t.to_ms - t.from_ms:
                self._silent_from_ms = None
                self._troubles = tuple(other for other in self._troubles if other is not t)
                self._read_news()
            elif self._silent_from_ms is None and since_ms >= t.from_ms and (self.carrying or not t.loaded):
                self._silent_from_ms = self.at_ms
            return

    # ------------------------------------------------------------ a driver's day, one yield a second

    def _start_shift(self) -> bool:
        if self._left or self.at_ms < self.ways.on_ms:
            return False
        self.on_duty = True
        self._say("on_duty")
        return True

    def _live(self) -> Iterator[None]:
        self._serving, self._committed = None, False
        while True:
            stop = self._next_stop()
            if stop is not None:
                yield from self._serve(stop)
            elif self.at_ms >= self.ways.off_ms and not self.route:
                yield from self._to_car()
                self._say("off_duty")
                self._left = True
                yield
            else:
                yield from self._roam()

    def _serve(self, stop: Stop) -> Iterator[None]:
        self._serving = (stop.kind, stop.order_id)
        if self._on_break:
            self._on_break = False
            self._say("on_duty")
        match stop.kind:
            case "pickup":
                yield from self._collect(stop)
            case "dropoff":
                yield from self._deliver(stop)
            case "return":
                yield from self._bring_back(stop)
        self._done[self._serving] = self.at_ms
        self.route = [s for s in self.route if (s.kind, s.order_id) != self._serving]
        self._serving, self._committed = None, False

    def _collect(self, stop: Stop) -> Iterator[None]:
        if self._trouble("flapping") and not self._indoors:
            # Until it can fetch the bag it waits on the line of the footprint, where its phone cannot tell in from out.
            yield from self._drive(self.town.kerb(len(self._done)))
            yield from self._stand(QUEUE_S)
            yield from self._await(stop.order_id)
        yield from self._to_counter(stop)
        self._say_once("arrived_at_pickup", stop.order_id)
        for counter in self.town.counters(stop)[1:]:
            yield from self._walk(counter)
        yield from self._await(stop.order_id)
        self._committed = True
        yield from self._stand(self._rules.collect_s)
        self._say("picked_up", (stop.order_id,))

    def _await(self, order_id: str) -> Iterator[None]:
        while self.at_ms < self.town.ready_ms(order_id):
            yield from self._stand((1, 2))

    def _deliver(self, stop: Stop) -> Iterator[None]:
        if self._indoors:
            yield from self._to_car()
            yield from self._stand(self._rules.load_s)
        yield from self._drive(self.town.plane.to_xy(stop.lat, stop.lng))
        self._committed = True
        self._say_once("arrived_at_dropoff", stop.order_id)
        yield from self._stand(self._rules.door_s)
        # A chance is drawn in any case, so that what is known of one door does not move the other draws.
        nobody_home, somebody = self._rng.random() < self.ways.nobody_home, self.town.is_in(stop.order_id)
        if nobody_home if somebody is None else not somebody:
            self._say("failed", (stop.order_id,), "nobody home")
        else:
            self._say("delivered", (stop.order_id,))

    def _bring_back(self, stop: Stop) -> Iterator[None]:
        yield from self._to_counter(stop)
        yield from self._stand(self._rules.collect_s)
        self._say("returned", (stop.order_id,))

    def _to_counter(self, stop: Stop) -> Iterator[None]:
        counter = self.town.counters(stop)[0]
        if not self._indoors:
            yield from self._drive(self.town.door(counter))
            yield from self._stand(self._rules.park_s)
            self._parked, self._indoors = (self.x, self.y), True
        yield from self._walk(counter)

    def _to_car(self) -> Iterator[None]:
        if self._indoors:
            yield from self._walk(self._parked)
            self._indoors, self._sky = False, "parked"

    def _roam(self) -> Iterator[None]:
        yield from self._to_car()
        if self._trouble("flapping"):
            yield from self._drive(self.town.kerb(len(self._done)))
            while self._trouble("flapping"):
                yield from self._stand((1, 2))
        elif self.ways.break_ms is not None and self.at_ms >= self.ways.break_ms and not self.route:
            yield from self._take_break()
        yield from self._stand(self._rules.rest_s)
        yield from self._drive(self._somewhere(*self._rules.roam_m))

    def _take_break(self) -> Iterator[None]:
        self.ways = rested(self.ways)
        self._say("on_break")
        self._on_break = True
        yield from self._stand(self._rules.break_s)
        self._on_break = False
        self._say("on_duty")

    # ------------------------------------------------------------ moving

    def _somewhere(self, near_m: float, far_m: float) -> Point:
        """A crossing at some distance from the mall's centre."""
        away, angle = float(self._rng.uniform(near_m, far_m)), float(self._rng.uniform(0, 2 * pi))
        node = self.town.roads.nearest(away * cos(angle), away * sin(angle))
        return float(self.town.roads.xy[node, 0]) + 9.0, float(self.town.roads.xy[node, 1]) + 7.0

    def _drive(self, goal: Point) -> Iterator[None]:
        yield from self._to_car()
        roads, rolling = self.town.roads, self._car
        ahead = rolling.ahead if rolling is not None else None
        via = roads.nearest(*ahead) if ahead is not None else None
        if hypot(goal[0] - self.x, goal[1] - self.y) < 1.0:
            return
        self._sky = "open"
        rules = self.town.parameters.cars
        pace = self.ways.pace * rules.traffic_by_hour[local_hour(self.at_ms, self.town.mall.lng)]
        self._car = Car(roads.path((self.x, self.y), goal, via), pace, self._rng, self._speed_mps, rules)
        while not self._car.arrived:
            self._car.step()
            self.x, self.y = self._car.x, self._car.y
            self._speed_mps, self._heading_deg = self._car.speed_mps, self._car.heading_deg
            yield
        self._car = None
        self._speed_mps, self._sky = 0.0, "parked"

    def _walk(self, goal: Point) -> Iterator[None]:
        self._sky = "indoors"
        while (left := hypot(goal[0] - self.x, goal[1] - self.y)) > 0.5:
            pace = min(self.ways.walk_mps, left)
            self.x += (goal[0] - self.x) / left * pace
            self.y += (goal[1] - self.y) / left * pace
            self._speed_mps = pace
            yield
        self._speed_mps = 0.0

    def _stand(self, seconds: tuple[int, int]) -> Iterator[None]:
        self._speed_mps = 0.0
        self._sky = "indoors" if self._indoors else "parked"
        for _ in range(int(self._rng.integers(*seconds))):
            yield
