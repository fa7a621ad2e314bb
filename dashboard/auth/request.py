"""Reads the few facts of a request the gate decides by: its host, its origin, its credentials.

It must not know principals, or what is done about what it finds.
"""

import re
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.types import Scope

from dashboard.auth.identity import Kind

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::\d{1,5})?")


def headers_of(scope: Scope) -> dict[str, str]:
    """Request headers by lower-case name; of a repeated one, the last."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def is_allowed_host(headers: dict[str, str], allowed: tuple[str, ...]) -> bool:
    """Whether `Host` names us. A foreign name is DNS rebinding: a hostile page that points its own name here."""
    match = _HOST.fullmatch(headers.get("host", "").lower())
    return match is not None and match[1] in allowed


def is_same_origin(headers: dict[str, str], absent_is_same: bool = False) -> bool:
    """Whether our own page sent this: browsers say so by `Sec-Fetch-Site` or `Origin`, which no page can forge.

    Args:
        headers: of the request.
        absent_is_same: what to think of a request with neither header; no browser sends such a one.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is None and origin is None:
        return absent_is_same
    if site not in {None, "same-origin"}:
        return False
    return origin is None or urlsplit(origin).netloc.lower() == headers.get("host", "").lower()


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
