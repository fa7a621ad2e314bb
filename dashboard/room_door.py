"""Leads a request that names a room to that room's link and feed: a pure ASGI wrapper behind the gate.

It must not know who may look into a room (`dashboard.rooms` asks), nor what is served there: everything is served there
that is served of the live floor, by the same code.
"""

import re
from typing import Final
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Receive, Scope, Send

from dashboard.auth.principal import Principal
from dashboard.auth.request import headers_of
from dashboard.link import bind_link, unbind_link
from dashboard.problems import problem
from dashboard.relay import COME_AGAIN
from dashboard.rooms import CLOSED_SOCKET, HEADER, QUERY, RoomRefused, Rooms, bind_room, unbind_room

ITS_OWN: Final = re.compile(r"/api/v1/rooms/([A-Za-z0-9_-]{1,64})/(?:transport|marks)")
"""The routes whose path names the room that answers them; of all others, the header does."""


class RoomDoor:
    """Wraps `app`: what names a room has that room's link as `current_link`, all else the live floor's."""

    def __init__(self, app: ASGIApp, rooms: Rooms) -> None:
        self.app = app
        self._rooms = rooms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one connection."""
        name, principal = _asked(scope), scope.get("state", {}).get("principal")
        if name is None or principal is None:
            await self.app(scope, receive, send)
        else:
            await self._lead(name, principal, scope, receive, send)

    async def _lead(self, name: str, principal: Principal, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            room = await self._rooms.enter(name, principal)
        except RoomRefused as refused:
            await _refuse(refused, scope, receive, send)
            return
        link_token, room_token = bind_link(room.link), bind_room(room)
        try:
            await self.app(scope, receive, send)
        finally:
            unbind_room(room_token)
            unbind_link(link_token)


def _asked(scope: Scope) -> str | None:
    """The room that a connection is about; None: the live floor."""
    if scope["type"] == "http":
        own = ITS_OWN.fullmatch(scope["path"])
        return own[1] if own else headers_of(scope).get(HEADER)
    if scope["type"] == "websocket":
        return next(iter(parse_qs(scope["query_string"].decode("latin-1")).get(QUERY, ())), None)
    return None


async def _refuse(refused: RoomRefused, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await problem(refused.status, refused.code, refused.detail)(scope, receive, send)
        return
    await receive()
    # Accepted first: of a handshake that is refused, a browser's script learns no reason.
    await send({"type": "websocket.accept"})
    code = CLOSED_SOCKET if refused.code == "room_closed" else COME_AGAIN
    await send({"type": "websocket.close", "code": code, "reason": refused.detail})
