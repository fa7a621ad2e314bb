"""One gateway socket that speaks for many drivers: sends, resends what was not acknowledged, hears routes.

It must not know how drivers behave or what a route means; it keeps messages until the floor has answered them.
"""

import asyncio
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import groupby

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI, WebSocketException
from websockets.uri import parse_uri

from streamer.core.errors import ConfigurationError
from streamer.core.events import Ping, Report
from streamer.edge.simulation.backoff import Backoff, retry_after_s
from streamer.edge.wire import MAX_ITEMS, Ack, Nack, Outgoing, Route

RETRY_S = 2.0
"""A message refused as retryable is sent again after this."""
DOUBT_S = 2.0
"""So long after a message was said again, an ack may be one that was on its way: they wait for up to a second."""
KEPT = 10_000
"""Messages kept for a driver through an outage; the oldest pings beyond it are lost, as a phone would lose them."""

NOBODY = 401, 403
CROWDED = 503

Said = Ping | Report
Key = int | str
"""What the floor answers by: a ping's `seq`, a report's id."""
_HEARD = msgspec.json.Decoder(Outgoing)
_ENCODER = msgspec.json.Encoder()


class Uplink:
    """Keeps every message until it is acknowledged or refused for good.

    Args:
        url: `ws://HOST:8765/v1/drivers`.
        token: a gateway's.
        on_route: called with every route the floor pushes.
    """

    def __init__(self, url: str, token: str, on_route: Callable[[Route], None]) -> None:
        """Does not connect yet.

        Raises:
            ConfigurationError: `url` is no address of a socket.
        """
        try:
            parse_uri(url)
        except InvalidURI as error:
            raise ConfigurationError(f"{url} is not the address of a gateway") from error
        self._url, self._headers, self._on_route = url, {"Authorization": f"Bearer {token}"}, on_route
        self._kept: dict[str, dict[Key, Said]] = {}
        self._again: list[tuple[float, str, Key]] = []
        self._refused: dict[tuple[str, Key], float] = {}
        """Messages refused for now, and from when an ack of a later ping may be taken to speak for them too."""
        self._socket: ClientConnection | None = None
        self._closing = False
        self._answered = asyncio.Event()
        self.acked = self.connects = 0
        self.refused: dict[str, int] = {}

    async def run(self) -> None:
        """Stay connected until `close`.

        Raises:
            ConfigurationError: nothing answers the first time, or the token is wrong; waiting would not mend that.
        """
        backoff = Backoff()
        while not self._closing:
            advised_s: float | None = None
            try:
                async with connect(self._url, additional_headers=self._headers, compression=None) as socket:
                    backoff.reset()
                    await self._talk(socket)
            except InvalidStatus as error:
                status = error.response.status_code
                # A crowded gateway says when to come again, and then even a first call is not in vain.
                advised_s = retry_after_s(error.response.headers.get("Retry-After")) if status == CROWDED else None
                if status < 500 or (not self.connects and advised_s is None):
                    hint = ": check the token" if status in NOBODY else ""
                    raise ConfigurationError(f"the gateway at {self._url} answers {status}{hint}") from error
            except (OSError, InvalidHandshake, WebSocketException) as error:
                # Once it was there, it is down or in the middle of a restart: wait and come again.
                if not self.connects:
                    raise ConfigurationError(f"the gateway at {self._url} cannot be reached: {error}") from error
            finally:
                self._socket = None
            if not self._closing:
                await asyncio.sleep(backoff.wait_s(advised_s or 0.0))

    async def say(self, messages: Sequence[Said]) -> None:
        """Send messages in their order, pings in arrays; what cannot be sent now is kept for the next connection."""
        if messages:
            self._answered.clear()
        for message in messages:
            kept = self._kept.setdefault(message.driver_id, {})
            kept[_key(message)] = message
            if len(kept) > KEPT:
                del kept[next(key for key in kept if isinstance(key, int))]
        await self._send([*self._due_again(), *messages])

    async def close(self, patience_s: float = 5.0) -> None:
        """Wait a little for the last answers, then hang up for good."""
        self._closing = True
        if self.waiting and self._socket is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(patience_s):
                    await self._answered.wait()
        if self._socket is not None:
            await self._socket.close()

    @property
    def waiting(self) -> int:
        """Messages without an answer."""
        return sum(len(kept) for kept in self._kept.values())

    async def _talk(self, socket: ClientConnection) -> None:
        self.connects += 1
        self._again.clear()
        self._refused.clear()
        self._socket = socket
        await self._send([message for kept in self._kept.values() for message in kept.values()])
        async for text in socket:
            self._hear(_HEARD.decode(text))

    async def _send(self, messages: Sequence[Said]) -> None:
        for kind, group in groupby(messages, type):
            batch = list(group)
            frames = [[one] for one in batch] if kind is Report else _slices(batch)
            for frame in frames:
                if self._socket is None:
                    return
                text = _ENCODER.encode(frame[0] if kind is Report else frame).decode()
                try:
                    await self._socket.send(text)
                except (OSError, WebSocketException):
                    return  # `run` notices the same, connects again, and sends all that is kept.

    def _hear(self, heard: Outgoing) -> None:
        match heard:
            case Route():
                self._on_route(heard)
            case Ack(driver_id=str() as driver_id, id=str() as report_id):
                self._drop(driver_id, [report_id])
            case Ack(driver_id=str() as driver_id, seq=int() as seq):
                now_s = asyncio.get_running_loop().time()
                covered = [key for key in self._kept.get(driver_id, {}) if isinstance(key, int) and key <= seq]
                self._drop(driver_id, [key for key in covered if self._refused.get((driver_id, key), 0.0) <= now_s])
            case Nack(driver_id=str() as driver_id, id=str() as report_id):
                self._hear_refusal(driver_id, report_id, heard)
            case Nack(driver_id=str() as driver_id, seq=int() as seq):
                self._hear_refusal(driver_id, seq, heard)
            case _:
                pass  # A welcome asks nothing of a gateway.

    def _hear_refusal(self, driver_id: str, key: Key, nack: Nack) -> None:
        if nack.retryable:
            self._again = [entry for entry in self._again if entry[1:] != (driver_id, key)]
            self._again.append((asyncio.get_running_loop().time() + RETRY_S, driver_id, key))
            self._refused[driver_id, key] = math.inf
        elif self._kept.get(driver_id, {}).pop(key, None) is not None:
            self.refused[nack.code] = self.refused.get(nack.code, 0) + 1

    def _due_again(self) -> list[Said]:
        """What was refused for now and has waited long enough."""
        now_s = asyncio.get_running_loop().time()
        due = [entry for entry in self._again if entry[0] <= now_s]
        self._again = [entry for entry in self._again if entry[0] > now_s]
        due = [entry for entry in due if entry[2] in self._kept.get(entry[1], {})]
        for _, driver_id, key in due:
            if self._refused.get((driver_id, key)) == math.inf:
                self._refused[driver_id, key] = now_s + DOUBT_S
            # Said again until it is covered: a repeat has no effect, and brings an ack.
            self._again.append((now_s + DOUBT_S, driver_id, key))
        return [self._kept[driver_id][key] for _, driver_id, key in due]

    def _drop(self, driver_id: str, keys: Sequence[Key]) -> None:
        kept = self._kept.get(driver_id, {})
        for key in keys:
            self.acked += kept.pop(key, None) is not None
            self._refused.pop((driver_id, key), None)
        if not self.waiting:
            self._answered.set()


def _key(message: Said) -> Key:
    return message.id if isinstance(message, Report) else message.seq or 0


def _slices(batch: list[Said]) -> list[list[Said]]:
    return [batch[at : at + MAX_ITEMS] for at in range(0, len(batch), MAX_ITEMS)]
