"""How uvicorn serves the app: limits, and the end of peers that send no request, or read no answer.

It must not know what is served.
"""

import asyncio
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.auto import AutoHTTPProtocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from dashboard.settings import Settings

if TYPE_CHECKING:
    from asyncio import TimerHandle

MAX_SOCKET_MESSAGE = 64 * 1024
"""Bytes of one websocket message from a browser; this is a security limit."""
STALLED_CLOSE_S = 5.0
HEAD_S = 10.0
MAX_HEAD = 64 * 1024
"""Seconds and bytes that a peer may take to say what it wants; uvicorn itself waits, and reads, without end."""
MAX_CONNECTIONS = 2_000
"""Requests and sockets at once; above, 503. Files are few: each takes one."""


class RequestProtocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]  # one of two, by what is installed
    """uvicorn's http, except that a connection on which no request arrives is cut."""

    connections: set[Any]
    cycle: Any
    transport: asyncio.Transport
    _head_bytes = 0
    _head_timer: "TimerHandle | None" = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Waits for the first request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Takes what came; the time of a request's head runs from its first byte."""
        if self._is_idle() and self._head_timer is None:
            self._wait()
        super().data_received(data)
        if not self._is_idle():
            self._settle()
        elif self.cycle is None or not self.cycle.more_body:
            # Still no whole head. A body that goes on after an early answer is none: a cut would lose the answer.
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD:
                self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Waits for nothing any more."""
        self._settle()
        super().connection_lost(exc)

    def _is_idle(self) -> bool:
        # Once the peer has turned to websockets, this object is out of the set.
        return self in self.connections and (self.cycle is None or self.cycle.response_complete)

    def _wait(self) -> None:
        self._head_timer = asyncio.get_running_loop().call_later(HEAD_S, self._cut)

    def _settle(self) -> None:
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _cut(self) -> None:
        self._head_timer = None
        if self._is_idle():
            self.transport.abort()


class SocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's websocket, except that closing never waits for a peer that reads nothing.

    uvicorn awaits room in the write buffer before it sends a close frame, and then for the buffer to drain, both
    without end: one stalled reader would hold its socket for ever. Here the close frame joins the (bounded) buffer at
    once, so a peer that wakes up still learns the code, and `STALLED_CLOSE_S` seconds later the connection is cut.
    """

    close_timer: "TimerHandle | None"

    async def send(self, message: Any) -> None:
        """Sends one ASGI message.

        Raises:
            ClientDisconnected: the socket is closed, be it by us, for a message that was too large: uvicorn would
                blame the app, which cannot know yet, with a traceback.
        """
        try:
            await self._send(message)
        except RuntimeError:
            if not self.close_sent:
                raise
            raise ClientDisconnected from None

    async def _send(self, message: Any) -> None:
        is_stalled = not self.writable.is_set() and self.handshake_complete and not self.close_sent
        if message["type"] != "websocket.close" or not is_stalled or self.transport.is_closing():
            await super().send(message)
            return
        code = message.get("code", 1000)
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code})
        self.conn.send_close(code, message.get("reason") or "")
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.close_timer = self.loop.call_later(STALLED_CLOSE_S, self.transport.abort)


def make_server(app: ASGIApp, settings: Settings) -> uvicorn.Server:
    """A uvicorn server for `app` on the address of `settings`; no access log, no server header, no compression."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            http=RequestProtocol,
            ws=SocketProtocol,
            limit_concurrency=MAX_CONNECTIONS,
            ws_max_size=MAX_SOCKET_MESSAGE,
            ws_per_message_deflate=False,
            access_log=False,
            server_header=False,
            # Not warnings: it has one for each request that is no HTTP, by which anybody could fill the disk.
            log_level="error",
            timeout_graceful_shutdown=3,
            # The gate decides by Host and Origin; with forwarded headers a client would choose its own address.
            proxy_headers=False,
        )
    )
