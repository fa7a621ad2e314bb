"""The streamer's end of docs/link.md: one socket for a dashboard's calls and for the feed.

It must not know what a call does (the desk does) or what a frame holds (the feed does).
"""

import asyncio
import hmac
import os
import secrets
from pathlib import Path

import msgspec
import structlog
from websockets.asyncio.connection import broadcast
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from streamer.core.errors import ConfigurationError, StorageError
from streamer.edge.connection import DirectConnection
from streamer.edge.desk.calls import Call, CallRefusedError, Subscribe
from streamer.edge.desk.desk import Desk, field_fault
from streamer.edge.feed import Feed
from streamer.edge.sockets import bearer_of, unauthorized
from streamer.edge.wire import Close

log = structlog.get_logger("link")

PATH = "/v1/link"
MAX_UNREAD_BYTES = 1024 * 1024
MAX_BEHIND_S = 10.0
"""The library's keep-alive never notices a reader that stalls, and its buffer grows without end: 187 MiB were
measured. Above 1 MiB a reader is skipped, after 10 s so it is closed."""
MAX_CALLS = 256
"""Calls of one socket being answered at once; further ones wait unread."""
UNREADABLE = 0
"""The id in an answer to what has none: a message that cannot be read, or a subscription refused."""
CLOSE_S = 1.0

_encode = msgspec.json.Encoder().encode


class Link:
    """All dashboards connected to one floor."""

    def __init__(self, desk: Desk, feed: Feed, secret: str) -> None:
        self.desk = desk
        self.feed = feed
        self._secret = secret
        self._readers: dict[LinkReader, None] = {}

    @property
    def readers(self) -> int:
        """How many dashboards are connected now."""
        return len(self._readers)

    @property
    def unread(self) -> int:
        """Bytes in the write buffer of the dashboard that is furthest behind."""
        return max((reader.unread for reader in self._readers), default=0)

    def check_request(self, connection: DirectConnection, request: Request) -> Response | None:
        """Let a handshake with the link's secret through (None), or answer it with 401."""
        offered = bearer_of(request.headers) or ""
        if hmac.compare_digest(offered.encode(), self._secret.encode()):
            return None
        return unauthorized(connection, "the link's secret is needed")

    async def handle(self, connection: DirectConnection) -> None:
        """Serve one connection that `check_request` let through, until it closes."""
        reader = LinkReader(connection)
        self._readers[reader] = None
        room = asyncio.Semaphore(MAX_CALLS)
        tasks: set[asyncio.Task[None]] = set()
        log.info("link_opened")
        try:
            async for text in connection:
                await room.acquire()
                task = asyncio.create_task(self._take(connection, reader, text))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                task.add_done_callback(lambda _: room.release())
        except ConnectionClosed:
            pass
        finally:
            self.feed.leave(reader)
            del self._readers[reader]
            for task in tasks:
                task.cancel()
            log.info("link_closed", code=connection.close_code)

    async def _take(self, connection: DirectConnection, reader: "LinkReader", text: str | bytes) -> None:
        try:
            # What is inside a call is decoded later and elsewhere; from here on at least all of it is text.
            text = text if isinstance(text, str) else text.decode()
            call = msgspec.json.decode(text, type=Call)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            answer: bytes | None = _refusal(UNREADABLE, CallRefusedError(400, "bad_json", str(error)))
        else:
            answer = self._subscribe(reader, text) if call.call == "subscribe" else await self._answer(call)
        try:
            if answer is not None:
                await connection.send(answer, text=True)
        except ConnectionClosed:
            pass

    async def _answer(self, call: Call) -> bytes | None:
        """The answer; None if nobody can say what became of the call."""
        try:
            answer = await self.desk.answer(call)
            return _encode({"id": call.id, "status": answer.status, "body": answer.body})
        except CallRefusedError as error:
            return _refusal(call.id, error)
        except StorageError as error:
            # The journal failed for good and the program ends: what was asked for may be on disk, or not.
            log.error("call_unanswered", call=call.call, error=str(error))
            return None
        except Exception as error:
            log.error("call_failed", call=call.call, exc_info=error)
            return _refusal(call.id, CallRefusedError(500, "internal", "this call failed; the log has the reason"))

    def _subscribe(self, reader: "LinkReader", text: str | bytes) -> bytes | None:
        """Start the feed for a reader, instead of what it was subscribed to before."""
        try:
            wanted = msgspec.json.decode(text, type=Subscribe)
        except msgspec.DecodeError as error:
            return _refusal(UNREADABLE, CallRefusedError(422, "bad_field", field_fault(error)))
        unknown = [mall_id for mall_id in wanted.malls if mall_id not in self.feed.mall_ids]
        if unknown:
            return _refusal(UNREADABLE, CallRefusedError(404, "not_found", f"there is no mall {unknown[0]}"))
        self.feed.leave(reader)
        self.feed.join(reader, wanted.malls or self.feed.mall_ids, wanted.since, wanted.epoch)
        return None


class LinkReader:
    """A dashboard as the feed sees it."""

    def __init__(self, connection: DirectConnection) -> None:
        self._connection = connection
        self._behind_since_s: float | None = None
        self._closing: asyncio.Task[None] | None = None

    @property
    def unread(self) -> int:
        """Bytes that it has not taken yet."""
        return self._connection.unread

    def ready(self) -> bool:
        """Whether less than 1 MiB is unread; the socket is closed once that has not been so for 10 s."""
        if self.unread <= MAX_UNREAD_BYTES:
            self._behind_since_s = None
            return True
        now_s = asyncio.get_running_loop().time()
        if self._behind_since_s is None:
            self._behind_since_s = now_s
        elif now_s - self._behind_since_s > MAX_BEHIND_S and self._closing is None:
            self._closing = asyncio.create_task(self._close())
        return False

    def send(self, text: bytes) -> None:
        """Hand a frame to the socket; never waits."""
        broadcast((self._connection,), text, text=True)

    async def _close(self) -> None:
        log.warning("link_too_slow", unread_bytes=self.unread)
        try:
            await asyncio.wait_for(self._connection.close(Close.SLOW_READER, "slow reader"), CLOSE_S)
        except TimeoutError:
            # The closing frame is behind what is not read.
            self._connection.transport.abort()


def link_secret(directory: Path) -> str:
    """The secret of the link: of MALLARD_LINK_SECRET, else of DIR/link.secret, which is made when missing, mode 0600.

    Raises:
        ConfigurationError: the file can be read by others, or is empty.
        StorageError: it cannot be read or written.
    """
    given = os.environ.get("MALLARD_LINK_SECRET", "")
    if given:
        return given
    path = directory / "link.secret"
    try:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return _read_secret(path)
        with os.fdopen(descriptor, "w") as file:
            file.write(secret := secrets.token_urlsafe(32))
        return secret
    except OSError as error:
        raise StorageError(f"cannot use {path}: {error.strerror}") from error


def _read_secret(path: Path) -> str:
    if path.stat().st_mode & 0o077:
        raise ConfigurationError(f"{path} can be read by others: chmod 600 {path}")
    secret = path.read_text().strip()
    if not secret:
        raise ConfigurationError(f"{path} is empty: delete it, and a new secret is made")
    return secret


def _refusal(call_id: int, error: CallRefusedError) -> bytes:
    return _encode({"id": call_id, "status": error.status, "problem": error.problem})
