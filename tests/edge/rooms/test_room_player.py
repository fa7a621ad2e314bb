"""A room's transport: it stands, plays, steps and seeks, and is at every instant where the recording was."""

import random
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from streamer.core.engine import Engine
from streamer.core.events import OrderCommand
from streamer.edge.feed import Feed
from streamer.edge.recordings.fixtures import FixtureReader
from streamer.edge.recordings.replay import floor_of, replay
from streamer.edge.rooms import index as indexing
from streamer.edge.rooms.room import Room
from tests.builders import T0
from tests.edge.rooms.rooms_kit import (
    END_MS,
    MAYA,
    OLGA,
    START_MS,
    VERA,
    a_recording,
    a_room,
    an_order_for,
    ask,
    move,
    until,
)  # fmt: skip


def recorded_at(path: Path, at_ms: int) -> str:
    """The hash after every input up to `at_ms`, by a plain engine."""
    with FixtureReader(path) as fixture:
        engine = floor_of(fixture.header, fixture.header.start_ms)
        for line in fixture:
            if line.at_ms > at_ms:
                break
            engine.handle(line.at_ms, line.input)
    return engine.hash()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_recording(tmp_path_factory.mktemp("recordings"))


@pytest.fixture
async def room(path: Path, tmp_path: Path) -> AsyncIterator[Room]:
    async with a_room(an_order_for(path), tmp_path / "room") as room:
        yield room


async def test_a_room_opened_at_a_moment_stands_there(path: Path, tmp_path: Path) -> None:
    at_ms = START_MS + 20_000
    async with a_room(an_order_for(path, at_ms), tmp_path / "room") as room:
        status = await move(room)
        assert (status["at_ms"], status["playing"], status["start_ms"], status["end_ms"]) == (
            at_ms, False, START_MS, END_MS,
        )  # fmt: skip
        assert room.runner.engine.hash() == recorded_at(path, at_ms)


async def test_a_room_opened_without_a_moment_plays_from_the_beginning(path: Path, tmp_path: Path) -> None:
    async with a_room(an_order_for(path, None), tmp_path / "room") as room:
        status = await move(room)
        assert status["playing"]
        assert START_MS <= status["at_ms"] < START_MS + 20_000


async def test_a_seek_to_any_moment_arrives_at_the_state_it_had(path: Path, room: Room) -> None:
    rng = random.Random(7)
    for _ in range(25):
        at_ms = rng.randrange(START_MS, END_MS + 1)
        assert (await move(room, "seek", at_ms=at_ms))["at_ms"] == at_ms
        assert room.runner.engine.hash() == recorded_at(path, at_ms)


async def test_a_seek_beyond_what_was_recorded_stops_at_its_ends(path: Path, room: Room) -> None:
    assert (await move(room, "seek", at_ms=END_MS + 10**9))["at_ms"] == END_MS
    assert room.runner.engine.hash() == replay(path).hash
    assert (await move(room, "seek", at_ms=0))["at_ms"] == START_MS


async def test_the_first_seek_works_before_the_recording_was_read_so_far(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "room"
    folder.mkdir()
    room = Room(an_order_for(path), folder, "secret")
    assert not room.index.complete
    try:
        assert room.index.at_ms == 0
        room.order = an_order_for(path, END_MS - 5_000)
        await room.open()
        assert room.runner.engine.hash() == recorded_at(path, END_MS - 5_000)
    finally:
        await room.close()


async def test_a_later_seek_takes_the_place_of_one_under_way(path: Path, room: Room) -> None:
    room.player._seek = None
    first = room.player.seek(END_MS, 0)
    second = room.player.seek(START_MS + 5_000)
    await first
    await second
    assert room.player.status().at_ms == START_MS + 5_000
    assert room.runner.engine.hash() == recorded_at(path, START_MS + 5_000)


async def test_steps_go_on_by_so_much_and_stand_there(path: Path, room: Room) -> None:
    await move(room, "play")
    await move(room, "seek", at_ms=START_MS)
    await move(room, "pause")
    for _ in range(3):
        status = await move(room, "step", step_ms=7_000)
        assert not status["playing"]
    assert room.runner.engine.hash() == recorded_at(path, status["at_ms"])
    before = status["at_ms"]
    assert (await move(room, "step"))["at_ms"] == before + 1_000


async def test_it_plays_to_the_recorded_end_and_then_again_from_the_beginning(path: Path, room: Room) -> None:
    await move(room, "seek", at_ms=END_MS - 1_500)
    status = await move(room, "play", speed=60)
    assert (status["playing"], status["speed"]) == (True, 60)
    await until(lambda: not room.player.playing)
    status = await move(room)
    assert (status["ended"], status["at_ms"]) == (True, END_MS)
    assert room.runner.engine.hash() == replay(path).hash
    status = await move(room, "play")
    assert status["playing"]
    assert not status["ended"]
    assert status["at_ms"] < END_MS - 10_000


async def test_a_pause_stands_and_a_speed_holds_over_it(room: Room) -> None:
    await move(room, "play", speed=8)
    status = await move(room, "pause")
    assert (status["playing"], status["speed"]) == (False, 8)
    assert (await move(room))["at_ms"] == status["at_ms"]
    assert (await move(room, "speed", speed=2.5))["speed"] == 2.5
    for wrong in ({"do": "speed"}, {"do": "seek"}, {"do": "speed", "speed": 61}, {"do": "jump"}):
        assert (await ask(room, "transport", **wrong))[0] == 422, wrong


class Page:
    """A reader of the feed, as a page is one."""

    def __init__(self) -> None:
        self.frames: list[dict[str, object]] = []

    def ready(self) -> bool:
        return True

    def send(self, text: bytes) -> None:
        self.frames.append(msgspec.json.decode(text))


def joined(feed: Feed) -> Page:
    page = Page()
    feed.join(page, feed.mall_ids)
    return page


async def test_after_a_seek_every_reader_gets_everything_again_also_back_in_time(room: Room) -> None:
    await move(room, "seek", at_ms=END_MS)
    pages = [joined(room.feed), joined(room.feed)]
    room.feed.tick()
    for page in pages:
        before = page.frames[-1]
        assert (before["frame"], before["at_ms"]) == ("delta", END_MS)
    await move(room, "seek", at_ms=START_MS + 3_000)
    for page in pages:
        after = page.frames[-1]
        assert (after["frame"], after["at_ms"]) == ("snapshot", START_MS + 3_000)
        assert after["epoch"] == room.feed.epoch
        assert after["seq"] > before["seq"], "or whoever holds the older frame refuses the newer"  # type: ignore[operator]
        assert len(after["orders"]) == 6  # type: ignore[arg-type]
        assert after["floor"]["playing"] is False  # type: ignore[index]


async def test_what_people_did_is_forgotten_when_they_seek(path: Path, room: Room) -> None:
    await move(room, "seek", at_ms=START_MS + 10_000)
    order = room.runner.engine.state.orders["o-8"]
    held = {"action": "hold", "order_id": "o-8", "expected_version": order.version}
    assert (await ask(room, "command", MAYA, **held))[0] == 200
    await move(room, "step", step_ms=10_000)
    assert room.runner.engine.state.orders["o-8"].held
    await move(room, "seek", at_ms=START_MS + 20_000)
    assert not room.runner.engine.state.orders["o-8"].held
    assert room.runner.engine.hash() == recorded_at(path, START_MS + 20_000)


async def test_after_a_poisonous_input_the_floor_is_rebuilt_where_it_stood(
    path: Path, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    await move(room, "seek", at_ms=START_MS + 40_000)
    await move(room, "seek", at_ms=START_MS + 10_000)
    handle = Engine.handle

    def poisoned(self: Engine, at_ms: int, item: object) -> object:
        if isinstance(item, OrderCommand) and item.actor == "poison":
            raise RuntimeError("poison")
        return handle(self, at_ms, item)  # type: ignore[arg-type]

    monkeypatch.setattr(Engine, "handle", poisoned)
    await room.runner.ask(OrderCommand("hold", "o-3", 1, "poison"))
    assert room.runner.engine.hash() == recorded_at(path, START_MS + 10_000)


async def test_snapshots_stay_few_and_any_moment_can_still_be_reached(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "EVERY_INPUTS", 3)
    monkeypatch.setattr(indexing, "MOST", 8)
    folder = tmp_path / "room"
    async with a_room(an_order_for(path), folder) as room:
        assert 4 < len(list(folder.glob("state-*.zst"))) <= 8
        for at_ms in range(START_MS, END_MS, 9_500):
            await move(room, "seek", at_ms=at_ms)
            assert room.runner.engine.hash() == recorded_at(path, at_ms)


async def test_a_damaged_line_ends_the_index_and_a_seek_behind_it_says_so(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "room"
    folder.mkdir()
    room = Room(an_order_for(path), folder, "secret")
    lines = (folder / "lines.ndjson").read_bytes().split(b"\n")
    broken_ms = T0 + 70_000
    place = next(number for number, text in enumerate(lines) if f'"at_ms":{broken_ms}'.encode() in text)
    lines[place] = b'{"seq": "rubbish"}'
    (folder / "lines.ndjson").write_bytes(b"\n".join(lines))
    try:
        await room.open()
        await room.index.reach(END_MS)
        assert (await move(room, "seek", at_ms=broken_ms - 6_000))["at_ms"] == broken_ms - 6_000
        status, problem = await ask(room, "transport", do="seek", at_ms=END_MS)
        assert (status, problem["code"]) == (409, "damaged")
        assert "is damaged" in problem["detail"]
        stands = await move(room)
        assert (stands["at_ms"], stands["seeking_ms"], stands["complete"]) == (broken_ms - 6_000, None, False)
        assert stands["problem"] == problem["detail"]
    finally:
        await room.close()


async def test_a_room_has_the_usual_calls_but_no_log_in_and_no_tracks(room: Room) -> None:
    assert (await ask(room, "orders"))[0] == 200
    assert (await ask(room, "login", None, name="x", password="y"))[0] == 404
    assert (await ask(room, "transport", None))[0] == 401
    status, problem = await ask(room, "command", action="hold", order_id="o-1", expected_version=1)
    assert (status, problem["code"]) == (403, "forbidden")


async def test_a_room_of_an_ops_lead_is_closed_to_others(path: Path, tmp_path: Path) -> None:
    async with a_room(an_order_for(path, role="ops-lead"), tmp_path / "room") as room:
        for call in ("transport", "marks", "orders", "kpis"):
            assert (await ask(room, call, MAYA))[1]["code"] == "forbidden"
        assert (await ask(room, "ready", None))[0] == 200


async def test_a_viewer_moves_no_room_of_another_and_a_wish_names_what_to_do(tmp_path: Path) -> None:
    order = msgspec.structs.replace(an_order_for(a_recording(tmp_path)), opened_by=MAYA.name)
    async with a_room(order, tmp_path / "room") as room:
        before = await move(room)
        for wish in ({"do": "seek", "at_ms": END_MS}, {"do": "play"}, {"do": "pause"}, {"do": "step"}):
            status, problem = await ask(room, "transport", VERA, **wish)
            assert (status, problem["code"]) == (403, "forbidden")
        assert (await ask(room, "transport", VERA, at_ms=END_MS))[0] == 422
        assert await move(room) == before
        assert (await ask(room, "transport", MAYA, do="seek", at_ms=END_MS))[1]["at_ms"] == END_MS
        assert (await ask(room, "transport", OLGA, do="seek", at_ms=START_MS))[1]["at_ms"] == START_MS
