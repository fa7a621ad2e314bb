"""T5 to T9, T18, T22: those who are let in, and want more than is theirs."""

import asyncio
import json
import random
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from dashboard.api.routes import PREFIX, build_api
from dashboard.app import build_floor
from dashboard.auth.policy import api_routes, least_of
from dashboard.auth.principal import RANK
from tests.attacks.product import (
    AWAY,
    HOME,
    HOME_MALL,
    OTHER_MALL,
    PEOPLE,
    Product,
    closed,
    hear,
    now_ms,
    order_body,
    ping,
    report,
)

MALLS = {HOME_MALL: "maya", OTHER_MALL: "bill"}
"""Each mall and the dispatcher who sees no other."""


async def answered(phone: ClientConnection, message: Any) -> dict[str, Any]:
    """What the gateway says to one message; acks of others are passed over."""
    await phone.send(json.dumps(message))
    mine = "id" if message["type"] == "report" else "seq"
    async with asyncio.timeout(5):
        while True:
            said = json.loads(await phone.recv())
            if said["type"] in {"ack", "nack"} and said.get(mine) == message[mine]:
                return dict(said)


# ---------------------------------------------------------------- T5


async def test_t05_a_driver_speaks_for_nobody_else(product: Product) -> None:
    rng = random.Random(5)
    others = ["d-2", "d-3", "D-5", "d_5", "d-55", *(f"d-{rng.randrange(6, 10**6)}" for _ in range(5))]
    for number, other in enumerate(others):
        for message in (ping(number, AWAY, driver_id=other), report("off_duty", f"t05-{number}", driver_id=other)):
            async with product.phone("d-5") as phone:
                assert (await answered(phone, report("on_duty", f"t05-on-{number}-{message['type']}")))["type"] == "ack"
                await phone.send(json.dumps(message))
                code, said = await closed(phone)
            assert code == 4403, other
            assert "ack" not in {each["type"] for each in said}, other
    with product.client("olga") as rest:
        assert rest.get("/api/v1/drivers/d-2").json().get("lat") is None


async def test_t05_a_gateway_speaks_for_its_own_malls_only(product: Product) -> None:
    async with product.phone("fleet") as phone:
        said = await answered(phone, report("on_duty", "t05-g", driver_id="d-3"))
        assert (said["type"], said["code"]) == ("nack", "not_yours")
        said = await answered(phone, ping(1, driver_id="d-3"))
        assert (said["type"], said["code"]) in {("nack", "not_yours"), ("nack", "off_duty")}


# ---------------------------------------------------------------- T6


async def test_t06_a_driver_reports_only_on_orders_it_was_given(product: Product) -> None:
    order = product.place(by="maya")
    async with product.phone("d-1") as owner, product.phone("d-2") as thief:
        for phone, name in ((owner, "d-1"), (thief, "d-2")):
            assert (await answered(phone, report("on_duty", f"t06-{name}")))["type"] == "ack"
            await phone.send(json.dumps(ping(now_ms() // 1000)))
        with product.client("maya") as rest:
            current = rest.get(f"/api/v1/orders/{order['id']}").json()
            change = {"expected_version": current["version"], "driver_id": "d-1"}
            action = "assign" if current["driver_id"] is None else "reassign"
            if current["driver_id"] != "d-1":
                assert rest.post(f"/api/v1/orders/{order['id']}/{action}", json=change).status_code == 200
        given = product.order(order["id"])
        number = given["assignment"]
        lies = [(thief, number), (thief, 0), (thief, number + 1), (owner, number - 1)]
        for number, (phone, assignment) in enumerate(lies):
            for kind in ("accepted", "picked_up", "delivered"):
                message = report(kind, f"t06-{number}-{kind}", order_ids=[order["id"]], assignment=assignment)
                said = await answered(phone, message)
                assert said["type"] == "nack", said
                assert said["code"] in {"stale_assignment", "not_yours", "bad_transition", "bad_field"}, said
        now = product.order(order["id"])
        assert (now["driver_id"], now["status"]) == (given["driver_id"], given["status"])
        accepted = report("accepted", "t06-own", order_ids=[order["id"]], assignment=given["assignment"])
        assert (await answered(owner, accepted))["type"] == "ack"


# ---------------------------------------------------------------- T7


@pytest.mark.parametrize("mall_id", MALLS)
async def test_t07_nobody_sees_a_mall_outside_the_scope(product: Product, mall_id: str) -> None:
    name, other = MALLS[mall_id], next(each for each in MALLS if each != mall_id)
    own, foreign = product.place(mall_id), product.place(other)
    with product.client(name) as rest:
        assert rest.get(f"/api/v1/orders/{own['id']}").status_code == 200
        for path in (
            f"/orders/{foreign['id']}", f"/orders/{foreign['id']}/history", f"/orders/{foreign['id']}/candidates",
            f"/orders?mall_id={other}", f"/drivers?mall_id={other}", f"/hexes?mall_id={other}",
            f"/kpis?mall_id={other}",
        ):  # fmt: skip
            assert rest.get(PREFIX + path).status_code == 403, path
        change = {"expected_version": foreign["version"], "reason": "x"}
        for action in ("hold", "release", "pin", "cancel", "ready", "assign", "reassign", "unassign"):
            body = {**change, "driver_id": "d-1" if mall_id == HOME_MALL else "d-3"}
            answer = rest.post(f"{PREFIX}/orders/{foreign['id']}/{action}", json=body)
            assert answer.status_code == 403, (action, answer.text)
        assert rest.post(f"{PREFIX}/orders", json=order_body(other)).status_code == 403
        bulk = {"commands": [{"action": "hold", "order_id": foreign["id"], "expected_version": foreign["version"]}]}
        (result,) = rest.post(f"{PREFIX}/commands/bulk", json=bulk).json()["items"]
        assert result["status"] == 403
        everything = "".join(
            rest.get(PREFIX + path).text for path in ("/orders?limit=500", "/drivers", "/malls", "/kpis")
        )
    assert f'"{foreign["id"]}"' not in everything
    assert other not in everything
    assert product.order(foreign["id"])["version"] == foreign["version"]


@pytest.mark.parametrize("asked", ["", "?malls=baybrook", "?malls=fashion-show,baybrook", "?since=baybrook:0&epoch=x"])
async def test_t07_the_feed_holds_only_malls_of_the_scope(product: Product, asked: str) -> None:
    seen = set()
    async with product.socket(f"/feed{asked}", product.bearer("maya")) as feed:
        try:
            async with asyncio.timeout(1.5):
                while True:
                    seen.add(json.loads(await feed.recv())["mall_id"])
        except TimeoutError:
            pass
    assert seen <= {HOME_MALL}
    assert seen or asked == "?malls=baybrook"


# ---------------------------------------------------------------- T8: route x role x mall, made from the router


def cells() -> Iterator[tuple[str, str, str]]:
    """Method, path and name of everybody, for each route there is."""
    for route in api_routes(build_api()):
        if least_of(route) is not None:
            for method in sorted(route.methods or ()):
                for name in (*PEOPLE, "nobody"):
                    yield method, route.path, name


def test_t08_every_route_refuses_every_role_below_its_own(product: Product) -> None:
    least = {route.path + min(route.methods or ()): least_of(route) for route in api_routes(build_api())}
    foreign = {mall_id: product.place(mall_id)["id"] for mall_id in MALLS}
    clients = {name: product.client(name if name != "nobody" else None) for name in (*PEOPLE, "nobody")}
    tried, before = 0, {order_id: product.order(order_id)["version"] for order_id in foreign.values()}
    for method, path, name in cells():
        for mall_id, order_id in foreign.items():
            driver_id = "d-1" if mall_id == HOME_MALL else "d-3"
            named = {
                "order_id": order_id,
                "driver_id": driver_id,
                "mall_id": mall_id,
                "message": "ping",
                "alarm_id": "a-1",
                "room": "r-none",
            }
            address = PREFIX + path.format(**named)
            # Wrong on purpose: who may would get 4xx for the body, who may not must hear of that alone.
            answer = clients[name].request(
                method, address, params={"mall_id": mall_id}, json={} if method != "GET" else None
            )
            tried += 1
            what = (method, path, name, mall_id, answer.status_code, answer.text[:200])
            if name == "nobody":
                assert answer.status_code == 401, what
                continue
            role, mall_ids = PEOPLE[name]
            needed = least[path + method]
            assert needed is not None
            if RANK[role] < RANK[needed]:
                assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), what
            elif not mall_ids or mall_id in mall_ids:
                assert answer.status_code not in {401, 403}, what
            elif "{order_id}" in path and method == "GET":
                assert answer.status_code == 403, what
    for client in clients.values():
        client.close()
    assert tried > 300
    assert {order_id: product.order(order_id)["version"] for order_id in foreign.values()} == before


# ---------------------------------------------------------------- T9


def recorded_callbacks() -> dict[str, tuple[str, dict[str, Any]]]:
    """For each callback of the floor that a viewer may not run, its name and what our own page would post."""
    from fastapi import FastAPI

    app = build_floor(FastAPI())
    values = {
        "intent": {"action": "hold", "order_id": "ORDER", "expected_version": 1, "key": "t09", "reason": ""},
        "choice": {"order_id": "ORDER", "driver_id": "d-1", "offset_ms": 0},
        "handing": {"driver_id": "d-1"},
    }
    recorded = {}
    for output, spec in app.callback_map.items():
        callback = spec.get("callback")
        if callback is None or callback.least == "viewer":
            continue
        parts = output.strip(".").split("...")
        outputs = [dict(zip(("id", "property"), part.rsplit(".", 1), strict=True)) for part in parts]
        recorded[callback.__name__ + output] = output, {
            "output": output, "outputs": outputs if output.startswith("..") else outputs[0],
            "inputs": [{**each, "value": values.get(each["id"])} for each in spec["inputs"]],
            "state": [{**each, "value": values.get(each["id"])} for each in spec["state"]],
            "changedPropIds": [f"{each['id']}.{each['property']}" for each in spec["inputs"]],
        }  # fmt: skip
    return recorded


def test_t09_recorded_callbacks_do_nothing_for_a_lesser_role(product: Product) -> None:
    order = product.place()
    recorded = recorded_callbacks()
    assert any("send" in name for name in recorded)
    with product.client() as browser:
        for name, (_output, body) in recorded.items():
            sent = json.loads(json.dumps(body).replace("ORDER", order["id"]))
            for forged in (
                sent,
                {**sent, "principal": {"name": "olga", "role": "ops-lead"}},
                {**sent, "role": "ops-lead"},
            ):
                answer = browser.post("/_dash-update-component", json=forged, headers=product.page("vera"))
                assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), name
        assert product.order(order["id"])["version"] == order["version"]
        send = json.loads(
            json.dumps(recorded[next(n for n in recorded if n.startswith("send"))][1]).replace("ORDER", order["id"])
        )
        out_of_scope = browser.post("/_dash-update-component", json=send, headers=product.page("bill"))
        assert out_of_scope.json()["response"]["outcome"]["data"]["problem"]["code"] == "forbidden"
        assert product.order(order["id"])["held"] is False
        assert browser.post("/_dash-update-component", json=send, headers=product.page("maya")).status_code == 200
    assert product.order(order["id"])["held"] is True, "the recording was a good one"


async def test_t09_no_callback_runs_over_the_socket(product: Product) -> None:
    """The floor uses none there; the way is shut, for those who are logged in too."""
    _output, body = next(iter(recorded_callbacks().values()))
    frame = {"type": "callback_request", "requestId": "1", "rendererId": "r", "payload": body}
    headers = {"Cookie": product.page("olga")["Cookie"]}
    async with product.socket("/_dash-ws-callback", headers, origin=product.url) as socket:
        await socket.send(json.dumps(frame))
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(socket.recv(), 5)
    assert socket.close_code == 1008


# ---------------------------------------------------------------- T18


async def test_t18_a_revoked_token_is_out_within_a_second_everywhere(product: Product) -> None:
    product.accounts.register_driver("d-lost", "Lost", mall_ids=(HOME_MALL,))
    for kind, name, mint in (
        ("driver", "d-lost", lambda: product.accounts.mint_driver_token("d-lost", now_ms())),
        ("gateway", "g-lost", lambda: product.accounts.mint_gateway_token("g-lost", (), now_ms())),
        ("api", "p-lost", lambda: product.accounts.mint_api_token("p-lost", "ops-lead", (), now_ms())),
    ):
        product.tokens[name] = token = mint()
        assert token.encode() not in b"".join(product.files().values()), "only its hash is kept"
        connecting = product.socket("/feed", product.bearer(name)) if kind == "api" else product.phone(name)
        async with connecting as socket:
            with product.client(name) as rest:
                assert kind != "api" or rest.get("/api/v1/state").status_code == 200
                began_s = time.monotonic()
                product.accounts.revoke_all(kind, name, now_ms())  # type: ignore[arg-type]
                assert (await closed(socket))[0] == 4401, kind
                assert time.monotonic() - began_s < 1.5, (kind, time.monotonic() - began_s)
                assert rest.get("/api/v1/state").status_code == 401


async def test_t18_the_newer_phone_of_a_driver_wins(product: Product) -> None:
    async with product.phone("d-2") as old, product.phone("d-2") as new:
        assert (await closed(old))[0] == 4409
        await new.send(json.dumps(report("on_duty", "t18")))
        await hear(new, "ack")


# ---------------------------------------------------------------- T22


def test_t22_only_ops_leads_see_tracks_and_each_look_is_written_down(product: Product) -> None:
    for name in ("vera", "maya", "dina"):
        with product.client(name) as rest:
            assert rest.get(f"{PREFIX}/drivers/d-1/track").status_code == 403
    with product.client("olga") as rest:
        answer = rest.get(f"{PREFIX}/drivers/d-1/track", params={"reason": "complaint 4711", "limit": 5})
        assert answer.status_code == 200
        assert len(answer.json()["items"]) <= 5
        assert rest.get(f"{PREFIX}/drivers/d-1/track", params={"limit": 5001}).status_code == 422
    notes = b"".join(product.files().values())
    assert notes.count(b'"track_read"') >= 1
    assert b"complaint 4711" in notes
    assert httpx.get(f"{product.url}{PREFIX}/drivers/d-1/track").status_code == 401
    assert HOME != AWAY
