"""Reads the few facts of a request the gate decides by: its host, its origin, its credentials.

It must not know principals, or what is done about what it finds.
"""

import hashlib
import hmac
import re
from http.cookies import CookieError, SimpleCookie

from starlette.types import Scope

from dashboard.auth.identity import Kind

CSRF_COOKIE = "_csrf_token"
CSRF_HEADER = "X-CSRFToken"
"""The names by which Dash's browser side copies the token from the cookie into its requests."""

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::\d{1,5})?")


def headers_of(scope: Scope) -> dict[str, str]:
    """Request headers by lower-case name; of a repeated one, the last."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def is_allowed_host(headers: dict[str, str], allowed: tuple[str, ...]) -> bool:
    """Whether `Host` names us. A foreign name is DNS rebinding: a hostile page that points its own name here."""
    match = _HOST.fullmatch(headers.get("host", "").lower())
    return match is not None and match[1] in allowed


def is_same_origin(headers: dict[str, str], absent_is_same: bool = False, secure: bool = False) -> bool:
    """Whether our own page sent this: browsers say so by `Sec-Fetch-Site` or `Origin`, which no page can forge.

    Args:
        headers: of the request.
        absent_is_same: what to think of a request with neither header; no browser sends such a one.
        secure: whether our pages come over TLS; one that came without it may have been changed on its way.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is None and origin is None:
        return absent_is_same
    if site not in {None, "same-origin"}:
        return False
    ours = f"{'https' if secure else 'http'}://{headers.get('host', '')}"
    return origin is None or origin.lower() == ours.lower()


def address_of(scope: Scope, headers: dict[str, str], proxies: tuple[str, ...]) -> str:
    """Where a request comes from: the peer, or what the first proxy that is not ours says about its own peer.

    Only what a declared proxy says is believed: anybody may send `X-Forwarded-For`.
    """
    client = scope.get("client")
    hops = [hop.strip() for hop in headers.get("x-forwarded-for", "").split(",") if hop.strip()]
    hops.append(str(client[0]) if client else "")
    while len(hops) > 1 and hops[-1] in proxies:
        hops.pop()
    return hops[-1][:64]


def csrf_of(session: str) -> str:
    """The token that a change by this session must carry; it tells nothing about the session."""
    return hashlib.sha256(f"mallard csrf {session}".encode()).hexdigest()


def has_csrf(headers: dict[str, str], session: str) -> bool:
    """Whether a request shows the token, which no foreign page can read or guess."""
    return hmac.compare_digest(headers.get(CSRF_HEADER.lower(), "").encode(), csrf_of(session).encode())


def credentials(headers: dict[str, str], cookie: str) -> tuple[Kind, str] | None:
    """What proves who asks: a program's bearer token, else the session cookie named `cookie`."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return ("bearer", token.strip()) if token.strip() else None
    session = cookie_value(headers, cookie)
    return ("session", session) if session else None


def cookie_value(headers: dict[str, str], name: str) -> str | None:
    """The value of one cookie."""
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return None
    return morsel.value if morsel else None
