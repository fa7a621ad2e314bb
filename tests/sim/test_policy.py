"""The recording's dispatcher: when it gives orders out, to whom, and what the story's people do."""

import pytest
from msgspec.structs import replace

from streamer.core.engine import Engine
from streamer.core.events import DriverRegistered, HandOver, OrderCommand, OrderPlaced, Ping, Report, Tick
from streamer.core.malls import Floor
from streamer.core.state import Order
from streamer.sim.incidents import Act
from streamer.sim.policy import PATIENCE_MS, Dispatcher, store_words
from streamer.sim.shoppers import Wish
from streamer.sim.town import Town
from tests.sim.conftest import T0

MINUTE_MS = 60_000
LATER = T0 + 2 * MINUTE_MS


class Desk:
    """An engine with drivers near the mall and orders whose stores are ready."""

    def __init__(self, floor: Floor, town: Town) -> None:
        self.engine, self.town, self.at_ms = Engine(floor), town, T0

    def driver(self, driver_id: str, east_m: float = 900.0) -> None:
        lat, lng = self.town.plane.to_degrees(east_m, 0.0)
        self.enter(DriverRegistered(driver_id, mall_ids=(self.town.mall.id,), capacity=4))
        self.enter(Report(f"{driver_id}-on", "on_duty", self.at_ms, driver_id))
        self.enter(Ping(self.at_ms, lat, lng, driver_id, 1, 8.0))

    def order(self, number: int = 0, **fields: object) -> Order:
        wish: Wish = self.town.wishes[number]
        placed = replace(wish.placed, **{"placed_ms": T0, "ready_ms": T0, "due_ms": T0 + 90 * MINUTE_MS, **fields})
        self.enter(placed)
        return self.engine.state.orders[f"o-{self.engine.state.orders_placed}"]

    def enter(self, item: DriverRegistered | Report | Ping | OrderPlaced | OrderCommand | Tick | HandOver) -> None:
        self.engine.handle(self.at_ms, item)

    def decide(self, at_ms: int, *acts: Act) -> list[OrderCommand | HandOver]:
        self.at_ms = at_ms
        return Dispatcher(T0, acts).decide(self.engine, at_ms)


@pytest.fixture
def desk(floor: Floor, town: Town) -> Desk:
    return Desk(floor, town)


def given(decisions: list[OrderCommand | HandOver]) -> dict[str, str | None]:
    return {d.order_id: d.driver_id for d in decisions if isinstance(d, OrderCommand) and d.action == "assign"}


def test_a_ready_order_goes_to_the_only_driver_as_the_autopilot_with_its_cost(desk: Desk) -> None:
    desk.driver("d-1")
    order = desk.order()
    (decided,) = desk.decide(LATER)
    assert isinstance(decided, OrderCommand)
    assert (decided.action, decided.order_id, decided.driver_id) == ("assign", order.id, "d-1")
    assert (decided.actor, decided.expected_version) == ("autopilot", order.version)
    assert decided.reason.startswith("cost ")


def test_a_fresh_order_is_left_in_the_queue_for_people_to_see(desk: Desk) -> None:
    desk.driver("d-1")
    desk.order()
    assert not desk.decide(T0 + 10_000)


def test_an_order_far_from_ready_waits_unless_it_is_due_soon(desk: Desk) -> None:
    desk.driver("d-1")
    waiting = desk.order(0, ready_ms=T0 + 40 * MINUTE_MS)
    urgent = desk.order(1, ready_ms=T0 + 40 * MINUTE_MS, due_ms=T0 + 30 * MINUTE_MS)
    decided = given(desk.decide(LATER))
    assert urgent.id in decided
    assert waiting.id not in decided


def test_a_held_order_is_not_touched(desk: Desk) -> None:
    desk.driver("d-1")
    order = desk.order()
    desk.enter(OrderCommand("hold", order.id, order.version, "maya"))
    assert not desk.decide(LATER)


def test_a_decliner_is_not_asked_again(desk: Desk) -> None:
    desk.driver("d-1")
    desk.driver("d-2", east_m=4_000.0)
    order = desk.order()
    order.declined_by.append("d-1")
    assert given(desk.decide(LATER)) == {order.id: "d-2"}


def test_an_order_joins_a_trip_that_is_still_on_its_way_to_the_mall(desk: Desk) -> None:
    desk.driver("d-1")
    desk.driver("d-2", east_m=950.0)
    first = desk.order()
    desk.enter(OrderCommand("assign", first.id, first.version, "maya", "d-1"))
    second = desk.order(1, dropoff=replace(first.dropoff, lat=first.dropoff.lat + 0.002))
    assert given(desk.decide(LATER)) == {second.id: "d-1"}


def test_one_driver_gets_one_order_a_look(desk: Desk) -> None:
    desk.driver("d-1")
    desk.order(0)
    desk.order(1)
    assert len(given(desk.decide(LATER))) == 1


def test_it_looks_every_ten_seconds(desk: Desk) -> None:
    desk.driver("d-1")
    desk.order()
    dispatcher = Dispatcher(T0)
    assert dispatcher.decide(desk.engine, LATER)
    assert not dispatcher.decide(desk.engine, LATER + 5_000)
    assert dispatcher.decide(desk.engine, LATER + 10_000)


@pytest.mark.parametrize(
    ("action", "pick"), [("hold", "newest"), ("hold", "tightest"), ("cancel", "newest"), ("assign", "tightest")]
)
def test_people_act_on_the_queue(desk: Desk, action: str, pick: str) -> None:
    desk.driver("d-1")
    desk.order(0)
    tight = desk.order(1, due_ms=T0 + 45 * MINUTE_MS)
    new = desk.order(2, placed_ms=T0 + 1_000, due_ms=T0 + 120 * MINUTE_MS)
    (decided, *_) = desk.decide(T0 + 20_000, Act(10_000, "maya", action, pick, "because"))  # type: ignore[arg-type]
    assert isinstance(decided, OrderCommand)
    assert decided.order_id == {"newest": new.id, "tightest": tight.id}[pick]
    assert (decided.actor, decided.action, decided.reason) == ("maya", action, "because")


def test_an_act_waits_for_an_order_that_fits_and_is_played_once(desk: Desk) -> None:
    dispatcher = Dispatcher(T0, (Act(0, "maya", "hold", "newest", "wait"),))
    assert not dispatcher.decide(desk.engine, T0 + 1_000)
    desk.order()
    assert len(dispatcher.decide(desk.engine, T0 + 2_000)) == 1
    assert not dispatcher.decide(desk.engine, T0 + 3_000)


def test_an_act_that_never_fits_is_given_up(desk: Desk) -> None:
    dispatcher = Dispatcher(T0, (Act(0, "maya", "hold", "newest", "wait"),))
    assert not dispatcher.decide(desk.engine, T0 + PATIENCE_MS)
    desk.order()
    assert not dispatcher.decide(desk.engine, T0 + PATIENCE_MS + 1_000)


def test_a_silent_drivers_orders_are_handed_over(desk: Desk) -> None:
    desk.driver("d-1")
    order = desk.order()
    desk.enter(OrderCommand("assign", order.id, order.version, "maya", "d-1"))
    desk.at_ms = T0 + 10 * MINUTE_MS
    desk.enter(Tick())
    decided = desk.decide(desk.at_ms, Act(0, "maya", "hand_over", "silent", "no signal"))
    assert HandOver("d-1", None, "maya", "no signal") in decided


def test_stores_say_ready_once_and_only_of_what_is_still_to_be_collected(desk: Desk) -> None:
    order = desk.order()
    packed = replace(desk.town.wishes[0].placed, placed_ms=T0)
    (word,) = store_words(desk.engine, [packed])
    assert (word.action, word.order_id, word.actor) == ("ready", order.id, packed.stores[0])
    desk.enter(word)
    assert order.is_ready
    assert not store_words(desk.engine, [packed])
    assert not store_words(desk.engine, [replace(packed, external_id="unknown")])
