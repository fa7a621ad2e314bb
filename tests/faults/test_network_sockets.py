"""F8 to F11: readers that do not read, cables that are pulled, and a whole fleet that comes back at once."""

import asyncio
import json
import resource
import signal
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Request, Response

from streamer.core.events import Tick
from streamer.edge import link as linking
from streamer.edge import sockets as opening
from streamer.edge.accounts import Accounts
from streamer.edge.gateway import door as gatekeeping
from streamer.edge.gateway.limits import GatewaySettings
from streamer.edge.journal.sqlite import SqliteJournal
from streamer.edge.server import Streamer
from streamer.edge.simulation.backoff import FIRST_WAIT_S, MOST_ADVISED_S, MOST_WAIT_S, Backoff, retry_after_s
from streamer.edge.simulation.uplink import Uplink
from tests.builders import T0
from tests.edge.floor_kit import SECRET, a_header, a_streamer
from tests.edge.frames_kit import TEXT, deaf, frame
from tests.edge.gateway_floor import Phone, a_live_floor, ping_json
from tests.faults.clients import now_ms
from tests.faults.conftest import Start
from tests.faults.evidence import Evidence
from tests.faults.invariants import Acked, check_all, lost_of
from tests.faults.proxy import a_proxy
from tests.faults.scale import SCALE

MAX_CLOSE_S = 5.0
MIB = 1024 * 1024


async def until(fact: Callable[[], object], within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while not fact():
            await asyncio.sleep(0.01)


# ---------------------------------------------------------------- F8: readers that do not read


async def test_f08_readers_that_never_read_are_bounded_and_hold_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evidence: Evidence
) -> None:
    monkeypatch.setattr(linking, "MAX_BEHIND_S", 1.0)
    async with a_streamer(SqliteJournal(tmp_path, a_header()), tmp_path / "accounts") as streamer:
        token = registered(streamer, "d-9")
        dashboard = await deaf(streamer.port, linking.PATH, SECRET)
        driver = await deaf(streamer.port, "/v1/drivers", registered(streamer, "d-8"))
        await until(lambda: streamer.gateway.drivers)
        (server_side,) = [one.connection for one in streamer.gateway.drivers.values()]
        loop = asyncio.get_running_loop()
        # One asks for the whole floor again and again, the other sends what has to be answered 500 times a frame.
        asking = asyncio.create_task(pour(dashboard, frame(TEXT, b'{"call":"subscribe"}')))
        saying = asyncio.create_task(pour(driver, frame(TEXT, b"[" + b",".join([b"1"] * 500) + b"]")))
        largest, waits_s = 0, []
        async with as_phone(streamer.port, token) as phone:
            for seq in range(150):
                began_s = loop.time()
                await phone.say({"type": "report", "id": f"r-{seq}", "report": "on_duty", "fix_ms": T0})
                await phone.hear("ack")
                waits_s.append(loop.time() - began_s)
                largest = max(largest, *(unread(one) for one in streamer._server.connections))  # type: ignore[union-attr]
                await asyncio.sleep(0.01)
        await until(lambda: server_side not in streamer._server.connections, 15)  # type: ignore[union-attr]
        asking.cancel()
        saying.cancel()
        began_s = loop.time()
        await streamer.close()
        close_s = loop.time() - began_s
        await asyncio.gather(asking, saying, return_exceptions=True)
        dashboard.close()
        driver.close()
    p99_s = sorted(waits_s)[int(0.99 * len(waits_s))]
    assert MIB / 16 < largest < 1.2 * MIB
    assert p99_s < 0.25
    assert close_s < MAX_CLOSE_S
    evidence(
        "largest buffer of a reader that never reads, bytes", largest, ack_p99_of_another_ms=round(p99_s * 1000, 1),
        server_close_s=round(close_s, 2),
    )  # fmt: skip


def registered(streamer: Streamer, driver_id: str) -> str:
    streamer.accounts.register_driver(driver_id)
    return streamer.accounts.mint_driver_token(driver_id, T0)


def unread(connection: ServerConnection) -> int:
    """Bytes the server holds for a peer."""
    return 0 if connection.transport.is_closing() else connection.transport.get_write_buffer_size()


async def pour(client: socket.socket, wire: bytes) -> None:
    """Sends the same again and again, as fast as it is taken, until the other end is gone."""
    loop = asyncio.get_running_loop()
    try:
        while True:
            await loop.sock_sendall(client, wire)
            await asyncio.sleep(0.002)
    except OSError:
        pass


@asynccontextmanager
async def as_phone(port: int, token: str, **options: Any) -> AsyncIterator[Phone]:
    """A driver's program on a port."""
    headers = {"Authorization": f"Bearer {token}"}
    async with connect(
        f"ws://127.0.0.1:{port}/v1/drivers", additional_headers=headers, compression=None, proxy=None, **options
    ) as connection:
        yield Phone(connection)


# ---------------------------------------------------------------- F9: a pulled cable

QUICKER = 100.0
"""The keep-alive of this test, against the real one."""


@pytest.fixture
def quick_keepalive(monkeypatch: pytest.MonkeyPatch) -> None:
    def quick(*words: Any, ping_interval: float, ping_timeout: float, close_timeout: float, **options: Any) -> Any:
        assert ping_interval + ping_timeout + close_timeout <= 45, "the promise"
        return serve(
            *words, ping_interval=ping_interval / QUICKER, ping_timeout=ping_timeout / QUICKER,
            close_timeout=close_timeout / QUICKER, **options,
        )  # fmt: skip

    monkeypatch.setattr(opening, "serve", quick)


async def test_f09_a_half_open_socket_is_dropped_and_its_driver_shown_silent(
    tmp_path: Path, quick_keepalive: None, evidence: Evidence
) -> None:
    settings = GatewaySettings(ack_interval_s=0.0, close_timeout_s=0.03)
    async with a_live_floor(tmp_path, settings) as floor, floor.on_duty("d-2") as healthy:
        port = int(floor.url.removeprefix("ws://127.0.0.1:").partition("/")[0])
        token = floor.driver_token("d-1")
        floor.runner.clock.at_ms = T0  # type: ignore[attr-defined]
        options = {"ping_interval": None, "close_timeout": 0.01}
        async with a_proxy(port) as proxy, as_phone(proxy.port, token, **options) as phone:
            await phone.hear("route")
            await phone.report("on_duty")
            await phone.ping(1)
            assert (await phone.hear("ack"))["seq"] == 1
            proxy.swallowing = True
            pulled_s = asyncio.get_running_loop().time()
            await phone.ping(2)
            await until(lambda: "d-1" not in floor.gateway.drivers, 45 / QUICKER + 2)
            dropped_s = (asyncio.get_running_loop().time() - pulled_s) * QUICKER
        # The clock of the floor goes on, and the other driver with it.
        silent_ms = floor.runner.engine.settings.silent_ms
        floor.runner.clock.at_ms = T0 + silent_ms  # type: ignore[attr-defined]
        await healthy.ping(1, fix_ms=T0 + silent_ms)
        await healthy.hear("ack")
        floor.runner.submit(Tick())
        states = {driver.id: driver.state for driver in floor.runner.engine.state.drivers.values()}
        assert states == {"d-1": "silent", "d-2": "free"}
        assert "d-2" in floor.gateway.drivers, "a socket that answers is left alone"
        # The cable is back: what was never acknowledged is said again, and nothing is lost.
        async with floor.phone(token) as phone:
            assert (await phone.hear("welcome"))["last_seq"] == 1
            await phone.ping(2, fix_ms=T0 + silent_ms)
            assert (await phone.hear("ack"))["seq"] == 2
        check_all(floor.journal, Acked(pings={("d-1", 1), ("d-1", 2)}), floor.runner.engine.state)
    evidence("seconds until a pulled cable is noticed, at the real keep-alive", round(dropped_s, 1), promise=45)


# ---------------------------------------------------------------- F10: everybody comes back at once

STORM_S = 60.0


class Storm:
    """Phones that were cut off, each with pings nobody acknowledged; they come back as PROTOCOL and backoff say."""

    def __init__(self, tokens: dict[str, str]) -> None:
        self.tokens = tokens
        self.acked = Acked()
        self.sockets: dict[str, ClientConnection] = {}
        self.turned_away: Counter[int] = Counter()
        self.advised_s: list[float] = []
        self.said = 0

    async def come(self, port: int) -> float:
        """Everybody connects at once and has its next pings acknowledged; how many seconds that took."""
        began_s = time.monotonic()
        self.said += 2
        await asyncio.gather(*(self._come(port, driver) for driver in self.tokens))
        return time.monotonic() - began_s

    async def _come(self, port: int, driver: str) -> None:
        backoff = Backoff()
        while True:
            try:
                self.sockets[driver] = await connect(
                    f"ws://127.0.0.1:{port}/v1/drivers", compression=None, proxy=None, open_timeout=STORM_S,
                    additional_headers={"Authorization": f"Bearer {self.tokens[driver]}"}, ping_interval=None,
                    close_timeout=1,
                )  # fmt: skip
                await self._catch_up(driver)
                return
            except InvalidStatus as refused:
                self.turned_away[refused.response.status_code] += 1
                advised_s = retry_after_s(refused.response.headers.get("Retry-After"))
                assert advised_s is not None, "whoever is turned away is told when to come back"
                self.advised_s.append(advised_s)
                await asyncio.sleep(backoff.wait_s(advised_s))
            except (OSError, ConnectionClosed, TimeoutError):
                self.turned_away[0] += 1
                await asyncio.sleep(backoff.wait_s())

    async def _catch_up(self, driver: str) -> None:
        """On duty, everything since the last ack again, and wait for the ack of the newest."""
        socket = self.sockets[driver]
        heard = json.loads(await socket.recv())
        assert heard["type"] == "welcome"
        last_seq = heard["last_seq"]
        report = {"type": "report", "id": f"on-{self.said}", "report": "on_duty", "fix_ms": now_ms()}
        await socket.send(json.dumps(report))
        assert all((driver, seq) in self.acked.pings for seq in range(last_seq + 1)) or last_seq >= 0
        pings = [ping_json(seq, fix_ms=now_ms(), lat=36.127, lng=-115.171) for seq in range(self.said)]
        await socket.send(json.dumps(pings))
        while True:
            heard = json.loads(await socket.recv())
            assert heard["type"] != "nack", heard
            if heard["type"] == "ack" and heard.get("seq") == self.said - 1:
                self.acked.pings_up_to(driver, self.said - 1, first=0)
                return

    async def leave(self) -> None:
        for one in self.sockets.values():
            one.transport.abort()
        await asyncio.gather(*(one.wait_closed() for one in self.sockets.values()))


@pytest.mark.timeout(300)
async def test_f10_after_a_crash_the_whole_fleet_is_back_in_time_and_has_lost_nothing(
    data: Path, start: Start, evidence: Evidence
) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < SCALE.storm_sockets + 200:
        pytest.skip(f"{SCALE.storm_sockets} sockets need as many open files, and this system allows {most}")
    # The server's process inherits it.
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    accounts = Accounts(data)
    # Thousands of tokens are made one by one here; that they survive a power cut is not what is tested.
    accounts._file._db.pragma("synchronous", "off")
    tokens = {}
    for number in range(SCALE.storm_sockets):
        accounts.register_driver(f"s-{number}")
        tokens[f"s-{number}"] = accounts.mint_driver_token(f"s-{number}", 0)
    accounts.close()
    storm, program = Storm(tokens), start()
    await storm.come(program.port)
    await program.end(signal.SIGKILL)
    await storm.leave()
    storm.turned_away.clear()
    program = start()
    took_s = await storm.come(program.port)
    await storm.leave()
    assert await program.end() == 0, program.log()
    log = check_all(data, storm.acked)
    assert len(storm.acked.pings) == 4 * SCALE.storm_sockets
    assert took_s < STORM_S
    assert "Traceback" not in program.log()
    evidence(
        "sockets of a reconnect storm", SCALE.storm_sockets, all_in_after_s=round(took_s, 1),
        lost=len(lost_of(log, storm.acked)),
        turned_away_for_a_while=storm.turned_away[503],
    )  # fmt: skip


async def test_f10_beyond_the_rate_handshakes_get_503_and_a_time_to_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gatekeeping, "RUSH_S", 2.0)
    settings = GatewaySettings(handshakes_per_s=60, handshakes_burst=10, ack_interval_s=0.0)
    async with a_live_floor(tmp_path, settings) as floor:
        floor.runner.clock.at_ms = now_ms()  # type: ignore[attr-defined]
        tokens = {f"s-{number}": floor.driver_token(f"s-{number}") for number in range(40)}
        storm = Storm(tokens)
        port = int(floor.url.removeprefix("ws://127.0.0.1:").partition("/")[0])
        await asyncio.wait_for(storm.come(port), 30)
        assert len(floor.gateway.drivers) == 40
        assert storm.turned_away[503] >= 10
        assert set(storm.turned_away) == {503}
        assert min(storm.advised_s) >= 1
        assert set(storm.advised_s) == {1.0, 2.0}, "all at the same second would be the next storm"
        assert floor.gateway.tally.turned_away == storm.turned_away[503]
        await storm.leave()
        check_all(floor.journal, storm.acked, floor.runner.engine.state)


async def test_f10_when_all_places_are_taken_the_next_is_asked_to_come_back(tmp_path: Path) -> None:
    async with a_live_floor(tmp_path, GatewaySettings(max_sockets=2)) as floor:
        async with floor.on_duty("d-1"), floor.on_duty("d-2"):
            with pytest.raises(InvalidStatus) as refused:
                async with floor.phone(floor.driver_token("d-3")):
                    pass
            assert refused.value.response.status_code == 503
            assert retry_after_s(refused.value.response.headers["Retry-After"])
        await until(lambda: not floor.gateway.drivers)
        async with floor.on_duty("d-3"):
            pass


# ---------------------------------------------------------------- F11: how they come back


def test_f11_waits_are_spread_over_everything_below_a_bound_that_doubles_from_1_to_30_s(evidence: Evidence) -> None:
    herd = [Backoff() for _ in range(1_000)]
    bound_s = FIRST_WAIT_S
    assert (FIRST_WAIT_S, MOST_WAIT_S) == (1.0, 30.0)
    for _ in range(8):
        waits_s = sorted(one.wait_s() for one in herd)
        # Full jitter is uniform: each tenth of the time gets its tenth of the herd, give or take (5 sigma is 47).
        tenths = Counter(int(10 * wait_s / bound_s) for wait_s in waits_s)
        assert set(tenths) == set(range(10))
        assert all(50 < number < 150 for number in tenths.values())
        assert waits_s[-1] <= bound_s
        bound_s = min(MOST_WAIT_S, 2 * bound_s)
    herd[0].reset()
    assert herd[0].wait_s() <= FIRST_WAIT_S
    evidence("draws of a reconnect's wait", 8_000, longest_s=MOST_WAIT_S)


def test_f11_advice_is_obeyed_and_spread_out_too() -> None:
    waits_s = [Backoff().wait_s(advised_s=7.0) for _ in range(1_000)]
    assert 7.0 <= min(waits_s) < 7.1
    assert 7.9 < max(waits_s) <= 7.0 + FIRST_WAIT_S


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0), ("1", 1.0), (" 12 ", 12.0), ("007", 7.0), ("300", 300.0), ("301", MOST_ADVISED_S),
        ("9" * 5_000, MOST_ADVISED_S), (None, None), ("", None), ("soon", None), ("-1", None), ("1.5", None),
        ("1e3", None), ("٣", None), ("²", None), ("Wed, 21 Oct 2026 07:28:00 GMT", None),
    ],
)  # fmt: skip
def test_f11_advice_is_whole_seconds_and_never_too_long(text: str | None, seconds: float | None) -> None:
    assert retry_after_s(text) == seconds


async def test_f11_an_uplink_that_is_turned_away_comes_back_when_it_was_told_to() -> None:
    asked_s: list[float] = []
    loop = asyncio.get_running_loop()

    def check(connection: ServerConnection, _request: Request) -> Response | None:
        asked_s.append(loop.time())
        if len(asked_s) > 1:
            return None
        response = connection.respond(503, "crowded\n")
        response.headers["Retry-After"] = "1"
        return response

    async def handle(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async with serve(handle, "127.0.0.1", 0, process_request=check) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        uplink = Uplink(f"ws://127.0.0.1:{port}/v1/drivers", "a-token", lambda _route: None)
        running = asyncio.create_task(uplink.run())
        await until(lambda: uplink.connects)
        await uplink.close(patience_s=0.1)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    (waited_s,) = (after - before for before, after in pairwise(asked_s))
    assert 1.0 <= waited_s <= 1.0 + FIRST_WAIT_S + 0.5
