"""The autopilot's place on the floor: advice, offers, and that it stands back from what people decide."""

import msgspec
import pytest

from streamer.core.events import (
    Advice,
    HandOver,
    OrderChanged,
    PlanMade,
    RouteChanged,
    SetAutopilot,
    SetDuty,
    Tick,
    Undo,
)
from streamer.core.kpis import kpis
from streamer.core.settings import AutopilotRules
from streamer.core.snapshot import dump_state
from streamer.core.state import Order
from tests.builders import MINUTE, T0, Bench, refusal

STAND_DOWN_MS = AutopilotRules().stand_down_ms
OFFER_MS = 45_000


@pytest.fixture
def two(bench: Bench) -> Bench:
    bench.driver("d-1")
    bench.driver("d-2", north=-0.01)
    return bench


def set_rules(bench: Bench, **fields: object) -> None:
    assert refusal(bench.do(SetAutopilot("plaza", AutopilotRules(**fields), "olga"))) is None  # type: ignore[arg-type]


def by_autopilot(bench: Bench, action: str, order: Order, driver_id: str | None = None) -> str | None:
    return refusal(bench.command(action, order, driver_id, actor="autopilot"))


# ---------------------------------------------------------------- stand-down


@pytest.mark.parametrize("action", ["hold", "pin", "release", "unassign", "reassign", "cancel"])
def test_command_of_a_person_touches_the_order_and_its_driver(two: Bench, action: str) -> None:
    order = two.place()
    by_autopilot(two, "assign", order, "d-1")
    two.at_ms += MINUTE
    assert refusal(two.command(action, order, "d-2")) is None
    drivers = two.engine.state.drivers
    assert (order.touched_ms, drivers["d-1"].touched_ms) == (two.at_ms, two.at_ms)
    assert drivers["d-2"].touched_ms == (two.at_ms if action == "reassign" else 0)


@pytest.mark.parametrize("actor", ["autopilot", "shop", ""])
def test_command_of_nobody_touches_nothing(two: Bench, actor: str) -> None:
    order = two.place()
    two.command("assign", order, "d-1", actor=actor)
    assert (order.touched_ms, two.engine.state.drivers["d-1"].touched_ms) == (0, 0)


def test_word_of_a_store_touches_nothing(two: Bench) -> None:
    order = two.place()
    two.command("ready", order, actor="macys")
    assert order.touched_ms == 0
    assert by_autopilot(two, "assign", order, "d-1") is None


def test_hand_over_duty_and_undo_touch_all_they_concern(two: Bench) -> None:
    order = two.place()
    by_autopilot(two, "assign", order, "d-1")
    drivers = two.engine.state.drivers
    two.do(HandOver("d-1", "d-2", "maya"), MINUTE)
    assert {order.touched_ms, drivers["d-1"].touched_ms, drivers["d-2"].touched_ms} == {two.at_ms}
    two.at_ms += MINUTE
    two.undo(two.last_command())
    assert {order.touched_ms, drivers["d-1"].touched_ms, drivers["d-2"].touched_ms} == {two.at_ms}
    two.do(SetDuty("d-1", "on_break", "maya"), MINUTE)
    assert {order.touched_ms, drivers["d-1"].touched_ms} == {two.at_ms}
    assert drivers["d-2"].touched_ms == two.at_ms - MINUTE


@pytest.mark.parametrize(
    ("after_ms", "code"), [(0, "stood_down"), (STAND_DOWN_MS - 1, "stood_down"), (STAND_DOWN_MS, None)]
)
def test_autopilot_stands_back_from_a_touched_order_for_a_while(two: Bench, after_ms: int, code: str | None) -> None:
    order = two.place()
    two.command("hold", order)
    two.command("release", order)
    two.at_ms += after_ms
    before = dump_state(two.engine.state)
    assert by_autopilot(two, "assign", order, "d-1") == code
    assert (dump_state(two.engine.state) == before) == (code is not None)


def test_autopilot_stands_back_from_both_drivers_of_a_move(two: Bench) -> None:
    mine, theirs = two.place(), two.place()
    by_autopilot(two, "assign", mine, "d-1")
    two.command("assign", theirs, "d-2")
    assert by_autopilot(two, "reassign", mine, "d-2") == "stood_down"
    two.at_ms += STAND_DOWN_MS
    two.command("pin", mine)
    two.command("release", mine)
    other = two.place()
    assert by_autopilot(two, "assign", other, "d-1") == "stood_down"
    assert by_autopilot(two, "assign", other, "d-2") is None


def test_mall_decides_how_long_the_autopilot_stands_back(two: Bench) -> None:
    set_rules(two, stand_down_ms=0)
    order = two.place()
    two.command("hold", order)
    two.command("release", order)
    assert by_autopilot(two, "assign", order, "d-1") is None


def test_people_do_not_stand_back_from_each_other(two: Bench) -> None:
    order = two.place()
    two.command("assign", order, "d-1")
    assert refusal(two.command("reassign", order, "d-2", actor="noor")) is None


@pytest.mark.parametrize(
    "item",
    [
        HandOver("d-1", "d-2", "autopilot"), SetDuty("d-1", "off_duty", "autopilot"),
        SetAutopilot("plaza", AutopilotRules("auto"), "autopilot"), Undo("c-7", "autopilot"),
    ],
)  # fmt: skip
def test_autopilot_has_no_other_way_around_people(two: Bench, item: object) -> None:
    order = two.place()
    two.command("assign", order, "d-1")
    two.command("pin", order)
    assert refusal(two.do(item)) == "forbidden"
    assert order.driver_id == "d-1"


# ---------------------------------------------------------------- offers


@pytest.fixture
def offered(two: Bench) -> tuple[Bench, Order]:
    set_rules(two, offer_ms=OFFER_MS)
    order = two.place()
    assert by_autopilot(two, "assign", order, "d-1") is None
    return two, order


def figures(bench: Bench) -> tuple[int, int, int]:
    counted = kpis(bench.engine.state, ("plaza",))
    return counted.offers, counted.declined, counted.lapsed


def test_order_of_the_autopilot_is_given_for_good_without_an_offer_time(two: Bench) -> None:
    order = two.place()
    by_autopilot(two, "assign", order, "d-1")
    assert (order.offered_until_ms, figures(two)) == (None, (0, 0, 0))


def test_order_of_the_autopilot_is_an_offer_and_one_of_a_person_is_not(offered: tuple[Bench, Order]) -> None:
    bench, order = offered
    assert order.offered_until_ms == T0 + OFFER_MS
    theirs = bench.place()
    bench.command("assign", theirs, "d-2")
    assert theirs.offered_until_ms is None
    assert figures(bench) == (1, 0, 0)


@pytest.mark.parametrize("step", ["accepted", "arrived_at_pickup"])
def test_whatever_the_driver_does_takes_the_offer_up(offered: tuple[Bench, Order], step: str) -> None:
    bench, order = offered
    assert refusal(bench.report(step, order)) is None
    assert order.offered_until_ms is None
    bench.do(Tick(), 10 * OFFER_MS)
    assert (order.driver_id, figures(bench)) == ("d-1", (1, 0, 0))


def test_store_that_says_ready_takes_no_offer_up(offered: tuple[Bench, Order]) -> None:
    bench, order = offered
    bench.command("ready", order, actor="macys")
    assert order.offered_until_ms == T0 + OFFER_MS


def test_offer_lapses_on_the_first_tick_past_it(offered: tuple[Bench, Order]) -> None:
    bench, order = offered
    bench.do(Tick(), OFFER_MS - 1)
    assert order.status == "assigned"
    outputs = bench.do(Tick(), 1)
    assert (order.status, order.driver_id, order.assignment, order.offered_until_ms) == ("placed", None, None, None)
    assert order.declined_by == ["d-1"]
    assert (order.history[-1].action, order.history[-1].actor) == ("offer_lapsed", "autopilot")
    assert OrderChanged(order.id, "plaza") in outputs
    assert [output.stops for output in outputs if isinstance(output, RouteChanged)] == [()]
    assert figures(bench) == (1, 0, 1)
    assert bench.engine.state.drivers["d-1"].state == "free"


def test_driver_that_let_an_offer_lapse_is_asked_again_only_by_people(offered: tuple[Bench, Order]) -> None:
    bench, order = offered
    was = order.assignment
    bench.do(Tick(), OFFER_MS)
    assert refusal(bench.report("accepted", order, driver_id="d-1", assignment=was)) == "stale_assignment"
    assert by_autopilot(bench, "assign", order, "d-1") == "declined"
    assert by_autopilot(bench, "assign", order, "d-2") is None
    assert refusal(bench.command("reassign", order, "d-1")) is None


def test_declined_offer_goes_back_at_once_and_is_counted(offered: tuple[Bench, Order]) -> None:
    bench, order = offered
    bench.report("declined", order)
    assert (order.status, order.offered_until_ms, figures(bench)) == ("placed", None, (1, 1, 0))


@pytest.mark.parametrize("action", ["pin", "hold", "reassign"])
def test_offer_that_a_person_touched_is_given_for_good(offered: tuple[Bench, Order], action: str) -> None:
    bench, order = offered
    bench.command(action, order, "d-2")
    bench.do(Tick(), 10 * OFFER_MS)
    assert (order.status, figures(bench)) == ("assigned", (1, 0, 0))


# ---------------------------------------------------------------- advice


def advise(bench: Bench, order: Order, mall_id: str = "plaza", **fields: object) -> None:
    given = {"word": "planned", "driver_id": "d-1", "cost_min": 12.5, **fields}
    bench.do(PlanMade(mall_id, (msgspec.convert({"order_id": order.id, **given}, Advice),)))


def test_advice_is_kept_on_orders_of_the_mall_that_are_still_in_the_queue(two: Bench) -> None:
    order, given = two.place(), two.place()
    two.command("assign", given, "d-2")
    version = order.version
    advise(two, order)
    advise(two, given)
    assert order.advice is not None
    assert (order.advice.cost_min, order.version, given.advice) == (12.5, version, None)
    advise(two, order, "elsewhere", cost_min=1.0)
    assert order.advice.cost_min == 12.5


def test_plan_for_an_order_nobody_knows_is_harmless(two: Bench) -> None:
    two.do(PlanMade("plaza", (Advice("o-99", "waits"),)))
    assert two.engine.state.orders == {}


@pytest.mark.parametrize(("action", "left"), [("assign", False), ("cancel", False), ("hold", True), ("ready", True)])
def test_advice_goes_when_the_order_is_given_or_cancelled(two: Bench, action: str, left: bool) -> None:
    order = two.place()
    advise(two, order)
    two.command(action, order, "d-1")
    assert (order.advice is not None) == left


def test_advice_goes_when_the_autopilot_is_turned_off(two: Bench) -> None:
    order = two.place()
    advise(two, order)
    set_rules(two, mode="suggest")
    assert order.advice is not None
    outputs = two.do(SetAutopilot("plaza", AutopilotRules("off"), "olga"))
    assert order.advice is None
    assert OrderChanged(order.id, "plaza", versioned=False) in outputs


def test_autopilot_of_an_unknown_mall_cannot_be_set(two: Bench) -> None:
    assert refusal(two.do(SetAutopilot("nowhere", AutopilotRules("auto"), "olga"))) == "not_found"
