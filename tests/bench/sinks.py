"""Peers that only count what they are sent: our own connection, picows, the websockets library, and FastAPI.

They must not decode anything. All run uvloop, without compression or keep-alive; the text `count` is answered with
the number of messages before it.
"""

import argparse
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

HOST = "127.0.0.1"
BACKLOG = 8192
MAX_BYTES = 1024 * 1024


def say_ready(port: int) -> None:
    """Tell the parent."""
    print(f"ready {port}", flush=True)


async def ours() -> None:
    """The product's connection with a sink in place of the gateway."""
    from streamer.edge.connection import DirectConnection

    counted = 0

    def claim(connection: ServerConnection, _request: object) -> None:
        assert isinstance(connection, DirectConnection)
        connection.claim()

    async def handle(connection: ServerConnection) -> None:
        assert isinstance(connection, DirectConnection)

        def sink(message: bytes) -> None:
            nonlocal counted
            if message == b"count":
                connection.say(b"%d" % counted)
            else:
                counted += 1

        connection.listen(sink)
        await connection.wait_closed()

    async with serve(
        handle, HOST, 0, process_request=claim, create_connection=DirectConnection, compression=None,
        ping_interval=None, max_size=MAX_BYTES, backlog=BACKLOG,
    ) as server:  # fmt: skip
        say_ready(next(iter(server.sockets)).getsockname()[1])
        await server.serve_forever()


async def stock() -> None:
    """The websockets library as its documentation shows it, without decoding to str."""
    counted = 0

    async def handle(connection: ServerConnection) -> None:
        nonlocal counted
        try:
            while True:
                message = await connection.recv(decode=False)
                if message == b"count":
                    await connection.send(str(counted))
                else:
                    counted += 1
        except ConnectionClosed:
            pass

    async with serve(
        handle, HOST, 0, compression=None, ping_interval=None, max_size=MAX_BYTES, backlog=BACKLOG
    ) as server:
        say_ready(next(iter(server.sockets)).getsockname()[1])
        await server.serve_forever()


async def picows() -> None:
    """picows (Cython), the leanest WebSocket server for Python."""
    from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server

    counted = 0

    class Counting(WSListener):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            nonlocal counted
            message = frame.get_payload_as_bytes()
            if message == b"count":
                transport.send(WSMsgType.TEXT, b"%d" % counted)
            else:
                counted += 1

    server = await ws_create_server(lambda _request: Counting(), HOST, 0, backlog=BACKLOG)
    say_ready(server.sockets[0].getsockname()[1])
    await server.serve_forever()


async def fastapi() -> None:
    """FastAPI under uvicorn, with its leanest WebSocket implementation."""
    import uvicorn
    from fastapi import FastAPI, WebSocket, WebSocketDisconnect

    app = FastAPI()
    counted = 0

    async def drivers(peer: WebSocket) -> None:
        nonlocal counted
        await peer.accept()
        try:
            while True:
                message = await peer.receive_text()
                if message == "count":
                    await peer.send_text(str(counted))
                else:
                    counted += 1
        except WebSocketDisconnect:
            pass

    app.add_api_websocket_route("/v1/drivers", drivers)
    listener = socket.create_server((HOST, 0), backlog=BACKLOG)
    config = uvicorn.Config(
        app, ws="websockets-sansio", ws_per_message_deflate=False, ws_ping_interval=None, log_level="error",
        access_log=False, backlog=BACKLOG,
    )  # fmt: skip
    say_ready(listener.getsockname()[1])
    await uvicorn.Server(config).serve(sockets=[listener])


SINKS: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
    "ours": ours, "websockets": stock, "picows": picows, "fastapi": fastapi,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.bench.sinks")
    parser.add_argument("peer", choices=SINKS)
    sink = SINKS[parser.parse_args().peer]
    uvloop.run(sink())


if __name__ == "__main__":
    main()
