"""Two worlds side by side: the first decision that differs, and how late each order is in both."""

import pytest

from streamer.core.comparison import Decided, Difference, Lateness, compare, decided, first_difference
from streamer.core.events import HandOver, Input, OrderCommand, SetAutopilot, SetDuty, Tick, Undo
from streamer.core.settings import AutopilotRules
from streamer.core.snapshot import dump_state, load_state
from tests.builders import MINUTE, T0, Bench

HOLD = Decided(T0, "maya", "hold", "o-1")
GIVE = Decided(T0 + MINUTE, "autopilot", "assign", "o-2", "d-1")
OTHER = Decided(T0 + MINUTE, "autopilot", "assign", "o-2", "d-2")
LATER = Decided(T0 + 2 * MINUTE, "maya", "cancel", "o-3")


@pytest.mark.parametrize(
    ("recorded", "forked", "difference"),
    [
        ([HOLD, GIVE], [HOLD, GIVE], None),
        ([], [], None),
        ([HOLD, GIVE], [HOLD, OTHER], Difference(OTHER.at_ms, "autopilot: assign o-2 to d-2")),
        ([HOLD], [HOLD, LATER], Difference(LATER.at_ms, "maya: cancel o-3")),
        ([HOLD, GIVE], [HOLD], Difference(GIVE.at_ms, "not in the fork: autopilot: assign o-2 to d-1")),
        ([HOLD, GIVE], [HOLD, LATER], Difference(GIVE.at_ms, "not in the fork: autopilot: assign o-2 to d-1")),
        ([HOLD, LATER], [HOLD, GIVE], Difference(GIVE.at_ms, "autopilot: assign o-2 to d-1")),
    ],
)
def test_the_first_decision_that_differs(
    recorded: list[Decided], forked: list[Decided], difference: Difference | None
) -> None:
    assert first_difference(recorded, forked) == difference


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (OrderCommand("reassign", "o-1", 3, "maya", "d-2"), "maya: reassign o-1 to d-2"),
        (OrderCommand("hold", "o-1", 3, "maya"), "maya: hold o-1"),
        (HandOver("d-1", "d-2", "maya"), "maya: hand over d-1 to d-2"),
        (SetDuty("d-1", "off_duty", "maya"), "maya: off duty d-1"),
        (SetAutopilot("plaza", AutopilotRules(), "olga"), "olga: set autopilot plaza"),
        (Undo("c-7"), "somebody: undo c-7"),
    ],
)
def test_a_decision_says_who_decided_what(item: Input, words: str) -> None:
    decision = decided(T0, item)
    assert decision is not None
    assert decision.words == words


def test_a_stores_word_and_a_tick_are_no_decisions() -> None:
    assert decided(T0, OrderCommand("ready", "o-1", 1, "macys")) is None
    assert decided(T0, Tick()) is None


def test_lateness_is_that_of_the_delivery_or_else_of_the_eta_and_none_for_what_never_comes() -> None:
    bench = Bench()
    bench.driver()
    there, over = bench.place(), bench.place()
    bench.command("cancel", over)
    ended_before = bench.at_ms
    bench.command("assign", there, "d-1")
    forked = load_state(dump_state(bench.engine.state))
    for word, minutes in (("accepted", 0), ("picked_up", 10), ("delivered", 100)):
        bench.report(word, there, minutes * MINUTE)
    found = compare(bench.engine.state, forked, {}, ended_before, complete=True, difference=None)
    eta_ms = forked.orders[there.id].eta_dropoff_ms
    assert eta_ms is not None
    late_ms = bench.at_ms - there.due_ms
    assert late_ms > 0
    assert found.orders == (Lateness(there.id, late_ms, max(eta_ms, forked.at_ms) - there.due_ms, "d-1", "d-1"),)
    assert (found.recorded.delivered, found.forked.delivered, found.forked.open) == (1, 0, 1)


def test_an_order_of_one_world_alone_is_nowhere_in_the_other() -> None:
    bench = Bench()
    recorded = load_state(dump_state(bench.engine.state))
    mine = bench.place()
    found = compare(recorded, bench.engine.state, {}, T0, complete=False, difference=None)
    assert [(row.order_id, row.recorded_late_ms) for row in found.orders] == [(mine.id, None)]
    assert found.orders[0].forked_late_ms is not None
    assert not found.complete


def test_an_order_says_who_has_it_in_either_world() -> None:
    bench = Bench()
    bench.driver("d-1")
    bench.driver("d-2")
    order = bench.place()
    recorded = load_state(dump_state(bench.engine.state))
    bench.command("assign", order, "d-2")
    (row,) = compare(recorded, bench.engine.state, {}, T0, complete=False, difference=None).orders
    assert (row.recorded_driver_id, row.forked_driver_id) == (None, "d-2")


def test_an_order_with_another_name_in_the_fork_is_the_same_order() -> None:
    bench, other = Bench(), Bench()
    other.place(external_id="by-hand")
    bench.place(external_id="x")
    other.place(external_id="x")
    found = compare(bench.engine.state, other.engine.state, {"o-1": "o-2"}, T0 - 1, complete=True, difference=None)
    assert [(row.order_id, row.recorded_late_ms is None) for row in found.orders] == [("o-2", False), ("o-1", True)]
