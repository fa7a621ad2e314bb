"""Rooms as processes of their own, and the floor's calls about them: opened, counted, ended, and never in its way."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from streamer.edge.desk.calls import Caller
from streamer.edge.journal.database import open_to_read
from streamer.edge.journal.sqlite import SqliteJournal
from streamer.edge.rooms import keeper as keeping
from streamer.edge.rooms.desk import RoomDesk
from streamer.edge.rooms.gallery import Gallery
from streamer.edge.rooms.keeper import Keeper, fixture_folder
from streamer.edge.runner import Runner
from tests.builders import T0
from tests.edge.floor_kit import SECRET, a_day, a_header, a_runner
from tests.edge.rooms.rooms_kit import END_MS, MAYA, OLGA, START_MS, VERA, a_recording, asked, until


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_recording(tmp_path_factory.mktemp("recordings")).parent


class Live:
    """The live floor's end: a keeper, and the desk's calls about rooms."""

    def __init__(self, runner: Runner, recordings: Path, journal: Path | None = None, **fields: Any) -> None:
        self.runner = runner
        self.keeper = Keeper(SECRET, **fields)
        self.desk = RoomDesk(runner, self.keeper, Gallery((recordings,)), journal)

    async def ask(self, call: str, who: Caller = VERA, **params: Any) -> tuple[int, dict[str, Any]]:
        return await asked(self.desk.table, call, who, **params)


@pytest.fixture
async def live(recordings: Path) -> AsyncIterator[Live]:
    runner = a_runner()
    await runner.start()
    live = Live(runner, recordings, max_rooms=2)
    yield live
    await live.keeper.end_all()
    await runner.stop()


@asynccontextmanager
async def reading(url: str, secret: str = SECRET) -> AsyncIterator[ClientConnection]:
    headers = {"Authorization": f"Bearer {secret}"}
    async with connect(url, additional_headers=headers, compression=None, proxy=None) as socket:
        yield socket


async def arrived(socket: ClientConnection, who: Caller = VERA) -> None:
    """On a busy machine a room is still on its way when its opening is answered."""
    while (await told(socket, "transport", who))["seeking_ms"] is not None:
        pass


async def told(socket: ClientConnection, call: str, caller: Caller = VERA, **params: Any) -> dict[str, Any]:
    who = {"name": caller.name, "role": caller.role, "mall_ids": []}
    await socket.send(json.dumps({"id": 1, "call": call, "params": params, "principal": who}))
    while "frame" in (answer := json.loads(await socket.recv())):
        pass
    return dict(answer["body"])


async def test_two_viewers_watch_different_moments_of_one_recording_and_the_floor_stays_as_it_was(live: Live) -> None:
    before = live.runner.engine.hash()
    moments = (START_MS + 10_000, START_MS + 50_000)
    opened = await asyncio.gather(
        *(
            live.ask("open_room", who, source="a-day", at_ms=at_ms)
            for who, at_ms in zip((VERA, MAYA), moments, strict=True)
        )
    )
    assert [status for status, _ in opened] == [201, 201]
    one, other = (body for _, body in opened)
    assert (one["source"], one["kind"], one["opened_by"], one["story"]) == ("a-day", "fixture", "vera", "A day.")
    async with reading(one["url"]) as first, reading(other["url"]) as second:
        for socket in (first, second):
            await arrived(socket)
        states = [await told(socket, "state") for socket in (first, second)]
        assert [state["at_ms"] for state in states] == list(moments)
        await told(first, "transport", do="seek", at_ms=END_MS)
        assert (await told(second, "state")) == states[1]
        await until(lambda: [view.readers for view in live.keeper.views()] == [1, 1])

        status, problem = await live.ask("open_room", source="a-day")
        assert (status, problem["code"], problem["retryable"]) == (429, "too_many_rooms", True)
        assert "2 replay rooms are open, which is all there may be: a-day (" in problem["detail"]
        assert all(f"a-day ({name})" in problem["detail"] for name in ("vera", "maya"))
    with pytest.raises(InvalidStatus):
        async with reading(one["url"], "another secret"):
            pass

    _, rooms = await live.ask("rooms")
    assert {item["room"] for item in rooms["items"]} == {one["room"], other["room"]}
    assert (await live.ask("close_room", room=other["room"]))[1]["code"] == "forbidden", "maya opened it"
    assert (await live.ask("close_room", OLGA, room=other["room"]))[0] == 200
    assert (await live.ask("close_room", OLGA, room=other["room"]))[0] == 404

    (room,) = live.keeper._rooms.values()
    assert room.child is not None
    folder = Path(room.order.folder)
    assert (folder / "lines.ndjson").exists()
    os.kill(room.child.pid, signal.SIGKILL)
    await until(lambda: live.keeper.views() == [])
    await live.keeper.end_all()
    assert not folder.exists()
    assert live.runner.engine.hash() == before


async def test_a_room_that_nobody_reads_ends_and_one_that_is_read_stays(
    recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "LOOK_S", 0.01)
    live = Live(a_runner(), recordings)
    running = asyncio.create_task(live.keeper.run())
    try:
        _, room = await live.ask("open_room", source="a-day")
        async with reading(room["url"]):
            await until(lambda: live.keeper.views()[0].readers == 1)
            live.keeper.idle_s = 0.0
            await asyncio.sleep(0.05)
            assert len(live.keeper.views()) == 1
        await until(lambda: live.keeper.views() == [])
    finally:
        running.cancel()
        await live.keeper.end_all()


async def test_a_recording_that_is_damaged_behind_its_beginning_is_refused_in_words(
    recordings: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Spoilt between the look at the gallery and the room's own: the room says so, and takes no place."""
    live = Live(a_runner(), a_recording(tmp_path).parent)
    (found,) = live.desk.gallery.look()
    found.path.write_bytes(found.path.read_bytes()[:900])
    monkeypatch.setattr(live.desk.gallery, "look", lambda: [found])
    status, problem = await live.ask("open_room", source="a-day")
    assert (status, problem["code"]) == (409, "bad_recording")
    assert problem["detail"].startswith("fixture a-day.ndjson.zst is truncated")
    assert live.keeper._rooms == {}
    # What the gallery itself finds out is said without a process.
    monkeypatch.undo()
    status, problem = await live.ask("open_room", source="a-day")
    assert (status, problem["code"]) == (409, "bad_recording")


async def test_the_floors_own_day_is_for_ops_leads_and_audited(recordings: Path, tmp_path: Path) -> None:
    runner = a_runner(SqliteJournal(tmp_path, a_header()), at_ms=T0 + 100_000)
    await runner.start()
    for at_ms, item in a_day():
        runner.submit(item, at_ms=at_ms)
    await runner.settled()
    live = Live(runner, recordings, tmp_path)
    before = runner.engine.hash()
    listed = [[item["id"] for item in (await live.ask("recordings", who))[1]["items"]] for who in (VERA, MAYA, OLGA)]
    assert listed == [["a-day"], ["a-day"], ["a-day", "journal"]]
    assert (await live.ask("open_room", MAYA, source="journal"))[0] == 403
    status, room = await live.ask("open_room", OLGA, source="journal", at_ms=T0 + 100_000)
    assert status == 201, room
    assert (room["role"], room["name"], room["start_ms"]) == ("ops-lead", "Today", T0)
    assert (await live.ask("rooms", MAYA))[1]["items"] == []
    assert (await live.ask("close_room", MAYA, room=room["room"]))[0] == 404
    async with reading(room["url"]) as socket:
        await arrived(socket, OLGA)
        assert (await told(socket, "state", OLGA))["hash"] == before
    await live.keeper.end_all()
    runner.full = True
    assert (await live.ask("open_room", OLGA, source="journal"))[1]["code"] == "storage_full"
    runner.full = False
    await runner.stop()
    assert runner.engine.hash() == before
    connection = open_to_read(tmp_path / "journal.db")
    noted = connection.execute("SELECT body FROM entry WHERE kind = 'journal_replayed'").fetchall()
    connection.close()
    assert len(noted) == 1
    assert b"olga" in noted[0][0]


async def test_what_is_outside_a_callers_malls_is_not_shown_and_what_is_not_there_is_not_opened(live: Live) -> None:
    elsewhere = Caller("else", "ops-lead", ("other-mall",))
    assert (await live.ask("recordings", elsewhere))[1]["items"] == []
    assert (await live.ask("open_room", elsewhere, source="a-day"))[0] == 403
    assert (await live.ask("open_room", source="no-day"))[0] == 404
    assert (await live.ask("open_room", OLGA, source="journal"))[0] == 404, "a floor without a journal on disk"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert fixture_folder(tmp_path) == tmp_path
    with pytest.raises(ValueError, match="there is no directory"):
        fixture_folder(tmp_path / "nowhere")
