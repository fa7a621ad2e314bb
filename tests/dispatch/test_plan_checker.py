"""The checker that plans are held against finds what is wrong with one."""

import pytest
from msgspec.structs import replace

from streamer.dispatch.problem import Plan, Problem, Trip
from tests.dispatch.plan_checker import faults
from tests.dispatch.problems import MINUTE, a_driver, an_order, on_a_line


def street() -> Problem:
    """Two stores five minutes apart, a door ten minutes off, a driver at the first store and one under way to it."""
    orders = [
        an_order("a", 0, 2, only="d"), an_order("b", 1, 2), an_order("c", 0, 2, told="e", barred=frozenset({"d"})),
    ]  # fmt: skip
    drivers = [a_driver("d", 0, capacity=2, off_ms=40 * MINUTE), a_driver("e", 0, heading=0)]
    return on_a_line([0, 5, 10], orders, drivers)


A = Trip(("a",), 18 * MINUTE, 22 * MINUTE, (34 * MINUTE,))
C = Trip(("c",), 18 * MINUTE, 22 * MINUTE, (34 * MINUTE,))
GOOD = Plan({"d": (A,), "e": (C,)}, ("b",), 0.0)


def test_a_right_plan_has_no_fault() -> None:
    assert faults(street(), GOOD) == []


@pytest.mark.parametrize(
    ("plan", "fault"),
    [
        (replace(GOOD, unserved=()), "an order is missing, or there twice"),
        (replace(GOOD, later=("b",)), "an order is missing, or there twice"),
        (Plan({"d": (C,), "e": (A,)}, ("b",), 0.0), "c may not go to d"),
        (Plan({"d": (C,), "e": (A,)}, ("b",), 0.0), "a may not go to e"),
        (Plan({"d": (A,)}, ("b", "c"), 0.0), "e is diverted"),
        (replace(GOOD, trips={**GOOD.trips, "f": ()}), "f is no driver"),
        (replace(GOOD, trips={**GOOD.trips, "d": (replace(A, leave_ms=0),)}), "('a',) leave at 0, not 1320000"),
        (
            replace(GOOD, trips={**GOOD.trips, "d": (replace(A, dropoff_ms=(0,)),)}),
            "a is dropped off at 0, not 2040000",
        ),
        (replace(GOOD, trips={**GOOD.trips, "d": (replace(A, depart_ms=-1),)}), "('a',) depart before d is free"),
    ],
)
def test_a_wrong_plan_is_found_out(plan: Plan, fault: str) -> None:
    assert fault in faults(street(), plan)


def test_stores_apart_a_full_car_and_the_end_of_a_shift_are_found_out() -> None:
    both = Trip(("a", "b"), 18 * MINUTE, 31 * MINUTE, (38 * MINUTE, 42 * MINUTE))
    plan = Plan({"d": (both,), "e": (C,)}, (), 0.0)
    assert faults(street(), plan) == ["('a', 'b') share a trip"]
    full = replace(street().drivers[0], capacity=1, off_ms=28 * MINUTE, home_ms=40 * MINUTE)
    tight = replace(street(), drivers=(full, street().drivers[1]))
    assert faults(tight, plan) == [
        "d carries 2", "('a', 'b') share a trip", "d collects after its shift", "d drops off after it is to be home",
    ]  # fmt: skip
    short = replace(street(), settings=replace(street().settings, trips_ahead=0))
    assert "d is planned 1 trips" in faults(short, GOOD)
