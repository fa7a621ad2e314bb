"""The feed: whoever follows it holds what the engine holds, however often the line is cut."""

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.core.engine import Engine
from streamer.core.events import DriverRegistered, Input, SetAutopilot, Tick
from streamer.core.hexes import HexGrid, hex_name
from streamer.core.malls import parse_malls
from streamer.core.settings import AutopilotRules
from streamer.core.views import order_view
from streamer.edge import feed as feeding
from streamer.edge.autopilot import Autopilot
from streamer.edge.clock import ManualClock
from streamer.edge.feed import Feed
from streamer.edge.frames import Sign, driver_columns
from streamer.edge.journal.contract import MemoryJournal
from streamer.edge.runner import Runner
from tests.builders import MALL, T0, a_collection, a_mall_feature, a_ping, a_place_feature, a_report
from tests.edge.floor_kit import a_day, a_header
from tests.edge.test_runner import FailingJournal

EAST = 0.05
"""Degrees to the second mall."""


def two_malls() -> dict[str, Any]:
    features = a_collection()["features"]
    return a_collection(
        *features,
        a_mall_feature("outlet", lng=MALL[1] + EAST),
        a_place_feature("gap", "store", east=EAST, mall_id="outlet"),
        a_place_feature("door", "entrance", east=EAST, mall_id="outlet"),
    )


def a_feed(journal: Any = None) -> Feed:
    journal = journal or MemoryJournal(a_header(malls=two_malls()))
    runner = Runner(Engine(parse_malls(two_malls())), journal, ManualClock(T0))
    return Feed(runner)


class Screen:
    """A reader that applies frames as docs/feed.md says, and complains about a gap or a repeat."""

    def __init__(self) -> None:
        self.room = True
        self.seq: dict[str, int] = {}
        self.drivers: dict[str, dict[str, dict[str, Any]]] = {}
        self.orders: dict[str, dict[str, dict[str, Any]]] = {}
        self.hexes: dict[str, dict[str, tuple[Any, ...]]] = {}
        self.kpis: dict[str, dict[str, Any]] = {}
        self.frames: list[dict[str, Any]] = []

    def ready(self) -> bool:
        return self.room

    def send(self, text: bytes) -> None:
        frame = msgspec.json.decode(text)
        self.frames.append(frame)
        mall = frame["mall_id"]
        if frame["frame"] == "snapshot":
            self.drivers[mall], self.orders[mall], self.hexes[mall] = {}, {}, {}
        else:
            assert frame["seq"] == self.seq[mall] + 1, "a gap or a repeat"
        self.seq[mall] = frame["seq"]
        columns = frame.get("drivers") or {"id": []}
        for row in zip(*columns.values(), strict=True):
            driver = dict(zip(columns, row, strict=True))
            self.drivers[mall][driver["id"]] = driver
        for gone in frame.get("gone", []):
            self.drivers[mall].pop(gone, None)
        for order in frame.get("orders", []):
            self.orders[mall][order["id"]] = order
        cells = frame.get("hexes") or {"cell": []}
        for cell, *layers in zip(*cells.values(), strict=True):
            self.hexes[mall][cell] = tuple(layers)
        self.kpis[mall] = frame["kpis"]

    def shows(self, feed: Feed, mall: str) -> None:
        """Holds exactly what the engine holds of this mall."""
        state = feed.runner.engine.state
        here = [driver for driver in state.drivers.values() if driver.region == mall]
        columns = msgspec.to_builtins(driver_columns(here))
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        assert self.drivers[mall] == {row["id"]: row for row in rows}
        views = [order_view(order) for order in state.orders.values() if order.mall_id == mall]
        orders = msgspec.json.decode(msgspec.json.encode(views))
        assert self.orders[mall] == {order["id"]: order for order in orders}
        layers = HexGrid(feed.runner.engine.floor.malls[mall]).layers(state)
        shown = {cell: figures for cell, figures in self.hexes[mall].items() if any(figures)}
        assert shown == {hex_name(c): (x.supply, x.demand, x.balance, x.wait) for c, x in layers.items()}


def a_wandering_day(rounds: int = 30) -> list[tuple[int, Input]]:
    """A day on which drivers also cross between the malls."""
    day = list(a_day(rounds))
    for turn in range(rounds):
        east = EAST if turn % 10 < 5 else 0.0
        day.append((T0 + 5_000 * turn + 2_500, a_ping("d-9", T0 + 5_000 * turn, east=east, seq=turn)))
    day += [(T0, DriverRegistered("d-9")), (T0, a_report("on_duty", "d-9", id="on-9"))]
    return sorted(day, key=lambda entry: (entry[0], not isinstance(entry[1], DriverRegistered)))


def test_a_reader_from_the_start_holds_what_the_engine_holds() -> None:
    feed, screen = a_feed(), Screen()
    feed.join(screen, feed.mall_ids)
    for number, (at_ms, item) in enumerate(a_wandering_day()):
        feed.runner.submit(item, at_ms=at_ms)
        if number % 7 == 0:
            feed.tick()
    feed.tick()
    for mall in feed.mall_ids:
        screen.shows(feed, mall)
    assert any(frame.get("gone") for frame in screen.frames)


def test_a_delta_names_only_what_changed() -> None:
    feed, screen = a_feed(), Screen()
    feed.runner.submit(DriverRegistered("d-1"))
    feed.runner.submit(a_report("on_duty"))
    feed.join(screen, ["plaza"])
    feed.tick()
    feed.tick()
    feed.runner.submit(a_ping(seq=1))
    feed.tick()
    first, second, third = screen.frames[1:]
    assert "drivers" not in second
    assert {"gone", "orders", "hexes"}.isdisjoint(second)
    assert set(first) >= {"frame", "mall_id", "seq", "at_ms", "floor", "kpis", "floor_kpis"}
    assert third["drivers"]["id"] == ["d-1"]
    assert third["hexes"]["supply"] == [1]
    assert "epoch" not in third


def test_snapshot_and_delta_texts_begin_with_their_kind() -> None:
    feed = a_feed()
    texts: list[bytes] = []

    class Taker:
        def ready(self) -> bool:
            return True

        def send(self, text: bytes) -> None:
            texts.append(text)

    feed.join(Taker(), ["plaza"])
    feed.tick()
    assert [text[:18] for text in texts] == [b'{"frame":"snapshot', b'{"frame":"delta","']


@settings(max_examples=40)
@given(st.integers(0, 10_000))
def test_cut_at_random_a_reader_resumes_without_gap_or_repeat(seed: int) -> None:
    rng = random.Random(seed)
    feed, screen = a_feed(), Screen()
    feed.join(screen, feed.mall_ids)
    connected = True
    for at_ms, item in a_wandering_day(12):
        feed.runner.submit(item, at_ms=at_ms)
        if rng.random() < 0.4:
            feed.tick()
        if connected and rng.random() < 0.1:
            feed.leave(screen)
            connected = False
        elif not connected and rng.random() < 0.2:
            feed.join(screen, feed.mall_ids, dict(screen.seq), feed.epoch)
            connected = True
    if not connected:
        feed.join(screen, feed.mall_ids, dict(screen.seq), feed.epoch)
    feed.tick()
    for mall in feed.mall_ids:
        screen.shows(feed, mall)
    snapshots = [frame for frame in screen.frames if frame["frame"] == "snapshot"]
    assert len(snapshots) == len(feed.mall_ids), "what was missed was kept, so no second snapshot was needed"


@pytest.mark.parametrize("since", [{"plaza": 0}, {"plaza": 99_999}, {}], ids=["too old", "of the future", "none"])
def test_what_cannot_be_resumed_gets_a_snapshot(since: dict[str, int]) -> None:
    feed, screen = a_feed(), Screen()
    for _ in range(feeding.KEPT_FRAMES + 5):
        feed.tick()
    feed.join(screen, ["plaza"], since, feed.epoch)
    assert [frame["frame"] for frame in screen.frames] == ["snapshot"]
    assert screen.frames[0]["epoch"] == feed.epoch


def test_a_seq_of_another_epoch_means_nothing() -> None:
    feed, screen = a_feed(), Screen()
    for _ in range(5):
        feed.tick()
    feed.join(screen, ["plaza"], {"plaza": 5}, "another")
    assert screen.frames[0]["frame"] == "snapshot"


def test_a_reader_that_falls_behind_is_skipped_and_gets_a_snapshot_when_there_is_room() -> None:
    feed, screen = a_feed(), Screen()
    feed.join(screen, ["plaza"])
    for number, (at_ms, item) in enumerate(a_wandering_day()):
        feed.runner.submit(item, at_ms=at_ms)
        screen.room = not 40 < number < 120
        if number % 7 == 0:
            feed.tick()
    feed.tick()
    screen.shows(feed, "plaza")
    kinds = [frame["frame"] for frame in screen.frames]
    assert kinds.count("snapshot") == 2
    assert kinds.count("delta") < len(a_wandering_day()) // 7


def test_every_frame_says_how_the_autopilot_of_its_mall_works() -> None:
    runner = Runner(Engine(parse_malls(two_malls())), MemoryJournal(a_header(malls=two_malls())), ManualClock(T0))
    autopilot = Autopilot(runner, "suggest")
    feed, screen = Feed(runner, mode_of=autopilot.mode), Screen()
    feed.join(screen, ["plaza", "outlet"])
    runner.submit(SetAutopilot("outlet", AutopilotRules("auto"), "olga"))
    feed.tick()
    told = [(frame["frame"], frame["mall_id"], frame["autopilot"]) for frame in screen.frames]
    assert told == [
        ("snapshot", "plaza", "suggest"), ("snapshot", "outlet", "suggest"),
        ("delta", "plaza", "suggest"), ("delta", "outlet", "auto"),
    ]  # fmt: skip


async def test_nothing_is_shown_before_it_is_durable() -> None:
    journal = FailingJournal(a_header(malls=two_malls()))
    feed, screen = a_feed(journal), Screen()
    feed.join(screen, ["plaza"])
    assert len(screen.frames) == 1
    feed.runner.submit(DriverRegistered("d-1", mall_ids=("plaza",)))
    feed.tick()
    late = Screen()
    feed.join(late, ["plaza"])
    assert len(screen.frames) == 1
    assert late.frames == []
    feed.runner._committed(1)
    feed.tick()
    assert [frame["frame"] for frame in screen.frames] == ["snapshot", "delta", "delta"]
    assert [frame["frame"] for frame in late.frames] == ["snapshot", "delta"]
    assert "d-1" in screen.drivers["plaza"]
    assert "d-1" in late.drivers["plaza"]


def test_after_a_rebuild_everybody_starts_afresh() -> None:
    feed, screen = a_feed(), Screen()
    feed.join(screen, ["plaza"])
    for at_ms, item in a_wandering_day(5):
        feed.runner.submit(item, at_ms=at_ms)
    feed.tick()
    feed.runner._rebuild()
    feed.runner.submit(Tick(), at_ms=T0 + 100_000)
    feed.tick()
    assert screen.frames[-1]["frame"] == "snapshot"
    assert screen.frames[-1]["seq"] > screen.frames[-2]["seq"]
    feed.tick()
    screen.shows(feed, "plaza")


def test_a_reader_that_comes_back_after_a_rebuild_gets_a_snapshot_though_it_missed_no_frame() -> None:
    feed, screen = a_feed(), Screen()
    feed.join(screen, ["plaza"])
    feed.tick()
    feed.leave(screen)
    # Heard of, and not in a frame yet, when the rebuild forgets what was to be in the next one.
    feed.runner.submit(DriverRegistered("d-1", mall_ids=("plaza",)))
    feed.runner._rebuild()
    feed.tick()
    feed.tick()
    feed.join(screen, ["plaza"], screen.seq, feed.epoch)
    screen.shows(feed, "plaza")


async def test_a_snapshot_from_before_a_rebuild_is_not_sent_after_it() -> None:
    journal = FailingJournal(a_header(malls=two_malls()))
    feed, screen = a_feed(journal), Screen()
    feed.runner.submit(DriverRegistered("d-1", mall_ids=("plaza",)))
    feed.join(screen, ["plaza"])
    feed.runner._rebuild()
    feed.tick()
    feed.runner._committed(1)
    feed.tick()
    assert [frame["frame"] for frame in screen.frames] == ["snapshot", "delta"]
    screen.shows(feed, "plaza")


def test_orders_that_ended_an_hour_ago_are_no_longer_in_snapshots() -> None:
    feed = a_feed()
    for at_ms, item in a_wandering_day(3):
        feed.runner.submit(item, at_ms=at_ms)
    state = feed.runner.engine.state
    order = state.orders["o-1"]
    order.ended_ms = state.at_ms - feeding.SHOWN_AFTER_END_MS - 1
    screen = Screen()
    feed.join(screen, ["plaza"])
    assert "o-1" not in screen.orders["plaza"]
    assert "o-2" in screen.orders["plaza"]


def test_an_ended_recording_stands_still() -> None:
    feed = a_feed()
    feed.runner.submit(Tick(), at_ms=T0)
    clock = feed.runner.clock
    assert isinstance(clock, ManualClock)
    clock.at_ms = T0 + 60_000
    screen = Screen()
    feed.join(screen, ["plaza"])
    feed.sign = Sign("replay", 2.0, "a-day", -5, ended=True)
    feed.tick()
    assert [frame["at_ms"] for frame in screen.frames] == [T0 + 60_000, T0]
    assert screen.frames[1]["floor"] == {
        "mode": "replay", "speed": 2.0, "fixture": "a-day", "clock_offset_ms": -5, "ended": True,
        "forked_at_ms": None, "playing": True,
    }  # fmt: skip


def test_nothing_is_built_for_nobody() -> None:
    feed = a_feed()
    for at_ms, item in a_wandering_day(5):
        feed.runner.submit(item, at_ms=at_ms)
        feed.tick()
    assert all(mall.seq == 0 for mall in feed._malls.values())
    assert feed.runner._ping_sinks == []


def test_who_joins_after_a_rest_is_told_everything_and_what_follows() -> None:
    feed, first, second = a_feed(), Screen(), Screen()
    feed.join(first, ["plaza"])
    for number, (at_ms, item) in enumerate(a_wandering_day()):
        if number == 40:
            feed.leave(first)
            for _ in range(feeding.KEPT_FRAMES + 1):
                feed.tick()
            assert feed.runner._ping_sinks == []
        if number == 80:
            feed.join(second, feed.mall_ids, dict(first.seq), feed.epoch)
        feed.runner.submit(item, at_ms=at_ms)
        if number % 7 == 0:
            feed.tick()
    feed.tick()
    for mall in feed.mall_ids:
        second.shows(feed, mall)
    assert [frame["frame"] for frame in second.frames].count("snapshot") == len(feed.mall_ids)


def test_a_mall_nobody_watches_rests_while_another_is_watched() -> None:
    feed, screen = a_feed(), Screen()
    feed.join(screen, ["plaza"])
    for number, (at_ms, item) in enumerate(a_wandering_day()):
        feed.runner.submit(item, at_ms=at_ms)
        if number % 7 == 0:
            feed.tick()
        if number == 60:
            assert feed._malls["outlet"].seq == 0
            feed.join(screen, ["outlet"])
    feed.tick()
    for mall in feed.mall_ids:
        screen.shows(feed, mall)


async def test_what_was_not_durable_when_the_feed_woke_is_told_when_it_is() -> None:
    journal = FailingJournal(a_header(malls=two_malls()))
    feed, screen = a_feed(journal), Screen()
    feed.runner.submit(DriverRegistered("d-1", mall_ids=("plaza",)))
    feed.join(screen, ["plaza"])
    feed.tick()
    assert screen.frames == []
    feed.runner._committed(1)
    assert [frame["frame"] for frame in screen.frames] == ["snapshot", "delta"]
    screen.shows(feed, "plaza")
