"""The marks of a recording: what is worth jumping to, when it began, and the curve of the figures."""

from collections import Counter
from typing import Any

import msgspec
import pytest

from streamer.core.engine import Engine
from streamer.core.events import Advice, DriverRegistered, HandOver, Input, OrderCommand, PlanMade, Tick, Undo
from streamer.edge.recordings.fixtures import FixtureReader, find_fixture, read_companion
from streamer.edge.recordings.replay import floor_of
from streamer.edge.rooms import marks as marking
from streamer.edge.rooms.contract import AlarmMark, NextMark
from streamer.edge.rooms.marks import Watch
from tests.builders import MINUTE, T0, a_floor, a_ping, a_report, an_order


class Passing:
    """An engine that inputs pass through, with a watch on it."""

    def __init__(self, start_ms: int = T0) -> None:
        self.engine = Engine(a_floor())
        self.watch = Watch(start_ms)

    def take(self, at_ms: int, item: Input) -> None:
        seq = self.engine.state.seq
        outputs = self.engine.handle(at_ms, item)
        if self.engine.state.seq > seq:
            self.watch.hear(self.engine, self.engine.state.at_ms, item, outputs)

    def staff(self, at_ms: int = T0) -> None:
        self.take(at_ms, DriverRegistered("d-1", "Ana"))
        self.take(at_ms, a_report("on_duty", id="on", fix_ms=at_ms))
        self.take(at_ms, a_ping(at_ms=at_ms, seq=0))

    def alarms(self, kind: str) -> list[AlarmMark]:
        return [mark for mark in self.watch.alarms if mark.kind == kind]


@pytest.fixture
def passing() -> Passing:
    passing = Passing()
    passing.staff()
    return passing


def test_an_order_is_marked_once_when_it_will_be_late_and_once_when_it_is(passing: Passing) -> None:
    passing.take(T0, an_order(placed_ms=T0, due_ms=T0 + 90 * MINUTE))
    for minute in range(100):
        passing.take(T0 + minute * MINUTE, Tick())
    soon, late = passing.alarms("will_be_late"), passing.alarms("late")
    assert [mark.order_ids for mark in (*soon, *late)] == [("o-1",), ("o-1",)]
    assert T0 < soon[0].at_ms < late[0].at_ms
    assert (late[0].text, late[0].mall_id) == ("o-1 is late", "plaza")


def test_a_driver_who_falls_silent_with_orders_is_an_alarm_and_one_without_is_none(passing: Passing) -> None:
    for minute in range(10):
        passing.take(T0 + minute * MINUTE, Tick())
    assert not passing.alarms("driver_silent")
    passing.take(T0 + 10 * MINUTE, a_ping(at_ms=T0 + 10 * MINUTE, seq=1))
    passing.take(T0 + 10 * MINUTE, an_order(placed_ms=T0 + 10 * MINUTE, due_ms=T0 + 90 * MINUTE))
    passing.take(T0 + 10 * MINUTE, OrderCommand("assign", "o-1", 1, "maya", "d-1"))
    for minute in range(11, 20):
        passing.take(T0 + minute * MINUTE, Tick())
    (alarm,) = passing.alarms("driver_silent")
    assert (alarm.text, alarm.order_ids) == ("Ana is silent with 1 order on board", ("o-1",))


def test_a_store_that_keeps_drivers_waiting_is_one_alarm_for_as_long_as_it_does(passing: Passing) -> None:
    passing.take(T0, an_order(placed_ms=T0, due_ms=T0 + 90 * MINUTE, stores=("macys",)))
    passing.take(T0, OrderCommand("assign", "o-1", 1, "maya", "d-1"))
    for number, word in enumerate(("accepted", "arrived_at_pickup")):
        passing.take(T0 + MINUTE, a_report(word, "d-1", ("o-1",), 1, id=f"r-{number}"))
    for minute in range(2, 30):
        passing.take(T0 + minute * MINUTE, Tick())
    (alarm,) = passing.alarms("store_late")
    assert alarm.text == "macys late: 1 order"
    assert alarm.at_ms == T0 + 7 * MINUTE


def test_an_order_nobody_can_take_is_an_alarm_until_somebody_can(passing: Passing) -> None:
    passing.take(T0, an_order(placed_ms=T0, due_ms=T0 + 90 * MINUTE))
    for minute, word in enumerate(("failed", "failed", "waits", "failed"), 1):
        passing.take(T0 + minute * MINUTE, PlanMade("plaza", (Advice("o-1", word, "all are full"),)))  # type: ignore[arg-type]
    assert [mark.at_ms - T0 for mark in passing.alarms("unassignable")] == [MINUTE, 4 * MINUTE]
    assert passing.alarms("unassignable")[0].text == "nobody can take 1 order: all are full"


def test_three_declined_offers_one_after_the_other_are_an_alarm(passing: Passing) -> None:
    for number in range(1, 5):
        at_ms = T0 + number * MINUTE
        passing.take(at_ms, an_order(placed_ms=at_ms, due_ms=at_ms + 90 * MINUTE, external_id=f"x-{number}"))
        passing.take(at_ms, OrderCommand("assign", f"o-{number}", 1, "autopilot", "d-1"))
        passing.take(at_ms, a_report("declined", "d-1", (f"o-{number}",), number, id=f"no-{number}"))
    (alarm,) = passing.alarms("decline_streak")
    assert (alarm.at_ms, alarm.text) == (T0 + 3 * MINUTE, "Ana declined 3 offers one after the other")


def test_decisions_are_marked_and_a_stores_word_is_none(passing: Passing) -> None:
    passing.take(T0, an_order(placed_ms=T0, due_ms=T0 + 90 * MINUTE))
    passing.take(T0 + 1, OrderCommand("ready", "o-1", 1, "macys"))
    passing.take(T0 + 2, OrderCommand("assign", "o-1", 2, "autopilot", "d-1"))
    passing.take(T0 + 3, HandOver("d-1", None, "maya"))
    passing.take(T0 + 4, Undo(next(reversed(passing.engine.state.commands)), "jordan"))
    assert [(mark.actor, mark.action, mark.order_id, mark.driver_id) for mark in passing.watch.commands] == [
        ("autopilot", "assign", "o-1", "d-1"), ("maya", "hand_over", None, "d-1"), ("jordan", "undo", "o-1", None),
    ]  # fmt: skip
    following = [passing.watch.next(NextMark(from_ms, "command"), True).at_ms for from_ms in (T0, T0 + 3, T0 + 4)]
    assert following == [T0 + 3, T0 + 4, None], "people's, not the autopilot's"


def test_the_next_and_the_last_event_of_an_order_are_found(passing: Passing) -> None:
    passing.take(T0 + 1_000, an_order(placed_ms=T0, due_ms=T0 + 90 * MINUTE))
    passing.take(T0 + 5_000, OrderCommand("hold", "o-1", 1, "maya"))

    def event(from_ms: int, back: bool = False, order_id: str = "o-1") -> int | None:
        return passing.watch.next(NextMark(from_ms, "order", order_id, back), True).at_ms

    assert [event(T0), event(T0 + 1_000), event(T0 + 5_000)] == [T0 + 1_000, T0 + 5_000, None]
    assert [event(T0 + 9_000, True), event(T0 + 5_000, True), event(T0 + 1_000, True)] == [T0 + 5_000, T0 + 1_000, None]
    assert event(T0, order_id="o-9") is None


def test_what_happened_before_the_play_is_no_mark() -> None:
    passing = Passing(start_ms=T0 + 30 * MINUTE)
    passing.staff()
    passing.take(T0, an_order(placed_ms=T0, due_ms=T0 + 5 * MINUTE))
    for minute in range(40):
        passing.take(T0 + minute * MINUTE, Tick())
    assert all(mark.at_ms >= T0 + 30 * MINUTE for mark in (*passing.watch.alarms, *passing.watch.curve))
    assert len(passing.watch.curve) == 10


def test_the_curve_of_a_long_recording_gets_coarser_and_not_longer(
    passing: Passing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marking, "CURVE", 16)
    for minute in range(200):
        passing.take(T0 + minute * MINUTE, Tick())
    instants = [mark.at_ms for mark in passing.watch.curve]
    assert 8 <= len(instants) <= 16
    assert instants == sorted(instants)
    assert instants[-1] > T0 + 180 * MINUTE


def test_the_marks_of_a_bad_day_tell_its_story() -> None:
    """Silent drivers, a driver who declines all, a store that is late; and the curve ends with the recorded figures."""
    path = find_fixture("bad-day")
    with FixtureReader(path) as fixture:
        engine, watch = floor_of(fixture.header, 0), Watch(fixture.header.start_ms)
        for line in fixture:
            seq = engine.state.seq
            outputs = engine.handle(line.at_ms, line.input)
            if engine.state.seq > seq:
                watch.hear(engine, line.at_ms, line.input, outputs)
    found = Counter(mark.kind for mark in watch.alarms)
    assert {"late", "will_be_late", "driver_silent", "decline_streak", "store_late"} <= set(found), found
    assert [mark.at_ms for mark in watch.alarms] == sorted(mark.at_ms for mark in watch.alarms)
    assert {mark.actor for mark in watch.commands} == {"autopilot", "maya", "jordan"}
    last: dict[str, Any] = msgspec.to_builtins(watch.curve[-1])
    whole = msgspec.to_builtins(read_companion(path).kpis)
    assert abs(last["delivered"] - whole["delivered"]) <= 2
    assert len(watch.curve) == 61
