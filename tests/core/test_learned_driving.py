"""Driving: which legs teach something, what they teach, and what is kept of it."""

from math import cos, exp, log, radians

import numpy as np
import pytest

from streamer.core.events import DriverRegistered, Dropoff, Tick
from streamer.core.forecast import Forecast
from streamer.core.geo import METRES_PER_DEG
from streamer.core.learned import Leg, MallLearned
from streamer.core.learning import Learning
from streamer.core.settings import LearningRules, Settings
from streamer.core.state import Order
from tests.builders import MALL, MINUTE, T0, Bench, a_ping, a_report

AWAY = (0.03, -0.02)


class Trip:
    """A driver who has collected one order and is about to leave the mall, on a real engine."""

    def __init__(self, rules: LearningRules | None = None) -> None:
        self.bench = Bench(Settings(learning=rules or LearningRules()))
        self.bench.do(DriverRegistered("d-1", "d-1"))
        self.bench.do(a_report("on_duty", "d-1"))
        self.order = self.load()

    def load(self) -> Order:
        bench = self.bench
        for _ in range(2):
            bench.do(a_ping(at_ms=bench.at_ms, seq=None), after_ms=5_000)
        order = bench.place(dropoff=Dropoff(MALL[0] + AWAY[0], MALL[1] + AWAY[1]))
        bench.command("assign", order, "d-1")
        for word in ("accepted", "arrived_at_pickup", "picked_up"):
            bench.report(word, order, after_ms=1_000)
        return order

    def drive(self, minutes: float, fixes: bool = True, stand_at: int | None = None) -> None:
        """Straight to the door with a fix every five seconds, standing four minutes after `stand_at` of them."""
        bench, steps = self.bench, max(4, round(minutes * 12))
        for step in range(1, steps + 1):
            share = step / steps
            if fixes or step == steps:
                fix = a_ping(at_ms=bench.at_ms + 5_000, north=AWAY[0] * share, east=AWAY[1] * share)
                bench.do(fix, after_ms=5_000)
            else:
                bench.at_ms += 5_000
            bench.do(Tick())
            for _ in range(48 if step == stand_at else 0):
                bench.do(a_ping(at_ms=bench.at_ms + 5_000, north=AWAY[0] * share, east=AWAY[1] * share), after_ms=5_000)
                bench.do(Tick())
        bench.report("arrived_at_dropoff", self.order)

    @property
    def drives(self) -> int:
        known = self.bench.engine.state.learned.malls.get("plaza")
        return known.drive_score.n if known else 0


def model_ms(trip: Trip) -> int:
    return trip.bench.engine.planner.travel.drive_ms(*MALL, MALL[0] + AWAY[0], MALL[1] + AWAY[1])


def test_a_driven_leg_is_learned_from() -> None:
    trip = Trip()
    trip.drive(7)
    assert trip.drives == 1
    known = trip.bench.engine.state.learned.malls["plaza"]
    assert abs(known.drive.mean) < log(2)
    assert len(known.drive_pairs) == 1
    assert trip.bench.engine.state.learned.legs == {}


def test_the_leg_from_one_door_to_the_next_is_learned_from_too() -> None:
    trip = Trip()
    bench = trip.bench
    second = bench.place(dropoff=Dropoff(MALL[0] + AWAY[0] + 0.02, MALL[1] + AWAY[1]))
    bench.command("assign", second, "d-1")
    for word in ("accepted", "arrived_at_pickup", "picked_up"):
        bench.report(word, second, after_ms=1_000)
    trip.drive(7)
    bench.report("delivered", trip.order, after_ms=MINUTE)
    for step in range(1, 49):
        fix = a_ping(at_ms=bench.at_ms + 5_000, north=AWAY[0] + 0.02 * step / 48, east=AWAY[1])
        bench.do(fix, after_ms=5_000)
    bench.report("arrived_at_dropoff", second)
    assert trip.drives == 2


def test_a_leg_with_silence_in_it_teaches_nothing() -> None:
    trip = Trip()
    trip.drive(7, fixes=False)
    assert trip.drives == 0


def test_a_leg_with_a_stop_in_it_teaches_nothing() -> None:
    trip = Trip()
    trip.drive(7, stand_at=40)
    assert trip.drives == 0


def test_a_red_light_is_no_stop() -> None:
    trip = Trip()
    leg_of, bench = trip.bench.engine.state.learned.legs, trip.bench
    for share in (0.2, 0.3, 0.4):
        bench.do(a_ping(at_ms=bench.at_ms + 5_000, north=AWAY[0] * share, east=AWAY[1] * share), after_ms=5_000)
    assert "d-1" in leg_of
    for _ in range(24):
        bench.do(a_ping(at_ms=bench.at_ms + 5_000, north=AWAY[0] * 0.4, east=AWAY[1] * 0.4), after_ms=5_000)
        bench.do(Tick())
    assert "d-1" in leg_of


def test_a_driver_who_says_arrived_from_far_away_teaches_nothing() -> None:
    trip = Trip()
    bench = trip.bench
    for share in (0.2, 0.3, 0.4):
        bench.do(a_ping(at_ms=bench.at_ms + 60_000, north=AWAY[0] * share, east=AWAY[1] * share), after_ms=60_000)
    bench.report("arrived_at_dropoff", trip.order)
    assert trip.drives == 0


def test_a_new_order_on_the_way_makes_the_leg_another() -> None:
    trip = Trip()
    bench = trip.bench
    for share in (0.2, 0.3, 0.4):
        bench.do(a_ping(at_ms=bench.at_ms + 5_000, north=AWAY[0] * share, east=AWAY[1] * share), after_ms=5_000)
    bench.command("assign", bench.place(), "d-1")
    trip.drive(7)
    assert trip.drives == 0


def test_leaving_the_mall_takes_what_it_took_before() -> None:
    trip = Trip()
    trip.bench.at_ms += 4 * MINUTE
    trip.drive(7)
    known = trip.bench.engine.state.learned.malls["plaza"]
    left_ms = next(line.at_ms for line in trip.order.history if line.action == "left_mall")
    walk_ms = trip.bench.engine.planner.walk_out_ms([trip.order])
    assert known.leave.weight == 1.0
    assert known.leave.mean == left_ms - (trip.order.picked_up_ms or 0) - walk_ms > MINUTE
    leave_ms, _ = trip.bench.engine.planner.forecast.leave_of("plaza")
    assert 0 < leave_ms < known.leave.mean, "one trip is believed in part"


# ---------------------------------------------------------------- a synthetic town


class Town:
    """Legs with a known truth, learned from one after the other."""

    def __init__(self, rules: LearningRules | None = None) -> None:
        bench = Bench(Settings(learning=rules or LearningRules()))
        self.forecast: Forecast = bench.engine.planner.forecast
        self.learning = Learning(self.forecast)
        self.rng = np.random.default_rng(5)

    def learn(self, door: tuple[float, float], factor: float, at_ms: int = T0, noise: float = 0.0) -> None:
        leg = Leg(at_ms, *MALL, 1, at_ms, *MALL)
        plain_ms = self.forecast.travel.drive_ms(*MALL, *door)
        actual_ms = round(plain_ms * factor * exp(noise * float(self.rng.standard_normal())))
        self.learning._learn_drive("plaza", leg, door, plain_ms, actual_ms)

    def factor(self, door: tuple[float, float], at_ms: int = T0) -> float:
        plain_ms = self.forecast.travel.drive_ms(*MALL, *door)
        return self.forecast.drive("plaza", at_ms, *MALL, *door).expected_ms / plain_ms

    @property
    def mall(self) -> MallLearned:
        return self.forecast.learned.malls["plaza"]


def door(north_m: float, east_m: float) -> tuple[float, float]:
    return MALL[0] + north_m / METRES_PER_DEG, MALL[1] + east_m / METRES_PER_DEG / cos(radians(MALL[0]))


NORTH, SOUTH, WEST = door(6_000, 0), door(-6_000, 0), door(0, -6_000)


def test_a_town_slower_than_the_model_is_found_out_and_scored() -> None:
    town = Town()
    for _ in range(150):
        for place in (NORTH, SOUTH):
            town.learn(place, 1.3, noise=0.1)
    assert town.factor(NORTH) == pytest.approx(1.3, rel=0.05)
    assert town.factor(WEST) == pytest.approx(1.3, rel=0.08), "a place never driven to is like the town"
    score = town.mall.drive_score
    assert score.learned / score.n < 0.12 < score.plain / score.n


def test_a_way_with_a_river_across_is_told_from_the_others() -> None:
    town = Town()
    for _ in range(60):
        town.learn(NORTH, 1.0, noise=0.05)
        town.learn(SOUTH, 1.5, noise=0.05)
    assert town.factor(NORTH) == pytest.approx(1.0, rel=0.06)
    assert town.factor(SOUTH) == pytest.approx(1.5, rel=0.08)


def test_an_hour_of_traffic_is_told_from_the_others() -> None:
    town, rush_ms = Town(), T0 + 4 * 3_600_000
    for _ in range(60):
        town.learn(NORTH, 1.0, T0)
        town.learn(SOUTH, 1.0, T0)
        town.learn(NORTH, 1.4, rush_ms)
    assert town.factor(SOUTH, rush_ms) == pytest.approx(1.4, rel=0.1), "the hour is the town's, not the pair's"
    assert town.factor(NORTH, T0) == pytest.approx(1.0, rel=0.08)


def test_one_wild_drive_moves_little() -> None:
    town = Town()
    town.learn(NORTH, 3.0)
    assert 1.0 < town.factor(NORTH) < 1.6


def test_doubt_shrinks_as_drives_come_in() -> None:
    town = Town()
    before = town.forecast.drive("plaza", T0, *MALL, *NORTH).sd_ms
    for _ in range(100):
        town.learn(NORTH, 1.0, noise=0.05)
    assert town.forecast.drive("plaza", T0, *MALL, *NORTH).sd_ms < before / 2


def test_pairs_driven_longest_ago_are_forgotten_first() -> None:
    town = Town(LearningRules(pairs_kept=3))
    places = [door(2_500.0 * n, 1_000.0) for n in range(1, 6)]
    for place in (places[0], places[1], places[2], places[0], places[3], places[4]):
        town.learn(place, 1.2)
    kept = set(town.mall.drive_pairs)
    assert kept == {town.forecast.pair(*MALL, *place) for place in (places[0], places[3], places[4])}


def test_memory_does_not_grow_with_the_number_of_drives() -> None:
    town = Town()
    for _ in range(1_000):
        town.learn(NORTH, 1.1)
    assert town.mall.drive.weight == pytest.approx(200.0)
    assert len(town.mall.drive_pairs) == 1
