"""Drivers hear routes and act on them: accept or decline, collect, deliver, obey when the floor changes its mind."""

from collections.abc import Callable
from math import hypot

import pytest
from msgspec import Struct, field

from streamer.core.events import DriverRegistered, Ping, Report, RouteChanged, Stop
from streamer.sim.drivers import SimDriver
from streamer.sim.habits import Habits
from streamer.sim.incidents import DriverTrouble, Trouble
from streamer.sim.phone import Phone
from streamer.sim.town import Town, stream
from streamer.sim.world import HOUR_MS
from tests.sim.conftest import T0

WILLING = Habits(0.85, 1.3, (5, 6), 0.0, 0.0, T0, T0 + 9 * HOUR_MS, None)
BuildShift = Callable[..., "Shift"]


class Shift(Struct):
    """One driver, and the floor as its phone sees it: `give` pushes a route as the engine would."""

    driver: SimDriver
    town: Town
    at_ms: int = T0
    number: int = 0
    said: list[Report] = field(default_factory=list)
    pings: list[Ping] = field(default_factory=list)

    def live(self, seconds: int, until: str = "") -> "Shift":
        """Live on, at most so long, or until a report of that kind."""
        for _ in range(seconds):
            came = self.driver.step(self.at_ms)
            self.at_ms += 1000
            self.pings += [one for one in came if isinstance(one, Ping)]
            reports = [one for one in came if isinstance(one, Report)]
            self.said += reports
            if until and any(one.report == until for one in reports):
                return self
        assert not until, f"no {until} within {seconds} s, only {self.kinds()}"
        return self

    def give(self, *stops: Stop) -> None:
        self.number += 1
        self.driver.learn(RouteChanged(self.driver.id, self.number, stops))

    def kinds(self, order_id: str = "") -> list[str]:
        return [one.report for one in self.said if not order_id or order_id in one.order_ids]

    def stops(self, wish: int, order_id: str) -> tuple[Stop, Stop]:
        """Collect and deliver the world's order number `wish` under the engine's id `order_id`."""
        placed = self.town.wishes[wish].placed
        store = self.town.mall.place(placed.stores[0])
        assert store is not None
        return (
            Stop("pickup", order_id, store.lat, store.lng),
            Stop("dropoff", order_id, placed.dropoff.lat, placed.dropoff.lng),
        )


@pytest.fixture
def shift(town: Town) -> BuildShift:
    def build(*troubles: DriverTrouble, ways: Habits = WILLING) -> Shift:
        registered = DriverRegistered("d-01", "Ana R.", 4, (town.mall.id,), ways.off_ms)
        phone = Phone("d-01", town.plane, stream(1, 1), troubles)
        return Shift(SimDriver(registered, town, ways, phone, stream(1, 2), troubles), town)

    return build


def trouble(kind: Trouble, minutes: int = 60, loaded: bool = False) -> DriverTrouble:
    return DriverTrouble(kind, 0, 0, minutes * 60_000, loaded)


def test_a_driver_reports_on_duty_before_its_first_ping(shift: BuildShift) -> None:
    late = shift(ways=Habits(0.85, 1.3, (5, 6), 0.0, 0.0, T0 + 60_000, T0 + 9 * HOUR_MS, None)).live(60)
    assert not late.said
    assert not late.pings
    late.live(1)
    assert late.kinds() == ["on_duty"]
    assert len(late.pings) == 1


def test_a_trip_runs_from_acceptance_to_the_door(shift: BuildShift) -> None:
    trip = shift().live(5)
    trip.give(*trip.stops(0, "o-1"))
    trip.live(9_000, until="delivered")
    assert trip.kinds("o-1") == ["accepted", "arrived_at_pickup", "picked_up", "arrived_at_dropoff", "delivered"]
    assert all(one.assignment == 1 for one in trip.said if one.order_ids)
    assert hypot(trip.driver.x - trip.town.wishes[0].door[0], trip.driver.y - trip.town.wishes[0].door[1]) < 30


def test_nothing_is_collected_before_the_store_has_it_ready(shift: BuildShift, town: Town) -> None:
    wish = max(range(len(town.wishes)), key=lambda n: town.wishes[n].ready_ms)
    trip = shift().live(5)
    trip.give(*trip.stops(wish, "o-1"))
    trip.live(9_000, until="picked_up")
    collected_ms = next(one.fix_ms for one in trip.said if one.report == "picked_up")
    assert collected_ms >= town.wishes[wish].ready_ms


def test_pings_indoors_are_vague_and_pings_on_the_road_have_speed_and_heading(shift: BuildShift) -> None:
    trip = shift().live(5)
    trip.give(*trip.stops(0, "o-1"))
    trip.live(9_000, until="arrived_at_pickup")
    driving = [ping for ping in trip.pings if (ping.speed_mps or 0) > 5]
    assert len(driving) > 5
    assert len({ping.heading_deg for ping in driving}) > 1
    before = len(trip.pings)
    trip.live(9_000, until="picked_up").live(60)
    assert max(ping.accuracy_m or 0 for ping in trip.pings[before:]) > 25


def test_two_orders_of_one_mall_are_one_visit_and_one_drive(shift: BuildShift) -> None:
    trip = shift().live(5)
    (first_up, first_off), (second_up, second_off) = trip.stops(0, "o-1"), trip.stops(1, "o-2")
    trip.give(first_up, second_up, first_off, second_off)
    trip.live(15_000, until="delivered").live(15_000, until="delivered")
    on_the_way = [kind for kind in trip.kinds() if kind in {"picked_up", "arrived_at_dropoff"}]
    assert on_the_way == ["picked_up", "picked_up", "arrived_at_dropoff", "arrived_at_dropoff"]


def test_an_order_taken_away_is_left_alone_from_then_on(shift: BuildShift) -> None:
    trip = shift().live(5)
    trip.give(*trip.stops(0, "o-1"))
    trip.live(600, until="accepted").live(30)
    trip.give()
    trip.live(4_000)
    assert trip.kinds("o-1") == ["accepted"]


def test_a_reassignment_in_the_store_sends_the_driver_after_the_new_order(shift: BuildShift) -> None:
    trip = shift().live(5)
    trip.give(*trip.stops(0, "o-1"))
    trip.live(9_000, until="arrived_at_pickup")
    trip.give(*trip.stops(1, "o-2"))
    trip.live(15_000, until="delivered")
    assert "picked_up" not in trip.kinds("o-1")
    assert trip.kinds("o-2")[-1] == "delivered"
    assert all(one.assignment == 2 for one in trip.said if "o-2" in one.order_ids)


def test_an_order_added_on_the_road_is_fetched_when_the_floor_puts_it_first(shift: BuildShift) -> None:
    trip = shift().live(5)
    up, off = trip.stops(0, "o-1")
    trip.give(up, off)
    trip.live(9_000, until="picked_up").live(200)
    added_up, added_off = trip.stops(1, "o-2")
    trip.give(added_up, added_off, off)
    trip.live(20_000, until="delivered")
    assert trip.kinds("o-2")[-1] == "delivered"
    assert "delivered" not in trip.kinds("o-1")
    trip.live(20_000, until="delivered")
    assert trip.kinds("o-1")[-1] == "delivered"


def test_a_turn_on_the_road_does_not_make_the_car_leap(shift: BuildShift) -> None:
    trip = shift().live(5)
    trip.give(*trip.stops(0, "o-1"))
    trip.live(9_000, until="picked_up").live(240)
    trip.give(trip.stops(5, "o-9")[1])
    for _ in range(300):
        x, y = trip.driver.x, trip.driver.y
        trip.live(1)
        assert hypot(trip.driver.x - x, trip.driver.y - y) < 45


def test_a_stop_still_on_the_route_after_it_was_done_is_done_again_later_not_at_once(shift: BuildShift) -> None:
    """On a live floor a route pushed before the report arrived may come after it."""
    trip = shift().live(5)
    up, off = trip.stops(0, "o-1")
    trip.give(up, off)
    trip.live(9_000, until="picked_up")
    trip.driver.learn(RouteChanged("d-01", 1, (up, off)))
    trip.live(9_000, until="delivered")
    assert trip.kinds("o-1").count("picked_up") == 1
    trip.live(120)
    trip.driver.learn(RouteChanged("d-01", 1, (off,)))
    trip.live(9_000, until="delivered")


def test_a_decliner_declines_and_goes_nowhere(shift: BuildShift) -> None:
    trip = shift(trouble("declining")).live(5)
    trip.give(*trip.stops(0, "o-1"))
    trip.live(600)
    assert trip.kinds("o-1") == ["declined"]
    assert not trip.driver.route


def test_nobody_home_ends_with_the_goods_back_in_the_store(shift: BuildShift) -> None:
    unlucky = Habits(0.85, 1.3, (5, 6), 0.0, 1.0, T0, T0 + 9 * HOUR_MS, None)
    trip = shift(ways=unlucky).live(5)
    up, off = trip.stops(0, "o-1")
    trip.give(up, off)
    trip.live(9_000, until="failed")
    trip.give(Stop("return", "o-1", up.lat, up.lng))
    trip.live(9_000, until="returned")
    assert trip.kinds("o-1")[-2:] == ["failed", "returned"]
    counter = trip.town.counters(up)[0]
    assert hypot(trip.driver.x - counter[0], trip.driver.y - counter[1]) < 5


def test_a_silent_driver_says_all_it_did_when_it_is_back(shift: BuildShift) -> None:
    trip = shift(trouble("silent", minutes=90, loaded=True)).live(5)
    trip.give(*trip.stops(0, "o-1"))
    trip.live(9_000, until="picked_up").live(2)
    heard = len(trip.pings)
    trip.live(80 * 60)
    assert trip.kinds("o-1")[-1] == "picked_up"
    assert len(trip.pings) == heard
    trip.live(15 * 60)
    assert trip.kinds("o-1")[-2:] == ["arrived_at_dropoff", "delivered"]
    assert trip.said[-1].fix_ms - trip.said[-2].fix_ms > 40_000
    assert len(trip.pings) > heard


def test_a_shift_ends_once_the_route_is_empty(shift: BuildShift) -> None:
    short = Habits(0.85, 1.3, (5, 6), 0.0, 0.0, T0, T0 + 300_000, None)
    trip = shift(ways=short).live(5)
    trip.give(*trip.stops(0, "o-1"))
    trip.live(15_000, until="off_duty")
    assert "delivered" in trip.kinds("o-1")
    after = len(trip.pings)
    trip.live(1_000)
    assert trip.kinds()[-1] == "off_duty"
    assert len(trip.pings) == after


def test_a_break_is_told_and_no_ping_is_sent_in_it(shift: BuildShift) -> None:
    tired = Habits(0.85, 1.3, (5, 6), 0.0, 0.0, T0, T0 + 9 * HOUR_MS, T0 + 60_000)
    trip = shift(ways=tired).live(3_000, until="on_break")
    on_break = len(trip.pings)
    trip.live(2_000, until="on_duty")
    assert len(trip.pings) - on_break <= 1


def test_a_free_driver_wanders_near_the_mall(shift: BuildShift) -> None:
    trip = shift().live(2 * 3_600)
    assert any((ping.speed_mps or 0) > 5 for ping in trip.pings)
    assert hypot(trip.driver.x, trip.driver.y) < 3_000


def test_an_order_the_world_did_not_place_is_carried_too(shift: BuildShift) -> None:
    trip = shift().live(5)
    lat, lng = trip.town.mall.lat, trip.town.mall.lng
    trip.give(Stop("pickup", "o-7", lat, lng), Stop("dropoff", "o-7", lat + 0.02, lng))
    trip.live(9_000, until="delivered")
    assert trip.kinds("o-7")[-1] == "delivered"
