"""Every order is told why it is where it is, in terms that sum to what it costs."""

import pytest
from hypothesis import given, settings
from msgspec.structs import replace

from streamer.dispatch.problem import PlanDriver, PlanOrder, Problem, Verdict
from streamer.dispatch.search import plan
from tests.dispatch.problems import MINUTE, a_driver, an_order, any_problems, on_a_line

NAMES = ["wait", "detour", "lateness", "drive", "trip", "change", "doubt"]


def verdict(problem: Problem, order_id: str) -> Verdict:
    return {one.order_id: one for one in plan(problem).verdicts}[order_id]


@settings(max_examples=100)
@given(any_problems())
def test_terms_sum_to_the_cost_of_the_order_and_costs_to_the_cost_of_the_plan(problem: Problem) -> None:
    problem = replace(problem, expected=())
    made = plan(problem)
    assert [one.order_id for one in made.verdicts] == [order.id for order in problem.orders]
    weights = {order.id: order.weight for order in problem.orders}
    total_min = 0.0
    for one in made.verdicts:
        assert one.cost_min == pytest.approx(sum(one.terms.values()), abs=0.006)
        assert (list(one.terms) == NAMES) == (one.driver_id is not None) == (one.word in ("planned", "held"))
        left = one.driver_id is None
        total_min += problem.settings.unserved_ms / MINUTE * weights[one.order_id] if left else one.cost_min
    assert total_min == pytest.approx(made.cost_ms / MINUTE, abs=0.05 * len(problem.orders))


@settings(max_examples=100)
@given(any_problems())
def test_words_agree_with_the_trips(problem: Problem) -> None:
    made = plan(problem)
    drivers = {order_id: d for d, trips in made.trips.items() for trip in trips for order_id in trip.order_ids}
    for one in made.verdicts:
        assert one.driver_id == drivers.get(one.order_id)
        assert (one.word == "unserved") == (one.order_id in made.unserved)
        assert (one.word == "later") == (one.order_id in made.later)
        assert (one.hold_ms > 0) == (one.word == "held") == one.why.startswith("hold ")
        assert one.second_id != one.driver_id or one.second_id is None
        assert (one.second_id is None) == (one.regret_min is None)


def test_each_term_is_what_it_says() -> None:
    """Ready at 0, collected at 3 + 2 and off at 7: waits 5; 10 to the door and 2 there, due at 15: 4 late."""
    order = an_order("o", 0, 1, ready_min=0, due_ms=15 * MINUTE, earliest_ms=14 * MINUTE, told="gone")
    found = verdict(on_a_line([0, 10, 3], [order], [a_driver("d", 2, doubt_ms=MINUTE)], driver_minute=0.2), "o")
    work_min = 3 + 4 + 10 + 4
    wanted = {
        "wait": 5.0,
        "detour": 0.0,
        "lateness": 4 * 4.0,
        "drive": 0.2 * work_min,
        "trip": 0.0,
        "change": 0.0,
        "doubt": 1.0,
    }
    assert found.terms == pytest.approx(wanted)


def test_who_was_told_before_costs_a_change() -> None:
    order = an_order("o", 0, 1, ready_min=0, told="far")
    found = verdict(on_a_line([0, 5, 20, 1], [order], [a_driver("far", 2), a_driver("near", 3)]), "o")
    assert (found.driver_id, found.terms["change"], found.second_id) == ("near", 1.0, "far")


def test_regret_is_what_the_second_driver_would_add() -> None:
    drivers = [a_driver("far", 2), a_driver("near", 3)]
    found = verdict(on_a_line([0, 5, 20, 1], [an_order("o", 0, 1, ready_min=0)], drivers, driver_minute=0.2), "o")
    assert (found.second_id, found.regret_min) == ("far", pytest.approx(19 * 1.2))
    assert verdict(on_a_line([0, 5, 1], [an_order("o", 0, 1)], [a_driver("d", 2)]), "o").second_id is None


def test_a_trip_that_waits_for_company_says_so() -> None:
    orders = [an_order("first", 0, 1, ready_min=10), an_order("second", 0, 2, ready_min=14)]
    problem = on_a_line([0, 15, 15, 0], orders, [a_driver("d", 3)])
    held = verdict(problem, "first")
    assert (held.word, held.why) == ("held", "hold 4 min: +1 order on this trip, nobody late")
    assert held.hold_ms == 4 * MINUTE
    second = verdict(problem, "second")
    assert (second.word, second.why) == ("planned", "on a trip with first")


def test_a_hold_that_makes_somebody_late_says_that() -> None:
    orders = [an_order("first", 0, 1, 10, due_ms=27 * MINUTE), an_order("second", 0, 2, 14)]
    held = verdict(on_a_line([0, 15, 15, 0], orders, [a_driver("d", 3)]), "first")
    assert held.why == "hold 4 min: +1 order on this trip, 1 late"


@pytest.mark.parametrize(
    ("order", "driver", "why"),
    [
        (an_order("o", 0, 1, only="else"), a_driver("d", 2), "pinned to a driver who is not here"),
        (an_order("o", 0, 1, barred=frozenset({"d"})), a_driver("d", 2), "no driver may take it"),
        (an_order("o", 0, 1), a_driver("d", 2, capacity=0), "no driver may take it"),
        (an_order("o", 0, 1), a_driver("d", 2, off_ms=0), "no driver can take it before the end of a shift"),
    ],
)
def test_what_nobody_takes_says_why(order: PlanOrder, driver: PlanDriver, why: str) -> None:
    found = verdict(on_a_line([0, 5, 0], [order], [driver]), "o")
    assert (found.word, found.why, found.driver_id) == ("unserved", why, None)


def test_what_there_is_no_room_for_says_so() -> None:
    orders = [an_order(f"o{n}", 0, 1) for n in range(2)]
    made = plan(on_a_line([0, 5, 0], orders, [a_driver("d", 2, capacity=1)], trips_ahead=1))
    (left,) = (one for one in made.verdicts if one.word == "unserved")
    assert left.why == "every driver who could take it does better with others"


def test_what_comes_later_says_when() -> None:
    found = verdict(on_a_line([0, 5, 0], [an_order("o", 0, 1, ready_min=45)], [a_driver("d", 2)]), "o")
    assert (found.word, found.why) == ("later", "ready in 45 min: planned when that is nearer")


def test_nothing_is_said_when_nobody_asks() -> None:
    problem = on_a_line([0, 5, 0], [an_order("o", 0, 1)], [a_driver("d", 2)], explained=False)
    assert plan(problem).verdicts == ()
