"""Nothing is served without somebody having said to whom: roles, forged changes, rates and Dash callbacks."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from dash import Dash, Input, Output, html
from fastapi import FastAPI, WebSocket

from dashboard.app import create_app
from dashboard.auth.callbacks import protect, require_protected
from dashboard.auth.gate import MAX_HEADERS
from dashboard.auth.policy import api_routes, least_of, require_policies
from dashboard.auth.rates import MOST_REMEMBERED, Rates
from dashboard.auth.request import address_of, csrf_of
from dashboard.settings import Settings, from_environment
from streamer.core.errors import ConfigurationError

AsPage = Callable[..., dict[str, str]]


def a_dash(server: FastAPI) -> Dash:
    app = Dash("bare", server=server, backend="fastapi", add_log_handler=False)  # type: ignore[arg-type]
    app.layout = html.Div([html.Div(id="in"), html.Div(id="out")])

    @app.callback(Output("out", "children"), Input("in", "children"))
    def leak(_value: str) -> str:
        return "everything"

    return app


# ---------------------------------------------------------------- start-up


def test_a_callback_without_a_role_keeps_the_dashboard_from_starting() -> None:
    with pytest.raises(ConfigurationError, match=r"test_policy\.leak"):
        create_app(Settings(), a_dash)


@pytest.mark.parametrize("roles", [{}, {"test_policy.leak": "viewer", "test_policy.gone": "viewer"}])
def test_callbacks_and_roles_must_fit_each_other(roles: dict[str, Any]) -> None:
    app = a_dash(FastAPI())
    with pytest.raises(ConfigurationError, match="do not fit"):
        protect(app, roles)
    with pytest.raises(ConfigurationError):
        require_protected(app)


def test_a_page_a_socket_or_a_route_without_a_policy_keeps_the_dashboard_from_starting() -> None:
    server, api = FastAPI(openapi_url=None, docs_url=None, redoc_url=None), FastAPI(docs_url=None, redoc_url=None)

    @server.get("/backdoor")
    async def page() -> str:
        return ""

    @server.websocket("/tap")
    async def tap(socket: WebSocket) -> None: ...

    @api.get("/everything", include_in_schema=False)
    async def everything() -> str:
        return ""

    with pytest.raises(ConfigurationError, match=r"page /backdoor, route /everything, socket /tap"):
        require_policies(server, api)


def test_every_rest_route_says_its_role() -> None:
    from dashboard.api.routes import build_api

    api = build_api()
    bare = [route.path for route in api_routes(api) if least_of(route) is None]
    assert bare == []
    assert len(list(api_routes(api))) > 20


# ---------------------------------------------------------------- forged changes


@pytest.mark.parametrize("token", ["", "x", csrf_of("another session")])
async def test_a_change_without_the_session_s_own_token_is_refused(
    browser: httpx.AsyncClient, streamer: Any, as_page: AsPage, token: str
) -> None:
    headers = {**as_page("maya"), "X-CSRFToken": token}
    answer = await browser.post("/api/v1/undo", json={"command_id": "c-1"}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "csrf")
    assert streamer.called("undo") == []


async def test_log_in_hands_out_the_token_and_knows_the_browser_again(
    browser: httpx.AsyncClient, streamer: Any
) -> None:
    form = {"name": "maya", "password": "maya-password"}
    original = streamer.handlers["login"]

    def login(params: Any, who: Any) -> Any:
        status, body = original(params, who)
        return status, {**body, "device": "known-browser"}

    streamer.handlers["login"] = login
    answer = await browser.post("/login", data=form)
    cookies = {cookie.split("=")[0]: cookie.lower() for cookie in answer.headers.get_list("set-cookie")}
    assert browser.cookies["_csrf_token"] == csrf_of(browser.cookies["mallard_session"])
    assert "httponly" not in cookies["_csrf_token"]
    assert "httponly" in cookies["mallard_device"]
    assert "path=/login" in cookies["mallard_device"]
    await browser.post("/login", data=form)
    assert [each["device"] for each in streamer.called("login")] == ["", "known-browser"]
    assert {each["address"] for each in streamer.called("login")} == {"127.0.0.1"}


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8050", "https://127.0.0.1:8050.evil.example"])
async def test_a_secure_site_takes_no_change_from_a_page_without_tls(
    streamer: Any, secret: str, small_pages: Any, origin: str
) -> None:
    app = create_app(Settings(link_url=streamer.url, link_secret=secret, secure=True), small_pages)
    session = streamer.session_of("maya")
    headers = {
        "Cookie": f"__Host-mallard_session={session}", "X-CSRFToken": csrf_of(session), "Origin": origin,
    }  # fmt: skip
    async with app.link:
        assert await app.link.wait_up(5)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8050", headers=headers) as client:
            assert (await client.post("/api/v1/undo", json={})).json()["code"] == "cross_site"
            ours = {"Origin": "https://127.0.0.1:8050"}
            assert (await client.post("/api/v1/undo", json={}, headers=ours)).json()["code"] == "bad_field"


# ---------------------------------------------------------------- rates and addresses


def test_an_asker_s_room_comes_back_and_is_nobody_else_s() -> None:
    now_s = [0.0]
    rates = Rates(2.0, 3.0, lambda: now_s[0])
    assert [rates.take("a") for _ in range(4)] == [True, True, True, False]
    assert rates.take("b")
    now_s[0] = 0.5
    assert [rates.take("a") for _ in range(2)] == [True, False]


def test_askers_are_not_remembered_without_end() -> None:
    rates = Rates(1.0, 1.0)
    for number in range(MOST_REMEMBERED + 100):
        rates.take(f"asker-{number}")
    assert len(rates._buckets) == MOST_REMEMBERED


async def test_who_asks_too_much_is_told_to_wait(streamer: Any, secret: str, small_pages: Any) -> None:
    few = {"stranger_burst": 3.0, "person_burst": 5.0, "stranger_per_s": 0.01, "person_per_s": 0.01}
    app = create_app(Settings(link_url=streamer.url, link_secret=secret, **few), small_pages)  # type: ignore[arg-type]
    async with app.link:
        assert await app.link.wait_up(5)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8050") as client:
            strange = [(await client.get("/api/v1/state")).status_code for _ in range(4)]
            token = streamer.token_of("vera")
            await app.identities.who("bearer", token["Authorization"].removeprefix("Bearer "))
            known = [(await client.get("/api/v1/asyncapi.json", headers=token)).status_code for _ in range(6)]
            asked = len(streamer.calls)
            guess = {"Authorization": "Bearer guess"}
            assert (await client.get("/api/v1/state", headers=guess)).status_code == 429
    assert len(streamer.calls) == asked, "a flood of guesses does not reach the streamer"
    assert strange == [401, 401, 401, 429]
    assert known == [200] * 5 + [429]


async def test_too_many_headers_are_refused(program: httpx.AsyncClient) -> None:
    answer = await program.get("/login", headers={f"X-{number}": "x" for number in range(MAX_HEADERS)})
    assert answer.status_code == 431


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("198.51.100.1", "", "198.51.100.1"),
        ("198.51.100.1", "203.0.113.7", "198.51.100.1"),
        ("10.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("10.0.0.1", "6.6.6.6, 203.0.113.7", "203.0.113.7"),
        ("10.0.0.1", "6.6.6.6, 203.0.113.7, 10.0.0.1", "203.0.113.7"),
        ("10.0.0.1", "", "10.0.0.1"),
    ],
)
def test_only_a_declared_proxy_is_believed(peer: str, forwarded: str, address: str) -> None:
    assert address_of({"client": (peer, 1)}, {"x-forwarded-for": forwarded}, ("10.0.0.1",)) == address


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"MALLARD_HOST": "0.0.0.0"}, "cannot listen on 0.0.0.0"),
        ({"MALLARD_HOSTS": "floor.example"}, "in the clear"),
    ],
)
def test_what_others_may_reach_needs_tls(environment: dict[str, str], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        from_environment({"MALLARD_LINK_SECRET": "s" * 43, **environment})
