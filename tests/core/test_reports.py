"""What drivers say, and when it is not believed."""

import pytest

from streamer.core.events import HandOver, ReportTaken, RouteChanged, Tick
from streamer.core.kpis import kpis
from tests.builders import MINUTE, Bench, a_ping, a_report, refusal


@pytest.fixture
def given(bench: Bench) -> Bench:
    bench.driver("d-1")
    bench.driver("d-2")
    bench.command("assign", bench.place(), "d-1")
    return bench


def test_whole_life_of_an_order(given: Bench) -> None:
    order = given.engine.state.orders["o-1"]
    statuses = []
    for step in ("accepted", "arrived_at_pickup", "picked_up", "arrived_at_dropoff", "delivered"):
        assert refusal(given.report(step, order, 2 * MINUTE)) is None
        statuses.append(order.status)
    assert statuses == ["enroute_to_pickup", "arrived_at_pickup", "picked_up", "arrived_at_dropoff", "delivered"]
    assert [line.action for line in order.history] == [
        "placed", "assign", "accepted", "arrived_at_pickup", "picked_up", "left_mall", "arrived_at_dropoff",
        "delivered",
    ]  # fmt: skip
    figures = kpis(given.engine.state, None)
    assert (figures.delivered, figures.on_time, figures.orders_per_trip) == (1, 1.0, 1.0)
    assert (figures.click_to_door_ms, figures.wait_at_store_ms) == (10 * MINUTE, 2 * MINUTE)
    assert given.engine.state.drivers["d-1"].state == "free"


def test_leaving_the_mall_starts_one_trip_with_all_it_carries(bench: Bench) -> None:
    bench.driver("d-1", north=0.0)
    bench.do(a_ping(at_ms=bench.at_ms + 5000), 5000)
    orders = [bench.place() for _ in range(3)]
    for order in orders:
        bench.command("assign", order, "d-1")
        bench.report("accepted", order)
        bench.report("picked_up", order)
    for n in range(1, 5):
        bench.do(a_ping(at_ms=bench.at_ms + 5000, north=0.0015 * n), 5000)
    assert {order.status for order in orders} == {"enroute_to_dropoff"}
    assert kpis(bench.engine.state, ["plaza"]).orders_per_trip == 3.0


@pytest.mark.parametrize(
    ("report", "fields", "code"),
    [
        ("delivered", {}, "bad_transition"),
        ("picked_up", {"driver_id": "d-2"}, "not_yours"),
        ("accepted", {"assignment": 0}, "stale_assignment"),
        ("accepted", {"assignment": 99}, "stale_assignment"),
        ("accepted", {"assignment": None}, "bad_field"),
        ("accepted", {"driver_id": "nobody"}, "not_yours"),
        ("off_duty", {}, "bad_transition"),
    ],
)
def test_report_that_cannot_be_is_refused(given: Bench, report: str, fields: dict[str, object], code: str) -> None:
    order = given.engine.state.orders["o-1"]
    seq = given.engine.state.seq
    assert refusal(given.report(report, order, **fields)) == code
    assert given.engine.state.seq == seq


def test_report_without_orders_is_refused(given: Bench) -> None:
    assert refusal(given.do(a_report("accepted", assignment=1))) == "bad_field"


def test_report_takes_effect_wholly_or_not_at_all(given: Bench) -> None:
    other = given.place()
    outputs = given.do(a_report("accepted", orders=("o-1", other.id), assignment=1))
    assert refusal(outputs) == "not_yours"
    assert given.engine.state.orders["o-1"].status == "assigned"


def test_repeated_report_is_answered_and_has_no_second_effect(given: Bench) -> None:
    report = a_report("accepted", orders=("o-1",), assignment=1)
    given.do(report)
    version = given.engine.state.orders["o-1"].version
    outputs = given.do(report)
    assert outputs == (ReportTaken("d-1", report.id, repeated=True),)
    assert given.engine.state.orders["o-1"].version == version


def test_driver_that_lost_the_order_cannot_speak_of_it_even_after_it_came_back(given: Bench) -> None:
    order = given.engine.state.orders["o-1"]
    old = order.assignment
    given.command("reassign", order, "d-2")
    assert refusal(given.report("accepted", order, driver_id="d-1", assignment=old)) == "stale_assignment"
    given.command("reassign", order, "d-1")
    assert refusal(given.report("accepted", order, assignment=old)) == "stale_assignment"
    assert refusal(given.report("accepted", order)) is None


def test_failed_delivery_becomes_a_return(given: Bench) -> None:
    order = given.engine.state.orders["o-1"]
    for step in ("accepted", "picked_up", "arrived_at_dropoff", "failed"):
        assert refusal(given.report(step, order)) is None
    assert order.status == "returning"
    assert [stop.kind for stop in given.engine.state.drivers["d-1"].route] == ["return"]
    given.report("returned", order)
    assert (order.status, given.engine.state.drivers["d-1"].order_ids) == ("returned", ())
    assert refusal(given.do(HandOver("d-1", "d-2", "maya"))) == "bad_transition"


def test_silent_driver_is_shown_as_silent_until_it_is_heard(given: Bench) -> None:
    given.do(Tick(), 121_000)
    driver = given.engine.state.drivers["d-2"]
    assert driver.state == "silent"
    assert [driver_id for driver_id, _ in given.engine.nearest(36.127, -115.172, 5)] == []
    given.do(a_ping("d-2", given.at_ms, north=0.01, seq=1))
    assert driver.state == "free"
    assert [driver_id for driver_id, _ in given.engine.nearest(36.127, -115.172, 5)] == ["d-2"]


def test_risk_rises_with_time(given: Bench) -> None:
    order = given.engine.state.orders["o-1"]
    seen = []
    for _ in range(60):
        given.do(Tick(), 2 * MINUTE)
        seen.append(order.risk)
    assert list(dict.fromkeys(seen)) == ["on_time", "at_risk", "late"]


def test_delivery_without_an_arrival_is_one_trip_like_any_other(given: Bench) -> None:
    order = given.engine.state.orders["o-1"]
    for step in ("accepted", "picked_up", "delivered"):
        assert refusal(given.report(step, order)) is None
    assert [line.action for line in order.history][-3:] == ["picked_up", "left_mall", "delivered"]
    assert given.engine.state.tallies["plaza"].trips == 1


def test_driver_is_told_its_route_only_when_its_stops_change(given: Bench) -> None:
    order = given.engine.state.orders["o-1"]
    told = {}
    for step in ("accepted", "arrived_at_pickup", "picked_up", "arrived_at_dropoff", "delivered"):
        told[step] = any(isinstance(output, RouteChanged) for output in given.report(step, order))
    assert [step for step in told if told[step]] == ["picked_up", "delivered"]
    assert not any(isinstance(output, RouteChanged) for output in given.do(a_report("on_break")))


@pytest.mark.parametrize("action", ["unassign", "reassign", "cancel"])
def test_waiting_for_an_order_that_is_taken_away_is_waiting_all_the_same(bench: Bench, action: str) -> None:
    bench.driver("d-1")
    bench.driver("d-2")
    fruitless, collected = bench.place(), bench.place()
    for order in (fruitless, collected):
        bench.command("assign", order, "d-1")
        bench.report("arrived_at_pickup", order)
    bench.at_ms += 5 * MINUTE
    bench.command(action, fruitless, "d-2" if action == "reassign" else None)
    bench.at_ms += MINUTE
    bench.report("picked_up", collected)
    assert kpis(bench.engine.state, None).wait_at_store_ms == (5 + 6) * MINUTE
