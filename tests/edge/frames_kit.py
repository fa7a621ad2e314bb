"""Raw frames on raw sockets: what a client may write, and everything that came of it, on either kind of connection."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Literal

from msgspec import Struct
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from streamer.edge.connection import DirectConnection, Sink

Way = Literal["library", "direct"]
WAYS: tuple[Way, ...] = ("library", "direct")
MAX_BYTES = 65_540
"""The limit of a message here: just above the border of 64-bit lengths."""
WAIT_S = 5.0
MASK = b"\xa5\x17\xfe\x80"
TEXT, BINARY, CONT, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


async def deaf(port: int, path: str, token: str) -> socket.socket:
    """A client that shakes hands and then reads nothing, with as small a buffer as the kernel allows."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, ("127.0.0.1", port))
    request = HANDSHAKE.replace(b"GET / ", f"GET {path} ".encode())[:-2]
    await loop.sock_sendall(client, request + f"Authorization: Bearer {token}\r\n\r\n".encode())
    return client


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bytes | None = MASK, form: int = 0
) -> bytes:
    """A client's frame, as RFC 6455 §5.2 draws it or deliberately not; `form` 7, 16 or 64 bits of length, 0 the least.

    `rsv` are the three reserved bits; `mask` None leaves the frame unmasked.
    """
    first, length = (0x80 if fin else 0) | rsv << 4 | opcode, len(payload)
    marked = 0x80 if mask else 0
    form = form or (7 if length < 126 else 16 if length < 2**16 else 64)
    if form == 7:
        header = struct.pack("!BB", first, marked | length)
    elif form == 16:
        header = struct.pack("!BBH", first, marked | 126, length)
    else:
        header = struct.pack("!BBQ", first, marked | 127, length)
    if mask is None:
        return header + payload
    return header + mask + masked(payload, mask)


def masked(payload: bytes, mask: bytes) -> bytes:
    """A payload under its mask; written out here, so as not to trust what is tested."""
    whole = int.from_bytes(payload) ^ int.from_bytes((mask * (len(payload) // 4 + 1))[: len(payload)])
    return whole.to_bytes(len(payload))


def close(code: int = 1000, reason: bytes = b"") -> bytes:
    """A closing frame."""
    return frame(CLOSE, struct.pack("!H", code) + reason)


def answer(opcode: int, payload: bytes = b"") -> bytes:
    """A short frame as a server writes it: without a mask."""
    return frame(opcode, payload, mask=None)


class Came(Struct):
    """What came of a conversation: messages in order, bytes on the wire after the handshake, and how it ended."""

    messages: list[bytes]
    wire: bytes
    code: int | None = None
    reason: str | None = None

    @property
    def closing(self) -> int | None:
        """The code of the closing frame the server wrote last; None when it wrote none, or one without a code."""
        at, code = 0, None
        while at < len(self.wire):
            opcode, length = self.wire[at] & 15, self.wire[at + 1]
            assert length < 126, "a server has no long frame to say here"
            if opcode == CLOSE and length >= 2:
                code = int(struct.unpack("!H", self.wire[at + 2 : at + 4])[0])
            at += 2 + length
        return code


class Counting:
    """Counts what has been read, so that a client can write its next segment exactly then."""

    read = 0

    def data_received(self, data: bytes) -> None:
        self.read += len(data)
        super().data_received(data)  # type: ignore[misc]


class LibraryWay(Counting, ServerConnection):
    """The library as it is."""


class DirectWay(Counting, DirectConnection):
    """The way past its queue."""


class Talk:
    """One conversation on a raw socket, and the server's end of it."""

    def __init__(self, server_side: LibraryWay | DirectWay, client: socket.socket, came: Came) -> None:
        self.server_side, self.client, self.came = server_side, client, came
        self._read = server_side.read

    async def write(self, segment: bytes) -> None:
        """Sends a segment, and returns when the server has read it, or has stopped to."""
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self.client, segment)
        self._read += len(segment)
        async with asyncio.timeout(WAIT_S):
            while self.server_side.read < self._read and not self.server_side.connection_lost_waiter.done():
                await asyncio.sleep(0)

    async def end(self) -> Came:
        """All that the server says until it hangs up."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(WAIT_S):
            try:
                while some := await loop.sock_recv(self.client, 65_536):
                    self.came.wire += some
            except ConnectionResetError:
                pass  # It had not read everything when it hung up.
            self.client.close()
            await asyncio.shield(self.server_side.connection_lost_waiter)
        self.came.code, self.came.reason = self.server_side.close_code, self.server_side.close_reason
        return self.came


class Line:
    """A listening server of one way; `talk` opens conversations with it."""

    def __init__(self, way: Way, port: int, opened: "asyncio.Queue[tuple[LibraryWay | DirectWay, Came]]") -> None:
        self.way, self.port, self._opened = way, port, opened

    @asynccontextmanager
    async def talk(self, early: bytes = b"") -> AsyncIterator[Talk]:
        """A conversation after its handshake; `early` comes in one segment with the request."""
        loop = asyncio.get_running_loop()
        client = socket.socket()
        client.setblocking(False)
        try:
            async with asyncio.timeout(WAIT_S):
                await loop.sock_connect(client, ("127.0.0.1", self.port))
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                await loop.sock_sendall(client, HANDSHAKE + early)
                head = b""
                while b"\r\n\r\n" not in head:
                    head += await loop.sock_recv(client, 65_536)
                server_side, came = await self._opened.get()
            came.wire = head.partition(b"\r\n\r\n")[2]
            yield Talk(server_side, client, came)
        finally:
            client.close()

    async def said(self, segments: Sequence[bytes], *, hang_up: bool = False) -> Came:
        """A whole conversation: segments one after another, then everything that comes back."""
        async with self.talk() as talk:
            for segment in segments:
                try:
                    await talk.write(segment)
                except (BrokenPipeError, ConnectionResetError):
                    break  # The server closed at an earlier segment.
            if hang_up:
                talk.client.shutdown(socket.SHUT_WR)
            return await talk.end()


@asynccontextmanager
async def a_line(way: Way, sink: Sink | None = None) -> AsyncIterator[Line]:
    """A server whose messages go to the conversation's `came`, or to `sink`, on a port of its own."""
    opened: asyncio.Queue[tuple[LibraryWay | DirectWay, Came]] = asyncio.Queue()

    async def by_library(connection: ServerConnection) -> None:
        assert isinstance(connection, LibraryWay)
        came = Came([], b"")
        opened.put_nowait((connection, came))
        try:
            async for message in connection:
                came.messages.append(message if isinstance(message, bytes) else message.encode())
        except ConnectionClosed:
            pass

    async def directly(connection: ServerConnection) -> None:
        assert isinstance(connection, DirectWay)
        came = Came([], b"")
        connection.listen(sink or came.messages.append)
        opened.put_nowait((connection, came))
        await connection.ended(WAIT_S)

    def claim(connection: ServerConnection, _request: Request) -> Response | None:
        if isinstance(connection, DirectConnection) and not connection.claim():
            return connection.respond(400, "too early\n")
        return None

    async with serve(
        by_library if way == "library" else directly, "127.0.0.1", 0, process_request=claim, compression=None,
        create_connection=LibraryWay if way == "library" else DirectWay, max_size=MAX_BYTES, ping_interval=None,
        close_timeout=1,
    ) as server:  # fmt: skip
        yield Line(way, next(iter(server.sockets)).getsockname()[1], opened)
