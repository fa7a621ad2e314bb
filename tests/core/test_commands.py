"""Decisions: versions, numbers, keys, who may carry what, and undo."""

from itertools import pairwise

import msgspec
import pytest

from streamer.core.events import CommandDone, HandOver, Refused, RouteChanged, SetDuty
from streamer.core.snapshot import dump_state
from tests.builders import MINUTE, T0, Bench, an_order, refusal


@pytest.fixture
def two(bench: Bench) -> Bench:
    bench.driver("d-1")
    bench.driver("d-2", north=-0.01)
    return bench


def told(outputs: tuple[object, ...]) -> dict[str, RouteChanged]:
    return {output.driver_id: output for output in outputs if isinstance(output, RouteChanged)}


def test_assign_gives_the_order_a_number_and_the_driver_a_route(two: Bench) -> None:
    order = two.place()
    route = told(two.command("assign", order, "d-1"))["d-1"]
    assert (order.status, order.driver_id, order.version) == ("assigned", "d-1", 2)
    assert order.assignment == route.assignment == two.engine.state.drivers["d-1"].assignment
    assert [stop.kind for stop in route.stops] == ["pickup", "dropoff"]
    assert T0 < route.stops[0].eta_ms < route.stops[1].eta_ms == order.eta_dropoff_ms


def test_second_command_on_the_same_version_is_refused_with_the_order(two: Bench) -> None:
    order = two.place()
    two.command("assign", order, "d-1")
    first = two.command("reassign", order, "d-2", expected_version=2)
    second = two.command("reassign", order, "d-1", expected_version=2)
    assert isinstance(first[0], CommandDone)
    assert isinstance(second[0], Refused)
    assert (second[0].code, second[0].order_id) == ("version_conflict", order.id)
    assert order.driver_id == "d-2"


def test_reassign_tells_both_drivers_and_mints_a_new_number(two: Bench) -> None:
    order = two.place()
    two.command("assign", order, "d-1")
    was = order.assignment
    routes = told(two.command("reassign", order, "d-2"))
    assert (routes["d-1"].stops, len(routes["d-2"].stops)) == ((), 2)
    assert order.assignment is not None
    assert was is not None
    assert order.assignment > was
    assert two.engine.state.drivers["d-1"].order_ids == ()


@pytest.mark.parametrize(
    ("action", "fields", "code"),
    [
        ("assign", {"driver_id": "d-9"}, "unknown_driver"),
        ("assign", {}, "bad_field"),
        ("assign", {"driver_id": "d-3"}, "driver_off_duty"),
        ("assign", {"driver_id": "d-4"}, "wrong_mall"),
        ("assign", {"driver_id": "d-1", "expected_version": 7}, "version_conflict"),
        ("reassign", {"driver_id": "d-1"}, "bad_transition"),
        ("unassign", {}, "bad_transition"),
        ("pin", {}, "bad_transition"),
    ],
)
def test_command_that_cannot_be_is_refused_and_changes_nothing(
    two: Bench, action: str, fields: dict[str, object], code: str
) -> None:
    two.driver("d-3")
    two.do(SetDuty("d-3", "off_duty", "maya"))
    two.driver("d-4")
    two.engine.state.drivers["d-4"].mall_ids = ("elsewhere",)
    order = two.place()
    before = dump_state(two.engine.state)
    assert refusal(two.command(action, order, **fields)) == code
    assert dump_state(two.engine.state) == before


def test_unknown_order_is_not_found(two: Bench) -> None:
    order = two.place()
    order_id, order.id = order.id, "o-99"
    assert refusal(two.command("hold", order)) == "not_found"
    order.id = order_id


def test_full_driver_takes_no_more(bench: Bench) -> None:
    bench.driver("d-1", capacity=2)
    orders = [bench.place() for _ in range(3)]
    codes = [refusal(bench.command("assign", order, "d-1")) for order in orders]
    assert codes == [None, None, "over_capacity"]


def test_hold_and_pin_stop_the_autopilot_but_not_people(two: Bench) -> None:
    order = two.place()
    two.command("hold", order)
    assert refusal(two.command("assign", order, "d-1", actor="autopilot")) == "held"
    assert refusal(two.command("assign", order, "d-1")) is None
    assert not order.held
    two.command("pin", order)
    assert refusal(two.command("reassign", order, "d-2", actor="autopilot")) == "pinned"
    assert refusal(two.command("release", order)) is None
    two.at_ms += two.engine.settings.autopilot.stand_down_ms
    assert refusal(two.command("reassign", order, "d-2", actor="autopilot")) is None


def test_autopilot_does_not_ask_a_decliner_again(two: Bench) -> None:
    order = two.place()
    two.command("assign", order, "d-1")
    two.report("declined", order)
    assert order.status == "placed"
    assert refusal(two.command("assign", order, "d-1", actor="autopilot")) == "declined"
    assert refusal(two.command("assign", order, "d-1")) is None


def test_ready_is_a_time_not_a_gate(two: Bench) -> None:
    order = two.place(ready_ms=T0 + 20 * MINUTE)
    two.command("ready", order, ready_ms=T0 + 30 * MINUTE)
    assert (order.status, order.is_ready, order.ready_ms) == ("placed", False, T0 + 30 * MINUTE)
    two.command("assign", order, "d-1")
    two.command("ready", order)
    assert (order.status, order.is_ready, order.ready_ms) == ("assigned", True, T0)
    two.command("unassign", order)
    assert order.status == "ready"


def test_same_key_has_one_effect_and_one_answer(two: Bench) -> None:
    order = two.place()
    first = two.command("assign", order, "d-1", key="k-1", expected_version=1)
    again = two.command("assign", order, "d-1", key="k-1", expected_version=1)
    assert isinstance(first[0], CommandDone)
    assert isinstance(again[0], CommandDone)
    assert again[0].repeated
    assert again[0].command_id == first[0].command_id
    assert order.version == 2
    assert refusal(two.command("assign", order, "d-2", key="k-1", expected_version=1)) == "key_reused"
    assert refusal(two.command("reassign", order, "d-2", key="k-1", actor="noor")) is None


def test_same_external_order_is_placed_once(bench: Bench) -> None:
    first = bench.do(an_order(external_id="113-1"))
    again = bench.do(an_order(external_id="113-1"))
    other = bench.do(an_order(external_id="113-1", items=4))
    assert isinstance(first[0], CommandDone)
    assert isinstance(again[0], CommandDone)
    assert (again[0].repeated, again[0].order_ids) == (True, first[0].order_ids)
    assert refusal(other) == "duplicate_external_id"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"mall_id": "nowhere"}, "bad_field"),
        ({"stores": ("nike",)}, "bad_field"),
        ({"stores": ("macys", "macys")}, "bad_field"),
        ({"due_ms": T0}, "bad_field"),
    ],
)
def test_order_that_cannot_be_is_refused(bench: Bench, fields: dict[str, object], code: str) -> None:
    assert refusal(bench.do(an_order(**fields))) == code
    assert bench.engine.state.seq == 0


# ---------------------------------------------------------------- undo


def shape(bench: Bench, order_id: str) -> tuple[object, ...]:
    order = bench.engine.state.orders[order_id]
    return order.status, order.driver_id, order.held, order.pinned, order.is_ready


@pytest.mark.parametrize(
    ("earlier", "action", "fields"),
    [
        ([], "assign", {"driver_id": "d-1"}),
        ([], "hold", {}),
        ([], "cancel", {}),
        ([], "ready", {}),
        ([("hold", {})], "release", {}),
        ([("assign", {"driver_id": "d-1"})], "reassign", {"driver_id": "d-2"}),
        ([("assign", {"driver_id": "d-1"})], "unassign", {}),
        ([("assign", {"driver_id": "d-1"})], "pin", {}),
        ([("assign", {"driver_id": "d-1"})], "hold", {}),
        ([("assign", {"driver_id": "d-1"}), ("pin", {})], "reassign", {"driver_id": "d-2"}),
        ([("assign", {"driver_id": "d-1"}), ("pin", {})], "release", {}),
        ([("assign", {"driver_id": "d-1"})], "cancel", {}),
        ([("assign", {"driver_id": "d-1"})], "ready", {}),
        ([("hold", {})], "assign", {"driver_id": "d-1"}),
    ],
)
def test_undo_leads_back_as_a_new_command(
    two: Bench, earlier: list[tuple[str, dict[str, str]]], action: str, fields: dict[str, str]
) -> None:
    order = two.place()
    for what, with_fields in earlier:
        two.command(what, order, **with_fields)
    before, version = shape(two, order.id), order.version
    two.command(action, order, **fields)
    assert shape(two, order.id) != before
    assert refusal(two.undo(two.last_command())) is None
    assert shape(two, order.id) == before
    assert order.version > version + 1
    assert order.history[-1].reason == f"undo of {action}"


def test_undo_still_works_after_the_driver_has_accepted(two: Bench) -> None:
    order = two.place()
    two.command("assign", order, "d-1")
    two.command("reassign", order, "d-2")
    command_id = two.last_command()
    two.report("accepted", order)
    assert refusal(two.undo(command_id)) is None
    assert order.driver_id == "d-1"


def test_undo_is_refused_once_a_later_command_depends_on_it(two: Bench) -> None:
    order = two.place()
    two.command("assign", order, "d-1")
    first = two.last_command()
    two.command("reassign", order, "d-2")
    assert refusal(two.undo(first)) == "not_undoable"
    assert refusal(two.undo("c-999")) == "not_found"
    second = two.last_command()
    assert refusal(two.undo(second)) is None
    assert refusal(two.undo(second)) == "not_undoable"


def test_undo_is_refused_after_the_pick_up(two: Bench) -> None:
    order = two.place()
    two.command("assign", order, "d-1")
    for step in ("accepted", "arrived_at_pickup", "picked_up"):
        assert refusal(two.report(step, order)) is None
    assert refusal(two.undo(two.last_command())) == "not_undoable"


# ---------------------------------------------------------------- hand over, duty


def test_hand_over_moves_everything_or_nothing(two: Bench) -> None:
    orders = [two.place() for _ in range(2)]
    for order in orders:
        two.command("assign", order, "d-1")
    two.report("accepted", orders[0])
    two.report("picked_up", orders[0])
    assert refusal(two.do(HandOver("d-1", "d-2", "maya"))) is None
    assert [(order.driver_id, order.status) for order in orders] == [("d-2", "picked_up"), ("d-2", "assigned")]
    assert two.engine.state.drivers["d-1"].route == ()
    assert refusal(two.do(HandOver("d-1", "d-2", "maya"))) == "bad_transition"


def test_hand_over_to_nobody_returns_what_is_not_collected(two: Bench) -> None:
    orders = [two.place() for _ in range(2)]
    for order in orders:
        two.command("assign", order, "d-1")
    two.report("accepted", orders[0])
    two.report("picked_up", orders[0])
    two.do(HandOver("d-1", None, "maya"))
    assert [(order.driver_id, order.status) for order in orders] == [("d-1", "picked_up"), (None, "placed")]


def test_forced_off_duty_gives_back_orders_but_never_goods(two: Bench) -> None:
    order = two.place()
    two.command("assign", order, "d-1")
    two.do(SetDuty("d-1", "off_duty", "maya"))
    assert (order.status, two.engine.state.drivers["d-1"].state) == ("placed", "off_duty")
    two.command("assign", order, "d-2")
    two.report("accepted", order)
    two.report("picked_up", order)
    assert refusal(two.do(SetDuty("d-2", "off_duty", "maya"))) == "bad_transition"


def test_position_fixes_the_rank_of_the_delivery(bench: Bench) -> None:
    bench.driver("d-1")
    orders = [bench.place() for _ in range(3)]
    for order in orders:
        bench.command("assign", order, "d-1")
    last = bench.place()
    bench.command("assign", last, "d-1", position=0)
    drops = [stop.order_id for stop in bench.engine.state.drivers["d-1"].route if stop.kind == "dropoff"]
    assert drops[0] == last.id
    times = [stop.eta_ms for stop in bench.engine.state.drivers["d-1"].route]
    assert all(a < b for a, b in pairwise(times))


@pytest.mark.parametrize("returning", [False, True])
def test_goods_that_come_back_can_be_handed_over_too(two: Bench, returning: bool) -> None:
    order = two.place()
    two.command("assign", order, "d-1")
    if returning is False:
        # Something to deliver first, so that the return is not begun yet.
        other = two.place()
        two.command("assign", other, "d-1")
        two.report("accepted", other)
        two.report("picked_up", other)
    two.report("accepted", order)
    two.report("picked_up", order)
    two.report("failed", order)
    assert order.status == ("returning" if returning else "failed")
    assert refusal(two.do(HandOver("d-1", "d-2", "maya"))) is None
    assert order.driver_id == "d-2"
    assert [stop.kind for stop in two.engine.state.drivers["d-2"].route if stop.order_id == order.id] == ["return"]
    assert refusal(two.report("returned", order)) is None


def test_repeated_placement_names_its_own_command(bench: Bench) -> None:
    first = bench.do(an_order(external_id="113-1"))
    bench.command("hold", bench.engine.state.orders["o-1"])
    again = bench.do(an_order(external_id="113-1"))
    assert isinstance(first[0], CommandDone)
    assert isinstance(again[0], CommandDone)
    assert again[0].command_id == first[0].command_id


def test_key_keeps_the_answer_as_it_was(two: Bench) -> None:
    order = two.place()
    two.command("assign", order, "d-1", key="k-1", expected_version=1)
    two.command("unassign", order)
    shown = msgspec.json.decode(two.engine.state.keys["maya:k-1"].answer)
    assert [(one["status"], one["driver_id"], one["version"]) for one in shown] == [("assigned", "d-1", 2)]
