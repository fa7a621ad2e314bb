"""The driver socket as PROTOCOL §2 has it: who gets in, what is answered and when, whose routes are told to whom."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from streamer.core.events import OrderCommand, Ping, SetAutopilot
from streamer.core.settings import AutopilotRules
from streamer.edge.clock import ManualClock
from streamer.edge.gateway.limits import GatewaySettings
from streamer.edge.journal.contract import StorageFullError
from streamer.edge.journal.recovery import recover
from streamer.edge.journal.sqlite import SqliteJournal
from streamer.edge.wire import Close
from tests.builders import MALL, MINUTE, T0
from tests.edge.gateway_floor import LiveFloor, a_floor_with, a_header, a_live_floor, ping_json

AT_ONCE = GatewaySettings(ack_interval_s=0.0, watch_interval_s=0.02, close_timeout_s=0.5)
"""For tests that are not about the pace of acks."""


@pytest.fixture
async def floor(tmp_path: Path) -> AsyncIterator[LiveFloor]:
    async with a_live_floor(tmp_path, AT_ONCE) as opened:
        yield opened


# ---------------------------------------------------------------- handshake


async def status_of(floor: LiveFloor, headers: dict[str, str], **options: Any) -> tuple[int, str]:
    """The status of a refused handshake, and what it says about authentication."""
    with pytest.raises(InvalidStatus) as refused:
        async with connect(floor.url, additional_headers=headers, **options):
            pass
    response = refused.value.response
    return response.status_code, response.headers.get("WWW-Authenticate", "")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer nonsense"},
        {"Authorization": "Bearer mld_" + "A" * 43},
        {"Authorization": "Basic GOOD"},
        {"Authorization": "GOOD"},
        {"Authorization": "Bearer GOOD GOOD"},
        {"Authorization": "Bearer " + "x" * 4000},
        {"Sec-WebSocket-Protocol": "bearer.GOOD"},
        {"Sec-WebSocket-Protocol": "mallard.v1"},
        {"Sec-WebSocket-Protocol": "mallard.v1, bearer."},
        {"Sec-WebSocket-Protocol": "mallard.v1, bearer.GOOD, bearer.GOOD"},
        {"Sec-WebSocket-Protocol": "mallard.v1, bearer.nonsense"},
        {"Cookie": "token=GOOD"},
        {"X-Token": "GOOD"},
    ],
)
async def test_without_a_good_token_there_is_no_upgrade(floor: LiveFloor, headers: dict[str, str]) -> None:
    token = floor.driver_token()
    sent = {name: value.replace("GOOD", token) for name, value in headers.items()}
    assert await status_of(floor, sent) == (401, 'Bearer realm="mallard"')
    assert floor.gateway.tally.opened == 0


async def test_a_token_in_the_url_is_no_token(floor: LiveFloor) -> None:
    floor.url += f"?token={floor.driver_token()}"
    assert (await status_of(floor, {}))[0] == 401


async def test_a_revoked_token_does_not_get_in(floor: LiveFloor) -> None:
    token = floor.driver_token()
    floor.accounts.revoke(token, T0)
    assert (await status_of(floor, {"Authorization": f"Bearer {token}"}))[0] == 401


async def test_a_token_for_rest_is_none_for_the_socket(floor: LiveFloor) -> None:
    token = floor.accounts.mint_api_token("shop", "ops-lead", [], T0)
    assert (await status_of(floor, {"Authorization": f"Bearer {token}"}))[0] == 401


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_a_good_token_gets_in(floor: LiveFloor, scheme: str) -> None:
    async with connect(floor.url, additional_headers={"Authorization": f"{scheme} {floor.driver_token()}"}) as socket:
        assert json.loads(await socket.recv())["type"] == "welcome"
        assert socket.response is not None
        assert "Server" not in socket.response.headers
        assert "Sec-WebSocket-Extensions" not in socket.response.headers


async def test_a_browser_passes_its_token_as_a_subprotocol(floor: LiveFloor) -> None:
    offered: Any = ["mallard.v1", f"bearer.{floor.driver_token()}"]
    async with connect(floor.url, subprotocols=offered) as socket:
        assert socket.subprotocol == "mallard.v1"
        assert json.loads(await socket.recv())["driver_id"] == "d-1"


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "https://app.example.evil.com", "http://app.example", ""]
)
async def test_a_page_from_elsewhere_does_not_get_in(tmp_path: Path, origin: str) -> None:
    async with a_live_floor(tmp_path, GatewaySettings(origins=("https://app.example",))) as floor:
        headers = {"Authorization": f"Bearer {floor.driver_token()}", "Origin": origin}
        assert (await status_of(floor, headers))[0] == 403


async def test_a_page_that_was_allowed_gets_in(tmp_path: Path) -> None:
    async with (
        a_live_floor(tmp_path, GatewaySettings(origins=("https://app.example",))) as floor,
        connect(
            floor.url, origin="https://app.example",  # type: ignore[arg-type]
            additional_headers={"Authorization": f"Bearer {floor.driver_token()}"},
        ) as socket,
    ):  # fmt: skip
        assert json.loads(await socket.recv())["type"] == "welcome"


# ---------------------------------------------------------------- welcome


async def test_welcome_comes_first_and_then_the_route(floor: LiveFloor) -> None:
    async with floor.phone(floor.driver_token()) as phone:
        await phone.hear("route")
        assert phone.heard == [
            {"type": "welcome", "driver_id": "d-1", "server_ms": T0, "last_seq": -1},
            {"type": "route", "assignment": 0, "stops": []},
        ]


async def test_a_driver_is_registered_with_its_particulars_when_it_first_connects(floor: LiveFloor) -> None:
    async with floor.phone(floor.driver_token(name="Ana R.", capacity=3, mall_ids=("plaza",))) as phone:
        await phone.hear("welcome")
        driver = floor.runner.engine.state.drivers["d-1"]
        assert (driver.name, driver.capacity, driver.mall_ids, driver.duty) == ("Ana R.", 3, ("plaza",), "off_duty")


async def test_a_driver_of_malls_that_are_not_here_is_told_so(floor: LiveFloor) -> None:
    async with floor.phone(floor.driver_token(mall_ids=("elsewhere",))) as phone:
        assert await phone.closed() == Close.NOT_YOURS
        assert phone.heard == []


async def test_after_a_reconnect_welcome_names_the_last_ping(floor: LiveFloor) -> None:
    async with floor.on_duty() as phone:
        await phone.ping(41)
        await phone.hear("ack")
    async with floor.phone(floor.driver_token()) as phone:
        assert (await phone.hear("welcome"))["last_seq"] == 41


async def test_welcome_waits_for_the_commit_of_what_it_tells(floor: LiveFloor) -> None:
    async with floor.on_duty() as phone:
        floor.journal.held = True
        await phone.ping(41)
        async with floor.phone(floor.driver_token()) as newer:
            assert await newer.silence() == []
            floor.journal.commit()
            assert (await newer.hear("welcome"))["last_seq"] == 41
        floor.journal.held = False


async def test_welcome_tells_what_was_left_when_the_commit_failed(floor: LiveFloor) -> None:
    async with floor.on_duty() as phone:
        floor.journal.held = True
        await phone.ping(41)
        async with floor.phone(floor.driver_token()) as newer:
            assert await newer.silence() == []
            floor.journal.fail(StorageFullError("no room"))
            assert (await newer.hear("welcome"))["last_seq"] == -1
        floor.journal.held = False


# ---------------------------------------------------------------- pings and reports


async def test_a_ping_is_acknowledged_and_moves_the_marker(floor: LiveFloor) -> None:
    async with floor.on_duty() as phone:
        await phone.ping(5, battery=0.5)
        assert await phone.hear("ack") == {"type": "ack", "seq": 5}
        shown = floor.runner.engine.state.drivers["d-1"].ping
        assert shown == Ping(T0, MALL[0], MALL[1], "d-1", 5, 8.0, battery=0.5)


async def test_nothing_is_acknowledged_before_it_is_durable(floor: LiveFloor) -> None:
    async with floor.on_duty() as phone:
        floor.journal.held = True
        await phone.ping(5)
        await phone.say({"type": "report", "id": "r-9", "report": "on_break", "fix_ms": T0})
        assert await phone.silence() == []
        floor.journal.held = False
        floor.journal.commit()
        assert await phone.hear("ack") == {"type": "ack", "id": "r-9"}
        assert await phone.hear("ack") == {"type": "ack", "seq": 5}


async def test_a_repeat_waits_for_the_commit_of_the_first(floor: LiveFloor) -> None:
    async with floor.on_duty() as phone:
        floor.journal.held = True
        await phone.ping(5)
        await phone.ping(5)
        assert await phone.silence() == []
        floor.journal.held = False
        floor.journal.commit()
        assert (await phone.hear("ack"))["seq"] == 5


async def test_a_repeat_is_acknowledged_and_has_no_effect(floor: LiveFloor) -> None:
    async with floor.on_duty() as phone:
        for _ in range(3):
            await phone.ping(5)
            assert (await phone.hear("ack"))["seq"] == 5
        assert sum(isinstance(entry.input, Ping) for entry in floor.journal.durable()) == 1


async def test_acks_never_go_back(floor: LiveFloor) -> None:
    async with floor.on_duty() as phone:
        for seq in (9, 3, 9, 10):
            await phone.ping(seq, fix_ms=T0 + seq)
            assert (await phone.hear("ack"))["seq"] == max(seq, 9)


async def test_a_ping_without_seq_is_named_by_its_instant(floor: LiveFloor) -> None:
    async with floor.on_duty() as phone:
        await phone.ping(None, fix_ms=T0 - 5)
        assert await phone.hear("ack") == {"type": "ack", "seq": None, "fix_ms": T0 - 5}
        await phone.ping(None, fix_ms=T0 - 5)
        assert await phone.hear("ack") == {"type": "ack", "seq": None, "fix_ms": T0 - 5}


async def test_a_refused_ping_without_seq_is_named_by_its_instant(floor: LiveFloor) -> None:
    async with floor.on_duty() as phone:
        await phone.ping(None, fix_ms=T0 + 60 * MINUTE)
        nack = await phone.hear("nack")
        assert (nack["code"], nack["seq"], nack["fix_ms"]) == ("future", None, T0 + 60 * MINUTE)


async def test_an_array_is_taken_item_by_item(floor: LiveFloor) -> None:
    async with floor.on_duty() as phone:
        await phone.say([ping_json(1), ping_json(2, lat=91), ping_json(3, fix_ms=1), ping_json(4)])
        nacks = {(await phone.hear("nack"))["code"] for _ in range(2)}
        assert nacks == {"bad_coordinate", "too_old"}
        assert [entry.input.seq for entry in floor.journal.durable() if isinstance(entry.input, Ping)] == [1, 4]


async def test_pings_off_duty_are_refused_and_not_stored(floor: LiveFloor) -> None:
    async with floor.phone(floor.driver_token()) as phone:
        await phone.ping(5)
        nack = await phone.hear("nack")
        assert (nack["seq"], nack["code"], nack["retryable"]) == (5, "off_duty", False)
        assert not any(isinstance(entry.input, Ping) for entry in floor.journal.durable())


async def test_the_floor_can_put_a_driver_on_duty(floor: LiveFloor) -> None:
    async with floor.phone(floor.driver_token()) as phone:
        await phone.hear("welcome")
        floor.set_duty("d-1", "on_duty")
        await phone.ping(5)
        assert (await phone.hear("ack"))["seq"] == 5


async def test_a_report_is_answered_by_its_id_and_a_repeat_too(floor: LiveFloor) -> None:
    async with floor.phone(floor.driver_token()) as phone:
        report = {"type": "report", "id": "r-1", "report": "on_duty", "fix_ms": T0}
        for _ in range(2):
            await phone.say(report)
            assert await phone.hear("ack") == {"type": "ack", "id": "r-1"}
        assert floor.runner.engine.state.drivers["d-1"].duty == "on_duty"


async def test_a_refused_report_is_answered_by_its_id(floor: LiveFloor) -> None:
    async with floor.on_duty() as phone:
        await phone.say(
            {"type": "report", "id": "r-2", "report": "delivered", "order_ids": ["o-9"], "assignment": 1, "fix_ms": T0}
        )
        nack = await phone.hear("nack")
        assert nack == {
            "type": "nack", "code": "not_yours", "retryable": False, "message": "there is no order o-9", "id": "r-2",
        }  # fmt: skip


async def test_what_a_full_disk_takes_back_is_refused_for_now(floor: LiveFloor) -> None:
    async with floor.on_duty() as phone:
        floor.journal.held = True
        await phone.ping(5)
        assert await phone.silence() == []
        floor.journal.fail(StorageFullError("no room"))
        nack = await phone.hear("nack")
        assert (nack["seq"], nack["code"], nack["retryable"]) == (5, "storage_full", True)
        await phone.ping(6)
        assert (await phone.hear("nack"))["code"] == "storage_full"
        floor.journal.held = False


async def test_binary_frames_of_the_same_text_are_taken_too(floor: LiveFloor) -> None:
    async with floor.on_duty() as phone:
        await phone.connection.send(json.dumps(ping_json(5)).encode())
        assert (await phone.hear("ack"))["seq"] == 5


async def test_a_message_in_fragments_is_one_message(floor: LiveFloor) -> None:
    async with floor.on_duty() as phone:
        text = json.dumps(ping_json(5))
        await phone.connection.send([text[:7], text[7:30], text[30:]])
        assert (await phone.hear("ack"))["seq"] == 5


async def test_what_was_acknowledged_is_on_the_disk(tmp_path: Path) -> None:
    live, crashed = tmp_path / "live", tmp_path / "crashed"
    async with a_floor_with(SqliteJournal(live, a_header()), live, AT_ONCE) as floor, floor.on_duty() as phone:
        await phone.say([ping_json(seq, fix_ms=T0 + seq) for seq in range(300)])
        acked = -1
        while acked < 299:
            acked = (await phone.hear("ack"))["seq"]
        # The files as a power cut would leave them in this moment.
        shutil.copytree(live, crashed)
        state = floor.runner.engine.hash()
    journal = SqliteJournal(crashed, a_header())
    assert recover(journal).engine.hash() == state
    journal.close()


# ---------------------------------------------------------------- the pace of acks


@pytest.fixture
async def paced(tmp_path: Path) -> AsyncIterator[LiveFloor]:
    async with a_live_floor(tmp_path, GatewaySettings(ack_interval_s=0.3, close_timeout_s=0.5)) as opened:
        yield opened


async def test_acks_are_cumulative_and_at_most_one_an_interval(paced: LiveFloor) -> None:
    loop = asyncio.get_running_loop()
    async with paced.on_duty() as phone:
        heard: list[tuple[float, int]] = []
        began = loop.time()
        sending = asyncio.create_task(send_steadily([phone.ping(seq, fix_ms=T0 + seq) for seq in range(80)]))
        while not heard or heard[-1][1] < 79:
            ack = await phone.hear("ack")
            heard.append((loop.time(), ack["seq"]))
        await sending
        assert heard[0][0] - began < 0.2, "the first ack does not wait"
        assert [seq for _, seq in heard] == sorted({seq for _, seq in heard})
        gaps = [later[0] - earlier[0] for earlier, later in pairwise(heard)]
        assert min(gaps) > 0.25
        assert len(heard) <= 1 + (heard[-1][0] - heard[0][0]) / 0.28


async def send_steadily(pings: list[Any]) -> None:
    for ping in pings:
        await ping
        await asyncio.sleep(0.01)


async def test_a_batch_of_one_commit_is_one_ack(paced: LiveFloor) -> None:
    async with paced.on_duty() as phone:
        await phone.say([ping_json(seq, fix_ms=T0 + seq) for seq in range(500)])
        assert (await phone.hear("ack"))["seq"] == 499
        assert await phone.silence(0.5) == []


async def test_acks_that_are_due_are_said_before_the_server_closes(paced: LiveFloor) -> None:
    async with paced.on_duty() as phone:
        await phone.ping(1)
        await phone.hear("ack")
        await phone.ping(2)
        await asyncio.sleep(0.05)
        closing = asyncio.create_task(paced.gateway.close())
        assert await phone.closed() == Close.RESTART
        assert phone.heard[-1] == {"type": "ack", "seq": 2}
        await closing


# ---------------------------------------------------------------- routes


async def test_a_route_is_told_on_every_change_until_nothing_is_left(floor: LiveFloor) -> None:
    async with floor.on_duty() as phone:
        order = floor.place(stores=("macys", "zara"))
        floor.command("assign", order, "d-1")
        route = await phone.hear("route")
        assert route["assignment"] == order.assignment
        assert "driver_id" not in route
        pickup, dropoff = route["stops"]
        assert (pickup["kind"], pickup["order_id"], pickup["mall_id"]) == ("pickup", order.id, "plaza")
        assert pickup["stores"] == [{"id": "macys", "name": "macys"}, {"id": "zara", "name": "zara"}]
        assert (dropoff["kind"], dropoff["name"]) == ("dropoff", "Ann")
        assert dropoff["eta_ms"] > pickup["eta_ms"] > 0
        floor.command("unassign", order)
        assert (await phone.hear("route"))["stops"] == []


async def test_a_reassigned_order_is_told_to_both_drivers(floor: LiveFloor) -> None:
    async with floor.on_duty("d-1") as first, floor.on_duty("d-2") as second:
        order = floor.place()
        floor.command("assign", order, "d-1")
        old = await first.hear("route")
        floor.command("reassign", order, "d-2")
        assert (await first.hear("route"))["stops"] == []
        new = await second.hear("route")
        assert [stop["order_id"] for stop in new["stops"]] == [order.id] * 2
        assert new["assignment"] > old["assignment"]
        await first.say(
            {
                "type": "report", "id": "r-1", "report": "accepted", "order_ids": [order.id],
                "assignment": old["assignment"], "fix_ms": T0,
            }
        )  # fmt: skip
        assert (await first.hear("nack"))["code"] == "stale_assignment"
        await second.report("accepted", order_ids=[order.id], assignment=new["assignment"])
        assert order.status == "enroute_to_pickup"


async def test_a_driver_is_told_until_when_it_may_answer_an_offer(floor: LiveFloor) -> None:
    floor.runner.submit(SetAutopilot("plaza", AutopilotRules("auto", offer_ms=30_000), "olga"))
    async with floor.on_duty() as phone:
        order = floor.place()
        floor.runner.submit(OrderCommand("assign", order.id, order.version, "autopilot", "d-1"))
        pickup, dropoff = (await phone.hear("route"))["stops"]
        assert pickup["offered_until_ms"] == floor.runner.now_ms() + 30_000
        assert "offered_until_ms" not in dropoff
        await phone.report("accepted", order_ids=[order.id], assignment=order.assignment)
        floor.command("unassign", order)
        await phone.hear("route")
        floor.command("assign", order, "d-1")
        assert "offered_until_ms" not in (await phone.hear("route"))["stops"][0]


async def test_the_route_after_welcome_is_the_one_there_is(floor: LiveFloor) -> None:
    async with floor.on_duty():
        order = floor.place()
        floor.command("assign", order, "d-1")
    async with floor.phone(floor.driver_token()) as phone:
        route = await phone.hear("route")
        assert [stop["kind"] for stop in route["stops"]] == ["pickup", "dropoff"]
        assert route["assignment"] == order.assignment


async def test_a_route_is_not_told_before_it_is_durable(floor: LiveFloor) -> None:
    async with floor.on_duty() as phone:
        order = floor.place()
        floor.journal.held = True
        floor.command("assign", order, "d-1")
        async with floor.phone(floor.driver_token("d-2")) as other:
            assert await phone.silence() == []
            assert await other.silence() == []
            floor.journal.held = False
            floor.journal.commit()
            assert len((await phone.hear("route"))["stops"]) == 2
            assert (await other.hear("route"))["stops"] == []


async def test_a_change_while_a_driver_connects_is_told_once_and_after_welcome(floor: LiveFloor) -> None:
    async with floor.on_duty():
        pass
    floor.journal.held = True
    first = floor.place()
    async with floor.phone(floor.driver_token()) as phone:
        assert await phone.silence() == []
        floor.command("assign", first, "d-1")
        floor.journal.held = False
        floor.journal.commit()
        await phone.hear("welcome")
        assert [len((await phone.hear("route"))["stops"]) for _ in range(2)] == [0, 2]
        assert await phone.silence() == []


# ---------------------------------------------------------------- one socket a driver


async def test_the_newest_socket_of_a_driver_wins(floor: LiveFloor) -> None:
    async with floor.on_duty() as old, floor.phone(floor.driver_token()) as new:
        await new.hear("route")
        assert await old.closed() == Close.SUPERSEDED
        await new.ping(1)
        assert (await new.hear("ack"))["seq"] == 1
        assert len(floor.gateway.drivers) == 1
        floor.command("assign", floor.place(), "d-1")
        assert len((await new.hear("route"))["stops"]) == 2


async def test_two_drivers_do_not_supersede_each_other(floor: LiveFloor) -> None:
    async with floor.on_duty("d-1") as first, floor.on_duty("d-2") as second:
        for phone in (first, second):
            await phone.ping(1)
            assert (await phone.hear("ack"))["seq"] == 1


async def test_a_driver_that_left_is_forgotten(floor: LiveFloor) -> None:
    async with floor.on_duty():
        assert list(floor.gateway.drivers) == ["d-1"]
    async with asyncio.timeout(5):
        while floor.gateway.drivers:
            await asyncio.sleep(0.01)
    assert floor.gateway.tally.opened == sum(floor.gateway.tally.closed.values()) == 1


async def test_naming_another_driver_closes_the_socket(floor: LiveFloor) -> None:
    floor.driver_token("d-2")
    async with floor.on_duty() as phone:
        await phone.say([ping_json(1), ping_json(2, driver_id="d-2"), ping_json(3)])
        assert await phone.closed() == Close.NOT_YOURS
        refused = [message for message in phone.heard if message["type"] == "nack"]
        assert [(nack["seq"], nack["code"]) for nack in refused] == [(2, "not_yours")]
        assert [entry.input.seq for entry in floor.journal.durable() if isinstance(entry.input, Ping)] == [1]


async def test_naming_oneself_is_fine(floor: LiveFloor) -> None:
    async with floor.on_duty() as phone:
        await phone.ping(1, driver_id="d-1")
        assert (await phone.hear("ack"))["seq"] == 1


@pytest.mark.parametrize("kind", ["driver", "gateway"])
async def test_revoking_a_token_closes_its_socket_within_a_second(floor: LiveFloor, kind: str) -> None:
    token = floor.driver_token() if kind == "driver" else floor.gateway_token()
    async with floor.phone(token) as phone, floor.phone(floor.driver_token("d-2")) as other:
        await phone.hear("welcome")
        floor.accounts.revoke(token, T0)
        assert await phone.closed(1.0) == Close.UNAUTHENTICATED
        await other.hear("welcome")
        assert other.connection.close_code is None


# ---------------------------------------------------------------- gateways


async def test_a_gateway_is_welcomed_by_name(floor: LiveFloor) -> None:
    async with floor.phone(floor.gateway_token()) as fleet:
        welcome = await fleet.hear("welcome")
        assert welcome == {
            "type": "welcome", "driver_id": None, "server_ms": T0, "last_seq": None, "gateway": "fleet",
        }  # fmt: skip


async def test_a_gateway_brings_its_drivers_on_duty(floor: LiveFloor) -> None:
    async with floor.phone(floor.gateway_token("plaza")) as fleet:
        ack = await fleet.report("on_duty", driver_id="g-1")
        assert ack == {"type": "ack", "id": "on_duty-0", "driver_id": "g-1"}
        assert floor.runner.engine.state.drivers["g-1"].mall_ids == ("plaza",)
        await fleet.ping(3, driver_id="g-1")
        assert await fleet.hear("ack") == {"type": "ack", "seq": 3, "driver_id": "g-1"}


async def test_a_gateway_gets_one_ack_for_each_driver_and_commit(floor: LiveFloor) -> None:
    async with floor.phone(floor.gateway_token()) as fleet:
        for driver_id in ("g-1", "g-2"):
            await fleet.report("on_duty", driver_id=driver_id)
        floor.journal.held = True
        pings = [ping_json(seq, driver_id=f"g-{1 + seq % 2}", fix_ms=T0 + seq) for seq in range(100)]
        await fleet.say([*pings, ping_json(None, driver_id="g-2")])
        assert await fleet.silence() == []
        floor.journal.held = False
        floor.journal.commit()
        acks = [await fleet.hear("ack") for _ in range(3)]
        assert acks == [
            {"type": "ack", "seq": 98, "driver_id": "g-1"},
            {"type": "ack", "seq": 99, "driver_id": "g-2"},
            {"type": "ack", "seq": None, "fix_ms": T0, "driver_id": "g-2"},
        ]
        assert await fleet.silence() == []


@pytest.mark.parametrize(
    ("driver_id", "code"),
    [
        (None, "bad_field"),
        ("", "bad_field"),
        ("../x", "bad_field"),
        ("a" * 65, "bad_field"),
        ("unheard-of", "off_duty"),
    ],
)
async def test_a_gateway_has_to_name_a_driver_that_is_on_duty(
    floor: LiveFloor, driver_id: str | None, code: str
) -> None:
    async with floor.phone(floor.gateway_token()) as fleet:
        await fleet.ping(3, **({} if driver_id is None else {"driver_id": driver_id}))
        nack = await fleet.hear("nack")
        assert (nack["seq"], nack["code"]) == (3, code)
        assert floor.runner.engine.state.drivers == {}


@pytest.mark.parametrize("scope", [("north",), ("north", "plaza"), ()])
@pytest.mark.parametrize("mall_ids", [("north",), ("plaza",), ("plaza", "north"), ()])
async def test_a_gateway_speaks_for_the_drivers_of_its_malls_only(
    floor: LiveFloor, scope: tuple[str, ...], mall_ids: tuple[str, ...]
) -> None:
    floor.accounts.register_driver("d-1", mall_ids=mall_ids)
    allowed = not scope or not mall_ids or bool(set(scope) & set(mall_ids))
    async with floor.phone(floor.gateway_token(*scope)) as fleet:
        await fleet.say({"type": "report", "id": "r-1", "report": "on_duty", "fix_ms": T0, "driver_id": "d-1"})
        await fleet.ping(1, driver_id="d-1")
        answers = [await fleet.hear("ack" if allowed else "nack") for _ in range(2)]
        assert {answer["driver_id"] for answer in answers} == {"d-1"}
        assert allowed or {answer["code"] for answer in answers} == {"not_yours"}
        assert ("d-1" in floor.runner.engine.state.drivers) is allowed


async def test_a_driver_bound_to_no_mall_belongs_to_where_it_was_seen(floor: LiveFloor) -> None:
    floor.accounts.register_driver("d-1")
    async with floor.phone(floor.gateway_token("plaza")) as plaza:
        await plaza.report("on_duty", driver_id="d-1")
        await plaza.ping(1, driver_id="d-1")
        assert (await plaza.hear("ack"))["driver_id"] == "d-1"
        async with floor.phone(floor.gateway_token("north", name="rival")) as rival:
            await rival.ping(2, driver_id="d-1")
            assert (await rival.hear("nack"))["code"] == "not_yours"


async def test_a_gateway_of_one_mall_cannot_move_a_driver_of_another_that_is_on_duty(floor: LiveFloor) -> None:
    floor.accounts.register_driver("d-1", mall_ids=("plaza",))
    async with floor.on_duty("d-2"), floor.phone(floor.gateway_token("plaza")) as plaza:
        await plaza.report("on_duty", driver_id="d-1")
        async with floor.phone(floor.gateway_token("north", name="rival")) as rival:
            await rival.ping(9, driver_id="d-1")
            assert (await rival.hear("nack"))["code"] == "not_yours"
            assert floor.runner.engine.state.drivers["d-1"].ping is None


async def test_a_gateway_is_told_the_routes_of_its_drivers(floor: LiveFloor) -> None:
    async with (
        floor.phone(floor.gateway_token("plaza")) as fleet,
        floor.phone(floor.gateway_token("north", name="rival")) as rival,
    ):
        await fleet.report("on_duty", driver_id="g-1")
        order = floor.place()
        floor.command("assign", order, "g-1")
        route = await fleet.hear("route")
        assert (route["driver_id"], len(route["stops"])) == ("g-1", 2)
        assert [message["type"] for message in await rival.silence()] == ["welcome"]


async def test_a_gateway_that_reconnects_learns_the_route_when_it_speaks_for_the_driver(floor: LiveFloor) -> None:
    async with floor.phone(floor.gateway_token("plaza")) as fleet:
        await fleet.report("on_duty", driver_id="g-1")
    floor.command("assign", floor.place(), "g-1")
    async with floor.phone(floor.gateway_token("plaza")) as fleet:
        await fleet.ping(1, driver_id="g-1")
        route = await fleet.hear("route")
        assert (route["driver_id"], len(route["stops"])) == ("g-1", 2)
        await fleet.ping(2, driver_id="g-1")
        assert "route" not in {message["type"] for message in await fleet.silence()}


async def test_a_driver_with_its_own_socket_hears_its_route_alone(floor: LiveFloor) -> None:
    async with floor.phone(floor.gateway_token()) as fleet, floor.on_duty() as phone:
        await fleet.hear("welcome")
        floor.command("assign", floor.place(), "d-1")
        await phone.hear("route")
        assert await fleet.silence() == []


# ---------------------------------------------------------------- clocks and endings


async def test_a_floor_with_its_own_clock_moves_the_phones_instants(floor: LiveFloor) -> None:
    gateway = floor.gateway
    gateway.wall = gateway.intake._phones = ManualClock(T0 - 7 * 24 * 60 * MINUTE)
    async with floor.on_duty() as phone:
        wall_ms = gateway.wall.now_ms()
        await phone.ping(None, fix_ms=wall_ms - 3_000)
        assert await phone.hear("ack") == {"type": "ack", "seq": None, "fix_ms": wall_ms - 3_000}
        shown = floor.runner.engine.state.drivers["d-1"].ping
        assert shown is not None
        assert shown.fix_ms == T0 - 3_000
        await phone.ping(2, fix_ms=0)
        assert (await phone.hear("nack"))["code"] == "too_old"


@pytest.mark.parametrize("code", [Close.RESTART, Close.GOING_AWAY])
async def test_closing_says_goodbye_to_everybody_and_lets_nobody_in(floor: LiveFloor, code: Close) -> None:
    token = floor.driver_token()
    async with floor.phone(token) as phone, floor.phone(floor.gateway_token()) as fleet:
        await phone.hear("welcome")
        await fleet.hear("welcome")
        closing = asyncio.create_task(floor.gateway.close(code, "bye"))
        assert [await phone.closed(), await fleet.closed()] == [code, code]
        await closing
        assert (await status_of(floor, {"Authorization": f"Bearer {token}"}))[0] == 503
