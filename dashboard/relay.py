"""`/feed`: the live feed for browsers and programs, the same text to every reader of a mall.

It must not know what a frame means, or where it came from. Source of the limits: a reader that stalls is never thrown
out by the keep-alive of a websocket library, and its buffer grows without end (measured: 187 MiB).
"""

import asyncio
import time
from collections import deque
from collections.abc import Coroutine, Iterable
from contextlib import suppress

import msgspec
import structlog
from starlette.websockets import WebSocket, WebSocketDisconnect

from dashboard.auth.principal import Principal
from dashboard.feed import Feed, Head

log = structlog.get_logger()

MAX_UNREAD = 1024 * 1024
"""Characters waiting for one reader (frames are almost all ASCII); above, it is skipped and starts anew."""
MAX_BEHIND_S = 10.0
SLOW_READER = 1013
BAD_QUERY = 1008
COME_AGAIN = 1012
"""What the frames came by is gone; who comes again is told whether there is more."""
MAX_READERS = 200


class Asked(msgspec.Struct, frozen=True):
    """What a reader wants. `malls` None means every mall in its scope."""

    malls: frozenset[str] | None
    since: dict[str, int]
    epoch: str | None


def parse_query(malls: str | None, since: str | None, epoch: str | None) -> Asked:
    """Reads the query of `/feed` (docs/feed.md).

    Raises:
        ValueError: when `since` is not `mall:seq,…`.
    """
    marks = [mark.rpartition(":") for mark in (since or "").split(",") if mark]
    if not all(mall_id and seq.isdecimal() and len(seq) <= 16 for mall_id, _, seq in marks):
        raise ValueError(f"since is not mall:seq,…: {since!r:.80}")
    wanted = frozenset(filter(None, malls.split(","))) if malls else None
    return Asked(wanted, {mall_id: int(seq) for mall_id, _, seq in marks}, epoch or None)


class Reader:
    """One reader's queue. Frames go in without waiting; `send_all` takes them out at the reader's own speed."""

    def __init__(self, feed: Feed, principal: Principal, asked: Asked) -> None:
        self._feed = feed
        self._principal = principal
        self._asked = asked
        self._queue: deque[tuple[float, str]] = deque()
        self._unread = 0
        self._starting = True
        """The next thing to send is a start: what was missed, or a snapshot."""
        self._since = dict(asked.since)
        self._wake = asyncio.Event()
        self._wake.set()
        self.skips = 0
        """Times this reader was skipped."""

    def wants(self, mall_id: str) -> bool:
        """Whether frames of `mall_id` are asked for and allowed."""
        return self._principal.sees(mall_id) and (self._asked.malls is None or mall_id in self._asked.malls)

    def offer(self, head: Head, text: str) -> None:
        """Takes a frame that came just now."""
        if self._starting or not self.wants(head.mall_id):
            return  # the start will hold it
        if self._unread + len(text) > MAX_UNREAD and self._queue:
            self._skip()
            return
        self._queue.append((time.monotonic(), text))
        self._unread += len(text)
        self._wake.set()

    def _skip(self) -> None:
        self._queue.clear()
        self._unread = 0
        self._since.clear()
        self._starting = True
        self.skips += 1
        self._wake.set()

    async def send_all(self, socket: WebSocket) -> None:
        """Sends for as long as the socket lives.

        Raises:
            TimeoutError: the reader is more than `MAX_BEHIND_S` behind.
            WebSocketDisconnect: it went away.
        """
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._starting:
                # Nothing is awaited between the look at the feed and the first frame queued after: no gap, no repeat.
                texts = self._start()
                self._starting = False
                for text in texts:
                    await _send(socket, text)
            while self._queue and not self._starting:
                queued_s, text = self._queue.popleft()
                self._unread -= len(text)
                if time.monotonic() - queued_s > MAX_BEHIND_S:
                    raise TimeoutError
                await _send(socket, text)

    def _start(self) -> list[str]:
        malls = filter(self.wants, self._feed.known())
        epoch = self._asked.epoch
        return [text for mall_id in malls for text in self._feed.catch_up(mall_id, self._since.get(mall_id), epoch)]


class Relay:
    """Every reader of one feed."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._readers: set[Reader] = set()
        self._ended = asyncio.Event()
        self.skipped = 0
        """Times a reader was skipped, of readers that have left."""
        self.closed_slow = 0

    @property
    def readers(self) -> int:
        """Readers connected now."""
        return len(self._readers)

    @property
    def skips(self) -> int:
        """Times any reader was skipped since the start."""
        return self.skipped + sum(reader.skips for reader in self._readers)

    def publish(self, head: Head, text: str) -> None:
        """Hands a frame to everybody who wants it; never waits."""
        for reader in self._readers:
            reader.offer(head, text)

    def end(self) -> None:
        """Sends every reader away (1012): nothing more will come this way."""
        self._ended.set()

    async def serve(self, socket: WebSocket, principal: Principal) -> None:
        """Serves one socket to its end, or to that of the relay."""
        query = socket.query_params
        try:
            asked = parse_query(query.get("malls"), query.get("since"), query.get("epoch"))
        except ValueError:
            await socket.close(BAD_QUERY)
            return
        if self.readers >= MAX_READERS:
            await socket.close(SLOW_READER)
            return
        await socket.accept()
        reader = Reader(self._feed, principal, asked)
        self._readers.add(reader)
        log.info("feed reader came", name=principal.name, readers=self.readers)
        try:
            await _first_to_end([reader.send_all(socket), _drain(socket), self._until_ended(socket)])
        except TimeoutError:
            self.closed_slow += 1
            with suppress(WebSocketDisconnect, RuntimeError):  # it may have left in the same moment
                await socket.close(SLOW_READER, "too slow")
        finally:
            self._readers.discard(reader)
            self.skipped += reader.skips
            log.info("feed reader left", name=principal.name, readers=self.readers)

    async def _until_ended(self, socket: WebSocket) -> None:
        await self._ended.wait()
        with suppress(WebSocketDisconnect, RuntimeError):  # it may have left in the same moment
            await socket.close(COME_AGAIN, "the feed ended")


async def _send(socket: WebSocket, text: str) -> None:
    async with asyncio.timeout(MAX_BEHIND_S):
        await socket.send_text(text)


async def _drain(socket: WebSocket) -> None:
    """Reads what a reader says (nothing is expected of it) until it leaves."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


async def _first_to_end(jobs: Iterable[Coroutine[object, object, None]]) -> None:
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                with suppress(WebSocketDisconnect):
                    task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
