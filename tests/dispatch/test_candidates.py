"""Candidates are costed in terms that add up, and everybody else is told why not."""

from itertools import pairwise

import pytest

from streamer.core.errors import CallerError
from streamer.core.events import Advice, DriverRegistered, PlanMade, SetDuty, Tick
from streamer.core.snapshot import dump_state
from streamer.dispatch.candidates import rank
from streamer.dispatch.preview import preview
from tests.builders import MINUTE, Bench, a_ping, a_report


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    for n in range(8):
        bench.driver(f"d-{n}", north=0.004 * n, east=-0.003 * n)
    return bench


def test_terms_sum_to_the_cost_and_cheaper_comes_first(bench: Bench) -> None:
    for n in range(3):
        bench.command("assign", bench.place(ready_ms=bench.at_ms + 9 * MINUTE), f"d-{n}")
    ranking = rank(bench.engine, bench.place(due_in=20 * MINUTE).id, limit=8)
    assert len(ranking.items) == 8
    for candidate in ranking.items:
        assert candidate.cost == pytest.approx(sum(candidate.terms.values()), abs=0.005)
        assert candidate.eta_pickup_ms < candidate.eta_dropoff_ms
    assert all(a.cost <= b.cost for a, b in pairwise(ranking.items))


def test_ranking_changes_nothing(bench: Bench) -> None:
    order = bench.place()
    before = dump_state(bench.engine.state)
    rank(bench.engine, order.id)
    preview(bench.engine, (order.id,), "d-1")
    assert dump_state(bench.engine.state) == before


def test_everybody_is_either_suggested_or_excluded_with_a_reason(bench: Bench) -> None:
    order = bench.place()
    bench.do(SetDuty("d-0", "off_duty", "maya"))
    bench.do(a_report("on_break", "d-1"))
    bench.command("assign", order, "d-2")
    bench.report("declined", order)
    bench.engine.state.drivers["d-3"].mall_ids = ("elsewhere",)
    bench.engine.state.drivers["d-4"].capacity = 1
    bench.command("assign", bench.place(), "d-4")
    bench.do(DriverRegistered("d-8"))
    bench.do(a_report("on_duty", "d-8"))
    bench.do(a_ping("d-5", bench.at_ms, north=0.9, seq=1))
    bench.engine.state.drivers["d-6"].shift_end_ms = bench.at_ms + MINUTE
    ranking = rank(bench.engine, order.id)
    assert {one.driver_id: one.reason for one in ranking.excluded} == {
        "d-0": "off duty", "d-1": "on break", "d-2": "declined before", "d-3": "serves other malls", "d-4": "full",
        "d-8": "no position",
        "d-5": "position doubtful", "d-6": "shift ends before delivery",
    }  # fmt: skip
    assert [candidate.driver_id for candidate in ranking.items] == ["d-7"]


def test_silent_drivers_are_not_suggested(bench: Bench) -> None:
    order = bench.place()
    bench.do(Tick(), 3 * MINUTE)
    ranking = rank(bench.engine, order.id)
    assert ranking.items == ()
    assert {one.reason for one in ranking.excluded} == {"silent"}


def test_older_fix_costs_more(bench: Bench) -> None:
    order = bench.place()
    bench.do(Tick(), 60_000)
    ranking = rank(bench.engine, order.id)
    assert {candidate.terms["fix_age"] for candidate in ranking.items} == {0.5}


def test_candidate_says_how_much_more_it_costs_than_the_plan(bench: Bench) -> None:
    order = bench.place()
    assert {candidate.regret_min for candidate in rank(bench.engine, order.id).items} == {None}
    costs = {candidate.driver_id: candidate.cost for candidate in rank(bench.engine, order.id).items}
    second = sorted(costs, key=lambda driver_id: costs[driver_id])[1]
    bench.do(PlanMade("plaza", (Advice(order.id, "planned", driver_id=second, cost_min=costs[second]),)))
    regrets = {candidate.driver_id: candidate.regret_min for candidate in rank(bench.engine, order.id).items}
    assert regrets == {driver_id: pytest.approx(cost - costs[second], abs=0.005) for driver_id, cost in costs.items()}
    assert regrets[second] == 0.0


def test_collected_order_has_no_candidates(bench: Bench) -> None:
    order = bench.place()
    bench.command("assign", order, "d-1")
    bench.report("accepted", order)
    bench.report("picked_up", order)
    with pytest.raises(CallerError, match="only a hand-over moves it now"):
        rank(bench.engine, order.id)
    with pytest.raises(CallerError, match="there is no order"):
        rank(bench.engine, "o-77")


@pytest.mark.parametrize("taken", [0, 1, 2])
def test_preview_equals_what_then_happens(bench: Bench, taken: int) -> None:
    orders = [bench.place(due_in=(35 + 8 * n) * MINUTE) for n in range(5)]
    for n, order in enumerate(orders[:4]):
        bench.command("assign", order, f"d-{n % 2}")
    moved, other = orders[taken], "d-1" if taken % 2 == 0 else "d-0"
    effects = {effect.order_id: effect for effect in preview(bench.engine, (moved.id,), other)}
    assert set(effects) == {order.id for order in orders[:4]}
    bench.command("reassign", moved, other)
    for order in orders[:4]:
        effect = effects[order.id]
        assert (effect.driver_after, effect.eta_after_ms) == (order.driver_id, order.eta_dropoff_ms)
        assert effect.lateness_after_ms == max(0, (order.eta_dropoff_ms or 0) - order.due_ms)


def test_preview_of_several_orders_puts_them_in_one_after_another(bench: Bench) -> None:
    orders = [bench.place() for _ in range(3)]
    effects = preview(bench.engine, tuple(order.id for order in orders), "d-0")
    for order in orders:
        bench.command("assign", order, "d-0")
    assert {effect.order_id: effect.eta_after_ms for effect in effects} == {
        order.id: order.eta_dropoff_ms for order in orders
    }


@pytest.mark.parametrize(("order_id", "driver_id"), [("o-9", "d-1"), ("o-1", "d-99")])
def test_preview_of_what_is_not_there_is_an_error(bench: Bench, order_id: str, driver_id: str) -> None:
    bench.place()
    with pytest.raises(CallerError, match="there is no"):
        preview(bench.engine, (order_id,), driver_id)
