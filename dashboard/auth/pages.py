"""The log-in page, and what its form and the log-out button do.

It must not know how passwords or sessions are kept: the streamer keeps them, and only says yes or no.
"""

from html import escape
from pathlib import Path
from typing import Literal, TypedDict
from urllib.parse import parse_qs, quote

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from dashboard.auth.headers import FIXED_PAGE
from dashboard.auth.identity import Identities
from dashboard.auth.request import CSRF_COOKIE, cookie_value, csrf_of, headers_of
from dashboard.link import Link, Reply
from dashboard.settings import Settings

STYLE = (Path(__file__).parent / "login.css").read_text(encoding="utf-8")
SESSION_MAX_S = 12 * 3600
"""Seconds after which the browser drops the cookie; the streamer ends the session itself, sooner when idle."""
DEVICE_COOKIE = "mallard_device"
DEVICE_MAX_S = 90 * 86_400
"""How long a browser is known by that cookie: its person cannot be locked out of it by strangers' guesses."""
MAX_NAME = 120
MAX_PASSWORD = 1024
"""Characters: hashing a book as a password would be work for an attacker to give away."""
LOGO = (
    '<svg viewBox="0 0 38 38" aria-hidden="true"><path class="tile" d="M19 1 35 10v18L19 37 3 28V10z"/>'
    '<path class="bird" d="M9 20c3 .2 4.6-.8 5.4-3.2.9-2.7 2.6-4.3 5-4.3 2.3 0 4 1.4 4.5 3.4l3.6 1.2-3.7 1.4'
    'c-.2 1.3-.1 2 .9 2.9 1.6 1.4 1.5 3.6-.4 5-1.5 1-3.7 1.3-6.3 1.3-4.9 0-8.2-2.6-9-7.7z"/></svg>'
)
HEXES = (
    '<svg class="field-of-hexes" aria-hidden="true"><defs><pattern id="hexes" width="84" height="145.5" '
    'patternUnits="userSpaceOnUse"><path d="M42 0v24.2M42 121.2v24.3M42 24.2 84 48.5v48.5L42 121.2 0 97V48.5z"/>'
    '</pattern></defs><rect width="100%" height="100%" fill="url(#hexes)"/></svg>'
)
ICON = quote(
    LOGO.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ')
    .replace('class="tile"', 'fill="#0a6b5c"')
    .replace('class="bird"', 'fill="#ffffff"')
)
HEAD_LINKS = f'<link rel="stylesheet" href="/login.css"><link rel="icon" href="data:image/svg+xml,{ICON}">'
MESSAGES = {
    401: "That name and password do not match.",
    429: "Too many tries. Wait a few minutes, then try again.",
    503: "The floor cannot be reached just now. Try again in a moment.",
    504: "The floor cannot be reached just now. Try again in a moment.",
}


def login_page(wanted: str, name: str = "", error: str = "") -> str:
    """The page as HTML, without script and without anything from elsewhere; all three texts may be hostile."""
    alert = f'<p class="error" role="alert">{escape(error)}</p>' if error else ""
    focus_name, focus_password = ("", " autofocus") if name else (" autofocus", "")
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Log in · Mallard</title>{HEAD_LINKS}</head>
<body class="login">{HEXES}<main class="card"><h1 class="brand">{LOGO}Mallard</h1>
<p class="lead">The dispatch floor for same-day delivery from malls.</p>{alert}
<form method="post" action="/login"><input type="hidden" name="next" value="{escape(wanted)}">
<label for="name">Name</label>
<input id="name" name="name" value="{escape(name)}" autocomplete="username" autocapitalize="none" spellcheck="false"
 maxlength="{MAX_NAME}" required{focus_name}>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" maxlength="{MAX_PASSWORD}"
 required{focus_password}>
<button>Log in</button></form></main></body></html>"""


def away_page() -> Response:
    """What a person sees while the streamer is away; it looks again by itself."""
    page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="3"><title>Waiting · Mallard</title>{HEAD_LINKS}</head>
<body class="login">{HEXES}<main class="card"><h1 class="brand">{LOGO}Mallard</h1>
<p class="lead" role="status">The floor cannot be reached just now. This page looks again every three seconds; nothing
you did before is lost.</p></main></body></html>"""
    answer = _html(page, 503)
    answer.headers["Retry-After"] = "3"
    return answer


def safe_next(wanted: str) -> str:
    """`wanted` when it is a path of this site, else `/`: a link in a mail must not lead on to a foreign one."""
    is_path = wanted.startswith("/") and not wanted.startswith("//")
    is_plain = wanted.isprintable() and "\\" not in wanted and len(wanted) <= 2048
    return wanted if is_path and is_plain and not wanted.startswith(("/login", "/logout")) else "/"


def login_router(link: Link, identities: Identities, settings: Settings) -> APIRouter:
    """`GET` and `POST /login`, `POST /logout`, and the style sheet they need."""
    router = APIRouter(include_in_schema=False)

    @router.get("/login")
    async def show(request: Request) -> Response:
        return _html(login_page(safe_next(request.query_params.get("next", "/"))))

    @router.get("/login.css")
    async def style() -> Response:
        return Response(STYLE, media_type="text/css", headers={"Cache-Control": "public, max-age=300"})

    @router.post("/login")
    async def log_in(request: Request) -> Response:
        form = _form(await request.body())
        wanted, name = safe_next(form.get("next", "/")), form.get("name", "")
        reply = await _ask(link, request, name, form.get("password", ""))
        if not reply.ok:
            return _html(login_page(wanted, name, MESSAGES.get(reply.status, MESSAGES[503])), reply.status)
        await _end_session(request, link, identities, settings)  # a session from before the log-in never lives on
        answer = RedirectResponse(wanted, 303)
        session, device = str(reply.body["session"]), str(reply.body.get("device", ""))
        answer.set_cookie(settings.cookie, session, SESSION_MAX_S, **_attributes(settings))
        # Dash's script has to read this one; it is of no use without the session, and tells nothing about it.
        answer.set_cookie(CSRF_COOKIE, csrf_of(session), SESSION_MAX_S, **_attributes(settings, httponly=False))
        answer.set_cookie(DEVICE_COOKIE, device, DEVICE_MAX_S, **_attributes(settings, path="/login"))
        return answer

    @router.post("/logout")
    async def log_out(request: Request) -> Response:
        await _end_session(request, link, identities, settings)
        answer = RedirectResponse("/login", 303)
        answer.set_cookie(settings.cookie, "", 0, **_attributes(settings))
        return answer

    return router


def _html(page: str, status: int = 200) -> Response:
    return Response(page, status, {"Content-Security-Policy": FIXED_PAGE}, "text/html; charset=utf-8")


def _form(body: bytes) -> dict[str, str]:
    try:
        fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=16)
    except ValueError:
        return {}
    return {name: values[-1] for name, values in fields.items()}


async def _ask(link: Link, request: Request, name: str, password: str) -> Reply:
    if not name or not password or len(name) > MAX_NAME or len(password) > MAX_PASSWORD:
        return Reply(401, problem={"code": "bad_login"})
    device = cookie_value(headers_of(request.scope), DEVICE_COOKIE) or ""
    asked = {"name": name, "password": password, "address": request.state.address, "device": device[:256]}
    return await link.call("login", asked)


async def _end_session(request: Request, link: Link, identities: Identities, settings: Settings) -> None:
    session = cookie_value(headers_of(request.scope), settings.cookie)
    if session:
        identities.forget("session", session)
        await link.call("logout", {"session": session})


class _CookieAttributes(TypedDict):
    path: str
    secure: bool
    httponly: bool
    samesite: Literal["strict"]


def _attributes(settings: Settings, path: str = "/", httponly: bool = True) -> _CookieAttributes:
    return {"path": path, "secure": settings.secure, "httponly": httponly, "samesite": "strict"}
