"""Plans keep every rule whatever is asked, are the same for the same seed, and never get worse with more effort."""

import hashlib
import os
import subprocess
import sys
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from streamer.dispatch.problem import Plan, PlanOrder, Problem
from streamer.dispatch.schedule import Schedule
from streamer.dispatch.search import plan
from tests.dispatch.plan_checker import faults
from tests.dispatch.problems import MINUTE, a_driver, an_order, any_problems, on_a_line

SEEDS = st.integers(0, 5)


def with_effort(problem: Problem, rounds: int) -> Problem:
    return replace(problem, settings=replace(problem.settings, effort=rounds))


@settings(max_examples=200)
@given(any_problems(), SEEDS)
def test_every_plan_keeps_every_rule(problem: Problem, seed: int) -> None:
    assert faults(problem, plan(problem, seed)) == []


@settings(max_examples=50)
@given(any_problems(), SEEDS)
def test_the_same_seed_gives_the_same_plan(problem: Problem, seed: int) -> None:
    assert plan(problem, seed) == plan(problem, seed)


@settings(max_examples=100)
@given(any_problems(), SEEDS, st.lists(st.integers(0, 60), min_size=2, max_size=4))
def test_more_effort_never_costs_more(problem: Problem, seed: int, efforts: list[int]) -> None:
    costs = [plan(with_effort(problem, rounds), seed).cost_ms for rounds in sorted(efforts)]
    assert all(later <= earlier + 0.01 for earlier, later in pairwise(costs))


@settings(max_examples=50)
@given(any_problems(), SEEDS, st.integers(0, 10))
def test_a_search_that_is_stopped_is_one_of_less_effort(problem: Problem, seed: int, rounds: int) -> None:
    asked: list[None] = []

    def stop() -> bool:
        asked.append(None)
        return len(asked) > rounds

    stopped = plan(with_effort(problem, 1_000), seed, stop)
    assert stopped == plan(with_effort(problem, stopped.rounds), seed)
    assert stopped.rounds <= rounds


def digest(made: Plan) -> str:
    return hashlib.sha256(msgspec.json.encode(made)).hexdigest()


def a_crowd() -> Problem:
    """Twelve orders of two stores, four drivers."""
    orders = [an_order(f"o{n}", n % 2, 2 + n, ready_min=5 + n, told=f"d{n % 3}" if n < 4 else None) for n in range(12)]
    drivers = [a_driver(f"d{n}", 14 + n) for n in range(4)]
    return on_a_line([0, 1, *(3 + 0.7 * n for n in range(12)), 2, 4, 6, 8], orders, drivers)


def test_the_plan_does_not_hang_on_the_hash_seed() -> None:
    script = "from tests.dispatch.test_search import *; print(digest(plan(a_crowd(), 7)))"
    found = {
        subprocess.run(
            [sys.executable, "-c", script], env={**os.environ, "PYTHONHASHSEED": seed}, check=True, capture_output=True
        ).stdout
        for seed in ("1", "2")
    }
    assert found == {(digest(plan(a_crowd(), 7)) + "\n").encode()}


def test_rounds_make_a_crowd_better_off() -> None:
    costs = [plan(with_effort(a_crowd(), rounds), 1).cost_ms for rounds in (0, 200)]
    assert costs[1] < costs[0]


# ---------------------------------------------------------------- who gets what


def test_the_driver_who_can_be_there_first_goes() -> None:
    made = plan(on_a_line([0, 5, 20, 1], [an_order("o", 0, 1, ready_min=0)], [a_driver("far", 2), a_driver("near", 3)]))
    (trip,) = made.trips["near"]
    assert (trip.leave_ms, trip.dropoff_ms) == (5 * MINUTE, (12 * MINUTE,))


def test_a_trip_departs_no_earlier_than_it_must() -> None:
    made = plan(on_a_line([0, 5, 3], [an_order("o", 0, 1, ready_min=20)], [a_driver("d", 2)]))
    assert made.trips["d"][0].depart_ms == 15 * MINUTE


def neighbours(**settings: float) -> Problem:
    """Two orders of two stores a minute apart, two doors side by side, one driver."""
    return on_a_line([0, 1, 10, 10, 0], [an_order("a", 0, 2), an_order("b", 1, 3)], [a_driver("d", 4)], **settings)


def test_stores_apart_share_no_trip_unless_they_are_near_enough() -> None:
    assert [trip.order_ids for trip in plan(neighbours()).trips["d"]] in ([("a",), ("b",)], [("b",), ("a",)])
    (trip,) = plan(neighbours(multi_pickup_ms=MINUTE)).trips["d"]
    assert sorted(trip.order_ids) == ["a", "b"]
    assert trip.leave_ms == 27 * MINUTE  # Ready at 20; off the first counter at 22; a minute, four for the second.


@pytest.mark.parametrize(("trip_min", "trips"), [(0, 2), (20, 1)])
def test_a_trip_with_a_price_is_filled_where_that_is_worth_it(trip_min: int, trips: int) -> None:
    """Two drivers stand at the store; the doors are 3 minutes apart: together the second waits 5 or so longer."""
    orders = [an_order("a", 0, 1), an_order("b", 0, 2)]
    problem = on_a_line([0, 10, 13, 0, 0], orders, [a_driver("d", 3), a_driver("e", 4)], trip_ms=trip_min * MINUTE)
    made = plan(problem)
    assert faults(problem, made) == []
    assert sum(map(len, made.trips.values())) == trips


@pytest.mark.parametrize(("mates", "near_ms", "tried"), [(0, MINUTE, [0]), (1, MINUTE, [0, 1]), (1, 0, [0])])
def test_who_collects_at_a_near_store_is_tried_however_many_are_nearer(
    mates: int, near_ms: int, tried: list[int]
) -> None:
    """`near` stands at b's store, `far` carries a, whose store is next door and whose door is b's."""
    orders = [an_order("a", 0, 2), an_order("b", 1, 2)]
    problem = on_a_line(
        [0, 1, 10, 1, 60], orders, [a_driver("near", 3), a_driver("far", 4)],
        drivers_tried=1, mates_tried=mates + 1 if mates else 0, multi_pickup_ms=near_ms,
    )  # fmt: skip
    schedule = Schedule(problem)
    load = schedule.loads.best((0,))
    assert load is not None
    schedule.assign_load(1, load)
    assert schedule.tried(1) == tried


def test_an_order_of_several_stores_collects_at_all_and_takes_company_from_any_of_them() -> None:
    orders = [an_order("both", (0, 1), 2), an_order("one", 1, 3)]
    problem = on_a_line([0, 3, 10, 10, 0], orders, [a_driver("d", 4)])
    made = plan(problem)
    assert faults(problem, made) == []
    (trip,) = made.trips["d"]
    assert sorted(trip.order_ids) == ["both", "one"]
    assert trip.leave_ms == 29 * MINUTE


def test_a_driver_whose_shift_ends_collects_nothing_later() -> None:
    problem = on_a_line([0, 5, 0], [an_order("o", 0, 1)], [a_driver("d", 2, off_ms=19 * MINUTE)])
    made = plan(problem)
    assert (made.trips, made.unserved) == ({}, ("o",))
    assert plan(replace(problem, drivers=(a_driver("d", 2, off_ms=20 * MINUTE),))).unserved == ()


def test_a_driver_who_must_be_home_drops_off_before() -> None:
    problem = on_a_line([0, 5, 0], [an_order("o", 0, 1)], [a_driver("d", 2, home_ms=28 * MINUTE)])
    assert plan(problem).unserved == ("o",)
    assert plan(replace(problem, drivers=(a_driver("d", 2, home_ms=29 * MINUTE),))).unserved == ()


def test_nobody_carries_more_than_fits() -> None:
    orders = [an_order(f"o{n}", 0, 1) for n in range(5)]
    made = plan(on_a_line([0, 5, 0], orders, [a_driver("d", 2, capacity=2)]))
    assert [len(trip.order_ids) for trip in made.trips["d"]] == [2, 2, 1]


@pytest.mark.parametrize(
    ("order", "who"),
    [
        (an_order("o", 0, 1, ready_min=0, only="far"), "far"),
        (an_order("o", 0, 1, ready_min=0, barred=frozenset({"near"})), "far"),
        (an_order("o", 0, 1, ready_min=0, told="far"), "near"),
        (an_order("o", 0, 1), "near"),
        (an_order("o", 0, 1, told="far"), "far"),
    ],
)
def test_pins_and_refusals_bind_and_the_told_driver_keeps_what_nobody_does_better(order: PlanOrder, who: str) -> None:
    made = plan(on_a_line([0, 5, 3, 2], [order], [a_driver("far", 2), a_driver("near", 3)], told_ms=0.9 * MINUTE))
    assert list(made.trips) == [who]


def test_a_driver_under_way_is_not_diverted_but_may_collect_something_else_there() -> None:
    orders = [an_order("late", 0, 1, ready_min=40, told="d"), an_order("now", 0, 1, ready_min=0)]
    elsewhere = an_order("elsewhere", 2, 1, ready_min=0)
    made = plan(on_a_line([0, 5, 1, 0], [*orders, elsewhere], [a_driver("d", 3, heading=0)]))
    assert made.trips["d"][0].order_ids == ("now",)


def test_what_is_ready_beyond_the_horizon_is_left_for_later() -> None:
    made = plan(on_a_line([0, 5, 0], [an_order("o", 0, 1, ready_min=31)], [a_driver("d", 2)]))
    assert (made.trips, made.unserved, made.later) == ({}, (), ("o",))


# ---------------------------------------------------------------- what is only expected


def test_an_order_that_is_only_expected_is_never_given_out() -> None:
    problem = on_a_line([0, 5, 0], [], [a_driver("d", 2)], [an_order("expected 0", 0, 1, weight=0.25)])
    made = plan(problem)
    assert (made.trips, made.unserved, made.later, made.verdicts) == ({}, (), (), ())


def test_who_stands_where_an_order_is_expected_is_not_sent_away() -> None:
    """Either can take the order as well; one of them is where the next is expected."""
    expected = an_order("expected 0", 0, 1, ready_min=4, weight=0.5)
    drivers = [a_driver("stands", 3), a_driver("idles", 4)]
    places = [0, 5, 10, 0, 20]
    order = an_order("o", 2, 2, ready_min=12)
    assert list(plan(on_a_line(places, [order], drivers)).trips) in (["stands"], ["idles"])
    assert list(plan(on_a_line(places, [order], drivers, [expected])).trips) == ["idles"]


def test_no_order_and_no_driver_are_plans_too() -> None:
    assert plan(on_a_line([0], [], [a_driver("d", 0)])).trips == {}
    made = plan(on_a_line([0, 1], [an_order("o", 0, 1)], []))
    assert (made.unserved, made.verdicts[0].why) == (("o",), "there is no driver")


def test_a_driver_under_way_who_was_told_more_than_fits_leaves_the_rest_to_others() -> None:
    orders = [an_order(f"o{n}", 0, 1, ready_min=n, told="d") for n in range(3)]
    made = plan(on_a_line([0, 5, 0], orders, [a_driver("d", 2, capacity=2, heading=0), a_driver("e", 2)]))
    assert len(made.trips["d"][0].order_ids) <= 2
    assert made.unserved == ()
