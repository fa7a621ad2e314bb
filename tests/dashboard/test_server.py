"""How the server ends sockets: what the app says too late is nobody's fault, and no line in the log."""

import asyncio
import socket
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from dashboard.server import MAX_SOCKET_MESSAGE, make_server
from dashboard.settings import Settings


async def test_a_frame_after_the_server_closed_the_socket_is_a_disconnect() -> None:
    raised: list[type[BaseException]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
        for message in ({"type": "websocket.send", "text": "late"}, {"type": "websocket.close", "code": 4401}):
            try:
                await send(message)
            except Exception as error:
                raised.append(type(error))

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = make_server(app, Settings())
        server.config.lifespan = "off"
        task = asyncio.create_task(server.serve([listener]))
        while not server.started:
            await asyncio.sleep(0.01)
        async with connect(f"ws://127.0.0.1:{listener.getsockname()[1]}/", proxy=None) as peer:
            await peer.send("x" * (MAX_SOCKET_MESSAGE + 1))
            with pytest.raises(ConnectionClosed):
                await peer.recv()
        while len(raised) < 2:
            await asyncio.sleep(0.01)
        server.should_exit = True
        await task
    assert peer.close_code == 1009
    assert all(issubclass(error, OSError) for error in raised), raised
