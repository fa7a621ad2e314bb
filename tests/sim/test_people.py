"""The people of a story: which order an act picks, and how long it waits for one that fits."""

import pytest

from streamer.core.events import HandOver, OrderCommand, Tick
from streamer.core.malls import Floor
from streamer.sim.incidents import Act
from streamer.sim.people import PATIENCE_MS, People
from streamer.sim.town import Town
from tests.sim.conftest import T0
from tests.sim.desk import MINUTE_MS, Desk


@pytest.fixture
def desk(floor: Floor, town: Town) -> Desk:
    return Desk(floor, town)


def play(desk: Desk, at_ms: int, *acts: Act) -> list[OrderCommand | HandOver]:
    return People(T0, acts).decide(desk.engine, at_ms)


@pytest.mark.parametrize(
    ("action", "pick"), [("hold", "newest"), ("hold", "tightest"), ("cancel", "newest"), ("assign", "tightest")]
)
def test_people_act_on_the_queue(desk: Desk, action: str, pick: str) -> None:
    desk.driver("d-1")
    desk.order(0)
    tight = desk.order(1, due_ms=T0 + 45 * MINUTE_MS)
    new = desk.order(2, placed_ms=T0 + 1_000, due_ms=T0 + 120 * MINUTE_MS)
    (decided, *_) = play(desk, T0 + 20_000, Act(10_000, "maya", action, pick, "because"))  # type: ignore[arg-type]
    assert isinstance(decided, OrderCommand)
    assert decided.order_id == {"newest": new.id, "tightest": tight.id}[pick]
    assert (decided.actor, decided.action, decided.reason) == ("maya", action, "because")


def test_an_act_waits_for_an_order_that_fits_and_is_played_once(desk: Desk) -> None:
    people = People(T0, (Act(0, "maya", "hold", "newest", "wait"),))
    assert not people.decide(desk.engine, T0 + 1_000)
    desk.order()
    assert len(people.decide(desk.engine, T0 + 2_000)) == 1
    assert not people.decide(desk.engine, T0 + 3_000)


def test_an_act_that_never_fits_is_given_up(desk: Desk) -> None:
    people = People(T0, (Act(0, "maya", "hold", "newest", "wait"),))
    assert not people.decide(desk.engine, T0 + PATIENCE_MS)
    desk.order()
    assert not people.decide(desk.engine, T0 + PATIENCE_MS + 1_000)


def test_a_silent_drivers_orders_are_handed_over(desk: Desk) -> None:
    desk.driver("d-1")
    order = desk.order()
    desk.enter(OrderCommand("assign", order.id, order.version, "maya", "d-1"))
    desk.at_ms = T0 + 10 * MINUTE_MS
    desk.enter(Tick())
    decided = play(desk, desk.at_ms, Act(0, "maya", "hand_over", "silent", "no signal"))
    assert HandOver("d-1", None, "maya", "no signal") in decided
