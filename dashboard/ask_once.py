"""One call to a room on a socket of its own, for programs that come by once and do not stay to watch.

It must not know what is asked. Pages look into a room for longer, by a link that stays open.
"""

import asyncio
from collections.abc import Mapping

import msgspec
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from dashboard.auth.principal import Principal
from dashboard.link import CALL_TIMEOUT_S, MAX_MESSAGE, JsonObject, Link, Reply, lost

CLOSED = Reply(410, problem={"code": "room_closed", "detail": "this replay was closed; open it again"})


async def ask_room(live: Link, room: str, name: str, params: Mapping[str, object], principal: Principal) -> Reply:
    """Asks a room; the live floor says where it is, and whether this principal may look into it (410 `room_closed`)."""
    rooms = await live.call("rooms", {}, principal)
    if not rooms.ok:
        return rooms
    items = msgspec.convert(rooms.body.get("items", []), list[_Listed])
    url = next((item.url for item in items if item.room == room), None)
    if url is None:
        return CLOSED
    given = {key: value for key, value in params.items() if value is not None}
    headers = {"Authorization": f"Bearer {live.secret}"}
    try:
        async with (
            asyncio.timeout(CALL_TIMEOUT_S),
            connect(url, additional_headers=headers, compression=None, max_size=MAX_MESSAGE, proxy=None) as socket,
        ):
            call = {"id": 1, "call": name, "params": given, "principal": principal}
            await socket.send(msgspec.json.encode(call).decode())
            answer = msgspec.json.decode(await socket.recv(), type=_Answer)
            return Reply(answer.status, answer.body, answer.problem)
    except (OSError, WebSocketException):  # a timeout is an OSError too
        return lost("the replay room does not answer; try again in a moment")


class _Listed(msgspec.Struct, frozen=True):
    room: str
    url: str


class _Answer(msgspec.Struct, frozen=True):
    status: int
    body: JsonObject = {}
    problem: JsonObject = {}
