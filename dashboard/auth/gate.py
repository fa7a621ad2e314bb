"""The gate: a pure ASGI wrapper that lets nobody unknown through, on http and on websocket.

It must not know what lies behind it. It is no HTTP middleware, because those do not see Dash's callback socket:
a client without a cookie got callback answers through one (Dash 4.4).
"""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from urllib.parse import quote

from starlette.datastructures import MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboard.auth.headers import Policy
from dashboard.auth.identity import Identities, Kind, LinkLost
from dashboard.auth.pages import away_page
from dashboard.auth.policy import SOCKETS, authorize, is_open
from dashboard.auth.principal import Principal, bind_principal, unbind_principal
from dashboard.auth.rates import Rates
from dashboard.auth.request import (
    CSRF_HEADER,
    address_of,
    credentials,
    has_csrf,
    headers_of,
    is_allowed_host,
    is_same_origin,
)
from dashboard.link import Link, bind_link, unbind_link
from dashboard.problems import link_lost, problem
from dashboard.settings import Settings

MAX_BODY = 256 * 1024
"""Bytes of a request body; this is a security limit: Dash itself reads any length."""
BODY_TIMEOUT_S = 20.0
RECHECK_S = 5.0
"""Seconds between two looks at the log-in of an open socket while no account changes: sessions end by themselves."""
MAX_SOCKETS = 20
"""Open at once for one person: as many floors on as many screens."""
MAX_HEADERS = 100
"""More than any browser or proxy sends; this is a security limit."""
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain")
"""What a foreign page's form could send without the browser asking first."""

Credentials = tuple[Kind, str]


class Gate:
    """Wraps `app`. Every request behind it has a `Principal`, except what `is_open` to all.

    Args:
        app: what is served.
        link: bound for the time of a request, see `dashboard.link.current_link`.
        identities: looks principals up.
        settings: names the allowed hosts and the cookie.
        policy: the security headers.
        answered: counts answers by status, for `/metrics`.
    """

    def __init__(
        self,
        app: ASGIApp,
        link: Link,
        identities: Identities,
        settings: Settings,
        policy: Policy,
        answered: Counter[int],
    ) -> None:
        self.app = app
        self._link = link
        self._identities = identities
        self._settings = settings
        self._policy = policy
        self._answered = answered
        self._people = Rates(settings.person_per_s, settings.person_burst)
        self._strangers = Rates(settings.stranger_per_s, settings.stranger_burst)
        self._logins = Rates(settings.login_per_s, settings.login_burst)
        self._sockets: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one connection."""
        if scope["type"] == "http":
            await self._http(scope, receive, self._dressed(scope, send))
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    # ------------------------------------------------------------ http

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = headers_of(scope)
        address = address_of(scope, headers, self._settings.proxies)
        refusal = self._refuse_unasked(scope, headers) or self._refuse_rush(headers, address)
        principal = None
        if refusal is None and not is_open(scope["method"], scope["path"]):
            principal, refusal = await self._identify_http(scope, headers)
        if not self._has_room(scope, principal, address):
            refusal = _too_many()
        body = None
        if refusal is None and scope["method"] not in SAFE_METHODS:
            body, refusal = await _read(headers, receive)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        scope["state"] = {**scope.get("state", {}), "address": address}
        await self._pass(principal, scope, receive if body is None else _replay(body, receive), send)

    def _has_room(self, scope: Scope, principal: Principal | None, address: str) -> bool:
        """Whether whoever asks may ask once more; strangers use up nobody's room but their own address's."""
        if principal is not None:
            return self._people.take(principal.name)
        if (scope["method"], scope["path"]) == ("POST", "/login") and not self._logins.take(address):
            return False
        return self._strangers.take(address)

    def _refuse_rush(self, headers: dict[str, str], address: str) -> Response | None:
        """Strangers who guess too fast are not even looked up: the streamer has better things to do."""
        found = credentials(headers, self._settings.cookie)
        is_known = found is not None and self._identities.remembers(*found)
        return None if is_known or self._strangers.has_room(address) else _too_many()

    def _refuse_unasked(self, scope: Scope, headers: dict[str, str]) -> Response | None:
        """What can be refused before asking who it is."""
        if not is_allowed_host(headers, self._settings.allowed_hosts):
            return problem(400, "bad_host", "this server does not go by that name")
        if len(scope["headers"]) > MAX_HEADERS:
            return problem(431, "too_large", f"a request has at most {MAX_HEADERS} headers")
        if scope["method"] in SAFE_METHODS:
            return None
        found = credentials(headers, self._settings.cookie)
        by_cookie = found is not None and found[0] == "session"
        # Without a session there is nothing to ride on, so a program may log in without browser headers.
        if (by_cookie or found is None) and not self._is_ours(headers, not by_cookie):
            return problem(403, "cross_site", "a change by session cookie must come from our own page (Origin)")
        if found and by_cookie and not is_open(scope["method"], scope["path"]) and not has_csrf(headers, found[1]):
            return problem(403, "csrf", f"a change by session cookie must show its token ({CSRF_HEADER})")
        if by_cookie and scope["path"].startswith("/api/") and headers.get("content-type", "").startswith(FORM_TYPES):
            return problem(415, "unsupported_media_type", "send application/json")
        return None

    async def _identify_http(self, scope: Scope, headers: dict[str, str]) -> tuple[Principal | None, Response | None]:
        found = credentials(headers, self._settings.cookie)
        try:
            principal = await self._identities.who(*found) if found else None
        except LinkLost:
            return None, away_page() if _is_for_a_person(scope, headers) else link_lost()
        if principal is None:
            return None, _unknown(scope, headers)
        # What needs more than the least role asks again, where it is known what it is.
        return authorize(principal, "viewer", scope["path"]), None

    def _is_ours(self, headers: dict[str, str], absent_is_same: bool) -> bool:
        return is_same_origin(headers, absent_is_same, self._settings.secure)

    def _dressed(self, scope: Scope, send: Send) -> Send:
        host = headers_of(scope).get("host", "") if scope["type"] == "http" else ""
        known_host = host if is_allowed_host({"host": host}, self._settings.allowed_hosts) else "localhost"

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._answered[message["status"]] += 1
                message.setdefault("headers", [])
                self._policy.add(MutableHeaders(scope=message), scope["path"], known_host)
            await send(message)

        return dressed

    # ------------------------------------------------------------ websocket

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = headers_of(scope)
        found = credentials(headers, self._settings.cookie)
        principal = await self._identify_socket(headers, found)
        is_known = scope["path"] in SOCKETS and len(scope["headers"]) <= MAX_HEADERS
        if found is None or principal is None or not is_known or not self._has_socket_room(principal):
            await receive()
            await send({"type": "websocket.close", "code": 1008})  # before accept: the client gets 403
            return
        self._sockets[principal.name] += 1
        try:
            await self._until_revoked(found, self._pass(principal, scope, receive, send), send)
        finally:
            self._sockets[principal.name] -= 1

    def _has_socket_room(self, principal: Principal) -> bool:
        return self._sockets[principal.name] < MAX_SOCKETS and self._people.take(principal.name)

    async def _identify_socket(self, headers: dict[str, str], found: Credentials | None) -> Principal | None:
        by_program = found is not None and found[0] == "bearer"
        # A browser always names an Origin on a socket; only a program with its own token may leave it out.
        is_ours = self._is_ours(headers, by_program) and (by_program or "origin" in headers)
        if found is None or not is_ours or not is_allowed_host(headers, self._settings.allowed_hosts):
            return None
        try:
            return await self._identities.who(*found)
        except LinkLost:
            return None

    async def _until_revoked(self, found: Credentials, served: Coroutine[object, object, None], send: Send) -> None:
        """Serves a socket to its end, or to the end of its log-in (close code 4401)."""
        serving = asyncio.create_task(served)
        revoked = asyncio.create_task(self._revocation(found))
        try:
            await asyncio.wait({serving, revoked}, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                serving.result()
                return
            await _stop(serving)
            with suppress(OSError):  # it may have left in the same moment
                await send({"type": "websocket.close", "code": 4401, "reason": "the log-in ended"})
        finally:
            await _stop(serving)
            await _stop(revoked)

    async def _revocation(self, found: Credentials) -> None:
        """Returns once the streamer no longer knows the session or token; a lost link sends nobody away."""
        while True:
            await self._identities.changed(RECHECK_S)
            with suppress(LinkLost):
                if await self._identities.who(*found) is None:
                    return

    # ------------------------------------------------------------ both

    async def _pass(self, principal: Principal | None, scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = {**scope.get("state", {}), "principal": principal}
        link_token = bind_link(self._link)
        principal_token = bind_principal(principal) if principal else None
        try:
            await self.app(scope, receive, send)
        finally:
            unbind_link(link_token)
            if principal_token is not None:
                unbind_principal(principal_token)


async def _stop(task: asyncio.Task[None]) -> None:
    if not task.done():
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _too_many() -> Response:
    return problem(429, "rate_limited", "too many requests; wait a little", headers={"Retry-After": "2"})


def _is_for_a_person(scope: Scope, headers: dict[str, str]) -> bool:
    is_read = scope["method"] in {"GET", "HEAD"} and "text/html" in headers.get("accept", "")
    return is_read and not scope["path"].startswith("/api/v")


def _unknown(scope: Scope, headers: dict[str, str]) -> Response:
    """A person is led to the log-in page and back; a program is told."""
    if _is_for_a_person(scope, headers):
        query = scope["query_string"].decode("latin-1")
        wanted = scope["path"] + (f"?{query}" if query else "")
        return RedirectResponse(f"/login?next={quote(wanted, safe='/')}", 303)
    return problem(
        401,
        "unauthenticated",
        "log in, or send Authorization: Bearer TOKEN",
        headers={"WWW-Authenticate": 'Bearer realm="mallard"'},
    )


async def _read(headers: dict[str, str], receive: Receive) -> tuple[bytes | None, Response | None]:
    """The whole body, or the refusal of one that is too large or too slow."""
    too_large = problem(
        413, "too_large", f"a request body is at most {MAX_BODY} bytes", headers={"Connection": "close"}
    )
    declared = headers.get("content-length", "0")
    if not declared.isdecimal() or int(declared) > MAX_BODY:
        return None, too_large
    chunks: list[bytes] = []
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            while True:
                message = await receive()
                chunks.append(message.get("body", b""))
                if sum(map(len, chunks)) > MAX_BODY:
                    return None, too_large
                if not message.get("more_body", False):
                    return b"".join(chunks), None
    except TimeoutError:
        return None, problem(408, "too_slow", "the request body did not arrive in time")


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body already read, once, and then what still comes."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return pending.pop() if pending else await receive()

    return replayed
