"""Every route for every role, and for nobody: a route without a line here fails."""

from collections.abc import Callable
from functools import reduce
from typing import Any

import httpx
import pytest

from dashboard.api.routes import build_api
from streamer.edge.desk.desk import Desk
from tests.builders import MINUTE, T0

Rest = Callable[[str], httpx.AsyncClient]

ORDER = {
    "mall_id": "plaza", "stores": ["macys"], "dropoff": {"lat": 36.14, "lng": -115.19}, "placed_ms": T0,
    "due_ms": T0 + 90 * MINUTE,
}  # fmt: skip
CHANGE = {"expected_version": 1, "driver_id": "d-1"}
BULK = {"commands": [{"action": "hold", "order_id": "o-1", "expected_version": 1}]}
LEAST: dict[tuple[str, str], tuple[str, Any]] = {
    ("POST", "/orders"): ("dispatcher", ORDER),
    ("POST", "/orders/import"): ("dispatcher", None),
    ("GET", "/orders"): ("viewer", None),
    ("GET", "/orders/{order_id}"): ("viewer", None),
    ("GET", "/orders/{order_id}/history"): ("viewer", None),
    ("GET", "/orders/{order_id}/candidates"): ("dispatcher", None),
    ("POST", "/orders/{order_id}/assign"): ("dispatcher", CHANGE),
    ("POST", "/orders/{order_id}/reassign"): ("dispatcher", CHANGE),
    ("POST", "/orders/{order_id}/unassign"): ("dispatcher", CHANGE),
    ("POST", "/orders/{order_id}/hold"): ("dispatcher", CHANGE),
    ("POST", "/orders/{order_id}/release"): ("dispatcher", CHANGE),
    ("POST", "/orders/{order_id}/pin"): ("dispatcher", CHANGE),
    ("POST", "/orders/{order_id}/ready"): ("dispatcher", CHANGE),
    ("POST", "/orders/{order_id}/cancel"): ("dispatcher", CHANGE),
    ("POST", "/commands/bulk"): ("dispatcher", BULK),
    ("POST", "/undo"): ("dispatcher", {"command_id": "c-1"}),
    ("POST", "/preview"): ("dispatcher", {"order_ids": ["o-1"], "driver_id": "d-1"}),
    ("GET", "/drivers"): ("viewer", None),
    ("GET", "/drivers/{driver_id}"): ("viewer", None),
    ("GET", "/drivers/{driver_id}/track"): ("ops-lead", None),
    ("POST", "/drivers/{driver_id}/hand-over"): ("dispatcher", {}),
    ("POST", "/drivers/{driver_id}/on-duty"): ("dispatcher", {}),
    ("POST", "/drivers/{driver_id}/off-duty"): ("dispatcher", {}),
    ("GET", "/malls"): ("viewer", None),
    ("GET", "/hexes"): ("viewer", None),
    ("GET", "/kpis"): ("viewer", None),
    ("GET", "/learned"): ("viewer", None),
    ("GET", "/expected"): ("viewer", None),
    ("GET", "/state"): ("viewer", None),
    ("GET", "/autopilot"): ("viewer", None),
    ("PUT", "/autopilot/{mall_id}"): ("ops-lead", {"mode": "suggest"}),
    ("GET", "/recordings"): ("viewer", None),
    ("GET", "/rooms"): ("viewer", None),
    ("POST", "/rooms"): ("viewer", {"source": "no-such-day"}),
    ("DELETE", "/rooms/{room}"): ("viewer", None),
    ("POST", "/rooms/{room}/transport"): ("viewer", {"do": "pause"}),
    ("GET", "/rooms/{room}/marks"): ("viewer", None),
    ("POST", "/lab"): ("ops-lead", {"source": "no-such-day", "policies": ["plan", "nearest"]}),
    ("GET", "/lab"): ("viewer", None),
    ("DELETE", "/lab"): ("ops-lead", None),
    ("GET", "/asyncapi.json"): ("viewer", None),
    ("GET", "/schemas"): ("viewer", None),
    ("GET", "/schemas/{message}"): ("viewer", None),
}
PEOPLE = {"vera": 0, "maya": 1, "olga": 2}
RANK = {"viewer": 0, "dispatcher": 1, "ops-lead": 2}


def test_every_route_of_the_api_has_a_line_here() -> None:
    spec = build_api().openapi()
    routes = {(method.upper(), path) for path, methods in spec["paths"].items() for method in methods}
    assert routes == set(LEAST)


@pytest.mark.parametrize("name", ["nobody", *PEOPLE])
async def test_route_lets_through_exactly_its_roles(rest: Rest, floor: Any, name: str) -> None:
    floor.driver()
    await rest("maya").post("/api/v1/orders", json=ORDER)
    for (method, path), (least, body) in LEAST.items():
        named = {"{order_id}": "o-1", "{driver_id}": "d-1", "{mall_id}": "plaza", "{message}": "ping",
                 "{room}": "r-1"}  # fmt: skip
        address = "/api/v1" + reduce(lambda text, name: text.replace(*name), named.items(), path)
        params = {"mall_id": "plaza"} if path in {"/hexes", "/learned", "/expected"} else None
        sent: dict[str, Any] = {"json": body} if body is not None else {}
        if path == "/orders/import":
            sent = {"content": "", "headers": {"Content-Type": "text/csv"}}
        answer = await rest(name).request(method, address, params=params, **sent)
        if name == "nobody":
            assert answer.status_code == 401, (method, path)
        elif PEOPLE[name] < RANK[least]:
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), (method, path)
        else:
            assert answer.status_code not in {401, 403}, (method, path, answer.text)


async def test_refusal_does_not_depend_on_a_right_body(rest: Rest) -> None:
    for body in ({}, {"expected_version": "x"}, {"expected_version": 1}):
        assert (await rest("vera").post("/api/v1/orders/o-1/hold", json=body)).status_code == 403


async def test_streamer_refuses_by_itself_what_the_dashboard_would_forget(
    rest: Rest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.auth.principal.Principal.may", lambda _self, _role: True)
    answer = await rest("vera").post("/api/v1/orders", json=ORDER)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def test_dashboard_and_streamer_ask_for_the_same_roles(floor: Any) -> None:
    desk: Desk = floor.end.desk
    calls = {
        ("GET", "/orders/{order_id}/candidates"): "candidates", ("POST", "/orders"): "place",
        ("POST", "/orders/{order_id}/hold"): "command", ("POST", "/commands/bulk"): "bulk", ("POST", "/undo"): "undo",
        ("POST", "/preview"): "preview", ("GET", "/drivers/{driver_id}/track"): "track",
        ("POST", "/drivers/{driver_id}/hand-over"): "hand_over", ("POST", "/drivers/{driver_id}/on-duty"): "duty",
        ("GET", "/orders"): "orders", ("GET", "/orders/{order_id}"): "order", ("GET", "/kpis"): "kpis",
        ("GET", "/learned"): "learned", ("GET", "/expected"): "expected",
        ("GET", "/orders/{order_id}/history"): "history", ("GET", "/drivers"): "drivers", ("GET", "/malls"): "malls",
        ("GET", "/drivers/{driver_id}"): "driver", ("GET", "/hexes"): "hexes", ("GET", "/state"): "state",
        ("GET", "/autopilot"): "autopilot", ("PUT", "/autopilot/{mall_id}"): "set_autopilot",
        ("GET", "/recordings"): "recordings", ("POST", "/rooms"): "open_room", ("GET", "/rooms"): "rooms",
        ("DELETE", "/rooms/{room}"): "close_room", ("POST", "/lab"): "lab_start", ("GET", "/lab"): "lab",
        ("DELETE", "/lab"): "lab_cancel",
    }  # fmt: skip
    for route, call in calls.items():
        assert desk.table[call].role == LEAST[route][0], call
