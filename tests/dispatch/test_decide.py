"""What leaves now becomes commands the engine takes; the rest is advice people understand."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from streamer.core.events import Advice, DriverRegistered, Dropoff, OrderCommand, PlanMade
from streamer.core.orders import GIVEN
from streamer.core.settings import AutopilotRules
from streamer.core.state import Order
from streamer.dispatch.decide import Decision, decide, differs
from streamer.dispatch.floor import problem_of
from streamer.dispatch.preview import preview
from streamer.dispatch.search import plan
from tests.builders import MALL, MINUTE, T0, Bench, a_report, refusal

AUTO = AutopilotRules(mode="auto")


def look(bench: Bench, rules: AutopilotRules = AUTO, seed: int = 1) -> Decision:
    problem = problem_of(bench.engine, "plaza", bench.at_ms, rules)
    problem = replace(problem, settings=replace(problem.settings, effort=6))
    return decide(bench.engine, "plaza", problem, plan(problem, seed), rules, bench.at_ms)


def a_bench(drivers: int = 2) -> Bench:
    bench = Bench()
    for n in range(drivers):
        bench.driver(f"d-{n}", north=0.006 * (n + 1), capacity=4)
    return bench


def urgent(bench: Bench, **fields: object) -> Order:
    order = bench.place(due_in=25 * MINUTE, **fields)
    bench.command("ready", order, actor="macys")
    return order


def advised(decision: Decision) -> dict[str, Advice]:
    return {advice.order_id: advice for advice in decision.advice}


def test_what_must_leave_is_given_out_with_its_cost_and_version() -> None:
    bench = a_bench()
    order = urgent(bench)
    (command,) = look(bench).commands
    assert (command.action, command.order_id, command.driver_id) == ("assign", order.id, "d-0")
    assert (command.actor, command.expected_version, command.position) == ("autopilot", order.version, 0)
    assert command.reason.startswith("cost ")
    assert refusal(bench.do(command)) is None
    assert (order.driver_id, order.status) == ("d-0", "assigned")


def test_the_same_look_again_gives_nothing_twice() -> None:
    bench = a_bench()
    urgent(bench)
    for command in look(bench).commands:
        bench.do(command)
    assert look(bench).commands == ()


def test_an_order_far_from_ready_is_planned_and_says_when_and_with_whom() -> None:
    bench = a_bench()
    order = bench.place(ready_ms=bench.at_ms + 25 * MINUTE)
    decision = look(bench)
    advice = advised(decision)[order.id]
    assert decision.commands == ()
    assert (advice.word, advice.driver_id, advice.trip) == ("planned", "d-0", (order.id,))
    assert advice.reason.startswith("waits ")
    assert "for its store: alone on its trip, nobody late" in advice.reason
    assert advice.depart_ms is not None
    assert advice.depart_ms > bench.at_ms + AUTO.look_ms
    assert advice.leave_ms is not None
    assert advice.eta_dropoff_ms is not None
    assert advice.depart_ms < advice.leave_ms < advice.eta_dropoff_ms


def test_terms_sum_to_the_cost_and_the_next_best_costs_more_by_the_regret() -> None:
    bench = a_bench()
    order = bench.place(ready_ms=bench.at_ms + 25 * MINUTE)
    advice = advised(look(bench))[order.id]
    assert advice.cost_min == pytest.approx(sum(advice.terms.values()), abs=0.005)
    assert advice.regret_min is not None


def test_advice_people_see_already_is_not_given_again() -> None:
    bench = a_bench()
    bench.place(ready_ms=bench.at_ms + 25 * MINUTE)
    first = look(bench)
    bench.do(PlanMade("plaza", first.advice))
    bench.at_ms += 10_000
    assert look(bench).advice == ()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, False), ({"depart_ms": T0 + 59_000}, False), ({"depart_ms": T0 + 61_000}, True),
        ({"reason": "waits 3 min: nobody late"}, False), ({"reason": "waits 4 min: 1 late"}, True),
        ({"driver_id": "d-2"}, True), ({"trip": ("o-1", "o-2")}, True), ({"word": "suggested"}, True),
    ],
)  # fmt: skip
def test_advice_differs_when_people_would_read_something_else(change: dict[str, object], expected: bool) -> None:
    known = Advice("o-1", "planned", "waits 4 min: nobody late", "d-1", ("o-1",), T0, T0 + MINUTE)
    assert differs(known, replace(known, **change)) == expected


def test_two_orders_ready_at_different_times_share_a_trip_and_one_waits_for_the_other() -> None:
    bench = a_bench(1)
    first = bench.place(ready_ms=bench.at_ms)
    bench.command("ready", first, actor="macys")
    second = bench.place(ready_ms=bench.at_ms + 9 * MINUTE)
    words = advised(look(bench))
    assert set(words[first.id].trip) == {first.id, second.id}
    assert f"shares a trip with {second.id}, nobody late" in words[first.id].reason


def test_without_holding_for_company_what_is_ready_leaves_alone() -> None:
    bench = a_bench(1)
    first = bench.place(ready_ms=bench.at_ms)
    bench.command("ready", first, actor="macys")
    second = bench.place(ready_ms=bench.at_ms + 9 * MINUTE)
    decision = look(bench, replace(AUTO, hold_for_batch=False))
    assert [command.order_id for command in decision.commands] == [first.id]
    assert advised(decision)[second.id].word == "planned"
    assert look(bench).commands == ()


def test_what_the_driver_stands_at_since_the_problem_was_made_is_not_moved() -> None:
    bench = a_bench()
    order = urgent(bench)
    bench.command("assign", order, "d-1", actor="autopilot")
    problem = problem_of(bench.engine, "plaza", bench.at_ms, AUTO)
    made = plan(problem, 1)
    (trips,) = made.trips.values()
    elsewhere = replace(made, trips={"d-0": trips})
    assert decide(bench.engine, "plaza", problem, elsewhere, AUTO, bench.at_ms).commands
    bench.report("arrived_at_pickup", order)
    assert not decide(bench.engine, "plaza", problem, elsewhere, AUTO, bench.at_ms).commands


@pytest.mark.parametrize(
    ("waited_min", "dues_min", "word", "taken"),
    [
        (7, [90], "", True), (5, [90], "", False), (5, [25], "", True), (1, [25], "", False), (7, [], "", False),
        (7, [90], "pin", False), (7, [90], "ready", False),
    ],
)  # fmt: skip
def test_a_late_store_does_not_keep_a_driver_from_its_other_orders(
    waited_min: int, dues_min: list[int], word: str, taken: bool
) -> None:
    bench = a_bench(1)
    late = bench.place(ready_ms=bench.at_ms)
    for order in (late, *(bench.place(due_in=minutes * MINUTE) for minutes in dues_min)):
        bench.command("assign", order, "d-0", actor="autopilot")
    bench.report("arrived_at_pickup", late)
    if word:
        bench.command(word, late)
    bench.at_ms += waited_min * MINUTE
    commands = [command for command in look(bench).commands if command.action == "unassign"]
    assert [command.order_id for command in commands] == ([late.id] if taken else [])
    for command in commands:
        assert command.reason == f"its store is not ready after {waited_min} min, and 1 more wait for it"
        assert refusal(bench.do(command)) is None


def test_suggesting_gives_nothing_out() -> None:
    bench = a_bench()
    order = urgent(bench)
    decision = look(bench, AutopilotRules(mode="suggest"))
    assert decision.commands == ()
    assert (advised(decision)[order.id].word, advised(decision)[order.id].driver_id) == ("suggested", "d-0")


def test_with_exceptions_the_late_is_left_to_people_and_the_rest_given_out() -> None:
    bench = a_bench()
    late, fine = bench.place(due_in=2 * MINUTE), urgent(bench)
    bench.command("ready", late, actor="macys")
    decision = look(bench, AutopilotRules(mode="auto_with_exceptions"))
    assert late.id not in {command.order_id for command in decision.commands}
    assert advised(decision)[late.id].word == "suggested"
    assert "a person decides" in advised(decision)[late.id].reason
    assert fine.id in {command.order_id for command in look(bench).commands}


def test_held_and_touched_orders_are_left_to_people_by_name() -> None:
    bench = a_bench()
    held, touched = bench.place(), bench.place()
    bench.command("hold", held)
    bench.command("hold", touched, actor="jordan")
    bench.command("release", touched, actor="jordan")
    touched.touched_ms = bench.at_ms
    words = advised(look(bench))
    assert (words[held.id].word, words[held.id].reason) == ("left_to_people", "held by maya")
    assert (words[touched.id].word, words[touched.id].reason) == ("left_to_people", "touched by jordan a moment ago")


def test_an_order_nobody_can_take_says_why() -> None:
    bench = a_bench(0)
    order = urgent(bench)
    assert (advised(look(bench))[order.id].word, "on duty" in advised(look(bench))[order.id].reason) == ("failed", True)
    bench.driver("d-0")
    order.declined_by.append("d-0")
    assert advised(look(bench))[order.id].reason == "every driver declined it"


def test_what_a_lost_driver_was_to_fetch_goes_to_another() -> None:
    bench = a_bench()
    order = urgent(bench)
    bench.command("assign", order, "d-0", actor="autopilot")
    bench.engine.state.drivers["d-0"].state = "silent"
    bench.engine.state.drivers["d-0"].received_ms = bench.engine.state.drivers["d-0"].last_active_ms = 1
    (command,) = look(bench).commands
    assert (command.action, command.driver_id) == ("reassign", "d-1")


def test_nobody_is_sent_whose_shift_ends_before_the_last_door() -> None:
    bench = a_bench(1)
    order = urgent(bench)
    bench.do(DriverRegistered("d-0", capacity=4, shift_end_ms=bench.at_ms + 12 * MINUTE))
    decision = look(bench)
    assert decision.commands == ()
    assert advised(decision)[order.id].reason == "no driver has room before the end of its shift"


def test_what_was_previewed_is_what_happens_when_nothing_else_changes() -> None:
    bench = a_bench(3)
    for n in range(3):
        urgent(bench, dropoff=Dropoff(MALL[0] + 0.02, MALL[1] - 0.02 + 0.003 * n))
    commands = look(bench).commands
    assert commands
    for command in commands:
        assert command.driver_id is not None
        expected = {
            effect.order_id: effect.eta_after_ms
            for effect in preview(bench.engine, (command.order_id,), command.driver_id, (command.position,))
        }
        bench.do(command)
        for order_id, eta_ms in expected.items():
            assert bench.engine.state.orders[order_id].eta_dropoff_ms == eta_ms


STEPS = ("place", "ready", "give", "accept", "arrive", "collect", "hold", "pin", "decline", "look")


class Happening:
    """What hypothesis may do to a floor before a look."""

    steps = st.lists(
        st.tuples(st.sampled_from(STEPS), st.integers(0, 9), st.integers(0, 3), st.integers(0, 20)), max_size=30
    )

    @staticmethod
    def do(bench: Bench, step: str, which: int, driver: int, minutes: int) -> None:
        orders = list(bench.engine.state.orders.values())
        order = orders[which % len(orders)] if orders else None
        bench.at_ms += 15_000
        match step:
            case "place":
                door = Dropoff(MALL[0] + 0.01 + 0.004 * which, MALL[1] - 0.02 + 0.004 * driver)
                due_ms = (20 + 4 * minutes) * MINUTE
                bench.place(due_in=due_ms, ready_ms=bench.at_ms + minutes * MINUTE, dropoff=door, stores=("zara",))
            case "ready" | "hold" | "pin" if order is not None:
                bench.command(step, order)
            case "give" if order is not None:
                bench.command("assign", order, f"d-{driver}", actor=("maya", "autopilot")[minutes % 2])
            case "accept" | "arrive" | "collect" | "decline" if order is not None and order.driver_id is not None:
                reports = {"accept": "accepted", "arrive": "arrived_at_pickup", "collect": "picked_up"}
                bench.report(reports.get(step, "declined"), order)
            case _:
                for command in look(bench).commands:
                    bench.do(command)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(Happening.steps)
def test_decisions_are_always_ones_the_engine_takes_and_break_no_hard_rule(
    steps: list[tuple[str, int, int, int]],
) -> None:
    bench = Bench()
    for n in range(4):
        bench.driver(f"d-{n}", north=0.005 * (n + 1), capacity=2 + n % 2)
    for step in steps:
        Happening.do(bench, *step)
    state = bench.engine.state
    decision = look(bench)
    assert decision == look(bench), "the same state, instant and seed decide the same"
    given_out = [command.order_id for command in decision.commands]
    assert len(given_out) == len(set(given_out)), "no order twice"
    for command in decision.commands:
        order = state.orders[command.order_id]
        assert not order.held
        assert not order.pinned
        assert command.driver_id not in order.declined_by
        assert command.driver_id != order.driver_id
        assert refusal(bench.do(command)) is None
    for driver in state.drivers.values():
        assert len(driver.order_ids) <= driver.capacity
    for advice in decision.advice:
        assert state.orders[advice.order_id].status not in GIVEN
        if advice.cost_min is not None:
            assert advice.cost_min == pytest.approx(sum(advice.terms.values()), abs=0.005)
    assert isinstance(decision.commands, tuple)
    assert all(isinstance(command, OrderCommand) for command in decision.commands)


def test_a_driver_under_way_is_told_of_company_when_it_comes_near() -> None:
    bench = a_bench(1)
    first = urgent(bench)
    bench.command("assign", first, "d-0", actor="autopilot")
    bench.do(a_report("accepted", "d-0", (first.id,), first.assignment))
    second = urgent(bench)
    (command,) = look(bench).commands
    assert (command.order_id, command.driver_id) == (second.id, "d-0")
