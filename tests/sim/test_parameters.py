"""The world's parameters: the usual ones give the usual bytes, others change what they say they change."""

from hashlib import blake2b

import msgspec
from msgspec.structs import replace

from streamer.core.events import Input, OrderPlaced, Ping, Report, RouteChanged, Stop
from streamer.core.malls import Floor
from streamer.sim.incidents import DriverTrouble, Incidents, StoreLate
from streamer.sim.parameters import HOURS, USUAL, CarRules, PhoneRules, StoreRules
from streamer.sim.stores import open_stores
from streamer.sim.town import stream
from streamer.sim.world import STEP_MS, Story, World
from tests.sim.conftest import MINUTE_MS, T0

GOLDEN = "dde2124edfee65d20090159495fdc6b7"
"""Of `said` below with the usual parameters. It changes with the world's rules and with numpy's generators, and only
then; the recordings in fixtures/ have to be made again when it does."""
TROUBLES = ("silent", "jumps", "flapping", "declining", "duplicates", "late_batch")


class Carousel:
    """Gives each order to the next driver in turn: what the world does must not hang on a dispatcher."""

    def __init__(self, world: World) -> None:
        self.world, self.turn = world, 0
        self.stops: dict[str, list[Stop]] = {driver.id: [] for driver in world.drivers}
        self.places = {place.id: place for town in world.towns for place in town.mall.places}

    def hear(self, entered: Input) -> None:
        match entered:
            case OrderPlaced():
                driver_id = self.world.drivers[self.turn % len(self.world.drivers)].id
                self.turn += 1
                store, name = self.places[entered.stores[0]], entered.external_id or ""
                door = Stop("dropoff", name, entered.dropoff.lat, entered.dropoff.lng)
                self._push(driver_id, [*self.stops[driver_id], Stop("pickup", name, store.lat, store.lng), door])
            case Report(report="picked_up" | "delivered" | "failed" | "declined"):
                gone = {"picked_up": {"pickup"}}.get(entered.report, {"pickup", "dropoff"})
                kept = [
                    stop
                    for stop in self.stops[entered.driver_id]
                    if stop.order_id != entered.order_ids[0] or stop.kind not in gone
                ]
                self._push(entered.driver_id, kept)

    def _push(self, driver_id: str, stops: list[Stop]) -> None:
        self.stops[driver_id] = stops
        self.world.learn([RouteChanged(driver_id, self.turn, tuple(stops))])


def lived(world: World) -> list[tuple[int, Input]]:
    carousel, lines = Carousel(world), []
    for at_ms in range(world.start_ms, world.end_ms + 1, STEP_MS):
        for entered in world.step(at_ms):
            lines.append((at_ms, entered))
            carousel.hear(entered)
    return lines


def a_world(floor: Floor, **fields: object) -> World:
    troubles = tuple(DriverTrouble(kind, at, 0, 25 * MINUTE_MS) for at, kind in enumerate(TROUBLES))  # type: ignore[arg-type]
    late = StoreLate("bb-macys", -30 * MINUTE_MS, 60 * MINUTE_MS, 10 * MINUTE_MS)
    story = Story(warmup_ms=10 * MINUTE_MS, incidents=Incidents((late,), troubles))
    return World(floor, ("baybrook", "tysons-corner-center"), 11, T0, 1.0, 16, 60, story, **fields)  # type: ignore[arg-type]


def said(lines: list[tuple[int, Input]]) -> str:
    digest = blake2b(digest_size=16)
    for line in lines:
        digest.update(msgspec.json.encode(line))
    return digest.hexdigest()


def test_the_usual_parameters_give_the_same_bytes_as_ever(floor: Floor) -> None:
    lines = lived(a_world(floor))
    kinds = {entered.report for _, entered in lines if isinstance(entered, Report)}
    assert {"declined", "delivered", "picked_up", "arrived_at_dropoff"} <= kinds
    assert sum(isinstance(entered, Ping) for _, entered in lines) > 2_000
    assert said(lines) == GOLDEN


def test_knowing_one_store_moves_no_other(floor: Floor) -> None:
    mall = floor.malls["baybrook"]
    usual = open_stores(mall, stream(3, 1))
    known = open_stores(mall, stream(3, 1), StoreRules(biases={"bb-macys": 3.0}))
    assert [store.bias for store in known if store.id == "bb-macys"] == [3.0]
    assert [(s.id, s.bias) for s in known if s.id != "bb-macys"] == [
        (s.id, s.bias) for s in usual if s.id != "bb-macys"
    ]


def test_traffic_of_an_hour_slows_its_drives(floor: Floor) -> None:
    jam = replace(USUAL, cars=CarRules(traffic_by_hour=(0.5,) * HOURS))
    fastest = [
        max(
            entered.speed_mps or 0.0
            for _, entered in lived(a_world(floor, parameters=one))
            if isinstance(entered, Ping)
        )
        for one in (USUAL, jam)
    ]
    assert fastest[1] < 0.75 * fastest[0]


def test_phones_speak_as_often_as_they_are_told_to(floor: Floor) -> None:
    rare = replace(USUAL, phones=PhoneRules(moving_ms=20_000, still_ms=60_000))
    often, seldom = (
        sum(isinstance(entered, Ping) for _, entered in lived(a_world(floor, parameters=one))) for one in (USUAL, rare)
    )
    assert 0.15 * often < seldom < 0.45 * often
