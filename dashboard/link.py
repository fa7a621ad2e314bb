"""The socket to the streamer: calls and their answers, and the live feed's frames as they came.

It must not know browsers, pages or REST: it gives a `Reply` to whoever called and hands frames to the `Feed`.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from itertools import count
from secrets import SystemRandom
from types import TracebackType
from typing import Self

import msgspec
import structlog
from msgspec import Struct
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, WebSocketException

from dashboard.auth.principal import Principal
from dashboard.feed import Feed, Head

log = structlog.get_logger()

CALL_TIMEOUT_S = 10.0
"""Seconds a caller waits for an answer; a plan or a long history takes well under one."""
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 5.0
MAX_MESSAGE = 64 * 1024 * 1024
"""Bytes of one message. The streamer is trusted: this only stops a runaway."""
UNKNOWN_OUTCOME = "the link broke; whether the call took effect is unknown: repeat it with the same key"

JsonObject = dict[str, object]


class Reply(Struct, frozen=True):
    """The answer to a call: `body` when `ok`, else `problem` with `code`, `detail` and what the code brings along."""

    status: int
    body: JsonObject = {}
    problem: JsonObject = {}

    @property
    def ok(self) -> bool:
        """Whether the call did what it was asked."""
        return self.status < 400


class _Answer(Struct):
    status: int
    id: int | None = None
    """None when the streamer could not even read who asked."""
    body: JsonObject = {}
    problem: JsonObject = {}


_answers = msgspec.json.Decoder(_Answer)
_random = SystemRandom()


def lost(detail: str = "the streamer cannot be reached; nothing was changed") -> Reply:
    """What a caller gets while the link is down (503 `link_lost`)."""
    return Reply(503, problem={"code": "link_lost", "detail": detail})


def full_jitter(attempt: int) -> float:
    """Seconds to wait before the next try: evenly drawn below a bound that doubles, so that a herd spreads out.

    Source: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    return _random.uniform(0, min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(attempt, 10)))


class Link:
    """One socket to the streamer, kept open for the life of the dashboard. Use as an async context manager.

    Args:
        url: `ws://HOST:PORT/v1/link`.
        secret: what the streamer wrote to `link.secret`.
        feed: takes the frames.
        on_frame: told of every frame that readers have to get, after `feed` took it.
        pause: seconds to wait before try number n; tests make it short.
    """

    def __init__(
        self,
        url: str,
        secret: str,
        feed: Feed,
        on_frame: Callable[[Head, str], None] = lambda _head, _text: None,
        pause: Callable[[int], float] = full_jitter,
    ) -> None:
        self.url = url
        self.feed = feed
        self._secret = secret
        self._on_frame = on_frame
        self._pause = pause
        self._ids = count(1)
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._socket: ClientConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._up = asyncio.Event()
        self._down = asyncio.Event()

    @property
    def secret(self) -> str:
        """That of the link; the rooms beside a floor have the same."""
        return self._secret

    @property
    def up(self) -> bool:
        """Whether the socket is open now."""
        return self._up.is_set()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._keep_open(), name="link")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            if self._socket is not None:
                await self._socket.close(1001)
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def wait_up(self, timeout_s: float) -> bool:
        """Waits until the socket is open; False when `timeout_s` seconds were not enough."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._up.wait(), timeout_s)
        return self.up

    async def wait_down(self, timeout_s: float) -> bool:
        """Waits until the open socket is lost; False when it was still open after `timeout_s` seconds."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._down.wait(), timeout_s)
        return not self.up

    async def call(
        self, name: str, params: Mapping[str, object] | None = None, principal: Principal | None = None
    ) -> Reply:
        """Asks the streamer (docs/link.md, Calls) and waits for its answer; parameters that are None are left out.

        A broken link is an answer too (503 `link_lost`), and so is silence (504 `timeout`): then it is unknown whether
        a command took effect, and it may be repeated with the same idempotency key.
        """
        if self._socket is None:
            return lost()
        number = next(self._ids)
        sent = {key: value for key, value in (params or {}).items() if value is not None}
        try:
            text = msgspec.json.encode({"id": number, "call": name, "params": sent, "principal": principal}).decode()
        except UnicodeEncodeError:
            return Reply(422, problem={"code": "bad_field", "detail": "a text holds half a surrogate pair"})
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                await self._socket.send(text)
                return await answer
        except TimeoutError:
            return Reply(504, problem={"code": "timeout", "detail": "the streamer did not answer in time"})
        except WebSocketException:
            return lost(UNKNOWN_OUTCOME)
        finally:
            self._waiting.pop(number, None)

    async def _keep_open(self) -> None:
        attempt = 0
        while True:
            try:
                async with connect(
                    self.url,
                    additional_headers={"Authorization": f"Bearer {self._secret}"},
                    compression=None,
                    max_size=MAX_MESSAGE,
                    open_timeout=5,
                    close_timeout=1,
                    proxy=None,
                ) as socket:
                    attempt = 0
                    await self._serve(socket)
            except InvalidHandshake as error:
                log.warning("link refused", url=self.url, reason=str(error))
            except msgspec.MsgspecError as error:
                log.error("link sent what cannot be read", url=self.url, reason=str(error))
            except (OSError, TimeoutError, WebSocketException) as error:
                if attempt == 0:
                    log.warning("link lost", url=self.url, reason=str(error) or type(error).__name__)
            await asyncio.sleep(self._pause(attempt))
            attempt += 1

    async def _serve(self, socket: ClientConnection) -> None:
        """Reads one connection to its end."""
        self._socket = socket
        log.info("link open", url=self.url)
        try:
            await self._subscribe(socket)
            self._down.clear()
            self._up.set()
            async for message in socket:
                await self._take(socket, message if isinstance(message, str) else message.decode())
        finally:
            self._socket = None
            self._up.clear()
            self._down.set()
            self._fail_all()

    async def _take(self, socket: ClientConnection, text: str) -> None:
        if not text.startswith('{"frame":'):
            self._settle(_answers.decode(text))
            return
        head = self.feed.take(text)
        if head is not None:
            self._on_frame(head, text)
        if self.feed.wants_snapshot():
            await self._subscribe(socket)

    async def _subscribe(self, socket: ClientConnection) -> None:
        since, epoch = self.feed.resume_from()
        request = {"call": "subscribe", "malls": [], "since": since, "epoch": epoch or ""}
        await socket.send(msgspec.json.encode(request).decode())

    def _settle(self, answer: _Answer) -> None:
        if answer.id is None:
            log.error("link request refused", status=answer.status, problem=answer.problem)
            return
        waiting = self._waiting.get(answer.id)
        if waiting is not None and not waiting.done():
            waiting.set_result(Reply(answer.status, answer.body, answer.problem))

    def _fail_all(self) -> None:
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_result(lost(UNKNOWN_OUTCOME))


_link: ContextVar[Link] = ContextVar("mallard_link")
bind_link = _link.set
unbind_link = _link.reset


def current_link() -> Link:
    """The link of the app that serves the current request, socket or Dash callback.

    Raises:
        LookupError: outside a request.
    """
    return _link.get()
