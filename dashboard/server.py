"""How uvicorn serves the app: limits, and the end of sockets whose peer reads nothing.

It must not know what is served.
"""

from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from dashboard.settings import Settings

if TYPE_CHECKING:
    from asyncio import TimerHandle

MAX_SOCKET_MESSAGE = 64 * 1024
"""Bytes of one websocket message from a browser; this is a security limit."""
STALLED_CLOSE_S = 5.0


class SocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's websocket, except that closing never waits for a peer that reads nothing.

    uvicorn awaits room in the write buffer before it sends a close frame, and then for the buffer to drain, both
    without end: one stalled reader would hold its socket for ever. Here the close frame joins the (bounded) buffer at
    once, so a peer that wakes up still learns the code, and `STALLED_CLOSE_S` seconds later the connection is cut.
    """

    close_timer: "TimerHandle | None"

    async def send(self, message: Any) -> None:
        """Sends one ASGI message."""
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
            ws=SocketProtocol,
            ws_max_size=MAX_SOCKET_MESSAGE,
            ws_per_message_deflate=False,
            access_log=False,
            server_header=False,
            log_level="warning",
            timeout_graceful_shutdown=3,
            # The gate decides by Host and Origin; with forwarded headers a client would choose its own address.
            proxy_headers=False,
        )
    )
