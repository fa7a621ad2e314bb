"""Who gets in: log-in, sessions, tokens, and every way around them that must stay shut."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from dashboard.auth import gate as gate_module
from dashboard.auth import identity as identity_module
from dashboard.auth.gate import MAX_BODY
from dashboard.auth.headers import Policy
from dashboard.auth.identity import FRESH_S, STALE_S, Identities, LinkLost
from dashboard.auth.pages import login_page, safe_next
from dashboard.auth.policy import OPEN_PATHS
from dashboard.auth.request import credentials, is_allowed_host, is_same_origin
from dashboard.link import Reply
from dashboard.settings import Settings

Headers = dict[str, str]
AsPage = Callable[..., Headers]


async def log_in(browser: httpx.AsyncClient, name: str = "maya", **fields: str) -> httpx.Response:
    return await browser.post("/login", data={"name": name, "password": f"{name}-password", **fields})


# ---------------------------------------------------------------- log-in and log-out


async def test_log_in_sets_a_strict_cookie_and_goes_where_the_person_wanted(browser: httpx.AsyncClient) -> None:
    answer = await log_in(browser, next="/?mall=fashion-show")
    assert (answer.status_code, answer.headers["location"]) == (303, "/?mall=fashion-show")
    (session,) = [c for c in answer.headers.get_list("set-cookie") if c.startswith("mallard_session=")]
    parts = {part.strip().lower() for part in session.split(";")}
    assert {"httponly", "samesite=strict", "path=/", "max-age=43200"} <= parts
    assert "secure" not in parts, "plain http on loopback"
    assert (await browser.get("/")).status_code == 200


async def test_log_in_rotates_the_session(browser: httpx.AsyncClient, streamer: Any) -> None:
    await log_in(browser)
    before = browser.cookies["mallard_session"]
    await log_in(browser)
    assert browser.cookies["mallard_session"] != before
    assert before not in streamer.sessions
    browser.cookies.clear()
    assert (await browser.get("/", headers={"Cookie": f"mallard_session={before}"})).status_code == 303


async def test_log_out_ends_the_session_everywhere(browser: httpx.AsyncClient, streamer: Any) -> None:
    await log_in(browser)
    session = browser.cookies["mallard_session"]
    answer = await browser.post("/logout")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert "mallard_session" not in browser.cookies
    assert streamer.sessions == {}
    again = await browser.get("/", headers={"Cookie": f"mallard_session={session}"})
    assert again.headers["location"] == "/login?next=/"


async def test_wrong_password_is_said_in_words_and_keeps_the_name(browser: httpx.AsyncClient) -> None:
    answer = await browser.post("/login", data={"name": "maya", "password": "wrong", "next": "/x"})
    assert answer.status_code == 401
    assert "do not match" in answer.text
    assert 'value="maya"' in answer.text
    assert 'value="/x"' in answer.text
    assert "set-cookie" not in answer.headers


async def test_unknown_name_and_wrong_password_look_alike(browser: httpx.AsyncClient) -> None:
    wrong = await browser.post("/login", data={"name": "maya", "password": "wrong"})
    unknown = await browser.post("/login", data={"name": "nobody", "password": "wrong"})
    assert wrong.text.replace("maya", "nobody") == unknown.text


async def test_too_many_tries_are_said_in_words(browser: httpx.AsyncClient, streamer: Any) -> None:
    streamer.handlers["login"] = lambda _params, _who: (429, {"code": "locked", "detail": "x"})
    answer = await log_in(browser)
    assert answer.status_code == 429
    assert "Too many tries" in answer.text


async def test_log_in_while_the_streamer_is_away(browser: httpx.AsyncClient, streamer: Any) -> None:
    await streamer.stop()
    answer = await log_in(browser)
    assert answer.status_code == 503
    assert "cannot be reached" in answer.text


@pytest.mark.parametrize(
    "fields", [{}, {"name": "maya"}, {"name": "maya", "password": "x" * 5000}, {"name": "x" * 500}]
)
async def test_incomplete_or_huge_log_in_is_not_even_asked(
    browser: httpx.AsyncClient, streamer: Any, fields: dict[str, str]
) -> None:
    answer = await browser.post("/login", data=fields)
    assert answer.status_code == 401
    assert streamer.called("login") == []


@pytest.mark.parametrize("hostile", ['"><script>alert(1)</script>', "' onfocus=alert(1) x='", "</title><img src=x>"])
async def test_hostile_names_stay_text(browser: httpx.AsyncClient, hostile: str) -> None:
    answer = await browser.post("/login", data={"name": hostile, "password": "x", "next": f"/{hostile}"})
    assert "<script" not in answer.text
    assert "<img" not in answer.text
    assert hostile not in answer.text


def test_login_page_has_no_script_and_nothing_from_elsewhere() -> None:
    page = login_page("/", "maya", "No.")
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "").replace("http%3A//www.w3.org/2000/svg", "")
    assert 'lang="en"' in page
    assert 'role="alert"' in page


@pytest.mark.parametrize(
    ("wanted", "led_to"),
    [
        ("/queue?mall=x", "/queue?mall=x"),
        ("//evil.example", "/"),
        ("https://evil.example", "/"),
        ("/\\evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/a\nSet-Cookie: x", "/"),
        ("/logout", "/"),
        ("/login?next=/", "/"),
        ("", "/"),
        ("/" + "x" * 5000, "/"),
    ],
)
def test_next_stays_on_this_site(wanted: str, led_to: str) -> None:
    assert safe_next(wanted) == led_to


async def test_cookie_of_a_secure_site_has_the_host_prefix(
    streamer: Any, secret: str, running: Any, small_pages: Any
) -> None:
    from dashboard.app import create_app

    settings = Settings(link_url=streamer.url, link_secret=secret, secure=True)
    app = create_app(settings, small_pages)
    async with running(app, settings) as address:
        assert await app.link.wait_up(5)
        async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as client:
            answer = await log_in(client)
    assert answer.headers["set-cookie"].startswith("__Host-mallard_session=")
    assert "secure" in answer.headers["set-cookie"].lower()
    assert "max-age" in answer.headers["strict-transport-security"]


# ---------------------------------------------------------------- strangers


@pytest.mark.parametrize(
    "path", ["/", "/_dash-layout", "/_dash-dependencies", "/assets/x.js", "/queue?a=b", "/api/docs"]
)
async def test_stranger_who_wants_a_page_is_led_to_the_log_in(browser: httpx.AsyncClient, path: str) -> None:
    answer = await browser.get(path)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/login?next=/")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("path", ["/api/v1/orders", "/api/v1/openapi.json", "/_dash-update-component", "/nothing"])
async def test_stranger_program_is_told(program: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await program.request(method, path)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "unauthenticated"
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer nonsense"},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic bWF5YTp4"},
        {"Cookie": "mallard_session=nonsense"},
        {"Cookie": "mallard_session="},
        {"Cookie": "=;;;"},
    ],
)
async def test_bad_credentials_are_strangers(program: httpx.AsyncClient, headers: Headers) -> None:
    assert (await program.get("/api/v1/kpis", headers=headers)).status_code == 401


@pytest.mark.parametrize("path", sorted(OPEN_PATHS - {"/logout"}))
async def test_open_paths_are_open(program: httpx.AsyncClient, path: str) -> None:
    assert (await program.get(path)).status_code == 200


@pytest.mark.parametrize(
    "path", ["/login/", "//login", "/login/../", "/LOGIN", "/login.css/x", "/metrics/", "/login%2f"]
)
async def test_nothing_but_the_open_paths_is_open(program: httpx.AsyncClient, path: str) -> None:
    assert (await program.get(path)).status_code == 401


async def test_bearer_token_is_a_log_in_of_its_own(program: httpx.AsyncClient, streamer: Any) -> None:
    streamer.handlers["kpis"] = lambda _params, who: (200, {"asked_by": who["name"]})
    answer = await program.get("/api/v1/kpis", headers=streamer.token_of("vera"))
    assert answer.json() == {"asked_by": "vera"}


# ---------------------------------------------------------------- forged changes


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {},
    ],
)
async def test_foreign_page_cannot_ride_on_a_session(
    program: httpx.AsyncClient, streamer: Any, as_page: AsPage, headers: Headers
) -> None:
    body = {"command_id": "c-1"}
    answer = await program.post("/api/v1/undo", json=body, headers={**as_page("maya"), **headers})
    assert (answer.status_code, answer.json()["code"]) == (403, "cross_site")
    assert streamer.called("undo") == []


@pytest.mark.parametrize("suffix", [".evil.example", "@evil.example", "0"])
async def test_look_alike_origin_is_foreign(program: httpx.AsyncClient, as_page: AsPage, suffix: str) -> None:
    headers = {**as_page("maya"), "Origin": f"http://127.0.0.1:8050{suffix}"}
    assert (await program.post("/api/v1/undo", json={}, headers=headers)).status_code == 403


async def test_foreign_page_cannot_log_a_person_in_or_out(
    program: httpx.AsyncClient, streamer: Any, as_page: AsPage
) -> None:
    evil = {"Origin": "https://evil.example"}
    page = as_page("maya")
    assert (await program.post("/login", data={"name": "maya"}, headers=evil)).status_code == 403
    assert (await program.post("/logout", headers={**page, **evil})).status_code == 403
    assert len(streamer.sessions) == 1


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
async def test_form_body_is_no_change_even_from_our_origin(
    browser: httpx.AsyncClient, as_page: AsPage, kind: str
) -> None:
    headers = {**as_page("maya"), "Content-Type": kind}
    answer = await browser.post("/api/v1/undo", content=b'{"command_id":"c"}', headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


async def test_bearer_needs_no_origin(program: httpx.AsyncClient, streamer: Any) -> None:
    streamer.handlers["undo"] = lambda _params, _who: (200, {"command_id": "c-2", "items": []})
    answer = await program.post("/api/v1/undo", json={"command_id": "c-1"}, headers=streamer.token_of("maya"))
    assert answer.status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8050", "127.0.0.1.evil.example", "", "a b"])
async def test_foreign_host_name_is_refused(program: httpx.AsyncClient, as_page: AsPage, host: str) -> None:
    answer = await program.get("/", headers={**as_page("maya"), "Host": host})
    assert answer.status_code == 400


@pytest.mark.parametrize("host", ["127.0.0.1:8050", "localhost", "LOCALHOST:1", "[::1]:8050", "floor.example:443"])
def test_own_host_names_are_known(host: str) -> None:
    assert is_allowed_host({"host": host}, Settings(hosts=("floor.example",)).allowed_hosts)


def test_bearer_goes_before_the_cookie() -> None:
    headers = {"authorization": "bearer  tok", "cookie": "mallard_session=s"}
    assert credentials(headers, "mallard_session") == ("bearer", "tok")
    assert credentials({"cookie": "a=b; mallard_session=s"}, "mallard_session") == ("session", "s")
    assert credentials({"authorization": "Bearer", "cookie": "mallard_session=s"}, "mallard_session") is None


def test_origin_must_match_even_when_the_browser_says_same_origin() -> None:
    headers = {"host": "a", "origin": "http://b", "sec-fetch-site": "same-origin"}
    assert not is_same_origin(headers)
    assert is_same_origin({**headers, "origin": "http://a"})


# ---------------------------------------------------------------- bodies


async def test_body_above_the_limit_is_refused_by_its_length(browser: httpx.AsyncClient, as_page: AsPage) -> None:
    answer = await browser.post("/_dash-update-component", content=b"x" * (MAX_BODY + 1), headers=as_page("maya"))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


async def test_body_that_hides_its_length_is_refused_on_the_way(browser: httpx.AsyncClient, as_page: AsPage) -> None:
    async def chunks() -> Any:
        for _ in range(MAX_BODY // 65536 + 1):
            yield b"x" * 65536

    answer = await browser.post("/api/v1/undo", content=chunks(), headers=as_page("maya"))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


async def test_body_that_never_ends_is_refused(site: str, as_page: AsPage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "BODY_TIMEOUT_S", 0.1)
    reader, writer = await asyncio.open_connection(*site.split(":"))
    page = "".join(f"{name}: {value}\r\n" for name, value in as_page("maya").items())
    head = f"POST /api/v1/undo HTTP/1.1\r\nHost: {site}\r\nOrigin: http://{site}\r\n{page}"
    writer.write(f"{head}Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{{".encode())
    assert b" 408 " in await asyncio.wait_for(reader.readline(), 5)
    writer.close()


# ---------------------------------------------------------------- sockets


async def open_socket(site: str, path: str, headers: Headers, origin: str | None) -> None:
    async with connect(f"ws://{site}{path}", additional_headers=headers, origin=origin, proxy=None):  # type: ignore[arg-type]
        pass


@pytest.mark.parametrize("path", ["/_dash-ws-callback", "/feed", "/nothing"])
async def test_socket_without_a_log_in_is_refused_before_it_opens(site: str, path: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await open_socket(site, path, {}, f"http://{site}")
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize("path", ["/_dash-ws-callback", "/feed"])
@pytest.mark.parametrize("origin", ["https://evil.example", "null", None, "http://127.0.0.1.evil.example"])
async def test_foreign_page_cannot_open_a_socket_with_a_session(
    site: str, as_page: AsPage, path: str, origin: str | None
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await open_socket(site, path, as_page("maya"), origin)
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize("path", ["/_dash-ws-callback", "/feed"])
async def test_page_of_ours_opens_its_sockets(site: str, as_page: AsPage, path: str) -> None:
    await open_socket(site, path, as_page("maya"), f"http://{site}")


async def test_foreign_host_name_opens_no_socket(site: str, as_page: AsPage) -> None:
    headers = {**as_page("maya"), "Host": "evil.example"}
    with pytest.raises(InvalidStatus):
        await open_socket(site, "/feed", headers, "http://evil.example")


async def test_program_opens_the_feed_with_its_token(site: str, streamer: Any) -> None:
    await open_socket(site, "/feed", streamer.token_of("vera"), None)


async def test_open_socket_ends_with_its_log_in(
    site: str, streamer: Any, as_page: AsPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate_module, "RECHECK_S", 0.05)
    monkeypatch.setattr(identity_module, "FRESH_S", 0.0)
    headers = as_page("maya")
    async with connect(f"ws://{site}/feed", additional_headers=headers, origin=f"http://{site}", proxy=None) as socket:  # type: ignore[arg-type]
        streamer.sessions.clear()
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(socket.recv(), 5)
    assert socket.close_code == 4401


async def test_oversized_socket_message_closes_1009(site: str, as_page: AsPage) -> None:
    headers = as_page("maya")
    async with connect(f"ws://{site}/feed", additional_headers=headers, origin=f"http://{site}", proxy=None) as socket:  # type: ignore[arg-type]
        await socket.send("x" * (64 * 1024 + 1))
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(socket.recv(), 5)
    assert socket.close_code == 1009


# ---------------------------------------------------------------- headers


async def test_every_answer_carries_the_security_headers(browser: httpx.AsyncClient) -> None:
    for path in ("/login", "/", "/healthz", "/api/v1/orders"):
        headers = (await browser.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["cache-control"] == "no-store"


def test_policy_runs_no_inline_script_but_dash_s_own() -> None:
    policy = Policy(["'sha256-abc'"], secure=False).content_security("127.0.0.1:8050")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["script-src"] == "'self' 'sha256-abc'"
    assert rules["worker-src"] == "blob: 'self'"
    assert rules["connect-src"] == "'self' ws://127.0.0.1:8050 wss://127.0.0.1:8050"
    assert rules["object-src"] == rules["base-uri"] == rules["frame-ancestors"] == "'none'"


# ---------------------------------------------------------------- remembering


class Answers:
    """Stands for the link; counts what it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.reply = Reply(200, {"name": "maya", "role": "dispatcher", "mall_ids": []})

    async def call(self, name: str, params: dict[str, object], principal: None = None) -> Reply:
        self.asked += 1
        return self.reply


async def test_identity_is_asked_again_after_five_seconds() -> None:
    now_s, answers = [0.0], Answers()
    identities = Identities(answers, clock=lambda: now_s[0])
    await identities.who("session", "s")
    now_s[0] = FRESH_S - 0.1
    await identities.who("session", "s")
    assert answers.asked == 1
    now_s[0] = FRESH_S
    answers.reply = Reply(401)
    assert await identities.who("session", "s") is None
    assert answers.asked == 2


async def test_restart_of_the_streamer_throws_nobody_out_for_a_minute() -> None:
    now_s, answers = [0.0], Answers()
    identities = Identities(answers, clock=lambda: now_s[0])
    maya = await identities.who("session", "s")
    answers.reply = Reply(503)
    now_s[0] = STALE_S - 1
    assert await identities.who("session", "s") == maya
    with pytest.raises(LinkLost):
        await identities.who("session", "never seen")
    now_s[0] = STALE_S
    with pytest.raises(LinkLost):
        await identities.who("session", "s")


async def test_session_and_token_of_the_same_text_are_two() -> None:
    answers = Answers()
    identities = Identities(answers)
    await identities.who("session", "x")
    await identities.who("bearer", "x")
    assert answers.asked == 2


async def test_page_while_the_streamer_is_away_says_so(
    browser: httpx.AsyncClient, as_page: AsPage, streamer: Any
) -> None:
    page = as_page("maya")
    await streamer.stop()
    answer = await browser.get("/", headers=page)
    assert answer.status_code == 503
    assert "cannot be reached" in answer.text
    assert answer.headers["retry-after"] == "3"
    program = await browser.get("/api/v1/kpis", headers=page)
    assert (program.status_code, program.json()["code"]) == (503, "link_lost")
