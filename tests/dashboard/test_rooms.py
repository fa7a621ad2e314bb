"""Rooms: a request that names one is answered by it, what is closed says so, and nobody is let into another's."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.dashboard.conftest import ScriptedStreamer

AsPage = Callable[..., dict[str, str]]
ROOM = {"X-Mallard-Room": "r-1"}


def snapshot(mall_id: str, seq: int, epoch: str, at_ms: int) -> str:
    return json.dumps({"frame": "snapshot", "mall_id": mall_id, "seq": seq, "at_ms": at_ms, "epoch": epoch})


@pytest.fixture
async def room() -> AsyncIterator[ScriptedStreamer]:
    """A room: another streamer's end, with frames of its own."""
    scripted = ScriptedStreamer()
    scripted.on_subscribe = lambda _request: [snapshot("plaza", 1, "room", 500)]
    scripted.handlers["ready"] = lambda _params, _who: (201, {"of": "the room"})
    await scripted.start()
    yield scripted
    await scripted.stop()


@pytest.fixture
def listing(streamer: Any, room: ScriptedStreamer) -> dict[str, Any]:
    """What the live floor lists; tests change it. The room is everybody's but vera's."""
    body: dict[str, Any] = {"items": [{"room": "r-1", "url": room.url, "source": "saturday-rush"}]}
    streamer.handlers["rooms"] = lambda _params, who: (200, {"items": []} if who["name"] == "vera" else body)
    return body


async def ask(site: str, headers: dict[str, str], callback_body: Any, more: dict[str, str] = ROOM) -> httpx.Response:
    sent = {"Origin": f"http://{site}", **headers, **more}
    async with httpx.AsyncClient(base_url=f"http://{site}", trust_env=False) as client:
        return await client.post("/_dash-update-component", json=callback_body("async"), headers=sent)


def feed(site: str, headers: dict[str, str], query: str = "?room=r-1") -> connect:
    return connect(f"ws://{site}/feed{query}", additional_headers=headers, origin=f"http://{site}", proxy=None)  # type: ignore[arg-type]


async def closing(socket: ClientConnection) -> tuple[int, str]:
    with suppress(ConnectionClosed):
        async for _text in socket:
            pass
    return socket.close_code or 0, socket.close_reason or ""


async def test_a_callback_asks_the_room_it_names_and_else_the_live_floor(
    site: str, as_page: AsPage, callback_body: Any, listing: Any
) -> None:
    headers = as_page("maya")
    answers = [await ask(site, headers, callback_body, more) for more in (ROOM, {}, ROOM)]
    said = [answer.json()["response"]["async"]["children"] for answer in answers]
    assert said == ["maya 201", "maya 200", "maya 201"]


async def test_a_feed_brings_the_frames_of_its_room_only(
    site: str, as_page: AsPage, streamer: Any, listing: Any
) -> None:
    headers = as_page("maya")
    async with feed(site, headers) as in_room, feed(site, headers, "") as live:
        await streamer.send(snapshot("plaza", 9, "live", 900))
        assert json.loads(await in_room.recv())["epoch"] == "room"
        assert json.loads(await live.recv())["epoch"] == "live"


async def test_after_a_seek_every_reader_gets_the_earlier_moment(
    site: str, as_page: AsPage, room: ScriptedStreamer, listing: Any
) -> None:
    async with feed(site, as_page("maya")) as reader:
        assert json.loads(await reader.recv())["at_ms"] == 500
        await room.send(snapshot("plaza", 1, "room after the seek", 20))
        assert json.loads(await reader.recv())["at_ms"] == 20


@pytest.mark.parametrize(("who", "name"), [("maya", "r-2"), ("vera", "r-1"), ("maya", "../r-1")])
async def test_a_room_that_is_not_there_for_somebody_is_said_to_be_closed(
    site: str, as_page: AsPage, callback_body: Any, listing: Any, who: str, name: str
) -> None:
    answer = await ask(site, as_page(who), callback_body, {"X-Mallard-Room": name})
    assert answer.status_code == 410
    assert answer.json()["code"] == "room_closed"
    async with feed(site, as_page(who), f"?room={name}") as socket:
        assert await closing(socket) == (4404, "this replay was closed; open it again")


async def test_a_room_that_ends_sends_its_readers_away_and_is_then_closed(
    site: str, as_page: AsPage, callback_body: Any, room: ScriptedStreamer, listing: Any
) -> None:
    headers = as_page("maya")
    async with feed(site, headers) as reader:
        await reader.recv()
        listing["items"].clear()
        await room.stop()
        assert (await closing(reader))[0] == 1012
    async with feed(site, headers) as again:
        assert (await closing(again))[0] == 4404
    assert (await ask(site, headers, callback_body)).status_code == 410
    assert (await ask(site, headers, callback_body, {})).status_code == 200, "the live floor serves on"


async def test_a_floor_that_knows_no_rooms_has_none(site: str, as_page: AsPage, callback_body: Any) -> None:
    assert (await ask(site, as_page("maya"), callback_body)).status_code == 410
