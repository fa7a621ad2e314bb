"""Turns a session or token into a principal by asking the streamer, and remembers the answer for a few seconds.

It must not know cookies, headers or sockets; passwords pass through `dashboard.auth.pages` only.
"""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Literal, Protocol

import msgspec
from msgspec import Struct

from dashboard.auth.principal import Principal
from dashboard.link import Reply

FRESH_S = 5.0
"""Seconds an answer is used without asking again, as long as no account changed."""
WATCH_S = 0.4
"""Seconds between two looks at whether any account changed: how long a revoked log-in may live on."""
STALE_S = 60.0
"""Seconds an answer is used while the streamer cannot be asked, so that a restart throws nobody out."""
MOST_REMEMBERED = 4096

Kind = Literal["session", "bearer"]


class Caller(Protocol):
    """What this module needs of the link."""

    async def call(self, name: str, params: dict[str, object], principal: None = None) -> Reply:
        """Asks the streamer."""
        ...


class LinkLost(Exception):  # noqa: N818 - it is a state of the link, not a fault
    """The streamer cannot be asked, and nothing fresh enough is remembered."""


class _Known(Struct):
    principal: Principal
    asked_s: float
    is_fresh: bool = True
    """No account changed since."""


class Identities:
    """The look-up of principals.

    Args:
        link: who is asked.
        clock: monotonic seconds.
    """

    def __init__(self, link: Caller, clock: Callable[[], float] = time.monotonic) -> None:
        self._link = link
        self._clock = clock
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._version: object = None
        self._changed = asyncio.Event()

    async def watch(self) -> None:
        """Looks for ever whether anything changed in the accounts; then everybody is asked about anew."""
        while True:
            reply = await self._link.call("accounts", {})
            if reply.ok and reply.body != self._version:
                self._version = reply.body
                for known in self._known.values():
                    known.is_fresh = False
                self._changed.set()
                self._changed = asyncio.Event()
            await asyncio.sleep(WATCH_S)

    async def changed(self, within_s: float) -> None:
        """Returns when an account changed, or after `within_s` seconds."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), within_s)

    async def who(self, kind: Kind, secret: str) -> Principal | None:
        """The principal of a session or token; None when the streamer does not know it.

        Raises:
            LinkLost: the streamer cannot be asked.
        """
        key = _key(kind, secret)
        known = self._known.get(key)
        if known is not None and known.is_fresh and self._clock() - known.asked_s < FRESH_S:
            return known.principal
        reply = await self._link.call(kind, {"session" if kind == "session" else "token": secret})
        if reply.status in {503, 504}:
            if known is not None and self._clock() - known.asked_s < STALE_S:
                return known.principal
            raise LinkLost
        if not reply.ok:
            self._known.pop(key, None)
            return None
        return self._remember(key, msgspec.convert(reply.body, Principal))

    def remembers(self, kind: Kind, secret: str) -> bool:
        """Whether this session or token was good lately."""
        return _key(kind, secret) in self._known

    def forget(self, kind: Kind, secret: str) -> None:
        """The session ended or the token was revoked here."""
        self._known.pop(_key(kind, secret), None)

    def _remember(self, key: bytes, principal: Principal) -> Principal:
        self._known[key] = _Known(principal, self._clock())
        self._known.move_to_end(key)
        if len(self._known) > MOST_REMEMBERED:
            self._known.popitem(last=False)
        return principal


def _key(kind: Kind, secret: str) -> bytes:
    # Hashed, so that a memory dump of the dashboard holds no live token of an hour ago.
    return hashlib.sha256(f"{kind}:{secret}".encode()).digest()
