"""The recording's dispatcher: what each policy gives out and when, beside the people of the story."""

import pytest
from msgspec.structs import replace

from streamer.core.changes import PolicyName
from streamer.core.events import OrderCommand, PlanMade
from streamer.core.malls import Floor
from streamer.sim.incidents import Act
from streamer.sim.policy import RULES, Decision, Dispatcher, store_words
from streamer.sim.town import Town
from tests.sim.conftest import T0
from tests.sim.desk import MINUTE_MS, Desk

LATER = T0 + 2 * MINUTE_MS
BOTH = pytest.mark.parametrize("policy", ["plan", "nearest"])


@pytest.fixture
def desk(floor: Floor, town: Town) -> Desk:
    return Desk(floor, town)


def looked(desk: Desk, policy: PolicyName, at_ms: int = LATER, *acts: Act) -> list[Decision]:
    desk.at_ms = at_ms
    return Dispatcher(T0, acts, policy).decide(desk.engine, at_ms)


def given(decisions: list[Decision]) -> dict[str, str | None]:
    return {d.order_id: d.driver_id for d in decisions if isinstance(d, OrderCommand) and d.action == "assign"}


@BOTH
def test_a_ready_order_due_soon_goes_to_the_only_driver_as_the_autopilot(desk: Desk, policy: PolicyName) -> None:
    desk.driver("d-1")
    order = desk.order(due_ms=T0 + 30 * MINUTE_MS)
    (decided,) = (d for d in looked(desk, policy) if isinstance(d, OrderCommand))
    assert (decided.action, decided.order_id, decided.driver_id) == ("assign", order.id, "d-1")
    assert (decided.actor, decided.expected_version) == ("autopilot", order.version)
    assert decided.reason


def test_a_plan_states_cost_and_company_and_advises_on_the_rest(desk: Desk) -> None:
    desk.driver("d-1")
    urgent = desk.order(0, due_ms=T0 + 30 * MINUTE_MS)
    unready = desk.order(1, ready_ms=T0 + 22 * MINUTE_MS)
    decided, made = looked(desk, "plan")
    assert isinstance(decided, OrderCommand)
    assert decided.order_id == urgent.id
    assert decided.reason.startswith("cost ")
    assert isinstance(made, PlanMade)
    assert [(advice.order_id, advice.word) for advice in made.advice] == [(unready.id, "planned")]


@BOTH
def test_a_held_order_is_not_touched(desk: Desk, policy: PolicyName) -> None:
    desk.driver("d-1")
    order = desk.order()
    desk.enter(OrderCommand("hold", order.id, order.version, "maya"))
    assert not given(looked(desk, policy))


@BOTH
def test_a_decliner_is_not_asked_again(desk: Desk, policy: PolicyName) -> None:
    desk.driver("d-1")
    desk.driver("d-2", east_m=4_000.0)
    order = desk.order(due_ms=T0 + 30 * MINUTE_MS)
    order.declined_by.append("d-1")
    assert given(looked(desk, policy)) == {order.id: "d-2"}


def test_the_nearest_has_one_order_a_trip_and_the_order_due_first_chooses_first(desk: Desk) -> None:
    desk.driver("d-far", east_m=2_000.0)
    desk.driver("d-near")
    calm = desk.order(0)
    urgent = desk.order(1, due_ms=T0 + 30 * MINUTE_MS)
    desk.order(2)
    assert given(looked(desk, "nearest")) == {urgent.id: "d-near", calm.id: "d-far"}


def test_a_plan_lets_neighbours_share_a_trip(desk: Desk) -> None:
    desk.driver("d-1")
    desk.driver("d-2", east_m=950.0)
    first = desk.order(0, due_ms=T0 + 40 * MINUTE_MS)
    beside = replace(first.dropoff, lat=first.dropoff.lat + 0.002)
    second = desk.order(1, due_ms=T0 + 40 * MINUTE_MS, dropoff=beside)
    decided = given(looked(desk, "plan"))
    assert decided.keys() == {first.id, second.id}
    assert len(set(decided.values())) == 1


@BOTH
def test_it_looks_again_only_when_it_is_time(desk: Desk, policy: PolicyName) -> None:
    desk.driver("d-1")
    desk.order(due_ms=T0 + 30 * MINUTE_MS)
    dispatcher = Dispatcher(T0, (), policy)
    assert dispatcher.decide(desk.engine, LATER)
    assert not dispatcher.decide(desk.engine, LATER + RULES.look_ms - 1_000)
    assert dispatcher.decide(desk.engine, LATER + RULES.look_ms)


@BOTH
def test_what_a_person_decides_in_the_same_second_is_theirs(desk: Desk, policy: PolicyName) -> None:
    desk.driver("d-1")
    order = desk.order(due_ms=T0 + 30 * MINUTE_MS)
    decided = looked(desk, policy, LATER, Act(0, "maya", "hold", "newest", "address being checked"))
    about = [d.actor for d in decided if isinstance(d, OrderCommand) and d.order_id == order.id]
    assert about == ["maya"]


def test_the_same_state_and_instant_give_the_same_decisions(desk: Desk) -> None:
    for number in range(4):
        desk.driver(f"d-{number}", east_m=600.0 + 200 * number)
    for number in range(12):
        desk.order(number, due_ms=T0 + (35 + number) * MINUTE_MS)
    assert looked(desk, "plan") == looked(desk, "plan")


def test_stores_say_ready_once_and_only_of_what_is_still_to_be_collected(desk: Desk) -> None:
    order = desk.order()
    packed = replace(desk.town.wishes[0].placed, placed_ms=T0)
    (word,) = store_words(desk.engine, [packed])
    assert (word.action, word.order_id, word.actor) == ("ready", order.id, packed.stores[0])
    desk.enter(word)
    assert order.is_ready
    assert not store_words(desk.engine, [packed])
    assert not store_words(desk.engine, [replace(packed, external_id="unknown")])
