"""What a recording shows of the things the world's parameters are about: durations, positions, answers, readiness.

It must not know parameters or files: it watches an engine handle a recording, and keeps samples.
"""

from collections.abc import Callable
from math import hypot, log

from msgspec import Struct, field
from msgspec.structs import fields, replace

from streamer.core.engine import Engine
from streamer.core.events import (
    CommandDone,
    Input,
    OrderCommand,
    OrderPlaced,
    Output,
    Ping,
    PingTaken,
    Report,
    ReportTaken,
    RouteChanged,
)
from streamer.core.malls import Mall
from streamer.core.state import Order
from streamer.sim.plane import Plane
from streamer.sim.shoppers import local_hour

DRIVING_MPS = 2.5
"""Nobody walks as fast."""
WALKING_MPS, ROLLING_MPS = (0.6, 2.2), 1.6
"""On foot; and what is faster than most, just before a car is seen to drive."""
SETTLED_MS = 20_000
"""A phone's error belongs to a place this long after it came there."""
LONGEST_MS = 3_600_000
"""What seems to have taken longer was something else."""
PATIENCE = 2.5
"""Goods not ready after so many times the promised while are not waited for: the recording may end before."""


class Sample(Struct, frozen=True, gc=False):
    """One thing measured: when, of which driver or store, and how much (its list says in which unit)."""

    at_ms: int
    who: str
    value: float


class Drive(Struct, frozen=True, gc=False):
    """A drive to a door: straight-line metres, and seconds, from the mall's door or from the door before."""

    at_ms: int
    who: str
    mall_id: str
    from_mall: bool
    metres: float
    seconds: float
    hour: int


class Visit(Struct, frozen=True, gc=False):
    """A visit to a mall from parking to driving off: what of it was walking and waiting, and how many orders."""

    at_ms: int
    who: str
    seconds: float
    walk_m: float
    wait_s: float
    orders: int


class Fix(Struct, frozen=True, gc=False):
    """A position where the true one is known: error east and north, and the accuracy the phone claimed (or 0)."""

    at_ms: int
    who: str
    east_m: float
    north_m: float
    accuracy_m: float


class Window(Struct, frozen=True, gc=False):
    """A while of standing at a door or counter: seconds, and how many fixes came in it."""

    at_ms: int
    who: str
    seconds: float
    fixes: int


class Wanted(Struct, frozen=True, gc=False):
    """An order as it was placed: local hour, items, stores, and minutes until it is due."""

    at_ms: int
    who: str
    hour: int
    items: int
    stores: int
    due_min: float


class Observed(Struct):
    """All samples of a recording. Seconds, unless the name says otherwise."""

    first_ms: int = 0
    last_ms: int = 0
    drives: list[Drive] = field(default_factory=list)
    visits: list[Visit] = field(default_factory=list)
    park_s: list[Sample] = field(default_factory=list)
    load_s: list[Sample] = field(default_factory=list)
    collect_s: list[Sample] = field(default_factory=list)
    door_s: list[Sample] = field(default_factory=list)
    failed: list[Sample] = field(default_factory=list)
    """1 for a door where nobody was, 0 for a delivery."""
    answer_s: list[Sample] = field(default_factory=list)
    declined: list[Sample] = field(default_factory=list)
    """1 for an offer declined, 0 for one accepted."""
    walk_mps: list[Sample] = field(default_factory=list)
    readiness: list[Sample] = field(default_factory=list)
    """By store: log of the real over the promised while from placing to ready."""
    at_door: list[Fix] = field(default_factory=list)
    at_counter: list[Fix] = field(default_factory=list)
    driving_accuracy_m: list[Sample] = field(default_factory=list)
    driving_gap_ms: list[Sample] = field(default_factory=list)
    door_gap_ms: list[Sample] = field(default_factory=list)
    door_windows: list[Window] = field(default_factory=list)
    counter_windows: list[Window] = field(default_factory=list)
    latency_ms: list[Sample] = field(default_factory=list)
    orders: list[Wanted] = field(default_factory=list)

    def part(self, keep: Callable[[str, int, str], bool]) -> "Observed":
        """The samples for which `keep(list's name, at_ms, who)` holds."""
        lists = {
            each.name: [sample for sample in getattr(self, each.name) if keep(each.name, sample.at_ms, sample.who)]
            for each in fields(self)
            if each.name not in {"first_ms", "last_ms"}
        }
        return replace(self, **lists)


class _Track(Struct):
    """What is known of one driver as the recording goes by. Instants are those of its phone."""

    moving: Ping | None = None
    """The last fix while driving."""
    before: Ping | None = None
    """The last fix of any kind."""
    walked: list[tuple[int, float]] = field(default_factory=list)
    """Speeds on foot since it stopped driving."""
    parked_ms: int | None = None
    """Since when it has been at the mall, and at which door its car stands."""
    car: tuple[float, float] = (0.0, 0.0)
    walk_m: float = 0.0
    wait_s: float = 0.0
    orders: int = 0
    whole: bool = True
    """Whether everything that it did in this visit could be measured."""
    counter: tuple[float, float] | None = None
    """The counter it stands at or came from, metres of its mall's plane."""
    counter_from_ms: int = 0
    collected_ms: int | None = None
    door_order: str | None = None
    """The door it stands at."""
    door_from_ms: int = 0
    fixes: int = 0
    """How many came since it stood at this door or counter."""
    set_off: tuple[int, float, float, bool] | None = None
    """When and from where it drives to the next door, and whether from the mall."""
    offers: dict[str, int] = field(default_factory=dict)


class Watcher:
    """Sees every input of a recording with its outputs, in order, and collects samples.

    Args:
        engine: the one that handles the recording; it is only read.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._places = {mall.id: _Doors(mall) for mall in engine.floor.malls.values()}
        self._tracks: dict[str, _Track] = {}
        self._ready_ms: dict[str, int] = {}
        self._arrived_ms: dict[str, int] = {}
        self._promised: dict[str, tuple[int, int]] = {}
        self._seen = Observed(first_ms=-1)

    def see(self, at_ms: int, entered: Input, outputs: tuple[Output, ...]) -> None:
        """One input, after the engine has handled it."""
        if self._seen.first_ms < 0:
            self._seen.first_ms = at_ms
        self._seen.last_ms = at_ms
        match entered:
            case Ping() if outputs and isinstance(outputs[0], PingTaken) and outputs[0].verdict == "ok":
                self._ping(at_ms, entered)
            case Report() if any(isinstance(output, ReportTaken) and not output.repeated for output in outputs):
                self._report(entered)
            case OrderPlaced():
                self._placed(at_ms, entered, outputs)
            case OrderCommand(action="ready") if any(isinstance(output, CommandDone) for output in outputs):
                self._ready(at_ms, entered)
            case _:
                pass
        for output in outputs:
            if isinstance(output, RouteChanged):
                self._route(at_ms, output)

    def finish(self) -> Observed:
        """Everything seen, without what the end of the recording would have cut short."""
        seen = self._seen
        last_ms = seen.last_ms
        whole = {
            order_id
            for order_id, (placed_ms, promised_ms) in self._promised.items()
            if placed_ms >= seen.first_ms and placed_ms + PATIENCE * (promised_ms - placed_ms) <= last_ms
        }
        for order_id in sorted(whole & self._ready_ms.keys()):
            order = self._engine.state.orders.get(order_id)
            placed_ms, promised_ms = self._promised[order_id]
            took_ms = self._ready_ms[order_id] - placed_ms
            if order is not None and len(order.stores) == 1 and took_ms > 0:
                ratio = log(took_ms / (promised_ms - placed_ms))
                seen.readiness.append(Sample(placed_ms, order.stores[0], ratio))
        return seen

    # ------------------------------------------------------------ orders

    def _placed(self, at_ms: int, placed: OrderPlaced, outputs: tuple[Output, ...]) -> None:
        mall = self._engine.floor.malls.get(placed.mall_id)
        order_id = self._engine.state.external.get(f"{placed.mall_id}/{placed.external_id}")
        if mall is None or not outputs:
            return
        self._seen.orders.append(
            Wanted(
                at_ms, placed.mall_id, local_hour(placed.placed_ms, mall.lng), placed.items, len(placed.stores),
                (placed.due_ms - placed.placed_ms) / 60_000,
            )
        )  # fmt: skip
        if order_id is not None and placed.ready_ms is not None and placed.ready_ms > placed.placed_ms:
            self._promised[order_id] = placed.placed_ms, placed.ready_ms

    def _ready(self, at_ms: int, said: OrderCommand) -> None:
        if said.ready_ms is None or said.ready_ms <= at_ms:
            self._ready_ms.setdefault(said.order_id, at_ms if said.ready_ms is None else said.ready_ms)

    def _route(self, at_ms: int, news: RouteChanged) -> None:
        """New pick-ups on a route are what its driver has to answer to."""
        track = self._track(news.driver_id)
        pickups = [stop.order_id for stop in news.stops if stop.kind == "pickup"]
        track.offers = {order_id: track.offers.get(order_id, at_ms) for order_id in pickups}

    # ------------------------------------------------------------ reports

    def _report(self, said: Report) -> None:
        track, orders = self._track(said.driver_id), self._engine.state.orders
        named = [orders[order_id] for order_id in said.order_ids if order_id in orders]
        match said.report:
            case "accepted" | "declined":
                self._answered(said, track)
            case "arrived_at_pickup":
                for order in named:
                    self._came(said, track, order)
            case "picked_up":
                for order in named:
                    self._collected(said, track, order)
            case "arrived_at_dropoff":
                for order in named:
                    self._at_door(said, track, order)
            case "delivered" | "failed":
                for order in named:
                    self._left_door(said, track, order)
            case _:
                self._tracks[said.driver_id] = _Track(offers=track.offers)

    def _answered(self, said: Report, track: _Track) -> None:
        for order_id in said.order_ids:
            offered_ms = track.offers.pop(order_id, None)
            no = said.report == "declined"
            self._seen.declined.append(Sample(said.fix_ms, said.driver_id, float(no)))
            if offered_ms is not None and 0 <= said.fix_ms - offered_ms < LONGEST_MS:
                self._seen.answer_s.append(Sample(said.fix_ms, said.driver_id, (said.fix_ms - offered_ms) / 1000))

    def _came(self, said: Report, track: _Track, order: Order) -> None:
        doors = self._places[order.mall_id]
        counter = doors.counter(order)
        if order.id in self._arrived_ms or counter is None:
            track.whole = False
            return
        self._arrived_ms[order.id] = said.fix_ms
        if track.counter is None:
            track.parked_ms = None if track.moving is None else track.moving.fix_ms + self._half_gap_ms()
            track.car = doors.door(counter)
            track.walk_m, track.wait_s, track.orders, track.whole = apart_m(track.car, counter), 0.0, 0, True
            self._parked(said, track, track.walk_m)
        else:
            track.walk_m += apart_m(track.counter, counter)
        track.whole = track.whole and len(order.stores) == 1
        track.counter, track.counter_from_ms, track.set_off, track.collected_ms = counter, said.fix_ms, None, None
        track.fixes = 0

    def _parked(self, said: Report, track: _Track, walk_m: float) -> None:
        if track.parked_ms is None or not 0 < said.fix_ms - track.parked_ms < LONGEST_MS:
            return
        speeds = [mps for _, mps in track.walked]
        if len(speeds) >= 3:
            self._seen.walk_mps.append(Sample(said.fix_ms, said.driver_id, sorted(speeds)[len(speeds) // 2]))
            took_s = (said.fix_ms - track.parked_ms) / 1000 - walk_m / (sum(speeds) / len(speeds))
            self._seen.park_s.append(Sample(said.fix_ms, said.driver_id, took_s))

    def _collected(self, said: Report, track: _Track, order: Order) -> None:
        arrived_ms, ready_ms = self._arrived_ms.get(order.id), self._ready_ms.get(order.id)
        track.collected_ms, track.orders = said.fix_ms, track.orders + 1
        if arrived_ms is None or ready_ms is None or track.counter is None:
            track.whole = False
            return
        track.wait_s += max(0, ready_ms - arrived_ms) / 1000
        seconds = (said.fix_ms - track.counter_from_ms) / 1000
        if track.whole and 0 < seconds < LONGEST_MS / 1000:
            self._seen.counter_windows.append(Window(said.fix_ms, said.driver_id, seconds, track.fixes))
        took_ms = said.fix_ms - max(arrived_ms, ready_ms)
        if len(order.stores) == 1 and 0 < took_ms < LONGEST_MS:
            self._seen.collect_s.append(Sample(said.fix_ms, said.driver_id, took_ms / 1000))

    def _at_door(self, said: Report, track: _Track, order: Order) -> None:
        track.door_order, track.door_from_ms, track.fixes = order.id, said.fix_ms, 0
        if track.set_off is None:
            return
        since_ms, x, y, from_mall = track.set_off
        doors = self._places[order.mall_id]
        to_x, to_y = doors.plane.to_xy(order.dropoff.lat, order.dropoff.lng)
        metres, took_ms = apart_m((x, y), (to_x, to_y)), said.fix_ms - since_ms
        if metres > 0 and 0 < took_ms < LONGEST_MS:
            hour = local_hour(since_ms, doors.mall.lng)
            drive = Drive(said.fix_ms, said.driver_id, order.mall_id, from_mall, metres, took_ms / 1000, hour)
            self._seen.drives.append(drive)
        track.set_off = None

    def _left_door(self, said: Report, track: _Track, order: Order) -> None:
        if track.door_order == order.id and 0 < said.fix_ms - track.door_from_ms < LONGEST_MS:
            took_s = (said.fix_ms - track.door_from_ms) / 1000
            self._seen.door_s.append(Sample(said.fix_ms, said.driver_id, took_s))
            self._seen.door_windows.append(Window(said.fix_ms, said.driver_id, took_s, track.fixes))
            self._seen.failed.append(Sample(said.fix_ms, said.driver_id, float(said.report == "failed")))
        x, y = self._places[order.mall_id].plane.to_xy(order.dropoff.lat, order.dropoff.lng)
        fresh = _Track(offers=track.offers, before=track.before, moving=track.moving)
        fresh.set_off = (said.fix_ms, x, y, False)
        self._tracks[said.driver_id] = fresh

    # ------------------------------------------------------------ pings

    def _ping(self, at_ms: int, ping: Ping) -> None:
        track = self._track(ping.driver_id)
        self._seen.latency_ms.append(Sample(ping.fix_ms, ping.driver_id, float(at_ms - ping.fix_ms)))
        speed_mps = ping.speed_mps
        if speed_mps is not None and speed_mps >= DRIVING_MPS:
            self._drives(ping, track)
        elif speed_mps is not None and WALKING_MPS[0] <= speed_mps <= WALKING_MPS[1]:
            track.walked.append((ping.fix_ms, speed_mps))
        self._stands(ping, track)
        track.before = ping

    def _drives(self, ping: Ping, track: _Track) -> None:
        before = track.before
        if before is not None and before is track.moving:
            self._seen.driving_gap_ms.append(Sample(ping.fix_ms, ping.driver_id, float(ping.fix_ms - before.fix_ms)))
        if ping.accuracy_m is not None:
            self._seen.driving_accuracy_m.append(Sample(ping.fix_ms, ping.driver_id, ping.accuracy_m))
        if track.collected_ms is not None and track.counter is not None:
            self._left_mall(ping, track)
        track.counter = track.collected_ms = track.parked_ms = None
        track.moving, track.walked, track.door_order = ping, [], None

    def _left_mall(self, ping: Ping, track: _Track) -> None:
        """The first fix while driving after the last pick-up."""
        assert track.collected_ms is not None
        assert track.counter is not None
        driver, before = self._engine.state.drivers[ping.driver_id], track.before
        left_ms = ping.fix_ms - self._half_gap_ms()
        if before is not None and before.fix_ms > track.collected_ms and (before.speed_mps or 0.0) > ROLLING_MPS:
            # Already rolling then, a second or so after it set off.
            left_ms = min(left_ms, before.fix_ms)
        if driver.order_ids and 0 < left_ms - track.collected_ms < LONGEST_MS:
            walk_m = apart_m(track.counter, track.car)
            speeds = [mps for at_ms, mps in track.walked if at_ms > track.collected_ms]
            if len(speeds) >= 2:
                took_s = (left_ms - track.collected_ms) / 1000 - walk_m / (sum(speeds) / len(speeds))
                self._seen.load_s.append(Sample(ping.fix_ms, ping.driver_id, took_s))
            if track.whole and track.parked_ms is not None:
                seconds = (left_ms - track.parked_ms) / 1000
                visit = Visit(ping.fix_ms, ping.driver_id, seconds, track.walk_m + walk_m, track.wait_s, track.orders)
                self._seen.visits.append(visit)
            track.set_off = (left_ms, *track.car, True)

    def _stands(self, ping: Ping, track: _Track) -> None:
        """A fix whose true position is known: at a door, or at a counter."""
        before, orders = track.before, self._engine.state.orders
        if track.door_order is not None and (order := orders.get(track.door_order)) is not None:
            plane = self._places[order.mall_id].plane
            truth, since_ms = plane.to_xy(order.dropoff.lat, order.dropoff.lng), track.door_from_ms
            fixes = self._seen.at_door
        elif track.counter is not None and track.collected_ms is None and track.whole:
            driver = self._engine.state.drivers[ping.driver_id]
            if driver.region is None:
                return
            plane, truth, since_ms = self._places[driver.region].plane, track.counter, track.counter_from_ms
            fixes = self._seen.at_counter
        else:
            return
        track.fixes += 1
        if before is not None and before.fix_ms >= since_ms and fixes is self._seen.at_door:
            self._seen.door_gap_ms.append(Sample(ping.fix_ms, ping.driver_id, float(ping.fix_ms - before.fix_ms)))
        if ping.fix_ms - since_ms >= SETTLED_MS and (ping.speed_mps or 0.0) < WALKING_MPS[0]:
            x, y = plane.to_xy(ping.lat, ping.lng)
            fixes.append(Fix(ping.fix_ms, ping.driver_id, x - truth[0], y - truth[1], ping.accuracy_m or 0.0))

    def _half_gap_ms(self) -> int:
        """What lies, on average, between a change of movement and the fix that first shows it."""
        gaps = self._seen.driving_gap_ms[-200:]
        return round(sorted(gap.value for gap in gaps)[len(gaps) // 2] / 2) if gaps else 0

    def _track(self, driver_id: str) -> _Track:
        return self._tracks.setdefault(driver_id, _Track())


class _Doors:
    """A mall's plane, its doors and its counters, in metres."""

    def __init__(self, mall: Mall) -> None:
        self.mall, self.plane = mall, Plane(mall.lat, mall.lng)
        self._at = {place.id: self.plane.to_xy(place.lat, place.lng) for place in mall.places}
        self._doors = [self._at[place.id] for place in mall.places if place.kind != "store"]

    def counter(self, order: Order) -> tuple[float, float] | None:
        return self._at.get(order.stores[0])

    def door(self, point: tuple[float, float]) -> tuple[float, float]:
        return min(self._doors, key=lambda d: (hypot(d[0] - point[0], d[1] - point[1]), d), default=point)


def apart_m(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Metres between two points of a plane."""
    return hypot(one[0] - other[0], one[1] - other[1])
