"""The floor as a planning problem: which orders may move, who may take them, from where and when, and how far it is."""

import numpy as np
import pytest

from streamer.core.events import DriverRegistered, OrderCommand, SetDuty, Tick
from streamer.core.settings import AutopilotRules
from streamer.core.state import Order
from streamer.dispatch.floor import SAFETY_MS, expected_ready_ms, problem_of
from streamer.dispatch.ground import NO_LEG_MS
from streamer.dispatch.problem import PlanDriver, PlanOrder, Problem
from tests.builders import MALL, MINUTE, T0, Bench, a_ping, a_report

RULES = AutopilotRules(mode="auto")


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    for n in range(3):
        bench.driver(f"d-{n}", north=0.004 * (n + 1), capacity=4)
    return bench


def problem(bench: Bench, rules: AutopilotRules = RULES) -> Problem:
    return problem_of(bench.engine, "plaza", bench.at_ms, rules)


def orders(found: Problem) -> dict[str, PlanOrder]:
    return {order.id: order for order in found.orders}


def drivers(found: Problem) -> dict[str, PlanDriver]:
    return {driver.id: driver for driver in found.drivers}


def by_autopilot(bench: Bench, order: Order, driver_id: str) -> None:
    bench.command("assign", order, driver_id, actor="autopilot")


def test_a_queued_order_is_anybodys(bench: Bench) -> None:
    order = bench.place(ready_ms=bench.at_ms)
    found = orders(problem(bench))[order.id]
    assert (found.told, found.only, found.barred) == (None, None, frozenset())
    assert found.due_ms == order.due_ms - SAFETY_MS


def test_what_the_autopilot_gave_may_still_move_until_the_driver_is_at_the_counter(bench: Bench) -> None:
    order = bench.place()
    by_autopilot(bench, order, "d-1")
    assert (orders(problem(bench))[order.id].told, orders(problem(bench))[order.id].only) == ("d-1", None)
    bench.report("arrived_at_pickup", order)
    assert orders(problem(bench))[order.id].only == "d-1"


def test_what_a_person_gave_or_pinned_stays_with_its_driver(bench: Bench) -> None:
    given, pinned = bench.place(), bench.place()
    bench.command("assign", given, "d-0")
    by_autopilot(bench, pinned, "d-1")
    bench.command("pin", pinned)
    bench.at_ms += RULES.stand_down_ms
    found = orders(problem(bench))
    assert (found[given.id].only, found[pinned.id].only) == ("d-0", "d-1")


def test_a_held_order_is_left_out_and_its_driver_is_planned_from_after_it(bench: Bench) -> None:
    order = bench.place()
    by_autopilot(bench, order, "d-1")
    bench.command("hold", order)
    bench.at_ms += RULES.stand_down_ms
    found = problem(bench)
    assert order.id not in orders(found)
    assert drivers(found)["d-1"].free_ms > bench.at_ms + MINUTE


def test_what_a_person_touched_is_left_alone_for_a_while(bench: Bench) -> None:
    order = bench.place()
    order.touched_ms = bench.at_ms
    assert order.id not in orders(problem(bench))
    bench.at_ms += RULES.stand_down_ms
    assert order.id in orders(problem(bench))


def test_a_driver_a_person_touched_is_left_alone_with_its_orders(bench: Bench) -> None:
    order = bench.place()
    by_autopilot(bench, order, "d-1")
    bench.engine.state.drivers["d-1"].touched_ms = bench.at_ms
    assert order.id not in orders(problem(bench))
    assert "d-1" not in drivers(problem(bench))


def test_collected_orders_are_no_more_planned_and_their_driver_is_free_at_the_last_door(bench: Bench) -> None:
    order = bench.place(ready_ms=T0)
    by_autopilot(bench, order, "d-1")
    bench.report("accepted", order)
    bench.report("picked_up", order)
    found = problem(bench)
    assert order.id not in orders(found)
    visits = bench.engine.planner.visits(
        *(MALL[0] + 0.008, MALL[1]), bench.at_ms, bench.engine.state.drivers["d-1"].route, bench.engine.state.orders
    )
    assert drivers(found)["d-1"].free_ms == visits[-1].depart_ms


def test_a_trip_of_which_something_is_in_hand_is_made(bench: Bench) -> None:
    first, second = bench.place(), bench.place()
    for order in (first, second):
        by_autopilot(bench, order, "d-1")
        bench.report("accepted", order)
    bench.report("picked_up", first)
    assert second.id not in orders(problem(bench))


@pytest.mark.parametrize("trouble", ["off duty", "on break", "elsewhere", "silent", "jumping"])
def test_unfit_drivers_are_left_out(bench: Bench, trouble: str) -> None:
    driver = bench.engine.state.drivers["d-1"]
    match trouble:
        case "off duty":
            bench.do(SetDuty("d-1", "off_duty", "maya"))
            bench.at_ms += RULES.stand_down_ms
        case "on break":
            bench.do(a_report("on_break", "d-1"))
        case "elsewhere":
            driver.mall_ids = ("another",)
        case "silent":
            driver.state = "silent"
        case _:
            bench.do(a_ping("d-1", bench.at_ms, north=0.9, seq=1))
    assert sorted(drivers(problem(bench))) == ["d-0", "d-2"]


def test_a_driver_never_heard_of_is_left_out(bench: Bench) -> None:
    bench.do(DriverRegistered("d-9"))
    bench.do(a_report("on_duty", "d-9"))
    assert "d-9" not in drivers(problem(bench))


def test_a_driver_lost_for_long_loses_what_the_autopilot_gave_it_and_nothing_before(bench: Bench) -> None:
    order = bench.place()
    by_autopilot(bench, order, "d-1")
    for minutes, expected in ((3, False), (6, True)):
        bench.at_ms = T0 + minutes * MINUTE
        for other in ("d-0", "d-2"):
            bench.do(a_ping(other, bench.at_ms, seq=minutes))
        bench.do(Tick())
        found = orders(problem(bench))
        assert (order.id in found) == expected
    assert found[order.id].told is None


def test_decliners_are_barred_and_shifts_end_the_work(bench: Bench) -> None:
    order = bench.place()
    order.declined_by.append("d-2")
    bench.do(DriverRegistered("d-0", capacity=2, shift_end_ms=bench.at_ms + 50 * MINUTE))
    found = problem(bench)
    assert orders(found)[order.id].barred == {"d-2"}
    assert (drivers(found)["d-0"].home_ms, drivers(found)["d-0"].capacity) == (bench.at_ms + 50 * MINUTE, 2)


def test_an_older_fix_is_a_doubt(bench: Bench) -> None:
    bench.place()
    bench.at_ms += MINUTE
    assert {driver.doubt_ms for driver in problem(bench).drivers} == {MINUTE // 2}


@pytest.mark.parametrize(
    ("since_promise_min", "least_min", "most_min"), [(-20, 20, 40), (1, 4, 20), (15, 4, 20), (60, 0, 0)]
)
def test_an_unready_order_is_expected_after_its_promise_and_never_before_long(
    since_promise_min: int, least_min: int, most_min: int
) -> None:
    bench = Bench()
    order = bench.place(ready_ms=T0 + 20 * MINUTE)
    at_ms = T0 + (20 + since_promise_min) * MINUTE
    assert least_min * MINUTE <= expected_ready_ms(order, order.ready_ms, at_ms) - at_ms <= most_min * MINUTE


def test_a_ready_order_is_ready_now(bench: Bench) -> None:
    order = bench.place(ready_ms=bench.at_ms + 20 * MINUTE)
    bench.command("ready", order)
    assert expected_ready_ms(order, order.ready_ms, bench.at_ms + MINUTE) <= bench.at_ms + MINUTE


def test_legs_are_those_of_the_engines_own_travel(bench: Bench) -> None:
    one, other = bench.place(stores=("macys",)), bench.place(stores=("zara", "macys"))
    found, engine = problem(bench), bench.engine
    travel, mall = engine.planner.travel, engine.floor.malls["plaza"]
    plan, seat = orders(found), drivers(found)["d-2"]
    for order in (one, other):
        counter, door = plan[order.id].pickups[0], plan[order.id].dropoff
        pickup, drop = engine.planner.stops_for(order)
        half_ms = travel.walk_ms(mall, order.stores) // 2
        ping = engine.state.drivers["d-2"].ping
        assert ping is not None
        there_ms = travel.drive_ms(ping.lat, ping.lng, pickup.lat, pickup.lng) + travel.rules.park_ms + half_ms
        out_ms = half_ms + travel.drive_ms(pickup.lat, pickup.lng, drop.lat, drop.lng)
        assert found.legs[seat.place, counter] == pytest.approx(there_ms, abs=2)
        assert found.legs[counter, door] == pytest.approx(out_ms, abs=2)
    assert found.legs.dtype == np.int64
    assert 0 < found.legs[plan[one.id].pickups[0], plan[other.id].pickups[0]] < NO_LEG_MS


def test_reading_the_floor_changes_nothing(bench: Bench) -> None:
    order = bench.place()
    by_autopilot(bench, order, "d-1")
    before = bench.engine.hash()
    problem(bench)
    assert bench.engine.hash() == before


def test_orders_of_other_malls_and_over_orders_are_no_part_of_it(bench: Bench) -> None:
    cancelled = bench.place()
    bench.do(OrderCommand("cancel", cancelled.id, cancelled.version, "maya"))
    assert not problem(bench).orders
