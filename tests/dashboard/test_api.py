"""REST over the real streamer: what PROTOCOL §3 promises about orders, commands, drivers and the floor."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.builders import MINUTE, T0

Rest = Callable[[str], httpx.AsyncClient]


def an_order_body(**fields: Any) -> dict[str, Any]:
    dropoff = {"name": "R. Lee", "phone": "+17025550123", "address": "3355 Main", "lat": 36.14, "lng": -115.19}
    given = {"mall_id": "plaza", "stores": ["macys"], "items": 2, "dropoff": dropoff, "placed_ms": T0}
    return {**given, "ready_ms": T0 + 5 * MINUTE, "due_ms": T0 + 90 * MINUTE, "priority": 0, **fields}


async def placed(rest: Rest, **fields: Any) -> dict[str, Any]:
    answer = await rest("maya").post("/api/v1/orders", json=an_order_body(**fields))
    assert answer.status_code == 201, answer.text
    order: dict[str, Any] = answer.json()
    return order


def code(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["title"]
    assert problem["detail"]
    return answer.status_code, problem["code"]


# ---------------------------------------------------------------- orders


async def test_placed_order_comes_back_whole_and_can_be_read(rest: Rest) -> None:
    body = an_order_body(external_id="113-1")
    answer = await rest("maya").post("/api/v1/orders", json=body)
    order = answer.json()
    assert order.pop("command_id")
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/api/v1/orders/{order['id']}"
    assert {**order, **body, "dropoff": order["dropoff"]} == order
    stands = {"status": "placed", "version": 1, "driver_id": None, "held": False, "pinned": False, "risk": "on_time"}
    assert {**order, **stands} == order
    assert (await rest("vera").get(f"/api/v1/orders/{order['id']}")).json() == order


async def test_same_external_id_is_the_same_order(rest: Rest) -> None:
    first = await placed(rest, external_id="113-2")
    again = await rest("maya").post("/api/v1/orders", json=an_order_body(external_id="113-2"))
    assert (again.status_code, again.json()["id"]) == (200, first["id"])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"mall_id": None}, "mall_id"),
        ({"mall_id": "../etc"}, "mall_id"),
        ({"stores": []}, "stores"),
        ({"stores": ["macys\n"]}, "stores"),
        ({"items": 0}, "items"),
        ({"items": "2"}, "items"),
        ({"items": True}, "items"),
        ({"placed_ms": 1.5}, "placed_ms"),
        ({"due_ms": -1}, "due_ms"),
        ({"due_ms": 2**63}, "due_ms"),
        ({"priority": 10}, "priority"),
        ({"dropoff": {"lat": 91, "lng": 0}}, "dropoff.lat"),
        ({"dropoff": {"lat": "36", "lng": 0}}, "dropoff.lat"),
        ({"dropoff": {"lat": 36}}, "dropoff.lng"),
        ({"dropoff": None}, "dropoff"),
        ({"external_id": "x" * 129}, "external_id"),
    ],
)
async def test_wrong_field_is_named(rest: Rest, change: dict[str, Any], field: str) -> None:
    answer = await rest("maya").post("/api/v1/orders", json=an_order_body(**change))
    assert code(answer) == (422, "bad_field")
    assert answer.json()["detail"].startswith(field)


@pytest.mark.parametrize("text", ['{"lat": NaN}', '{"lat": Infinity}', '{"lat": 1e999}', '{"lat": -1e999}'])
async def test_number_that_is_none_is_refused(rest: Rest, text: str) -> None:
    dropoff = text.replace("}", ', "lng": -115.1}')
    body = f'{{"mall_id":"plaza","stores":["macys"],"placed_ms":1,"due_ms":2,"dropoff":{dropoff}}}'
    answer = await rest("maya").post("/api/v1/orders", content=body, headers={"Content-Type": "application/json"})
    assert code(answer) == (422, "bad_field")


@pytest.mark.parametrize("text", ["{", "nonsense", '{"a":1}}', "[" * 100_000, "9" * 5000 + "x", '{"a":"\udcff"}'])
async def test_body_that_is_no_json_is_bad_json(rest: Rest, text: str) -> None:
    content = text.encode("utf-8", "surrogateescape")
    answer = await rest("maya").post("/api/v1/orders", content=content, headers={"Content-Type": "application/json"})
    assert code(answer) == (400, "bad_json")


async def test_half_a_surrogate_pair_is_a_bad_field(rest: Rest) -> None:
    body = json.dumps(an_order_body(external_id="\ud800"))
    answer = await rest("maya").post("/api/v1/orders", content=body, headers={"Content-Type": "application/json"})
    assert code(answer) == (422, "bad_field")


async def test_unknown_fields_are_ignored(rest: Rest) -> None:
    order = await placed(rest, colour="blue")
    assert "colour" not in order


async def test_unknown_mall_or_store_is_said(rest: Rest) -> None:
    for change in ({"mall_id": "nowhere"}, {"stores": ["nothing"]}):
        answer = await rest("maya").post("/api/v1/orders", json=an_order_body(**change))
        assert code(answer)[0] in {404, 422}


async def test_etag_is_the_version_and_spares_an_unchanged_order(rest: Rest) -> None:
    order = await placed(rest)
    path = f"/api/v1/orders/{order['id']}"
    assert (await rest("vera").get(path)).headers["etag"] == '"1"'
    for known in ('"1"', 'W/"1"', '"0", "1"', "*"):
        spared = await rest("vera").get(path, headers={"If-None-Match": known})
        assert (spared.status_code, spared.content) == (304, b"")
    changed = await rest("maya").post(f"{path}/hold", json={"expected_version": 1})
    assert changed.json()["version"] == 2
    assert (await rest("vera").get(path, headers={"If-None-Match": '"1"'})).status_code == 200


async def test_list_is_paged_by_cursor_without_gap_or_repeat(rest: Rest) -> None:
    ids = [(await placed(rest))["id"] for _ in range(7)]
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(10):
        params: dict[str, Any] = {"limit": 3, **({"cursor": cursor} if cursor else {})}
        page = (await rest("vera").get("/api/v1/orders", params=params)).json()
        assert len(page["items"]) <= 3
        seen += [order["id"] for order in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert sorted(seen) == sorted(ids)


async def test_list_is_filtered(rest: Rest, floor: Any) -> None:
    floor.driver()
    first, second = await placed(rest), await placed(rest, external_id="needle")
    await rest("maya").post(f"/api/v1/orders/{first['id']}/assign", json={"expected_version": 1, "driver_id": "d-1"})

    async def ids(**params: Any) -> list[str]:
        page = (await rest("vera").get("/api/v1/orders", params=params)).json()
        return [order["id"] for order in page["items"]]

    assert await ids(status="assigned") == [first["id"]]
    assert await ids(status="placed,assigned") == [first["id"], second["id"]]
    assert await ids(status=["placed", "assigned"]) == [first["id"], second["id"]]
    assert await ids(driver_id="d-1") == [first["id"]]
    assert await ids(q="needle") == [second["id"]]
    assert await ids(mall_id="plaza", risk="on_time") == [first["id"], second["id"]]


@pytest.mark.parametrize(
    "query", ["status=lost", "risk=none", "limit=0", "limit=abc", "cursor=nonsense", "mall_id=a%2Fb"]
)
async def test_wrong_filter_is_a_bad_field(rest: Rest, query: str) -> None:
    assert code(await rest("vera").get(f"/api/v1/orders?{query}")) == (422, "bad_field")


async def test_unknown_order_is_not_found(rest: Rest) -> None:
    for path in ("orders/o-999", "orders/o-999/history", "orders/o-999/candidates"):
        assert code(await rest("maya").get(f"/api/v1/{path}")) == (404, "not_found")
    assert code(await rest("maya").get("/api/v1/drivers/d-999")) == (404, "unknown_driver")
    answer = await rest("maya").post("/api/v1/orders/o-999/hold", json={"expected_version": 1})
    assert code(answer) == (404, "not_found")


# ---------------------------------------------------------------- commands


async def test_two_reassignments_of_one_version_are_one_and_a_conflict(rest: Rest, floor: Any) -> None:
    for driver_id in ("d-1", "d-2", "d-3"):
        floor.driver(driver_id)
    order = await placed(rest)
    path = f"/api/v1/orders/{order['id']}"
    given = await rest("maya").post(f"{path}/assign", json={"expected_version": 1, "driver_id": "d-1"})
    assert given.json()["driver_id"] == "d-1"
    assert given.json()["command_id"]
    version = given.json()["version"]
    first = await rest("maya").post(f"{path}/reassign", json={"expected_version": version, "driver_id": "d-2"})
    late = await rest("olga").post(f"{path}/reassign", json={"expected_version": version, "driver_id": "d-3"})
    assert first.status_code == 200
    assert code(late) == (409, "version_conflict")
    now = (await rest("vera").get(path)).json()
    assert late.json()["order"] == now
    assert (now["driver_id"], now["version"]) == ("d-2", first.json()["version"])


async def test_command_needs_the_version_from_body_or_if_match(rest: Rest) -> None:
    order = await placed(rest)
    path = f"/api/v1/orders/{order['id']}/hold"
    assert code(await rest("maya").post(path, json={})) == (428, "precondition_required")
    assert code(await rest("maya").post(path)) == (428, "precondition_required")
    assert code(await rest("maya").post(path, headers={"If-Match": "soon"})) == (422, "bad_field")
    assert code(await rest("maya").post(path, headers={"If-Match": '"9"'})) == (409, "version_conflict")
    held = await rest("maya").post(path, headers={"If-Match": '"1"'})
    assert (held.status_code, held.json()["held"]) == (200, True)


async def test_every_action_has_its_effect(rest: Rest, floor: Any) -> None:
    for driver_id in ("d-1", "d-2"):
        floor.driver(driver_id)
    order = await placed(rest)
    steps: list[tuple[str, dict[str, Any], str, Any]] = [
        ("ready", {}, "status", "ready"),
        ("hold", {}, "held", True),
        ("release", {}, "held", False),
        ("assign", {"driver_id": "d-1", "position": 0}, "driver_id", "d-1"),
        ("pin", {}, "pinned", True),
        ("release", {}, "pinned", False),
        ("reassign", {"driver_id": "d-2"}, "driver_id", "d-2"),
        ("unassign", {"reason": "flat tyre"}, "driver_id", None),
        ("cancel", {}, "status", "cancelled"),
    ]
    for action, fields, field, value in steps:
        body = {"expected_version": order["version"], **fields}
        answer = await rest("maya").post(f"/api/v1/orders/{order['id']}/{action}", json=body)
        assert answer.status_code == 200, (action, answer.text)
        order = answer.json()
        assert order[field] == value, action
    story = (await rest("vera").get(f"/api/v1/orders/{order['id']}/history")).json()["items"]
    actions = [item["action"] for item in story]
    for action, *_ in steps:
        assert action in actions
    unassigned = next(item for item in story if item["action"] == "unassign")
    assert (unassigned["actor"], unassigned["reason"]) == ("maya", "flat tyre")


@pytest.mark.parametrize("action", ["assign", "reassign"])
async def test_assigning_to_nobody_is_a_bad_field(rest: Rest, action: str) -> None:
    order = await placed(rest)
    answer = await rest("maya").post(f"/api/v1/orders/{order['id']}/{action}", json={"expected_version": 1})
    assert code(answer) == (422, "bad_field")


async def test_key_gives_the_stored_answer_and_serves_one_request(rest: Rest) -> None:
    order = await placed(rest)
    path, key = f"/api/v1/orders/{order['id']}/hold", {"Idempotency-Key": "k-1"}
    first = await rest("maya").post(path, json={"expected_version": 1}, headers=key)
    again = await rest("maya").post(path, json={"expected_version": 1}, headers=key)
    assert (again.status_code, again.json()) == (200, first.json())
    other = await rest("maya").post(path, json={"expected_version": 2, "reason": "other"}, headers=key)
    assert code(other) == (422, "key_reused")
    assert (await rest("vera").get(f"/api/v1/orders/{order['id']}")).json()["version"] == 2


async def test_placing_with_a_key_twice_places_once(rest: Rest) -> None:
    key = {"Idempotency-Key": "k-place"}
    first = await rest("maya").post("/api/v1/orders", json=an_order_body(), headers=key)
    again = await rest("maya").post("/api/v1/orders", json=an_order_body(), headers=key)
    assert again.json()["id"] == first.json()["id"]
    other = await rest("maya").post("/api/v1/orders", json=an_order_body(items=9), headers=key)
    assert code(other) == (422, "key_reused")


async def test_key_that_is_too_long_is_a_bad_field(rest: Rest) -> None:
    answer = await rest("maya").post("/api/v1/orders", json=an_order_body(), headers={"Idempotency-Key": "k" * 200})
    assert code(answer) == (422, "bad_field")


async def test_undo_takes_a_command_back_once(rest: Rest, floor: Any) -> None:
    floor.driver()
    order = await placed(rest)
    path = f"/api/v1/orders/{order['id']}"
    done = (await rest("maya").post(f"{path}/assign", json={"expected_version": 1, "driver_id": "d-1"})).json()
    undone = await rest("maya").post("/api/v1/undo", json={"command_id": done["command_id"], "reason": "misclick"})
    assert undone.status_code == 200
    assert undone.json()["command_id"]
    assert [item["driver_id"] for item in undone.json()["items"]] == [None]
    assert code(await rest("maya").post("/api/v1/undo", json={"command_id": done["command_id"]})) == (
        409,
        "not_undoable",
    )
    assert code(await rest("maya").post("/api/v1/undo", json={"command_id": "c-999"}))[0] == 404


async def test_bulk_gives_a_result_for_each(rest: Rest) -> None:
    one, two = await placed(rest), await placed(rest)
    commands = [
        {"action": "hold", "order_id": one["id"], "expected_version": 1},
        {"action": "hold", "order_id": two["id"], "expected_version": 7},
        {"action": "hold", "order_id": "o-999", "expected_version": 1},
    ]
    answer = await rest("maya").post("/api/v1/commands/bulk", json={"commands": commands})
    assert answer.status_code == 200
    items = answer.json()["items"]
    assert [item["status"] for item in items] == [200, 409, 404]
    assert items[0]["body"]["held"] is True
    assert items[1]["problem"]["order"]["id"] == two["id"]


async def test_atomic_bulk_is_all_or_none(rest: Rest) -> None:
    one, two = await placed(rest), await placed(rest)
    commands = [{"action": "hold", "order_id": order["id"], "expected_version": 1} for order in (one, two)]
    spoilt = [*commands, {"action": "hold", "order_id": "o-999", "expected_version": 1}]
    refused = await rest("maya").post("/api/v1/commands/bulk", json={"commands": spoilt, "atomic": True})
    assert [item["status"] for item in refused.json()["items"]] == [424, 424, 404]
    assert (await rest("vera").get(f"/api/v1/orders/{one['id']}")).json()["version"] == 1
    done = await rest("maya").post("/api/v1/commands/bulk", json={"commands": commands, "atomic": True})
    assert [item["status"] for item in done.json()["items"]] == [200, 200]


async def test_bulk_without_a_version_is_428(rest: Rest) -> None:
    body = {"commands": [{"action": "hold", "order_id": "o-1"}]}
    assert code(await rest("maya").post("/api/v1/commands/bulk", json=body)) == (428, "precondition_required")


async def test_candidates_sum_their_terms_and_name_the_excluded(rest: Rest, floor: Any) -> None:
    for driver_id in ("d-1", "d-2"):
        floor.driver(driver_id)
    order = await placed(rest)
    answer = (await rest("maya").get(f"/api/v1/orders/{order['id']}/candidates?limit=1")).json()
    assert [item["driver_id"] for item in answer["items"]] == ["d-1"]
    best = answer["items"][0]
    assert sum(best["terms"].values()) == pytest.approx(best["cost"])
    assert T0 < best["eta_pickup_ms"] < best["eta_dropoff_ms"]
    assert answer["excluded"] == [{"driver_id": "d-2", "reason": "further away"}]


async def test_preview_shows_the_effect_and_changes_nothing(rest: Rest, floor: Any) -> None:
    floor.driver()
    order = await placed(rest)
    before = (await rest("vera").get("/api/v1/state")).json()
    answer = await rest("maya").post("/api/v1/preview", json={"order_ids": [order["id"]], "driver_id": "d-1"})
    effect = answer.json()["items"][0]
    assert (effect["order_id"], effect["driver_before"], effect["driver_after"]) == (order["id"], None, "d-1")
    assert {"eta_before_ms", "eta_after_ms", "lateness_before_ms", "lateness_after_ms"} <= effect.keys()
    assert (await rest("vera").get("/api/v1/state")).json() == before


# ---------------------------------------------------------------- drivers and floor


async def test_driver_is_shown_with_hex_mall_and_duty(rest: Rest, floor: Any) -> None:
    floor.driver("d-1", north=0.0)
    driver = (await rest("vera").get("/api/v1/drivers/d-1")).json()
    assert (driver["id"], driver["mall_id"], driver["state"], driver["verdict"]) == ("d-1", "plaza", "free", "ok")
    assert driver["hex"].startswith("89")
    assert len(driver["hex"]) == 15
    assert driver["route"] == []
    off = await rest("maya").post("/api/v1/drivers/d-1/off-duty", json={"reason": "end of shift"})
    assert (off.json()["state"], bool(off.json()["command_id"])) == ("off_duty", True)
    on = await rest("maya").post("/api/v1/drivers/d-1/on-duty")
    assert on.json()["state"] != "off_duty"
    listed = (await rest("vera").get("/api/v1/drivers?state=free,busy&q=d-1")).json()
    assert [item["id"] for item in listed["items"]] == ["d-1"]


async def test_hand_over_moves_every_order(rest: Rest, floor: Any) -> None:
    floor.driver("d-1")
    floor.driver("d-2")
    order = await placed(rest)
    await rest("maya").post(f"/api/v1/orders/{order['id']}/assign", json={"expected_version": 1, "driver_id": "d-1"})
    answer = await rest("maya").post("/api/v1/drivers/d-1/hand-over", json={"to_driver_id": "d-2"})
    assert [item["driver_id"] for item in answer.json()["items"]] == ["d-2"]
    back = await rest("maya").post("/api/v1/drivers/d-2/hand-over")
    assert [item["driver_id"] for item in back.json()["items"]] == [None]


async def test_track_is_for_ops_leads_and_is_audited(rest: Rest, floor: Any) -> None:
    floor.driver()
    assert code(await rest("maya").get("/api/v1/drivers/d-1/track")) == (403, "forbidden")
    track = (await rest("olga").get(f"/api/v1/drivers/d-1/track?from_ms=0&to_ms={T0 + MINUTE}")).json()
    assert [(item["fix_ms"], item["verdict"]) for item in track["items"]] == [(T0, "ok")]
    assert [note.actor for note in floor.runner.journal.notes if note.kind == "track_read"] == ["olga"]


async def test_malls_and_hexes_are_geojson(rest: Rest, floor: Any) -> None:
    floor.driver()
    malls = (await rest("vera").get("/api/v1/malls")).json()
    assert malls["type"] == "FeatureCollection"
    assert "plaza" in [feature.get("id") for feature in malls["features"]]
    hexes = (await rest("vera").get("/api/v1/hexes?mall_id=plaza&layer=supply,wait")).json()
    assert hexes["features"]
    for feature in hexes["features"]:
        ring = feature["geometry"]["coordinates"][0]
        assert ring[0] == ring[-1]
        assert -180 <= ring[0][0] <= -100, "GeoJSON is [lng, lat]"
        assert set(feature["properties"]) >= {"supply", "wait"}
        assert "demand" not in feature["properties"]
    assert code(await rest("vera").get("/api/v1/hexes")) == (422, "bad_field")
    assert code(await rest("vera").get("/api/v1/hexes?mall_id=plaza&layer=mood")) == (422, "bad_field")
    assert code(await rest("vera").get("/api/v1/hexes?mall_id=nowhere"))[0] == 404


async def test_kpis_count_the_floor(rest: Rest, floor: Any) -> None:
    floor.driver()
    await placed(rest)
    for query in ("", "?mall_id=plaza"):
        kpis = (await rest("vera").get(f"/api/v1/kpis{query}")).json()
        assert {**kpis, "open": 1, "unassigned": 1, "free": 1, "on_time": None} == kpis


async def test_autopilot_is_put_by_mall_with_a_key(rest: Rest) -> None:
    (before,) = (await rest("vera").get("/api/v1/autopilot")).json()["items"]
    assert before["rules"]["mode"] == "off"
    body = {"mode": "suggest", "look_ms": 5_000, "reason": "a trial"}
    for _ in range(2):
        answer = await rest("olga").put("/api/v1/autopilot/plaza", json=body, headers={"Idempotency-Key": "k-1"})
        assert (answer.status_code, answer.json()["rules"]) == (
            200, {**before["rules"], "mode": "suggest", "look_ms": 5_000}
        )  # fmt: skip
    other = await rest("olga").put(
        "/api/v1/autopilot/plaza", json={**body, "mode": "auto"}, headers={"Idempotency-Key": "k-1"}
    )
    assert code(other) == (422, "key_reused")
    assert code(await rest("olga").put("/api/v1/autopilot/nowhere", json=body)) == (404, "not_found")
    assert code(await rest("olga").put("/api/v1/autopilot/plaza", json={"mode": "on"})) == (422, "bad_field")
    assert (await rest("vera").get("/api/v1/autopilot")).json()["items"][0]["rules"]["mode"] == "suggest"


async def test_state_moves_with_every_change(rest: Rest) -> None:
    before = (await rest("vera").get("/api/v1/state")).json()
    await placed(rest)
    after = (await rest("vera").get("/api/v1/state")).json()
    assert after["seq"] == before["seq"] + 1
    assert after["hash"] != before["hash"]


async def test_scope_of_one_mall_does_not_see_another(rest: Rest, floor: Any) -> None:
    order = await placed(rest)
    elsewhere = floor.token("eve", "dispatcher", ("elsewhere",))
    answer = await rest("nobody").get(f"/api/v1/orders/{order['id']}", headers=elsewhere)
    assert code(answer)[0] in {403, 404}
    assert (await rest("nobody").get("/api/v1/orders", headers=elsewhere)).json()["items"] == []
    body = an_order_body()
    assert code(await rest("nobody").post("/api/v1/orders", json=body, headers=elsewhere)) == (403, "forbidden")


async def test_revoked_token_stops_working(rest: Rest, floor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.auth.identity.FRESH_S", 0.0)
    headers = floor.token("temp", "viewer")
    assert (await rest("nobody").get("/api/v1/kpis", headers=headers)).status_code == 200
    floor.accounts.revoke(headers["Authorization"].removeprefix("Bearer "), T0)
    assert code(await rest("nobody").get("/api/v1/kpis", headers=headers)) == (401, "unauthenticated")


# ---------------------------------------------------------------- errors and reference


@pytest.mark.parametrize(
    "path", ["/api/v1/nothing", "/api/v1/orders/", "/api/v1", "/api/v2/orders", "/api/", "/api/v1/orders/o-1/explode"]
)
async def test_unknown_address_is_not_found(rest: Rest, path: str) -> None:
    assert code(await rest("maya").get(path)) == (404, "not_found")
    assert code(await rest("maya").post(path, json={})) == (404, "not_found")


async def test_wrong_method_is_said(rest: Rest) -> None:
    answer = await rest("maya").delete("/api/v1/orders")
    assert code(answer) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, POST"


async def test_fault_of_ours_is_a_problem_without_a_traceback(rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_name: str, _params: object = None) -> None:
        raise ZeroDivisionError("the secret is 42")

    monkeypatch.setattr("dashboard.api.floor.ask", broken)
    client = rest("maya")
    client._transport.raise_app_exceptions = False  # type: ignore[attr-defined]
    answer = await client.get("/api/v1/kpis")
    assert code(answer) == (500, "internal")
    assert "42" not in answer.text


async def test_openapi_describes_every_route_with_its_bodies(rest: Rest) -> None:
    spec = (await rest("vera").get("/api/v1/openapi.json")).json()
    assert spec["servers"] == [{"url": "/api/v1"}]
    paths = spec["paths"]
    for path in (
        "/orders",
        "/orders/import",
        "/orders/{order_id}/reassign",
        "/commands/bulk",
        "/undo",
        "/preview",
        "/drivers/{driver_id}/hand-over",
    ):
        assert "requestBody" in paths[path]["post"], path
    for path, methods in paths.items():
        for method, operation in methods.items():
            assert operation["summary"], (method, path)
            good = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
            assert good[0]["content"]["application/json"]["schema"], (method, path)
    assert paths["/orders/{order_id}/reassign"]["post"]["responses"]["409"]["content"]["application/json"][
        "schema"
    ] == {"$ref": "#/components/schemas/Conflict"}


async def test_reference_page_shows_every_route_without_script_or_network(rest: Rest) -> None:
    spec = (await rest("vera").get("/api/v1/openapi.json")).json()
    answer = await rest("vera").get("/api/docs")
    assert answer.headers["content-type"].startswith("text/html")
    assert "<script" not in answer.text
    assert "//cdn" not in answer.text
    for path in spec["paths"]:
        assert f"/api/v1{path}</code>" in answer.text
    assert "script-src" not in answer.headers["content-security-policy"]
