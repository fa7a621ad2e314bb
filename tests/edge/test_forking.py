"""A recording that answers: nobody decides, and it is the recording; somebody does, and drivers obey from there."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from streamer.core.changes import Changes, MoreDrivers, Reassignment
from streamer.core.errors import CallerError
from streamer.core.events import (
    CommandDone,
    DriverRegistered,
    HandOver,
    Input,
    OrderCommand,
    OrderPlaced,
    Output,
    PlanMade,
    Refused,
    SetDuty,
    Undo,
)
from streamer.core.kpis import kpis
from streamer.core.orders import GIVEN
from streamer.core.snapshot import dump_state, load_state
from streamer.core.state import Order, State
from streamer.dispatch.candidates import rank
from streamer.edge.clock import PacedClock
from streamer.edge.journal.contract import MemoryJournal
from streamer.edge.recordings import fixtures
from streamer.edge.recordings.fixtures import FixtureReader, FixtureWriter, find_fixture, read_companion
from streamer.edge.recordings.forking import ForkingSource
from streamer.edge.recordings.replay import floor_of
from streamer.edge.runner import Runner, Then
from tests.builders import MINUTE
from tests.edge.floor_kit import a_header

NAME, MALL = "bad-day", "chandler-fashion-center"
OFFSET_MS = 86_400_000
END_MIN = 60


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """The rest of a recorded day, cut at some minutes: a test need not play what it does not look at."""
    folder, cuts = tmp_path_factory.mktemp("days"), {}
    with FixtureReader(find_fixture(NAME)) as fixture:
        header, lines = fixture.header, list(fixture)
    engine, at, hurry = floor_of(header, header.start_ms), 0, pytest.MonkeyPatch()
    hurry.setattr(fixtures, "LEVEL", 1)
    for minute in (16, 50):
        start_ms = header.start_ms + minute * MINUTE
        while lines[at].at_ms <= start_ms:
            engine.handle(lines[at].at_ms, lines[at].input)
            at += 1
        start = load_state(dump_state(engine.state))
        cuts[minute] = folder / f"from-{minute}.ndjson.zst"
        with FixtureWriter(cuts[minute], replace(header, start=start, start_ms=start_ms)) as writer:
            for line in lines[at:]:
                writer.write(line.at_ms, line.input)
    hurry.undo()
    return cuts


class Demo:
    """The rest of a recorded day being played on a floor a day later. Minutes are those of the recording."""

    def __init__(self, path: Path, minute: int) -> None:
        self.fixture = FixtureReader(path)
        header = self.fixture.header
        clock = PacedClock(header.start_ms + OFFSET_MS, 1.0)
        self.runner = Runner(floor_of(header, clock.start_ms), MemoryJournal(a_header()), clock)
        self.source = ForkingSource(self.runner, self.fixture, clock)
        self.forks: list[int] = []
        self.source.on_fork = self.forks.append
        self.start_ms = clock.start_ms - minute * MINUTE

    @property
    def state(self) -> State:
        return self.runner.engine.state

    def play_to(self, minute: float) -> None:
        self.source.advance(self.start_ms + round(minute * MINUTE))

    async def play_on_to(self, minute: float) -> None:
        """After a decision: the fork begins, as `play` would have it begin."""
        if self.source._waiting is not None:
            await self.source._begin()
        self.play_to(minute)

    async def by_hand(self, item: OrderCommand) -> CommandDone:
        done = (await self.runner.ask(item))[0]
        assert isinstance(done, CommandDone), done
        return done


@pytest.fixture
def early(days: dict[int, Path]) -> Iterator[Demo]:
    demo = Demo(days[16], 16)
    yield demo
    demo.fixture.close()


@pytest.fixture
def late(days: dict[int, Path]) -> Iterator[Demo]:
    demo = Demo(days[50], 50)
    yield demo
    demo.fixture.close()


def an_order_on_its_way_to_be_fetched(demo: Demo) -> tuple[Order, str]:
    """An order nobody has collected whose store has packed it, and another driver with nothing to do: soonest done."""
    able = [
        (candidate.eta_dropoff_ms, order.id, candidate.driver_id)
        for order in demo.state.orders.values()
        if order.status == "enroute_to_pickup" and order.is_ready
        for candidate in rank(demo.runner.engine, order.id).items
        if demo.state.drivers[candidate.driver_id].state == "free"
    ]
    _, order_id, driver_id = min(able)
    return demo.state.orders[order_id], driver_id


async def test_an_order_reassigned_in_a_demo_is_fetched_and_delivered_by_the_new_driver(early: Demo) -> None:
    order, driver_id = an_order_on_its_way_to_be_fetched(early)
    await early.by_hand(OrderCommand("reassign", order.id, order.version, "maya", driver_id))
    assert early.source.fork is None, "the recording is left by whoever plays it, at its next turn"
    await early.play_on_to(35)
    assert early.source.fork is not None
    assert early.forks == [early.source.fork.forked_at_ms]
    order = early.state.orders[order.id]
    assert (order.status, order.driver_id) == ("delivered", driver_id)
    told = [line.action for line in order.history if line.actor == driver_id]
    assert told == ["accepted", "arrived_at_pickup", "picked_up", "left_mall", "arrived_at_dropoff", "delivered"]


async def test_until_somebody_decides_it_is_the_recording(late: Demo) -> None:
    late.runner.submit(DriverRegistered("you"))
    late.runner.submit(PlanMade(MALL), at_ms=late.state.at_ms)
    order = next(iter(late.state.orders.values()))
    assert isinstance((await late.runner.ask(OrderCommand("hold", order.id, 9_999, "maya")))[0], Refused)
    late.play_to(END_MIN)
    assert (late.source.fork, late.forks, late.source.next_ms()) == (None, [], None)
    del late.state.drivers["you"]  # Who is no part of the recording is none of its figures either.
    assert kpis(late.state, None) == read_companion(find_fixture(NAME)).kpis
    order = next(order for order in late.state.orders.values() if order.status in GIVEN)
    await late.by_hand(OrderCommand("pin", order.id, order.version, "maya"))
    assert late.source._waiting is None, "a recording that has ended is not forked any more"


async def test_one_decision_late_in_the_day_leaves_most_as_recorded(late: Demo) -> None:
    order, driver_id = an_order_on_its_way_to_be_fetched(late)
    await late.source.fork_now(Changes((Reassignment(order.id, driver_id),)))
    late.play_to(END_MIN)
    comparison = late.source.comparison()
    assert comparison is not None
    assert comparison.complete
    assert comparison.recorded == read_companion(find_fixture(NAME)).kpis
    assert comparison.first_difference is not None
    assert comparison.first_difference.at_ms == comparison.forked_at_ms
    assert comparison.first_difference.what == f"what-if: reassign {order.id} to {driver_id}"
    assert late.source.fork is not None
    assert 1 <= len(late.source.fork.simulated) <= 6, "most drivers go on as recorded"


async def test_a_fork_is_forked_no_more_and_its_changes_are_checked(late: Demo) -> None:
    late.play_to(58)
    with pytest.raises(CallerError, match="there is no mall nowhere"):
        await late.source.fork_now(Changes(drivers=(MoreDrivers("nowhere", 1),)))
    assert late.source.comparison() is None
    await late.source.fork_now(Changes(drivers=(MoreDrivers(MALL, 2),)))
    late.play_to(59)
    assert [late.state.drivers[f"extra-0{number}"].duty for number in (1, 2)] == ["on_duty", "on_duty"]
    with pytest.raises(CallerError, match="a fork already"):
        await late.source.fork_now(Changes())


async def test_played_by_the_clock_a_decision_forks_it_and_it_plays_on(late: Demo) -> None:
    late.play_to(59)
    late.source.clock = late.runner.clock = clock = PacedClock(late.state.at_ms, 60.0)
    playing = asyncio.create_task(late.source.play())
    order = next(order for order in late.state.orders.values() if order.status in GIVEN)
    await late.by_hand(OrderCommand("unassign", order.id, order.version, "maya"))
    await asyncio.wait_for(playing, 30)
    assert len(late.forks) == 1
    assert late.source.next_ms() is None
    assert clock.now_ms() >= late.state.at_ms
    assert late.state.orders[order.id].driver_id is None, "what a person took back stays with people for a while"


async def test_of_a_bulk_the_fork_begins_before_the_first(late: Demo) -> None:
    orders = [order for order in late.state.orders.values() if order.status in GIVEN][:2]
    seen = {order.id: order.driver_id for order in orders}
    commands = [OrderCommand("unassign", order.id, order.version, "maya") for order in orders]
    late.runner.submit_together(commands, [lambda _: None] * 2)
    await late.play_on_to(50.1)
    assert late.source.fork is not None
    recorded = late.source.fork.recorded.state.orders
    assert {order_id: recorded[order_id].driver_id for order_id in seen} == seen
    assert [late.state.orders[order_id].driver_id for order_id in seen] == [None, None]


async def test_a_driver_whom_the_floor_sends_home_says_no_more(late: Demo) -> None:
    driver = next(driver for driver in late.state.drivers.values() if driver.state == "free")
    await late.runner.ask(SetDuty(driver.id, "off_duty", "maya"))
    await late.play_on_to(51)
    heard_ms = late.state.drivers[driver.id].received_ms
    late.play_to(55)
    assert late.state.drivers[driver.id].duty == "off_duty"
    assert late.state.drivers[driver.id].received_ms == heard_ms


async def test_whatever_people_do_the_fork_stays_one_sound_floor(early: Demo) -> None:
    """Somebody keeps moving, holding and undoing: nothing breaks, and nothing is refused for its numbers."""
    refused: Counter[str] = Counter()
    submit = early.runner.submit

    def watched(item: Input, then: Then | None = None, at_ms: int | None = None) -> None:
        def judge(outputs: Sequence[Output]) -> None:
            if outputs and isinstance(outputs[0], Refused):
                refused[outputs[0].code] += 1
            if then is not None:
                then(outputs)

        submit(item, judge, at_ms)

    early.runner.submit = watched  # type: ignore[method-assign]
    for minute in range(17, 32):
        await early.play_on_to(minute)
        for item in meddling(early.state, minute):
            await early.runner.ask(item)
    assert early.source.fork is not None
    assert early.runner.quarantined == 0
    assert refused.keys() <= {"bad_transition", "over_capacity", "driver_off_duty", "stood_down", "declined"}, refused
    assert refused.total() < 40, refused
    carried = [order_id for driver in early.state.drivers.values() for order_id in driver.order_ids]
    assert len(carried) == len(set(carried))
    for driver in early.state.drivers.values():
        assert {stop.order_id for stop in driver.route} == set(driver.order_ids)
    assert early.source.fork.difference is not None


def meddling(state: State, minute: int) -> list[Input]:
    """What somebody does who cannot keep the hands off, another thing every minute."""
    orders = list(state.orders.values())
    free = next((driver.id for driver in state.drivers.values() if driver.state == "free"), None)
    given = next((order for order in orders if order.status in ("assigned", "enroute_to_pickup")), None)
    busy = next((driver.id for driver in state.drivers.values() if len(driver.order_ids) > 1), None)
    done = next(reversed(state.commands), "")
    match minute % 6:
        case 0 if given is not None and free is not None:
            return [OrderCommand("reassign", given.id, given.version, "maya", free)]
        case 1 if given is not None:
            return [OrderCommand("unassign", given.id, given.version, "maya")]
        case 2 if busy is not None:
            return [HandOver(busy, None, "maya")]
        case 3:
            return [Undo(done, "maya")]
        case 4 if free is not None:
            return [SetDuty(free, "off_duty", "maya")]
        case _:
            last = orders[-1]
            return [
                replace(_placed_again(last), external_id=f"by-hand-{minute}"),
                OrderCommand("hold", last.id, last.version, "maya"),
            ]


def _placed_again(order: Order) -> OrderPlaced:
    return OrderPlaced(
        order.mall_id, order.stores, order.dropoff, order.placed_ms, order.due_ms, order.ready_ms, actor="you"
    )
