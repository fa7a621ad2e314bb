"""The benchmark's rules, one by one, on a toy day: what a driver does when told, and what may not be told."""

import pytest

from streamer.core.errors import CallerError
from streamer.dispatch.problem import NOWHERE, Plan, Problem
from streamer.sim.mdrp.day import Carried, Day, Move
from streamer.sim.mdrp.instance import MINUTE_MS
from tests.sim.mdrp_kit import TOY, Told, go, play, scripted, toy

C1, C2, R1, R2, O1, O2, O3 = 0, 1, 2, 3, 4, 5, 6
"""Places of the toy, as `Ground` numbers them."""


def minutes(ms: dict[int, int]) -> dict[int, float]:
    return {number: value / MINUTE_MS for number, value in ms.items()}


def moves(day: Day, driver: int) -> list[tuple[int, int, int]]:
    return [(move.depart_ms // MINUTE_MS, move.origin, move.destination) for move in day.played.moves[driver]]


def problems() -> list[Problem]:
    """What a policy is asked that sends c1 for o1."""
    seen: list[Problem] = []
    inner = scripted({5: {"c1": ("o1",)}})

    def policy(problem: Problem) -> Plan:
        seen.append(problem)
        return inner(problem)

    play(policy)
    return seen


def test_a_driver_leaves_when_its_shift_begins_and_the_order_waits_for_nobody_else() -> None:
    day = play(scripted({5: {"c1": ("o1",)}}))
    # On at 10, 3 minutes to r1, collects when o1 is ready at 20, leaves at 22, 5 minutes, 2 for half the drop-off.
    assert moves(day, 0) == [(10, C1, R1), (22, R1, O1)]
    assert (minutes(day.played.pickup_ms), minutes(day.played.dropoff_ms)) == ({0: 20}, {0: 29})


def test_a_driver_waits_where_it_stopped_until_it_is_told() -> None:
    day = play(scripted({5: {"c1": ("o1",)}, 40: {"c1": ("o2",)}}))
    assert moves(day, 0)[2:] == [(40, O1, R1), (49, R1, O2)]
    assert minutes(day.played.pickup_ms)[1] == 47  # 5 minutes, then half the pick-up.


def test_a_trip_drops_off_in_the_sequence_of_the_plan() -> None:
    day = play(scripted({15: {"c1": ("o2", "o1")}}))
    # Ready at 22, off at 24, 7 minutes and 2; 2 more, 2 minutes back, 2.
    assert minutes(day.played.dropoff_ms) == {1: 33, 0: 39}
    assert day.played.trips == [Carried(0, (1, 0), 15 * MINUTE_MS, 22 * MINUTE_MS)]


def test_the_orders_of_a_driver_under_way_may_change_until_it_collects_them() -> None:
    day = play(scripted({10: {"c1": ("o1",)}, 15: {"c1": ("o1", "o2")}}))
    assert day.played.trips == [Carried(0, (0, 1), 15 * MINUTE_MS, 22 * MINUTE_MS)]
    assert moves(day, 0)[0] == (10, C1, R1)


def test_a_trip_that_is_told_again_unchanged_keeps_the_time_it_was_fixed_at() -> None:
    day = play(scripted({10: {"c1": ("o1",)}, 15: {"c1": ("o1",)}}))
    assert day.played.trips[0].fixed_ms == 10 * MINUTE_MS


def test_what_is_changed_at_a_look_is_not_collected_before_it() -> None:
    late = TOY["orders.txt"].replace("o2\t700\t0\t12\tr1\t22", "o2\t700\t0\t12\tr1\t40")
    day = play(scripted({10: {"c1": ("o2",)}, 15: {"c1": ("o2",)}, 25: {"c1": ("o1",)}}), toy(orders=late))
    # c1 has waited at r1 for o2 since 15; told at 25 to take o1, ready since 20, instead, it does so at 25.
    assert minutes(day.played.pickup_ms)[0] == 25
    assert day.played.trips[0].fixed_ms == 25 * MINUTE_MS


def test_an_order_is_known_from_its_placement_and_not_once_it_is_collected() -> None:
    for problem in problems():
        at_min = problem.at_ms // MINUTE_MS
        expected = ({"o1"} if 5 <= at_min < 20 else set()) | ({"o2", "o3"} if at_min >= 15 else set())
        assert {order.id for order in problem.orders} == expected


def test_a_problem_says_where_and_when_each_driver_is_free_and_what_it_was_told() -> None:
    asked = {problem.at_ms // MINUTE_MS: problem for problem in problems()}
    (order,) = asked[5].orders
    assert (order.earliest_ms, order.due_ms, order.ready_ms) == (29 * MINUTE_MS, 93 * MINUTE_MS, 20 * MINUTE_MS)
    first = {driver.id: driver for driver in asked[5].drivers}["c1"]
    assert (first.free_ms, first.off_ms, first.heading) == (10 * MINUTE_MS, 60 * MINUTE_MS, NOWHERE)
    on_way = {driver.id: driver for driver in asked[15].drivers}["c1"]
    assert (on_way.heading, on_way.free_ms) == (on_way.place, 13 * MINUTE_MS)
    assert {order.id: order.told for order in asked[15].orders} == {"o1": "c1", "o2": None, "o3": None}
    after = {driver.id: driver for driver in asked[20].drivers}["c1"]
    assert (after.heading, after.free_ms) == (NOWHERE, 31 * MINUTE_MS)


def test_an_order_nobody_could_deliver_in_time_is_left_out() -> None:
    day = play(scripted({}))
    assert day.played.left_out == {3}


def test_a_driver_may_drop_off_but_not_collect_after_its_shift() -> None:
    early = TOY["couriers.txt"].replace("10\t60", "10\t20")
    day = play(scripted({10: {"c1": ("o1",)}}), toy(couriers=early))
    assert minutes(day.played.dropoff_ms) == {0: 29}
    with pytest.raises(CallerError, match="the plan lets c1 collect after its shift"):
        play(scripted({15: {"c1": ("o2",)}}), toy(couriers=early))


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ({10: {"c1": ("o1",)}, 15: {"c1": ("o3",)}}, "the plan diverts c1 from r1"),
        ({10: {"c1": ("o1",)}, 15: {}}, "the plan leaves c1 under way for nothing"),
        ({15: {"c1": ("o1",), "c2": ("o1",)}}, "the plan gives out o1 twice"),
        ({15: {"c1": ("o1", "o1")}}, "the plan gives out o1 twice"),
        ({15: {"c1": ("o1", "o3")}}, "the plan lets c1 collect at r2 as well"),
    ],
)
def test_a_plan_that_breaks_a_rule_is_refused(script: dict[int, Told], fault: str) -> None:
    with pytest.raises(CallerError, match=f"^{fault}$"):
        play(scripted(script))


@pytest.mark.parametrize("order_id", ["o2", "o4", "o9"])
def test_an_order_that_is_not_known_cannot_be_given_out(order_id: str) -> None:
    with pytest.raises(CallerError, match=f"^the plan gives out {order_id}, which is not known or is collected$"):
        play(lambda problem: go({"c1": (order_id,)}, problem))


def test_a_trip_that_need_not_begin_before_the_next_look_does_not() -> None:
    asked: list[int] = []

    def later(problem: Problem) -> Plan:
        asked.append(problem.at_ms)
        (trip,) = go({"c1": ("o1",)}, problem).trips["c1"]
        waits = Plan({"c1": (type(trip)(trip.order_ids, problem.at_ms + 5 * MINUTE_MS, 0, ()),)}, (), 0.0)
        return waits if len(asked) < 5 else Plan({}, (), 0.0)

    assert play(later).played.moves == ([], [])


def test_looks_every_minute_are_looks_every_minute() -> None:
    asked: list[int] = []

    def policy(problem: Problem) -> Plan:
        asked.append(problem.at_ms // MINUTE_MS)
        return Plan({}, (), 0.0)

    play(policy, look_ms=MINUTE_MS)
    assert asked == list(range(3, 121))


def test_a_trip_may_collect_at_stores_near_each_other_in_the_order_its_drop_offs_name_them() -> None:
    day = play(scripted({15: {"c1": ("o2", "o3", "o1")}}), multi_pickup_ms=2 * MINUTE_MS)
    # r1: there at 18, ready at 22, off at 24; r2: there at 26, collects at 28, off at 30.
    assert moves(day, 0) == [(15, C1, R1), (24, R1, R2), (30, R2, O2), (39, O2, O3), (46, O3, O1)]
    assert minutes(day.played.pickup_ms) == {1: 22, 0: 22, 2: 28}
    assert minutes(day.played.dropoff_ms) == {1: 37, 2: 44, 0: 49}
    assert day.played.trips == [Carried(0, (1, 2, 0), 15 * MINUTE_MS, 28 * MINUTE_MS)]


def test_the_last_of_several_pick_ups_is_within_the_shift() -> None:
    shift = TOY["couriers.txt"].replace("10\t60", "10\t27")
    with pytest.raises(CallerError, match="after its shift"):
        play(scripted({15: {"c1": ("o2", "o3")}}), toy(couriers=shift), multi_pickup_ms=2 * MINUTE_MS)


def test_moves_are_places_of_the_ground() -> None:
    day = play(scripted({5: {"c1": ("o1",)}}))
    assert day.played.moves[0][0] == Move(10 * MINUTE_MS, C1, R1)
    assert [day.ground.ids[place] for place in (C1, C2, R1, R2, O1, O2, O3)] == [
        "c1",
        "c2",
        "r1",
        "r2",
        "o1",
        "o2",
        "o3",
    ]
