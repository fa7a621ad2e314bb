"""The desk: who may call what, what the answers are, and how refusals are worded."""

import asyncio
from collections import Counter as Counts
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streamer.core.events import DriverRegistered
from streamer.edge.accounts import Accounts
from streamer.edge.autopilot import Autopilot
from streamer.edge.clock import ManualClock
from streamer.edge.desk.calls import Call, Caller, CallRefusedError
from streamer.edge.desk.counters import Counters
from streamer.edge.desk.desk import Desk
from streamer.edge.gateway.socket import Tally
from streamer.edge.journal.contract import MemoryJournal, Note
from streamer.edge.journal.database import open_to_read
from streamer.edge.journal.sqlite import SqliteJournal
from streamer.edge.lab.desk import LabDesk
from streamer.edge.rooms.desk import RoomDesk
from streamer.edge.rooms.gallery import Gallery
from streamer.edge.rooms.keeper import Keeper
from streamer.edge.runner import Runner
from tests.builders import MINUTE, T0, a_ping, a_report
from tests.edge.floor_kit import a_day, a_header, a_runner, encode

MAYA = Caller("maya", "dispatcher")
ROLES: dict[str, Caller | None] = {
    "nobody": None, "viewer": Caller("vera", "viewer"), "dispatcher": MAYA, "ops-lead": Caller("olga", "ops-lead"),
}  # fmt: skip
OLGA = Caller("olga", "ops-lead")
ELSEWHERE = Caller("else", "ops-lead", ("other-mall",))
BODY = {
    "external_id": "113-44556", "mall_id": "plaza", "stores": ["macys"], "items": 2, "placed_ms": T0,
    "dropoff": {"name": "Ann", "phone": "+17025550123", "address": "3355 Spring Mountain Rd", "lat": 36.126,
                "lng": -115.192, "notes": "leave at door"},
    "due_ms": T0 + 90 * MINUTE, "priority": 0, "something_new": True,
}  # fmt: skip


class Counter:
    """A desk with shorthand: `ask` for (status, body or problem)."""

    def __init__(self, runner: Runner, accounts: Accounts) -> None:
        self.runner = runner
        self.accounts = accounts
        self.clock = ManualClock(T0)
        rooms, lab = RoomDesk(runner, Keeper("secret"), Gallery(())), LabDesk(runner, Gallery(()))
        self.desk = Desk(runner, accounts, self.clock, besides=rooms.table | lab.table)

    async def ask(self, call: str, who: Caller | None = MAYA, **params: Any) -> tuple[int, dict[str, Any]]:
        try:
            answer = await self.desk.answer(Call(call, 1, encode(params), who))
        except CallRefusedError as error:
            return error.status, msgspec.json.decode(msgspec.json.encode(error.problem))
        return answer.status, msgspec.json.decode(msgspec.json.encode(answer.body))

    async def body(self, call: str, who: Caller | None = MAYA, **params: Any) -> dict[str, Any]:
        status, body = await self.ask(call, who, **params)
        assert status in {200, 201}, body
        return body

    async def placed(self, **fields: Any) -> dict[str, Any]:
        number = self.runner.engine.state.orders_placed
        return await self.body("place", order={**BODY, "external_id": f"x-{number}", **fields})

    async def command(self, action: str, order: dict[str, Any], **params: Any) -> tuple[int, dict[str, Any]]:
        given = {"order_id": order["id"], "expected_version": order["version"], **params}
        return await self.ask("command", action=action, **given)


@pytest.fixture
async def counter(tmp_path: Path) -> AsyncIterator[Counter]:
    runner = a_runner(SqliteJournal(tmp_path, a_header()))
    await runner.start()
    for number in (1, 2):
        runner.submit(DriverRegistered(f"d-{number}", f"Driver {number}", capacity=2))
        runner.submit(a_report("on_duty", f"d-{number}"))
        runner.submit(a_ping(f"d-{number}", seq=1, north=0.005 * number))
    accounts = Accounts(tmp_path / "accounts")
    yield Counter(runner, accounts)
    await runner.stop()
    accounts.close()


# ---------------------------------------------------------------- who may

LEAST: dict[str, str] = {
    "ready": "nobody", "counters": "nobody",
    "login": "nobody", "session": "nobody", "bearer": "nobody", "logout": "nobody", "accounts": "nobody",
    "state": "viewer", "malls": "viewer", "hexes": "viewer", "kpis": "viewer", "learned": "viewer",
    "expected": "viewer",
    "orders": "viewer", "order": "viewer", "history": "viewer", "drivers": "viewer", "driver": "viewer",
    "autopilot": "viewer",
    "candidates": "dispatcher", "preview": "dispatcher", "place": "dispatcher", "command": "dispatcher",
    "bulk": "dispatcher", "undo": "dispatcher", "hand_over": "dispatcher", "duty": "dispatcher", "track": "ops-lead",
    "set_autopilot": "ops-lead",
    "recordings": "viewer", "open_room": "viewer", "rooms": "viewer", "close_room": "viewer",
    "lab": "viewer", "lab_start": "ops-lead", "lab_cancel": "ops-lead",
}  # fmt: skip
"""docs/link.md, written down a second time on purpose."""


async def test_the_table_of_calls_is_the_documented_one(counter: Counter) -> None:
    assert {name: entry.role or "nobody" for name, entry in counter.desk.table.items()} == LEAST
    documented = Path(__file__).parents[2].joinpath("docs/link.md").read_text()
    assert all(f"| `{name}` |" in documented for name in LEAST)


@pytest.mark.parametrize("role", ROLES)
async def test_every_role_gets_exactly_its_calls(counter: Counter, role: str) -> None:
    order = list(ROLES).index
    for name, least in LEAST.items():
        status, body = await counter.ask(name, ROLES[role])
        if order(role) >= order(least):
            assert body.get("code") not in {"forbidden", "unauthenticated"} or status == 401, (name, body)
        else:
            assert status == (401 if role == "nobody" else 403), name
            assert body["code"] == ("unauthenticated" if role == "nobody" else "forbidden"), name


async def test_a_call_that_is_not_in_the_table_does_not_exist(counter: Counter) -> None:
    assert (await counter.ask("drop_everything", ROLES["ops-lead"]))[0] == 404


OF_A_MALL: list[tuple[str, dict[str, Any]]] = [
    ("hexes", {"mall_id": "plaza"}), ("kpis", {"mall_id": "plaza"}), ("learned", {"mall_id": "plaza"}),
    ("expected", {"mall_id": "plaza"}),
    ("orders", {"mall_id": "plaza"}),
    ("order", {"order_id": "o-1"}), ("history", {"order_id": "o-1"}), ("drivers", {"mall_id": "plaza"}),
    ("driver", {"driver_id": "d-1"}), ("candidates", {"order_id": "o-1"}),
    ("preview", {"order_ids": ["o-1"], "driver_id": "d-1"}), ("place", {"order": BODY}),
    ("command", {"action": "hold", "order_id": "o-1", "expected_version": 1}), ("undo", {"command_id": "c-8"}),
    ("hand_over", {"driver_id": "d-1"}), ("duty", {"driver_id": "d-1", "duty": "off_duty"}),
    ("track", {"driver_id": "d-1", "from_ms": 0, "to_ms": T0}),
    ("set_autopilot", {"mall_id": "plaza", "rules": {"mode": "auto"}}),
]  # fmt: skip


@pytest.mark.parametrize(("call", "params"), OF_A_MALL, ids=[call for call, _ in OF_A_MALL])
async def test_nobody_reaches_beyond_the_malls_of_their_scope(
    counter: Counter, call: str, params: dict[str, Any]
) -> None:
    order = await counter.placed()
    await counter.command("assign", order, driver_id="d-1")
    before = counter.runner.engine.hash()
    assert "c-8" in counter.runner.engine.state.commands
    status, body = await counter.ask(call, ELSEWHERE, **params)
    assert (status, body["code"]) == (403, "forbidden")
    assert counter.runner.engine.hash() == before


async def test_lists_hold_only_what_is_in_scope(counter: Counter) -> None:
    await counter.placed()
    for call in ("orders", "drivers"):
        assert (await counter.body(call, ELSEWHERE))["items"] == []
    assert (await counter.body("malls", ELSEWHERE))["features"] == []
    assert (await counter.body("kpis", ELSEWHERE))["open"] == 0
    _, bulk = await counter.ask(
        "bulk", ELSEWHERE, commands=[{"action": "hold", "order_id": "o-1", "expected_version": 1}]
    )
    assert bulk["items"][0]["status"] == 403


# ---------------------------------------------------------------- orders


async def test_an_order_is_placed_once_and_shown_as_the_protocol_says(counter: Counter) -> None:
    status, order = await counter.ask("place", order=BODY)
    assert status == 201
    assert order["command_id"].startswith("c-")
    body = {name: value for name, value in BODY.items() if name != "something_new"}
    assert {name: order[name] for name in body} == body
    assert (order["status"], order["version"], order["driver_id"]) == ("placed", 1, None)
    again, same = await counter.ask("place", order=BODY)
    assert (again, same["id"]) == (200, order["id"])
    other, problem = await counter.ask("place", order={**BODY, "items": 3})
    assert (other, problem["code"], problem["order"]["id"]) == (409, "duplicate_external_id", order["id"])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"mall_id": "nowhere"}, "mall_id"), ({"stores": []}, "stores"), ({"stores": ["nope"]}, "stores"),
        ({"items": 0}, "items"), ({"due_ms": T0 - 1}, "due_ms"), ({"due_ms": "soon"}, "due_ms"),
        ({"dropoff": {"lat": 91, "lng": 0}}, "lat"), ({"dropoff": {"lat": 10.0, "lng": 0.0}}, "dropoff"),
        ({"priority": 10}, "priority"), ({"placed_ms": None}, "placed_ms"),
    ],
)  # fmt: skip
async def test_a_bad_order_is_named_by_its_field(counter: Counter, change: dict[str, Any], named: str) -> None:
    status, problem = await counter.ask("place", order={**BODY, **change})
    assert status == 422
    assert named in problem["detail"]


async def test_orders_are_filtered_and_paged_without_gap_or_repeat(counter: Counter) -> None:
    for number in range(7):
        await counter.placed(placed_ms=T0 + number % 2)
    found, cursor = [], None
    while True:
        page = await counter.body("orders", limit=2, **({"cursor": cursor} if cursor else {}))
        found += [order["id"] for order in page["items"]]
        if page["next"] is None:
            break
        cursor = page["next"]
    assert sorted(found) == [f"o-{number}" for number in range(1, 8)]
    assert (await counter.ask("orders", cursor="rubbish"))[0] == 422
    await counter.command("assign", await counter.body("order", order_id="o-3"), driver_id="d-1")
    assert [order["id"] for order in (await counter.body("orders", status=["assigned"]))["items"]] == ["o-3"]
    assert [order["id"] for order in (await counter.body("orders", driver_id="d-1"))["items"]] == ["o-3"]
    assert [order["id"] for order in (await counter.body("orders", q="X-4"))["items"]] == ["o-5"]
    assert (await counter.body("orders", risk="late"))["items"] == []


# ---------------------------------------------------------------- commands


async def test_of_two_commands_with_the_same_version_one_wins_and_the_other_sees_the_order(counter: Counter) -> None:
    order = await counter.placed()
    await counter.command("assign", order, driver_id="d-1")
    seen = await counter.body("order", order_id=order["id"])
    answers = await asyncio.gather(
        counter.command("reassign", seen, driver_id="d-2"), counter.command("reassign", seen, driver_id="d-2")
    )
    assert sorted(status for status, _ in answers) == [200, 409]
    problem = next(body for status, body in answers if status == 409)
    assert problem["code"] == "version_conflict"
    assert (problem["order"]["driver_id"], problem["order"]["version"]) == ("d-2", seen["version"] + 1)


async def test_a_command_without_a_version_is_428(counter: Counter) -> None:
    order = await counter.placed()
    status, problem = await counter.command("hold", order, expected_version=None)
    assert (status, problem["code"]) == (428, "version_required")


async def test_the_same_key_is_answered_again_and_another_body_under_it_is_422(counter: Counter) -> None:
    order = await counter.placed()
    first = await counter.command("assign", order, driver_id="d-1", key="k-1")
    again = await counter.command("assign", order, driver_id="d-1", key="k-1")
    assert first == again
    assert first[1]["version"] == 2
    status, problem = await counter.command("assign", order, driver_id="d-2", key="k-1")
    assert (status, problem["code"]) == (422, "key_reused")
    olga = ROLES["ops-lead"]
    same_key = {"action": "hold", "order_id": order["id"], "expected_version": 2, "key": "k-1"}
    assert (await counter.ask("command", olga, **same_key))[0] == 200


@pytest.mark.parametrize(
    ("action", "params", "status", "code"),
    [
        ("assign", {"order_id": "o-99"}, 404, "not_found"),
        ("assign", {"driver_id": "d-99"}, 404, "unknown_driver"),
        ("assign", {}, 422, "bad_field"),
        ("dance", {}, 422, "bad_field"),
        ("reassign", {"driver_id": "d-2"}, 409, "bad_transition"),
        ("assign", {"driver_id": "d-3"}, 409, "driver_off_duty"),
        ("hold", {"expected_version": 9}, 409, "version_conflict"),
    ],
)
async def test_refusals_have_their_status_and_code(
    counter: Counter, action: str, params: dict[str, Any], status: int, code: str
) -> None:
    counter.runner.submit(DriverRegistered("d-3"))
    order = await counter.placed()
    found, problem = await counter.command(action, order, **params)
    assert (found, problem["code"]) == (status, code)
    assert ("order" in problem) == (status == 409)


async def test_a_full_driver_is_409_over_capacity(counter: Counter) -> None:
    for _ in range(2):
        assert (await counter.command("assign", await counter.placed(), driver_id="d-1"))[0] == 200
    status, problem = await counter.command("assign", await counter.placed(), driver_id="d-1")
    assert (status, problem["code"]) == (409, "over_capacity")


async def test_undo_leads_back_and_only_while_nothing_depends_on_it(counter: Counter) -> None:
    order = await counter.placed()
    _, assigned = await counter.command("assign", order, driver_id="d-1")
    undone = await counter.body("undo", command_id=assigned["command_id"])
    assert undone["items"][0]["driver_id"] is None
    status, problem = await counter.ask("undo", command_id=assigned["command_id"])
    assert (status, problem["code"]) == (409, "not_undoable")
    assert (await counter.ask("undo", command_id="c-999"))[0] == 404


async def test_a_hand_over_moves_everything_a_driver_has(counter: Counter) -> None:
    for _ in range(2):
        await counter.command("assign", await counter.placed(), driver_id="d-1")
    moved = await counter.body("hand_over", driver_id="d-1", to_driver_id="d-2")
    assert [order["driver_id"] for order in moved["items"]] == ["d-2", "d-2"]
    assert (await counter.ask("hand_over", driver_id="d-1"))[0] == 409


async def test_duty_registers_a_driver_nobody_knows(counter: Counter) -> None:
    driver = await counter.body("duty", driver_id="new-1", duty="on_duty")
    assert (driver["id"], driver["state"]) == ("new-1", "free")
    assert driver["command_id"].startswith("c-")
    scoped = Caller("sam", "dispatcher", ("plaza",))
    assert (await counter.body("duty", scoped, driver_id="new-2", duty="on_duty"))["region"] == "plaza"


async def test_a_bulk_answers_each_command_and_a_bad_one_loses_no_other(counter: Counter) -> None:
    ids = [(await counter.placed())["id"] for _ in range(3)]
    commands: list[Any] = [
        {"action": "hold", "order_id": ids[0], "expected_version": 1},
        {"action": "hold", "order_id": ids[1], "expected_version": 7},
        {"action": "nonsense"},
        {"action": "hold", "order_id": ids[2]},
        {"action": "assign", "order_id": ids[2], "expected_version": 1, "driver_id": "d-1"},
    ]
    items = (await counter.body("bulk", commands=commands))["items"]
    assert [item["status"] for item in items] == [200, 409, 422, 428, 200]
    assert items[0]["body"]["held"]
    assert items[1]["problem"]["order"]["version"] == 1


async def test_an_atomic_bulk_is_all_or_nothing(counter: Counter) -> None:
    ids = [(await counter.placed())["id"] for _ in range(3)]
    good = [{"action": "assign", "order_id": ids[n], "expected_version": 1, "driver_id": "d-1"} for n in range(2)]
    before = counter.runner.engine.hash()
    over = [*good, {"action": "assign", "order_id": ids[2], "expected_version": 1, "driver_id": "d-1"}]
    items = (await counter.body("bulk", commands=over, atomic=True))["items"]
    assert [(item["status"], item["problem"]["code"]) for item in items] == [
        (424, "not_applied"), (424, "not_applied"), (409, "over_capacity"),
    ]  # fmt: skip
    assert counter.runner.engine.hash() == before
    items = (await counter.body("bulk", commands=good, atomic=True))["items"]
    assert [item["status"] for item in items] == [200, 200]


# ---------------------------------------------------------------- reading


async def test_candidates_and_preview_agree_on_who_is_there(counter: Counter) -> None:
    order = await counter.placed()
    ranking = await counter.body("candidates", order_id=order["id"])
    assert {item["driver_id"] for item in ranking["items"]} == {"d-1", "d-2"}
    assert ranking["items"][0]["cost"] == pytest.approx(sum(ranking["items"][0]["terms"].values()), abs=0.05)
    (effect,) = (await counter.body("preview", order_ids=[order["id"]], driver_id="d-1"))["items"]
    assert (effect["driver_before"], effect["driver_after"]) == (None, "d-1")
    await counter.command("cancel", order)
    assert (await counter.ask("candidates", order_id=order["id"]))[0] == 409
    assert (await counter.ask("preview", order_ids=[order["id"]], driver_id="d-1"))[0] == 409


async def test_what_is_expected_follows_from_what_was_placed(counter: Counter) -> None:
    assert (await counter.body("expected", mall_id="plaza"))["orders"] == 0
    for _ in range(4):
        await counter.placed()
    body = await counter.body("expected", mall_id="plaza")
    assert body == {
        "mall_id": "plaza", "at_ms": T0, "ahead_ms": 30 * MINUTE, "orders": 5, "seen": 4,
        "stores": {"macys": 5},
    }  # fmt: skip
    assert (await counter.ask("expected", mall_id="nowhere"))[0] == 404


async def test_what_was_learned_is_told_store_by_store(counter: Counter) -> None:
    order = await counter.placed(ready_ms=T0 + 10 * MINUTE)
    counter.runner.clock.at_ms = T0 + 13 * MINUTE  # type: ignore[attr-defined]  # a test turns it
    assert (await counter.command("ready", order))[0] == 200
    body = await counter.body("learned", mall_id="plaza")
    assert (body["mall_id"], body["learning"], body["used"], body["ready_scored"]) == ("plaza", True, True, 1)
    macys, zara = body["stores"]
    assert (macys["store_id"], macys["promise_error_ms"]) == ("macys", 3 * MINUTE)
    assert 0 < zara["late_ms"] < macys["late_ms"] < 3 * MINUTE
    assert (await counter.ask("learned", mall_id="nowhere"))[0] == 404
    assert (await counter.ask("learned"))[0] == 422


async def test_hexes_are_geojson_with_the_layers_asked_for(counter: Counter) -> None:
    await counter.placed()
    hexes = await counter.body("hexes", mall_id="plaza", layers=["supply", "demand"])
    assert hexes["type"] == "FeatureCollection"
    assert {tuple(feature["properties"]) for feature in hexes["features"]} == {("supply", "demand")}
    assert sum(feature["properties"]["supply"] for feature in hexes["features"]) == 2
    ring = hexes["features"][0]["geometry"]["coordinates"][0]
    assert ring[0] == ring[-1]
    assert -116 < ring[0][0] < -114


async def test_history_tells_who_did_what(counter: Counter) -> None:
    order = await counter.placed()
    await counter.command("hold", order, reason="waits for a call")
    items = (await counter.body("history", order_id=order["id"]))["items"]
    assert [(item["actor"], item["action"]) for item in items] == [("maya", "placed"), ("maya", "hold")]
    assert items[1]["reason"] == "waits for a call"


async def test_a_track_is_for_ops_leads_and_the_look_is_audited(counter: Counter) -> None:
    track = await counter.body("track", ROLES["ops-lead"], driver_id="d-1", from_ms=0, to_ms=T0 + 1)
    assert [(point["seq"], point["verdict"]) for point in track["items"]] == [(1, "ok")]
    journal = counter.runner.journal
    assert isinstance(journal, SqliteJournal)
    found = open_to_read(journal.path).execute("SELECT body FROM entry WHERE kind = 'track_read'").fetchall()
    assert msgspec.json.decode(found[0][0], type=Note).actor == "olga"  # type: ignore[arg-type]


async def test_state_gives_the_hash_of_the_engine(counter: Counter) -> None:
    state = await counter.body("state")
    engine = counter.runner.engine
    assert state == {"seq": engine.state.seq, "at_ms": engine.state.at_ms, "hash": engine.hash()}


# ---------------------------------------------------------------- people


async def test_counters_are_numbers_of_the_gateway_the_runner_and_the_engine(counter: Counter) -> None:
    before = await counter.body("counters", None)
    assert {type(told) for told in before.values()} == {int, dict}
    assert sum(before["ack_wait_seconds"]["counts"]) > 0
    assert len(before["ack_wait_seconds"]["counts"]) == len(before["ack_wait_seconds"]["bounds"]) + 1
    assert before["seq"] == counter.runner.engine.state.seq > 0
    assert before["pings_judged_total.verdict.ok"] == 2
    assert (before["full"], before["quarantined_total"], before["rebuilt_total"]) == (0, 0, 0)
    tally = Tally(opened=5, refused=2, pings=7, reports=3, acks=6, nacks=Counts(bad_field=4), closed=Counts({1001: 3}))
    counter.desk = Desk(counter.runner, counter.accounts, counter.clock, Counters(counter.runner, tally))
    counter.runner.full, counter.runner.rebuilt, counter.runner.quarantined = True, 9, 8
    after = await counter.body("counters", None)
    assert after == {
        **before, "ack_wait_seconds": after["ack_wait_seconds"],
        "sockets_open": 2, "sockets_opened_total": 5, "sockets_closed_total.code.1001": 3,
        "handshakes_refused_total": 2, "pings_total": 7, "reports_total": 3, "acks_total": 6,
        "nacks_total.code.bad_field": 4, "full": 1, "rebuilt_total": 9, "quarantined_total": 8,
    }  # fmt: skip


async def test_a_log_in_opens_a_session_until_logout_and_is_audited(counter: Counter) -> None:
    counter.accounts.add_user("maya", "correct horse", "dispatcher", ("plaza",))
    opened = await counter.body("login", None, name="maya", password="correct horse")
    assert {name: opened[name] for name in ("name", "role", "mall_ids")} == {
        "name": "maya", "role": "dispatcher", "mall_ids": ["plaza"],
    }  # fmt: skip
    assert (await counter.body("session", None, session=opened["session"]))["name"] == "maya"
    assert (await counter.ask("login", None, name="maya", password="wrong"))[0] == 401
    await counter.body("logout", None, session=opened["session"])
    assert (await counter.ask("session", None, session=opened["session"]))[0] == 401
    journal = counter.runner.journal
    assert isinstance(journal, SqliteJournal)
    kinds = [
        kind
        for (kind,) in open_to_read(journal.path).execute("SELECT kind FROM entry WHERE note > 0 ORDER BY seq, note")
    ]
    assert kinds == ["login", "login_failed", "logout"]


async def test_guessing_is_locked(counter: Counter) -> None:
    counter.accounts.add_user("maya", "correct horse", "dispatcher")
    for _ in range(5):
        assert (await counter.ask("login", None, name="maya", password="guess"))[1]["code"] == "bad_login"
    status, problem = await counter.ask("login", None, name="maya", password="correct horse")
    assert (status, problem["code"]) == (429, "locked")


async def test_a_bearer_is_who_the_token_says(counter: Counter) -> None:
    token = counter.accounts.mint_api_token("robot", "dispatcher", (), T0)
    assert (await counter.body("bearer", None, token=token))["role"] == "dispatcher"
    assert (await counter.ask("bearer", None, token=token + "x"))[0] == 401


# ---------------------------------------------------------------- the autopilot


async def test_the_autopilot_is_set_by_mall_and_read_back(counter: Counter) -> None:
    (before,) = (await counter.body("autopilot"))["items"]
    assert (before["mall_id"], before["rules"]["mode"]) == ("plaza", "off")
    assert before["worker"] == {
        "ok": True, "last_look_ms": None, "plan_ms": None, "message": None, "road_share": None,
    }  # fmt: skip
    assert before["routing"] is None
    rules = {"mode": "auto", "offer_ms": 45_000}
    done = await counter.body("set_autopilot", OLGA, mall_id="plaza", rules=rules, reason="quiet", key="k-1")
    again = await counter.body("set_autopilot", OLGA, mall_id="plaza", rules=rules, reason="quiet", key="k-1")
    assert again == done
    assert done["rules"] == {**before["rules"], **rules}
    assert (await counter.body("autopilot"))["items"] == [{**before, "rules": done["rules"]}]
    assert counter.runner.engine.state.commands[done["command_id"]].action == "autopilot"
    assert (await counter.body("autopilot", ELSEWHERE))["items"] == []


@pytest.mark.parametrize(
    ("params", "status", "named"),
    [
        ({"mall_id": "nowhere", "rules": {}}, 404, "nowhere"), ({"mall_id": "plaza"}, 422, "rules"),
        ({"mall_id": "plaza", "rules": {"mode": "on"}}, 422, "mode"),
        ({"mall_id": "plaza", "rules": {"look_ms": 10}}, 422, "look_ms"),
        ({"mall_id": "plaza", "rules": {"speed": 1}}, 422, "speed"),
    ],
)  # fmt: skip
async def test_rules_that_cannot_be_are_refused(
    counter: Counter, params: dict[str, Any], status: int, named: str
) -> None:
    before = counter.runner.engine.hash()
    answered, problem = await counter.ask("set_autopilot", OLGA, **params)
    assert answered == status
    assert named in problem["detail"]
    assert counter.runner.engine.hash() == before


@pytest.mark.parametrize("mode", ["auto", "auto_with_exceptions"])
async def test_on_a_recording_the_autopilot_only_suggests(counter: Counter, mode: str) -> None:
    desk = Desk(counter.runner, counter.accounts, counter.clock, autopilot=Autopilot(counter.runner, may_decide=False))
    counter.desk = desk
    status, problem = await counter.ask("set_autopilot", OLGA, mall_id="plaza", rules={"mode": mode})
    assert (status, problem["code"]) == (409, "only_suggests")
    assert (await counter.ask("set_autopilot", OLGA, mall_id="plaza", rules={"mode": "suggest"}))[0] == 200


# ---------------------------------------------------------------- durability


async def test_a_full_disk_is_503_and_the_floor_can_still_be_read(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path, a_header())
    runner = a_runner(journal)
    await runner.start()
    for at_ms, item in a_day(3):
        runner.submit(item, at_ms=at_ms)
    await runner.settled()
    counter = Counter(runner, Accounts(tmp_path / "accounts"))
    journal.limit_pages(1)
    placing = [counter.ask("place", order={**BODY, "external_id": f"full-{n}", "due_ms": T0 + 9**9}) for n in range(99)]
    answers = await asyncio.gather(*placing, return_exceptions=True)
    assert {(status, body["code"]) for status, body in answers} == {(503, "storage_full")}  # type: ignore[misc]
    assert await counter.body("ready", None) == {"journal_writable": False}
    assert (await counter.ask("login", None, name="maya", password="x"))[0] == 503
    assert len((await counter.body("drivers"))["items"]) == 4
    journal.limit_pages(1_000_000)
    await runner.stop()
    counter.accounts.close()


async def test_a_memory_floor_answers_the_same(tmp_path: Path) -> None:
    runner = a_runner(MemoryJournal(a_header()))
    runner.submit(DriverRegistered("d-1"))
    runner.submit(a_report("on_duty"))
    counter = Counter(runner, Accounts(tmp_path))
    order = await counter.placed()
    assert (await counter.command("assign", order, driver_id="d-1"))[1]["driver_id"] == "d-1"
    counter.accounts.close()
