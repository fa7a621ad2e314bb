"""T1 to T4, T16, T17, T20, T21: those who are not let in, and those who borrow somebody's key."""

import json
import statistics
import time
from http.cookies import SimpleCookie
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from dashboard.auth.policy import OPEN_PATHS, SOCKETS
from tests.attacks.product import HOME_MALL, PASSWORD, Product, closed, hear, now_ms, order_body, ping, report

CALLBACK = {
    "output": "outcome.data", "outputs": {"id": "outcome", "property": "data"}, "changedPropIds": ["intent.data"],
    "inputs": [{"id": "intent", "property": "data", "value": {"action": "hold", "order_id": "o-1"}}], "state": [],
}  # fmt: skip


def foreign_origins(url: str) -> list[str]:
    """Origins of pages that are not ours, near and far."""
    port = url.rpartition(":")[2]
    return [
        "https://evil.example", "null", "", f"{url}.evil.example", f"{url}@evil.example", f"{url}0", f"{url}/",
        f"http://localhost:{port}", f"https://127.0.0.1:{port}", "file://", f"http://127.0.0.1:{port} evil",
    ]  # fmt: skip


async def refused(connecting: Any) -> int:
    """The status a socket's handshake is refused with."""
    with pytest.raises(InvalidStatus) as answer:
        async with connecting:
            pass
    return int(answer.value.response.status_code)


# ---------------------------------------------------------------- T1


async def test_t01_nobody_opens_a_driver_socket_without_a_good_token(product: Product) -> None:
    revoked = product.accounts.mint_driver_token("d-1", now_ms())
    product.accounts.revoke(revoked, now_ms())
    assert await refused(product.phone(None)) == 401
    for token in ("", "garbage", "mld_" + "x" * 43, revoked, product.tokens["olga"], "x" * 5_000):
        for headers in (
            {"Authorization": f"Bearer {token}"},
            {"Sec-WebSocket-Protocol": f"mallard.v1, bearer.{token}"},
        ):
            assert await refused(product.phone(None, **headers)) in {400, 401}, (token[:20], headers)
    assert await refused(product.phone(None, f"/v1/drivers?token={product.tokens['d-1']}")) == 401, "none by address"
    assert await refused(product.phone("d-1", "/v1/link")) == 401, "a driver is no dashboard"


# ---------------------------------------------------------------- T2


@pytest.mark.parametrize("path", [*SOCKETS, "/nothing"])
async def test_t02_no_socket_of_the_dashboard_opens_without_a_log_in(product: Product, path: str) -> None:
    for headers in ({}, {"Cookie": "mallard_session=x"}, {"Authorization": "Bearer x"}, product.bearer("d-1")):
        assert await refused(product.socket(path, headers, origin=product.url)) == 403


async def test_t02_strangers_get_nothing_but_the_open_pages(product: Product) -> None:
    with product.client() as stranger:
        shown = {path for path in sorted(OPEN_PATHS) if stranger.get(path).status_code == 200}
        assert shown == OPEN_PATHS - {"/logout"}
        for path in ("/", "/_dash-layout", "/_dash-dependencies", "/assets/90-live.js", "/api/docs", "/api/v1/orders"):
            assert stranger.get(path).status_code == 401, path
        assert stranger.post("/_dash-update-component", json=CALLBACK).status_code == 401
        metrics = stranger.get("/metrics").text + stranger.get("/readyz").text + stranger.get("/version").text
    assert not [name for name in (*product.tokens, HOME_MALL) if f'"{name}"' in metrics]


# ---------------------------------------------------------------- T3


@pytest.mark.parametrize("path", SOCKETS)
async def test_t03_a_foreign_page_opens_no_socket_with_our_cookie(product: Product, path: str) -> None:
    cookie = {"Cookie": product.page("maya")["Cookie"]}
    for origin in [*foreign_origins(product.url), None]:
        assert await refused(product.socket(path, cookie, origin=origin)) == 403, origin
    rebound = {**cookie, "Host": "evil.example"}
    assert await refused(product.socket(path, rebound, origin="http://evil.example")) == 403
    async with product.socket(path, cookie, origin=product.url):
        pass


# ---------------------------------------------------------------- T4


def test_t04_a_foreign_page_changes_nothing_with_our_cookie(product: Product) -> None:
    orders, page = product.order_ids(), product.page("dina")
    order = order_body()
    bodies: list[dict[str, Any]] = [
        {"json": order}, {"data": {"mall_id": HOME_MALL}},
        {"content": json.dumps(order), "headers": {"Content-Type": "text/plain"}},
        {"files": {"file": b"mall_id,stores\n"}},
    ]  # fmt: skip
    with product.client() as browser:
        for path in ("/api/v1/orders", "/api/v1/orders/import", "/_dash-update-component", "/logout"):
            for origin in [*foreign_origins(product.url), None]:
                for body in bodies:
                    headers = {"Cookie": page["Cookie"], **({"Origin": origin} if origin is not None else {})}
                    sent = {**body, "headers": {**headers, **body.get("headers", {})}}
                    assert browser.post(path, **sent).status_code == 403, (path, origin, body)
        without_token = {name: value for name, value in page.items() if name != "X-CSRFToken"}
        assert browser.post("/api/v1/orders", json=order, headers=without_token).status_code == 403
        form = {**page, "Content-Type": "text/plain"}
        assert browser.post("/api/v1/orders", content=json.dumps(order), headers=form).status_code == 415
        for site in ("cross-site", "same-site", "none"):
            headers = {**page, "Sec-Fetch-Site": site}
            assert browser.post("/api/v1/orders", json=order, headers=headers).status_code == 403
        assert browser.post("/login", data={"name": "x"}, headers={"Origin": "https://evil.example"}).status_code == 403
        assert product.order_ids() == orders
        assert browser.post("/api/v1/orders", json=order, headers=page).status_code == 201


# ---------------------------------------------------------------- T16


async def test_t16_what_was_captured_and_sent_again_has_one_effect(product: Product) -> None:
    message = ping(1)
    async with product.phone("d-4") as phone:
        await phone.send(json.dumps(report("on_duty", "t16")))
        await hear(phone, "ack")
        await phone.send(json.dumps(message))
        await hear(phone, "ack")
        seq = product.seq()
        for _ in range(3):
            await phone.send(json.dumps(message))
        await phone.send(json.dumps(report("on_duty", "t16")))
        await hear(phone, "ack")
    order, key = order_body(external_id="t16"), {"Idempotency-Key": "t16-captured"}
    with product.client("dina") as rest:
        first = rest.post("/api/v1/orders", json=order, headers=key)
        replayed = [rest.post("/api/v1/orders", json=order, headers=key) for _ in range(3)]
        altered = rest.post("/api/v1/orders", json={**order, "items": 9}, headers=key)
    assert {answer.json()["id"] for answer in replayed} == {first.json()["id"]}
    assert altered.status_code == 422
    assert first.json()["id"] in {order["id"] for order in find_orders(product)}
    assert product.seq() <= seq + 1 + TICKS_MEANWHILE


TICKS_MEANWHILE = 20
"""A tick a second, and reports of a silent driver, are the floor's own."""


def find_orders(product: Product) -> list[dict[str, Any]]:
    with product.client("olga") as rest:
        return list(rest.get("/api/v1/orders", params={"limit": 500, "q": "t1"}).json()["items"])


# ---------------------------------------------------------------- T17


def test_t17_an_order_that_is_not_from_a_known_program_is_not_taken(product: Product) -> None:
    """Orders come over REST with a token of their own, whatever a forged webhook claims about itself."""
    seq, body = product.seq(), order_body(external_id="t17")
    signed = {"webhook-id": "msg_1", "webhook-timestamp": str(now_ms() // 1000), "webhook-signature": "v1,Zm9yZ2Vk"}
    good = product.tokens["dina"]
    flipped = good[:-1] + ("A" if good[-1] != "A" else "B")
    with product.client() as forger:
        for headers in (signed, {**signed, "Authorization": f"Bearer {flipped}"}, {"Authorization": f"Basic {good}"},
                        {"Authorization": good}, {"Authorization": f"Bearer {good.upper()}"}):  # fmt: skip
            assert forger.post("/api/v1/orders", json=body, headers=headers).status_code == 401
        for name in ("vera", "d-1", "fleet"):
            assert forger.post("/api/v1/orders", json=body, headers=product.bearer(name)).status_code in {401, 403}
    assert not [order for order in find_orders(product) if order["external_id"] == "t17"]
    assert product.seq() <= seq + TICKS_MEANWHILE


# ---------------------------------------------------------------- T20


def attempt(product: Product, name: str, password: str, address: str, device: str = "") -> httpx.Response:
    """A log-in from an address of this machine: the loopback network has 16 million."""
    transport = httpx.HTTPTransport(local_address=address)
    headers = {"Origin": product.url, **({"Cookie": f"mallard_device={device}"} if device else {})}
    with httpx.Client(base_url=product.url, transport=transport, timeout=20) as browser:
        return browser.post("/login", data={"name": name, "password": password}, headers=headers)


def test_t20_guessing_is_locked_and_the_person_is_not(product: Product) -> None:
    product.accounts.add_user("gina", PASSWORD, "viewer")
    first = attempt(product, "gina", PASSWORD, "127.0.20.1")
    device = SimpleCookie("; ".join(first.headers.get_list("set-cookie")))["mallard_device"].value
    tried = [attempt(product, "gina", f"guess-{number}", "127.0.20.9").status_code for number in range(8)]
    assert tried == [401] * 5 + [429] * 3
    assert attempt(product, "gina", PASSWORD, "127.0.20.9").status_code == 429, "not even with the right one"
    assert attempt(product, "gina", PASSWORD, "127.0.20.1").status_code == 303
    assert attempt(product, "gina", PASSWORD, "127.0.20.9", device).status_code == 303, "her browser, anywhere"


def test_t20_one_address_cannot_try_a_hundred_passwords(product: Product) -> None:
    tried = [attempt(product, f"name-{number}", "guess", "127.0.20.5").status_code for number in range(100)]
    assert tried[-1] == 429
    assert tried.count(401) <= 30


def test_t20_nobody_learns_who_exists(product: Product) -> None:
    product.accounts.add_user("hana", PASSWORD, "viewer")
    times_s: dict[str, list[float]] = {"hana": [], "nobody": []}
    texts = set()
    for number in range(1, 5):
        for name, taken_s in times_s.items():
            began_s = time.perf_counter()
            answer = attempt(product, name, "guess", f"127.0.21.{number}")
            taken_s.append(time.perf_counter() - began_s)
            texts.add((answer.status_code, answer.text.replace(name, "NAME")))
    assert len(texts) == 1
    known_s, unknown_s = (statistics.median(taken_s) for taken_s in times_s.values())
    assert 0.5 < known_s / unknown_s < 2.0, times_s


# ---------------------------------------------------------------- T21


def test_t21_the_cookie_is_strict_and_log_in_makes_a_new_session(product: Product) -> None:
    with product.client() as browser:
        fixed = {"Cookie": "mallard_session=chosen-by-the-thief", "Origin": product.url}
        answer = browser.post("/login", data={"name": "vera", "password": PASSWORD}, headers=fixed)
    cookies = SimpleCookie("; ".join(answer.headers.get_list("set-cookie")))
    session = cookies["mallard_session"]
    assert session.value not in {"", "chosen-by-the-thief"}
    assert len(session.value) >= 43
    assert (session["httponly"], session["samesite"].lower(), session["path"]) == (True, "strict", "/")
    assert not session["domain"]


async def test_t21_a_session_that_ended_opens_nothing_and_closes_its_sockets(product: Product) -> None:
    before, after = product.log_in("vera"), product.log_in("vera")
    async with product.socket("/feed", {"Cookie": before["Cookie"]}, origin=product.url) as feed:
        with product.client() as browser:
            assert browser.post("/logout", headers=before).status_code == 303
            began_s = time.monotonic()
            assert (await closed(feed))[0] == 4401
            assert time.monotonic() - began_s < 1.5
            assert browser.get("/api/v1/state", headers=before).status_code == 401
            assert browser.get("/api/v1/state", headers=after).status_code == 200, "the other log-in lives on"
