"""Replay: the recording and nothing but the recording, until a person intervenes; then nothing nonsensical."""

import asyncio
import typing
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from streamer.core.engine import Engine
from streamer.core.events import (
    Advice,
    CommandDone,
    DriverRegistered,
    HandOver,
    Input,
    OrderCommand,
    OrderPlaced,
    Ping,
    PlanMade,
    Refused,
    Report,
    SetAutopilot,
    Tick,
    Undo,
)
from streamer.core.settings import AutopilotRules
from streamer.core.snapshot import dump_state, load_state, state_hash
from streamer.core.state import State
from streamer.edge.clock import PacedClock
from streamer.edge.journal.contract import MemoryJournal
from streamer.edge.recordings.adapt import DURATIONS, INSTANTS, shift, shift_state
from streamer.edge.recordings.fixtures import SCHEMA, FixtureReader, FixtureWriter, Header, find_fixture, read_companion
from streamer.edge.recordings.replay import ReplaySource, floor_of, instant_of, replay
from streamer.edge.runner import Runner
from tests.builders import MINUTE, T0, a_floor, a_ping, a_report, an_order
from tests.edge.floor_kit import a_day, a_header, live_through

HOUR = 60 * MINUTE


def a_fixture(folder: Path, day: Iterator[tuple[int, Input]] | None = None, **fields: Any) -> Path:
    """A day written as a fixture; play starts 30 s into it."""
    path = folder / "a-day.ndjson.zst"
    engine = Engine(a_floor())
    given: dict[str, Any] = {
        "schema": SCHEMA, "malls": a_floor().geojson(), "settings": engine.settings, "made_by": "a test",
        "licence": "CC0-1.0", "story": "A day.", "start_ms": T0 + 30_000, **fields,
    }  # fmt: skip
    with FixtureWriter(path, Header(**given)) as fixture:
        for entry in live_through(engine, day or a_day()):
            fixture.write(entry.at_ms, entry.input)
    return path


class Demo:
    """A recording being played into a runner."""

    def __init__(self, path: Path, start_ms: int = T0 + 30_000, speed: float = 5000) -> None:
        self.fixture = FixtureReader(path)
        clock = PacedClock(start_ms, speed)
        engine = floor_of(self.fixture.header, start_ms)
        self.runner = Runner(engine, MemoryJournal(a_header()), clock)
        self.source = ReplaySource(self.runner, self.fixture, clock)

    async def play(self) -> None:
        await self.source.warm_up()
        await self.source.play()
        self.fixture.close()

    @property
    def state(self) -> State:
        return self.runner.engine.state


# ---------------------------------------------------------------- headless


def test_a_replay_stops_before_the_first_input_after_until(tmp_path: Path) -> None:
    path = a_fixture(tmp_path)
    whole = replay(path)
    cut = replay(path, until_ms=T0 + 50_000)
    assert cut.at_ms == T0 + 50_000
    assert cut.inputs < whole.inputs
    assert instant_of(path, 20_000) == T0 + 50_000
    assert instant_of(path, T0) == T0


def test_a_paced_replay_arrives_where_a_fast_one_does(tmp_path: Path) -> None:
    path = a_fixture(tmp_path)
    assert replay(path, speed=2000) == replay(path)


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[int] = []
    replay(find_fixture("bad-day"), progress=told.append)
    assert told == list(range(5_000, read_companion(find_fixture("bad-day")).counts.inputs + 1, 5_000))


# ---------------------------------------------------------------- moved in time


def fields_in_ms(kind: Any, seen: set[Any]) -> Iterator[str]:
    """The names of all fields in milliseconds of a Struct and the Structs in it."""
    for part in typing.get_args(kind):
        yield from fields_in_ms(part, seen)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind not in seen:
        seen.add(kind)
        for field in msgspec.structs.fields(kind):
            if field.name.endswith("_ms"):
                yield field.name
            yield from fields_in_ms(field.type, seen)


def test_every_field_of_the_state_in_ms_is_known_as_an_instant_or_a_duration() -> None:
    assert set(fields_in_ms(State, set())) <= INSTANTS | DURATIONS


def test_every_instant_of_an_input_is_moved() -> None:
    kinds = typing.get_args(Input)
    assert isinstance(Input, UnionType)
    seen: set[str] = set()
    for _, item in a_full_day():
        plain = msgspec.to_builtins(item)
        assert msgspec.to_builtins(shift(item, 1000)) == later(plain, 1000, seen)
    assert seen == {name for kind in kinds for name in fields_in_ms(kind, set())} - DURATIONS


def later(value: Any, offset_ms: int, seen: set[str]) -> Any:
    """Plain values with every field that is called an instant moved, wherever it stands."""
    if isinstance(value, list | tuple):
        return type(value)(later(part, offset_ms, seen) for part in value)
    if not isinstance(value, dict):
        return value
    moved = {name for name, part in value.items() if name in INSTANTS and part is not None}
    seen |= moved
    return {name: part + offset_ms if name in moved else later(part, offset_ms, seen) for name, part in value.items()}


def a_full_day() -> Iterator[tuple[int, Input]]:
    yield from a_day(6)
    yield T0 + 40_000, OrderCommand("ready", "o-6", 2, ready_ms=T0 + 80_000)
    yield T0 + 40_000, DriverRegistered("d-1", shift_end_ms=T0 + HOUR)
    yield T0 + 40_000, an_order(placed_ms=T0, due_ms=T0 + HOUR, ready_ms=T0 + MINUTE)
    advice = Advice("o-7", "planned", "cheapest", "d-1", ("o-7",), T0 + 1, T0 + 2, T0 + 3, 4.0, {"wait": 4.0}, 0.5)
    yield T0 + 40_000, PlanMade("plaza", (advice, Advice("o-6", "waits")))
    yield T0 + 40_000, SetAutopilot("plaza", AutopilotRules("suggest", offer_ms=30_000), "olga")


@pytest.mark.parametrize("name", ["bad-day", "two-malls"])
def test_a_recording_moved_in_time_is_the_same_day(name: str) -> None:
    path, offset_ms = find_fixture(name), 86_400_000 * 3 + 1234
    with FixtureReader(path) as fixture:
        engine = floor_of(fixture.header, fixture.header.start_ms + offset_ms)
        for line in fixture:
            engine.handle(line.at_ms + offset_ms, shift(line.input, offset_ms))
    assert state_hash(shift_state(engine.state, -offset_ms)) == read_companion(path).hash


async def test_undisturbed_the_floor_arrives_where_the_recording_did(tmp_path: Path) -> None:
    path = a_fixture(tmp_path)
    demo = Demo(path, T0 + 30_000 + 5 * HOUR)
    await demo.play()
    assert demo.runner.clock_offset_ms == -5 * HOUR
    assert state_hash(shift_state(demo.state, -5 * HOUR)) == replay(path).hash
    assert (demo.source.adapter.skipped, demo.source.adapter.disturbed) == (0, False)


async def test_the_warm_up_is_over_before_the_play_and_the_play_keeps_pace(tmp_path: Path) -> None:
    demo = Demo(a_fixture(tmp_path), speed=1000)
    await demo.source.warm_up()
    assert T0 < demo.state.at_ms < T0 + 30_000
    playing = asyncio.create_task(demo.source.play())
    while not playing.done():
        assert demo.state.at_ms <= demo.runner.clock.now_ms()
        await asyncio.sleep(0.005)
    assert demo.state.at_ms == T0 + 100_000


async def test_a_recording_that_begins_with_a_state_can_be_moved_too(tmp_path: Path) -> None:
    day = list(a_day())
    engine = Engine(a_floor())
    live_through(engine, iter(day[:80]))
    start = load_state(dump_state(engine.state))
    tail = live_through(engine, iter(day[80:]))
    path = tmp_path / "tail.ndjson.zst"
    with FixtureReader(a_fixture(tmp_path)) as fixture:
        header = replace(fixture.header, start=start, start_ms=tail[0].at_ms)
    with FixtureWriter(path, header) as writer:
        for entry in tail:
            writer.write(entry.at_ms, entry.input)
    assert replay(path).hash == engine.hash()
    demo = Demo(path, tail[0].at_ms + HOUR)
    await demo.play()
    assert state_hash(shift_state(demo.state, -HOUR)) == engine.hash()


# ---------------------------------------------------------------- disturbed


async def until(demo: Demo, at_ms: int) -> None:
    """Plays the recording by hand up to an instant."""
    while (line := demo.source._peek()) is not None and line.at_ms <= at_ms:
        demo.source._submit(line)


async def rest(demo: Demo) -> None:
    await until(demo, T0 + 10 * HOUR)


async def by_hand(demo: Demo, item: Input) -> CommandDone:
    done = (await demo.runner.ask(item))[0]
    assert isinstance(done, CommandDone), done
    return done


def a_busy_day() -> Iterator[tuple[int, Input]]:
    """Four drivers; o-1 is accepted, collected and delivered by d-1, o-2 likewise by d-2; o-3 is held and released."""
    for number in range(1, 5):
        yield T0, DriverRegistered(f"d-{number}")
        yield T0, a_report("on_duty", f"d-{number}", id=f"on-{number}")
        yield T0, a_ping(f"d-{number}", T0, seq=0)
    for number in (1, 2, 3):
        yield T0 + 1_000 * number, an_order(external_id=f"x-{number}")
    for number in (1, 2):
        yield T0 + MINUTE, OrderCommand("assign", f"o-{number}", 1, "autopilot", f"d-{number}")
        words = ("accepted", "arrived_at_pickup", "picked_up", "arrived_at_dropoff", "delivered")
        for minute, word in enumerate(words, 2):
            driver = f"d-{number}"
            yield T0 + minute * MINUTE, a_report(word, driver, (f"o-{number}",), number, id=f"{driver}-{word}")
    yield T0 + 6 * MINUTE, OrderCommand("hold", "o-3", 1, "maya")
    yield T0 + 7 * MINUTE, OrderCommand("release", "o-3", 2, "maya")
    yield T0 + 8 * MINUTE, OrderCommand("cancel", "o-3", 3, "maya")
    yield T0 + 9 * MINUTE, Undo("c-{cancel}", "maya")


def in_order(day: Iterator[tuple[int, Input]]) -> Iterator[tuple[int, Input]]:
    """Sorted by time, and the undo names the command it undoes."""
    engine = Engine(a_floor())
    for at_ms, given in sorted(day, key=lambda entry: entry[0]):
        last = next(reversed(engine.state.commands), "")
        item = replace(given, command_id=last) if isinstance(given, Undo) else given
        outputs = engine.handle(at_ms, item)
        assert not (outputs and isinstance(outputs[0], Refused)), (item, outputs)
        yield at_ms, item


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    demo = Demo(a_fixture(tmp_path, in_order(a_busy_day()), start_ms=T0), T0)
    yield demo
    demo.fixture.close()


async def test_the_busy_day_ends_as_recorded_when_nobody_intervenes(demo: Demo) -> None:
    await rest(demo)
    assert [demo.state.orders[f"o-{number}"].status for number in (1, 2, 3)] == ["delivered", "delivered", "placed"]


async def test_an_order_given_to_another_is_no_longer_the_recordings_to_move(demo: Demo) -> None:
    await until(demo, T0 + MINUTE)
    order = demo.state.orders["o-1"]
    await by_hand(demo, OrderCommand("reassign", "o-1", order.version, "you", "d-3"))
    await rest(demo)
    assert (order.driver_id, order.status) == ("d-3", "assigned")
    assert demo.state.orders["o-2"].status == "delivered", "the other order's day goes on"
    assert demo.source.adapter.skipped == 5


async def test_what_people_did_to_one_order_does_not_stop_the_recording_on_others(demo: Demo) -> None:
    await until(demo, T0 + 10_000)
    await by_hand(demo, OrderCommand("hold", "o-1", 1, "you"))
    await rest(demo)
    assert demo.state.orders["o-1"].status == "placed"
    assert demo.state.orders["o-2"].status == "delivered"
    assert demo.state.orders["o-3"].version == 5


async def test_numbers_that_moved_are_translated(demo: Demo) -> None:
    """An order and an assignment made by hand take the next numbers, and the recording's must not run into them."""
    await until(demo, T0 + 1_000)
    await by_hand(demo, an_order(external_id="by-hand", actor="you"))
    await by_hand(demo, OrderCommand("assign", "o-2", 1, "you", "d-4"))
    await rest(demo)
    external = {order.external_id: order for order in demo.state.orders.values()}
    assert external["x-2"].id == "o-3"
    assert [external[name].status for name in ("x-1", "x-2", "x-3", "by-hand")] == [
        "delivered", "delivered", "placed", "assigned",
    ]  # fmt: skip
    assert [line.action for line in external["x-3"].history] == ["placed", "hold", "release", "cancel", "reinstate"]


async def test_a_stranger_on_the_floor_changes_nothing_of_the_recording(demo: Demo) -> None:
    await until(demo, T0 + 2 * MINUTE)
    demo.runner.submit(DriverRegistered("you"))
    demo.runner.submit(a_report("on_duty", "you"))
    for seq in range(20):
        demo.runner.submit(a_ping("you", T0 + 2 * MINUTE, seq=seq))
    await rest(demo)
    assert demo.source.adapter.disturbed
    assert demo.source.adapter.skipped == 0
    assert [demo.state.orders[f"o-{number}"].status for number in (1, 2, 3)] == ["delivered", "delivered", "placed"]


async def test_a_plan_of_the_floors_own_autopilot_is_no_intervention(demo: Demo) -> None:
    """It takes a number of the recording's, so that the recorded undo names another command here."""
    for minute in range(12):
        await until(demo, T0 + minute * MINUTE)
        demo.runner.submit(PlanMade("plaza", (Advice("o-3", "waits"),)), at_ms=demo.state.at_ms)
    await rest(demo)
    assert (demo.source.adapter.disturbed, demo.source.adapter.skipped) == (False, 0)
    assert [demo.state.orders[f"o-{number}"].status for number in (1, 2, 3)] == ["delivered", "delivered", "placed"]
    assert [line.action for line in demo.state.orders["o-3"].history][-1] == "reinstate"


async def test_recorded_plans_are_told_in_the_numbers_of_this_floor(tmp_path: Path) -> None:
    advice = (Advice("o-1", "planned", driver_id="d-1", trip=("o-1", "o-2")), Advice("o-2", "waits", trip=("o-2",)))
    day: list[tuple[int, Input]] = [(T0, an_order(external_id=f"x-{number}")) for number in (1, 2)]
    day.append((T0 + 1_000, PlanMade("plaza", advice)))
    demo = Demo(a_fixture(tmp_path, iter(day), start_ms=T0), T0)
    await by_hand(demo, an_order(external_id="by-hand", actor="you"))
    await until(demo, T0)
    await by_hand(demo, OrderCommand("hold", "o-3", 1, "you"))
    await rest(demo)
    demo.fixture.close()
    told = {order.id: order.advice for order in demo.state.orders.values()}
    assert told["o-2"] == Advice("o-2", "planned", driver_id="d-1", trip=("o-2", "o-3"))
    assert (told["o-1"], told["o-3"]) == (None, None), "a person decides about o-3 now"


async def test_whatever_people_do_the_recording_is_never_refused_for_its_numbers(tmp_path: Path) -> None:
    """A real recording with somebody who keeps holding and moving orders."""
    demo = Demo(find_fixture("bad-day"))
    refusals: list[str] = []
    submit = demo.runner.submit

    def watched(item: Input, then: Any = None, at_ms: int | None = None) -> None:
        def judge(outputs: Any) -> None:
            if outputs and isinstance(outputs[0], Refused) and isinstance(item, OrderCommand | Report | HandOver):
                refusals.append(outputs[0].code)
            if then is not None:
                then(outputs)

        submit(item, judge, at_ms)

    demo.runner.submit = watched  # type: ignore[method-assign]
    lines = 0
    while (line := demo.source._peek()) is not None:
        demo.source._submit(line)
        lines += 1
        if lines % 2_000 == 0:
            await meddle(demo)
    demo.fixture.close()
    assert demo.source.adapter.skipped > 0
    assert not {"version_conflict", "stale_assignment", "not_yours", "not_found", "bad_field"} & set(refusals)
    delivered = sum(order.status == "delivered" for order in demo.state.orders.values())
    assert delivered > read_companion(find_fixture("bad-day")).counts.orders * 0.2


async def meddle(demo: Demo) -> None:
    free = [driver.id for driver in demo.state.drivers.values() if driver.state == "free"]
    moved = [order for order in demo.state.orders.values() if order.status == "assigned"][:3]
    for order, driver_id in zip(moved, free, strict=False):
        await by_hand(demo, OrderCommand("reassign", order.id, order.version, "you", driver_id))


def test_pings_and_ticks_are_left_alone() -> None:
    assert shift(Tick(), 5) == Tick()
    assert shift(a_ping(seq=1), 5) == Ping(T0 + 5, 36.127, -115.172, "d-1", 1, 8.0)
    assert isinstance(shift(an_order(), 5), OrderPlaced)
