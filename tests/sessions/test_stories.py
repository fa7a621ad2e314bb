"""The three stories hold what they promise; the recording of the bad day holds each trouble it names."""

from collections import Counter
from itertools import pairwise

import pytest
import shapely
from msgspec import Struct, field

from streamer.core.commands import AUTOPILOT
from streamer.core.engine import Engine
from streamer.core.events import (
    HandOver,
    Input,
    OrderCommand,
    OrderPlaced,
    Output,
    Ping,
    PingTaken,
    Refused,
    Report,
    Tick,
)  # fmt: skip
from streamer.edge.recordings.fixtures import FixtureReader, find_fixture
from streamer.edge.recordings.replay import floor_of
from streamer.sim.incidents import DriverTrouble
from streamer.sim.stories import BAD_DAY, MINUTE_MS, SATURDAY_RUSH, STORIES, TWO_MALLS, Script

DAY_MS = 24 * 3_600_000


class Lived(Struct):
    """A recording replayed to its end: every input with its outputs, and the engine as it was left."""

    engine: Engine
    play_ms: int
    lines: list[tuple[int, Input, tuple[Output, ...]]] = field(default_factory=list)

    @property
    def end_ms(self) -> int:
        return self.lines[-1][0]

    def play(self, at_ms: int) -> float:
        """Minutes after play begins."""
        return (at_ms - self.play_ms) / MINUTE_MS

    def refused(self) -> list[tuple[Input, Refused]]:
        return [(entered, out[0]) for _, entered, out in self.lines if out and isinstance(out[0], Refused)]


@pytest.fixture(scope="module")
def bad_day() -> Lived:
    with FixtureReader(find_fixture("bad-day")) as fixture:
        lived = Lived(floor_of(fixture.header, fixture.header.start_ms), fixture.header.start_ms)
        for line in fixture:
            lived.lines.append((line.at_ms, line.input, lived.engine.handle(line.at_ms, line.input)))
    return lived


def verdicts(lived: Lived, verdict: str) -> Counter[str]:
    return Counter(
        out[0].driver_id
        for _, _, out in lived.lines
        if out and isinstance(out[0], PingTaken) and out[0].verdict == verdict
    )


def drivers_of(kind: str) -> list[DriverTrouble]:
    return [trouble for trouble in BAD_DAY.story.incidents.drivers if trouble.kind == kind]


def name(trouble: DriverTrouble) -> str:
    return f"d-{trouble.driver + 1:02d}"


@pytest.mark.parametrize("script", list(STORIES.values()), ids=lambda script: script.name)
def test_play_begins_on_a_saturday_afternoon_of_2026(script: Script) -> None:
    days, of_day = divmod(script.play_ms, DAY_MS)
    # 1 January 1970 was a Thursday; 2026 begins 20,454 days later. All three malls are west of UTC.
    assert (days + 3) % 7 == 5
    assert 20_454 <= days < 20_454 + 365
    assert 18 <= of_day / 3_600_000 <= 23


@pytest.mark.parametrize(
    ("script", "malls", "hours", "drivers", "orders"),
    [(SATURDAY_RUSH, 1, 2.0, 80, 350), (TWO_MALLS, 2, 1.0, 40, 120), (BAD_DAY, 1, 1.0, 40, 100)],
)
def test_sizes_are_those_promised(script: Script, malls: int, hours: float, drivers: int, orders: int) -> None:
    assert (len(script.mall_ids), script.hours) == (malls, hours)
    assert script.drivers >= drivers
    assert script.orders >= orders
    assert 20 * MINUTE_MS <= script.story.warmup_ms <= 30 * MINUTE_MS


def test_the_floor_is_alive_when_play_begins(bad_day: Lived) -> None:
    statuses: set[str] = set()
    for at_ms, entered, _ in bad_day.lines:
        if isinstance(entered, Report) and bad_day.play(at_ms) < 3:
            statuses.add(entered.report)
    assert {"accepted", "arrived_at_pickup", "picked_up", "arrived_at_dropoff", "delivered"} <= statuses


def test_an_apple_store_runs_an_hour_late(bad_day: Lived) -> None:
    (late,) = BAD_DAY.story.incidents.stores
    waits = [
        order.ready_ms - order.placed_ms
        for order in bad_day.engine.state.orders.values()
        if late.store in order.stores and order.is_ready and order.ready_ms is not None
    ]
    assert sum(wait > 60 * MINUTE_MS for wait in waits) >= 3
    unready = [o for o in bad_day.engine.state.orders.values() if late.store in o.stores and not o.is_ready]
    assert len(unready) >= 5


def test_drivers_go_silent_with_goods_on_board_and_the_floor_sees_it(bad_day: Lived) -> None:
    last: dict[str, int] = {}
    longest: Counter[str] = Counter()
    for at_ms, entered, _ in bad_day.lines:
        if isinstance(entered, Ping):
            longest[entered.driver_id] = max(longest[entered.driver_id], at_ms - last.get(entered.driver_id, at_ms))
            last[entered.driver_id] = at_ms
    for trouble in drivers_of("silent"):
        quiet_ms = max(longest[name(trouble)], bad_day.end_ms - last[name(trouble)])
        assert quiet_ms >= min(trouble.to_ms - trouble.from_ms, 20 * MINUTE_MS), trouble


def test_gps_jumps_are_seen_as_jumps_and_only_of_the_two_phones(bad_day: Lived) -> None:
    jumps = verdicts(bad_day, "jump")
    for trouble in drivers_of("jumps"):
        assert jumps[name(trouble)] >= 20
    assert set(jumps) == {name(trouble) for trouble in drivers_of("jumps")}


@pytest.mark.parametrize("trouble", drivers_of("flapping"), ids=name)
def test_two_phones_flap_at_the_fence(bad_day: Lived, trouble: DriverTrouble) -> None:
    mall = bad_day.engine.floor.malls["chandler-fashion-center"]
    footprint = shapely.Polygon([(lng, lat) for lat, lng in mall.ring])
    inside = [
        bool(shapely.contains_xy(footprint, entered.lng, entered.lat))
        for at_ms, entered, _ in bad_day.lines
        if isinstance(entered, Ping)
        and entered.driver_id == name(trouble)
        and trouble.from_ms <= at_ms - bad_day.play_ms < trouble.to_ms
    ]
    crossings = sum(a != b for a, b in pairwise(inside))
    assert crossings >= 20


def test_a_decliner_declines_every_offer(bad_day: Lived) -> None:
    (decliner,) = drivers_of("declining")
    said = Counter(
        entered.report
        for _, entered, _ in bad_day.lines
        if isinstance(entered, Report) and entered.driver_id == name(decliner)
    )
    assert said["declined"] >= 5
    assert not said["accepted"]


def test_duplicates_come_again_and_again(bad_day: Lived) -> None:
    duplicates = verdicts(bad_day, "duplicate")
    for trouble in drivers_of("duplicates"):
        assert duplicates[name(trouble)] >= 50


def test_batches_come_late(bad_day: Lived) -> None:
    late = verdicts(bad_day, "late")
    for trouble in drivers_of("late_batch"):
        assert late[name(trouble)] >= 30


def test_people_and_autopilot_both_decide(bad_day: Lived) -> None:
    by = Counter(
        entered.actor
        for _, entered, out in bad_day.lines
        if isinstance(entered, HandOver | OrderCommand) and getattr(entered, "action", "") != "ready"
    )
    assert by[AUTOPILOT] > 80
    assert by["maya"] + by["jordan"] >= 5
    done = {
        (e.actor, getattr(e, "action", "hand_over"))
        for _, e, _ in bad_day.lines
        if isinstance(e, OrderCommand | HandOver)
    }
    assert {("maya", "hold"), ("maya", "unassign"), ("jordan", "reassign")} <= done


def test_what_is_refused_is_only_the_words_of_drivers_whose_order_was_taken_meanwhile(bad_day: Lived) -> None:
    """A silent driver reports what it did for orders that were handed over meanwhile: its number is stale.

    So is what another says in the very second in which an order is taken from it.
    """
    silent = {name(trouble) for trouble in drivers_of("silent")}
    for entered, refusal in bad_day.refused():
        assert isinstance(entered, Report)
        taken = (
            line.at_ms
            for order_id in entered.order_ids
            for line in bad_day.engine.state.orders[order_id].history
            if line.action in {"reassign", "unassign"}
        )
        assert entered.driver_id in silent or any(abs(entered.fix_ms - at_ms) < 2_000 for at_ms in taken)
        assert refusal.code in {"stale_assignment", "not_yours", "bad_transition"}


def test_the_day_is_bad_but_not_hopeless(bad_day: Lived) -> None:
    tally = bad_day.engine.state.tallies["chandler-fashion-center"]
    assert tally.on_time / tally.delivered > 0.7
    risks = Counter(o.risk for o in bad_day.engine.state.orders.values() if o.ended_ms is None)
    assert risks["late"] >= 5
    assert risks["at_risk"] >= 5
    assert tally.trip_orders / tally.trips > 1.5


def test_every_order_was_placed_by_the_shops(bad_day: Lived) -> None:
    placed = [entered for _, entered, _ in bad_day.lines if isinstance(entered, OrderPlaced)]
    assert len(placed) == BAD_DAY.orders
    assert sum(isinstance(entered, Tick) for _, entered, _ in bad_day.lines) == (60 + 25) * 12 + 1
