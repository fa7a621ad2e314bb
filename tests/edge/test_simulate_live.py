"""A simulated world against a running floor: real driver sockets, orders through the desk's calls."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from msgspec.structs import replace
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from streamer.core.engine import Engine
from streamer.core.errors import ConfigurationError
from streamer.core.events import Ping, Report
from streamer.core.settings import Settings
from streamer.edge.accounts import Accounts
from streamer.edge.clock import WallClock
from streamer.edge.desk.calls import Call, Caller, CallRefusedError
from streamer.edge.desk.desk import Desk
from streamer.edge.gateway.gateway import Gateway
from streamer.edge.journal.contract import SCHEMA, JournalHeader, MemoryJournal
from streamer.edge.runner import Runner
from streamer.edge.simulation.backoff import FIRST_WAIT_S, MOST_WAIT_S, Backoff
from streamer.edge.simulation.live import LiveTally, simulate_connect
from streamer.edge.simulation.uplink import Uplink
from streamer.edge.simulation.worlds import demo_floor, plain_script
from streamer.edge.sockets import serve_sockets
from streamer.edge.wire import Ack, Nack, Route, encode
from streamer.sim.stories import Script

SECONDS = 1 / 3_600
GATEWAY_TOKEN = "a-token-of-a-test"


def a_script(seconds: float, drivers: int = 12, orders: int = 40) -> Script:
    script = plain_script(["baybrook"], drivers, orders, 0.01, 3, 0)
    return replace(script, hours=seconds * SECONDS)


class RestOfDesk(httpx.AsyncBaseTransport):
    """PROTOCOL §3, as far as a simulation uses it, on the desk's calls: what the dashboard's routes do."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.asked: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/api/v1/").split("/")
        sent = msgspec.json.decode(request.content) if request.content else {}
        query = request.url.params
        call: str
        params: dict[str, object]
        match request.method, path:
            case "GET", ["malls" | "state" as name]:
                call, params = name, {}
            case "GET", ["orders"]:
                call, params = "orders", {"status": query["status"].split(","), "mall_id": query["mall_id"]}
            case "POST", ["orders"]:
                call, params = "place", {"order": sent}
            case "GET", ["orders", order_id]:
                call, params = "order", {"order_id": order_id}
            case "GET", ["orders", order_id, "candidates"]:
                call, params = "candidates", {"order_id": order_id, "limit": int(query["limit"])}
            case "POST", ["orders", order_id, action]:
                call, params = "command", {"order_id": order_id, "action": action, **sent}
            case _:
                return httpx.Response(404)
        self.asked.append(call)
        asked = Call(call, 1, msgspec.Raw(msgspec.json.encode(params)), Caller("sim", "dispatcher", ()))
        try:
            answer = await self.desk.answer(asked)
        except CallRefusedError as error:
            return httpx.Response(error.status, content=msgspec.json.encode(error.problem))
        return httpx.Response(answer.status, content=msgspec.json.encode(answer.body))


class Floor:
    """A running floor: gateway, runner, desk."""

    def __init__(self, runner: Runner, url: str, token: str, client: httpx.AsyncClient) -> None:
        self.runner, self.url, self.token, self.client = runner, url, token, client

    async def live(self, script: Script, **options: object) -> LiveTally:
        return await simulate_connect(script, self.url, self.token, "", "", client=self.client, **options)  # type: ignore[arg-type]


@asynccontextmanager
async def a_floor(directory: Path) -> AsyncIterator[Floor]:
    floor = demo_floor()
    runner = Runner(
        Engine(floor), MemoryJournal(JournalHeader(SCHEMA, floor.geojson(), Settings(), "tests", 0)), WallClock()
    )
    await runner.start(ticking=True)
    accounts = Accounts(directory)
    gateway = Gateway(runner, accounts)
    server = await serve_sockets(gateway.handle, gateway.check_request, "127.0.0.1", 0)
    url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/v1/drivers"
    desk = Desk(runner, accounts, WallClock())
    client = httpx.AsyncClient(transport=RestOfDesk(desk), base_url="http://floor")
    try:
        yield Floor(runner, url, accounts.mint_gateway_token("fleet", ["baybrook"], 0), client)
    finally:
        await client.aclose()
        await gateway.close()
        server.close()
        await server.wait_closed()
        await runner.stop()
        accounts.close()


async def test_drivers_orders_and_routes_meet_on_a_running_floor(tmp_path: Path) -> None:
    told: list[LiveTally] = []
    async with a_floor(tmp_path) as floor:
        script = a_script(120, drivers=40, orders=60)
        running = asyncio.create_task(floor.live(script, progress=lambda _share, tally: told.append(tally)))
        state = floor.runner.engine.state
        # What a driver says back proves that its route was pushed to it and read.
        await until(lambda: any(order.status == "enroute_to_pickup" for order in state.orders.values()), 60)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert told[-1].connects == 1
    assert told[-1].placed == len(state.orders) > 20
    assert told[-1].given > 0
    assert told[-1].acked > 5
    on_duty = [driver for driver in state.drivers.values() if driver.duty == "on_duty"]
    assert on_duty
    assert all(driver.ping is not None for driver in on_duty)


async def test_without_dispatch_orders_wait_for_people(tmp_path: Path) -> None:
    async with a_floor(tmp_path) as floor:
        tally = await floor.live(a_script(6), dispatch=False)
        state = floor.runner.engine.state
    assert tally.given == tally.waiting == 0
    assert tally.placed == len(state.orders) > 5
    assert {order.status for order in state.orders.values()} <= {"placed", "ready"}


async def test_a_second_run_is_not_taken_for_a_repeat_of_the_first(tmp_path: Path) -> None:
    async with a_floor(tmp_path) as floor:
        script = a_script(5, drivers=40)
        first = await floor.live(script, dispatch=False)
        pings = sum(floor.runner.engine.state.verdicts.values())
        second = await floor.live(script, dispatch=False)
        state = floor.runner.engine.state
        assert len(state.orders) == first.placed + second.placed
        assert sum(state.verdicts.values()) >= pings + 2
        assert not first.refused
        assert not second.refused


async def test_a_floor_without_the_mall_is_a_configuration_error(tmp_path: Path) -> None:
    async with a_floor(tmp_path) as floor:
        with pytest.raises(ConfigurationError, match="there is no mall galleria"):
            await floor.live(replace(a_script(5), mall_ids=("galleria",)))


async def test_a_wrong_gateway_token_ends_the_run_at_once(tmp_path: Path) -> None:
    async with a_floor(tmp_path) as floor:
        floor.token = "wrong"
        with pytest.raises(ConfigurationError, match="answers 401: check the token"):
            await floor.live(a_script(60))


async def test_a_wrong_api_token_is_said(tmp_path: Path) -> None:
    async with a_floor(tmp_path) as floor:
        forbidden = httpx.MockTransport(lambda _: httpx.Response(401))
        async with httpx.AsyncClient(transport=forbidden, base_url="http://floor") as client:
            floor.client = client
            with pytest.raises(ConfigurationError, match="the API answers 401 to GET /malls: check the token"):
                await floor.live(a_script(60))


# ---------------------------------------------------------------- the uplink alone


class Gate:
    """A server that does what a test says: it answers, stays mute, or hangs up."""

    def __init__(self) -> None:
        self.heard: list[Ping | Report] = []
        self.sockets: list[ServerConnection] = []
        self.mute = False
        self.nack_once: set[str] = set()
        self.refuse: set[str] = set()
        self.status = 200

    def check(self, connection: ServerConnection, _request: Request) -> Response | None:
        return None if self.status == 200 else connection.respond(self.status, "no\n")

    async def handle(self, socket: ServerConnection) -> None:
        self.sockets.append(socket)
        async for text in socket:
            came = msgspec.json.decode(text, type=Ping | Report | list[Ping])
            messages = came if isinstance(came, list) else [came]
            self.heard += messages
            for message in messages if not self.mute else ():
                await socket.send(encode(self._answer(message)).decode())

    def _answer(self, message: Ping | Report) -> Ack | Nack:
        if isinstance(message, Ping):
            return Ack(seq=message.seq, driver_id=message.driver_id)
        if message.id in self.refuse:
            return Nack("bad_transition", False, "no", id=message.id, driver_id=message.driver_id)
        if message.id in self.nack_once:
            self.nack_once.discard(message.id)
            return Nack("storage_full", True, "later", id=message.id, driver_id=message.driver_id)
        return Ack(id=message.id, driver_id=message.driver_id)


class Link(msgspec.Struct):
    """An uplink on its way to a gate."""

    gate: Gate
    uplink: Uplink
    routes: list[Route]
    server: Server


@asynccontextmanager
async def a_link() -> AsyncIterator[Link]:
    gate, routes = Gate(), list[Route]()
    async with serve(gate.handle, "127.0.0.1", 0, process_request=gate.check) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        uplink = Uplink(f"ws://127.0.0.1:{port}/v1/drivers", GATEWAY_TOKEN, routes.append)
        running = asyncio.create_task(uplink.run())
        try:
            yield Link(gate, uplink, routes, server)
        finally:
            await uplink.close(patience_s=0.1)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def until(fact: object, within_s: float = 8.0) -> None:
    """Wait until a callable says yes."""
    async with asyncio.timeout(within_s):
        while not fact():  # type: ignore[operator]
            await asyncio.sleep(0.01)


def a_ping(seq: int, driver_id: str = "d-01") -> Ping:
    return Ping(1_000 + seq, 29.5, -95.1, driver_id, seq)


def a_report(name: str) -> Report:
    return Report(name, "on_duty", 1_000, "d-01")


async def test_messages_said_before_there_is_a_connection_go_out_when_there_is_one() -> None:
    async with a_link() as link:
        await link.uplink.say([a_report("r-1"), a_ping(1), a_ping(2)])
        await until(lambda: link.uplink.waiting == 0)
    assert link.gate.heard == [a_report("r-1"), a_ping(1), a_ping(2)]
    assert link.uplink.acked == 3


async def test_what_was_not_acknowledged_is_sent_again_after_a_hang_up_in_order() -> None:
    async with a_link() as link:
        link.gate.mute = True
        await link.uplink.say([a_report("r-1"), a_ping(1)])
        await until(lambda: len(link.gate.heard) == 2)
        link.gate.mute = False
        await link.gate.sockets[0].close(1012)
        await until(lambda: link.uplink.waiting == 0)
        assert link.gate.heard == [a_report("r-1"), a_ping(1)] * 2
        assert link.uplink.connects == 2


async def test_an_ack_speaks_for_all_lower_pings_of_that_driver_only() -> None:
    async with a_link() as link:
        link.gate.mute = True
        await link.uplink.say([a_ping(1), a_ping(2), a_ping(3), a_ping(1, "d-02")])
        await until(lambda: len(link.gate.heard) == 4)
        await link.gate.sockets[0].send(encode(Ack(seq=2, driver_id="d-01")).decode())
        await until(lambda: link.uplink.waiting == 2)


async def test_a_later_ack_does_not_speak_for_a_ping_that_was_refused_for_now() -> None:
    async with a_link() as link:
        link.gate.mute = True
        await link.uplink.say([a_ping(1), a_ping(2), a_ping(3)])
        await until(lambda: len(link.gate.heard) == 3)
        crowded = Nack("rate_limited", True, "too many", seq=2, driver_id="d-01")
        for answer in (crowded, Ack(seq=3, driver_id="d-01")):
            await link.gate.sockets[0].send(encode(answer).decode())
        await until(lambda: link.uplink.waiting == 1)
        link.gate.mute = False
        async with asyncio.timeout(8):
            while link.uplink.waiting:
                await link.uplink.say([])
                await asyncio.sleep(0.05)
    # Said again, its ack might still have been one of those on their way; said once more, it cannot be.
    assert [one.seq for one in link.gate.heard if isinstance(one, Ping)] == [1, 2, 3, 2, 2]


async def test_pings_go_in_arrays_and_reports_one_by_one() -> None:
    async with a_link() as link:
        await until(lambda: link.uplink.connects == 1)
        await link.uplink.say([a_ping(n) for n in range(1, 1_201)] + [a_report("r-1")])
        await until(lambda: link.uplink.waiting == 0)
    assert len(link.gate.heard) == 1_201


async def test_a_message_refused_for_now_is_tried_again_and_one_refused_for_good_is_not() -> None:
    async with a_link() as link:
        link.gate.nack_once, link.gate.refuse = {"r-1"}, {"r-2"}
        await link.uplink.say([a_report("r-1"), a_report("r-2")])
        await until(lambda: len(link.gate.heard) == 2)
        async with asyncio.timeout(8):
            while link.uplink.waiting:
                await link.uplink.say([])
                await asyncio.sleep(0.05)
    assert [one.id for one in link.gate.heard if isinstance(one, Report)] == ["r-1", "r-2", "r-1"]
    assert link.uplink.refused == {"bad_transition": 1}


async def test_routes_are_passed_on() -> None:
    async with a_link() as link:
        await until(lambda: link.gate.sockets)
        await link.gate.sockets[0].send(encode(Route(7, (), "d-01")).decode())
        await until(lambda: link.routes)
    assert link.routes == [Route(7, (), "d-01")]


async def test_a_server_that_is_restarting_is_called_again() -> None:
    async with a_link() as link:
        await until(lambda: link.gate.sockets)
        link.gate.status = 503
        await link.gate.sockets[0].close(1012)
        await link.uplink.say([a_ping(1)])
        await asyncio.sleep(0.2)
        link.gate.status = 200
        await until(lambda: link.uplink.waiting == 0, 15)


@pytest.mark.parametrize("status", [404, 503])
async def test_a_server_that_refuses_the_first_connection_is_not_waited_for(status: int) -> None:
    gate = Gate()
    gate.status = status
    async with serve(gate.handle, "127.0.0.1", 0, process_request=gate.check) as server, asyncio.timeout(5):
        port = next(iter(server.sockets)).getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf"answers {status}$"):
            await Uplink(f"ws://127.0.0.1:{port}/v1/drivers", GATEWAY_TOKEN, lambda _route: None).run()


async def test_a_gateway_that_is_not_there_ends_the_run_at_once(tmp_path: Path) -> None:
    async with a_floor(tmp_path) as floor, asyncio.timeout(5):
        floor.url = "ws://127.0.0.1:1/v1/drivers"
        with pytest.raises(
            ConfigurationError, match=r"the gateway at ws://127\.0\.0\.1:1/v1/drivers cannot be reached"
        ):
            await floor.live(a_script(60))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (httpx.Response(503), "cannot be used: it answers 503"),
        (httpx.Response(404), "is no dashboard of Mallard"),
        (httpx.Response(200, text="<html>"), "is no dashboard of Mallard"),
    ],
)
async def test_an_api_that_does_not_serve_at_first_ends_the_run(
    tmp_path: Path, answer: httpx.Response, reason: str
) -> None:
    async with a_floor(tmp_path) as floor, asyncio.timeout(5):
        other = httpx.MockTransport(lambda _: answer)
        async with httpx.AsyncClient(transport=other, base_url="http://floor") as client:
            floor.client = client
            with pytest.raises(ConfigurationError, match=reason):
                await floor.live(a_script(60))


async def test_an_api_that_goes_away_later_is_called_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_floor(tmp_path) as floor:
        answers, asked = floor.client.request, 0

        async def request(*words: Any, **options: Any) -> httpx.Response:
            nonlocal asked
            asked += 1
            if asked in {2, 3}:
                raise httpx.ConnectError("down")
            return await answers(*words, **options)

        monkeypatch.setattr(floor.client, "request", request)
        tally = await floor.live(a_script(8), dispatch=False)
    assert asked > 3
    assert tally.placed > 0


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:1/", "not the address of a gateway"),
        ("not-a-url/v1/drivers", "not the address of a gateway"),
        ("ws://127.0.0.1:1/", "the gateway at ws://127.0.0.1:1/ cannot be reached: "),
    ],
)
async def test_a_wrong_address_is_said(url: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        await Uplink(url, GATEWAY_TOKEN, lambda _route: None).run()


def test_waits_are_random_below_a_bound_that_doubles_up_to_half_a_minute() -> None:
    backoffs = [Backoff() for _ in range(300)]
    bound_s = FIRST_WAIT_S
    for _ in range(10):
        waits = [backoff.wait_s() for backoff in backoffs]
        assert 0 <= min(waits) < 0.1 * bound_s
        assert 0.9 * bound_s < max(waits) <= bound_s
        bound_s = min(MOST_WAIT_S, 2 * bound_s)
    backoffs[0].reset()
    assert backoffs[0].wait_s() <= FIRST_WAIT_S
