"""A gateway on a real socket, a runner whose commits the test decides, and a client written from PROTOCOL §2 alone."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from streamer.core.engine import Engine
from streamer.core.errors import StorageError
from streamer.core.events import OrderCommand, OrderPlaced, SetDuty
from streamer.core.malls import parse_malls
from streamer.core.settings import Settings
from streamer.core.state import Order
from streamer.edge.accounts import Accounts
from streamer.edge.clock import ManualClock
from streamer.edge.gateway.gateway import Gateway
from streamer.edge.gateway.limits import GatewaySettings
from streamer.edge.journal.contract import (
    SCHEMA,
    Entry,
    JournalHeader,
    MemoryJournal,
    OnCommit,
    OnFailure,
    Record,
    StorageFullError,
    unfolded,
)
from streamer.edge.runner import Runner
from streamer.edge.sockets import serve_sockets
from tests.builders import MALL, T0, a_collection, a_mall_feature, a_place_feature, an_order

CHEAP = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
"""A password at its real price takes longer than everything else a test does."""
WAIT_S = 5.0
"""No answer after this long is a failure."""


class HeldJournal(MemoryJournal):
    """A journal in memory that commits when the test lets it, or at once while it is not held."""

    instant = False

    def __init__(self, header: JournalHeader) -> None:
        super().__init__(header)
        self.held = False
        self._safe = 0

    def start(self, on_commit: OnCommit, on_failure: OnFailure) -> None:
        self._on_commit, self._on_failure = on_commit, on_failure

    def append(self, record: Record) -> int:
        ticket = super().append(record)
        if not self.held:
            self.commit()
        return ticket

    def commit(self) -> None:
        """Everything appended is durable now."""
        self._safe = len(self._entries)
        self._on_commit(self._ticket)

    def fail(self, error: StorageError) -> None:
        """The disk refuses what was appended."""
        self._on_failure(error)

    def probe(self) -> None:
        if self.held:
            raise StorageFullError("still full")

    def discard(self) -> None:
        del self._entries[self._safe :]

    def durable(self) -> list[Entry]:
        return list(unfolded(iter(self._entries[: self._safe])))


class LiveFloor:
    """Everything under test, and shorthand for what the floor does meanwhile."""

    def __init__(self, runner: Runner, journal: Any, accounts: Accounts, gateway: Gateway, port: int) -> None:
        self.runner, self.journal, self.accounts, self.gateway = runner, journal, accounts, gateway
        self.url = f"ws://127.0.0.1:{port}/v1/drivers"

    def driver_token(self, driver_id: str = "d-1", **particulars: Any) -> str:
        self.accounts.register_driver(driver_id, **particulars)
        return self.accounts.mint_driver_token(driver_id, T0)

    def gateway_token(self, *mall_ids: str, name: str = "fleet") -> str:
        return self.accounts.mint_gateway_token(name, mall_ids, T0)

    @asynccontextmanager
    async def phone(self, token: str, **options: Any) -> AsyncIterator["Phone"]:
        headers = {"Authorization": f"Bearer {token}"}
        async with connect(self.url, additional_headers=headers, compression=None, **options) as connection:
            yield Phone(connection)

    @asynccontextmanager
    async def on_duty(self, driver_id: str = "d-1", **options: Any) -> AsyncIterator["Phone"]:
        """A phone that has been welcomed and is on duty."""
        async with self.phone(self.driver_token(driver_id), **options) as phone:
            await phone.hear("route")
            await phone.report("on_duty")
            yield phone

    def place(self, **fields: Any) -> Order:
        placed: OrderPlaced = an_order(**fields)
        self.runner.submit(placed)
        state = self.runner.engine.state
        return state.orders[f"o-{state.orders_placed}"]

    def command(self, action: str, order: Order, driver_id: str | None = None) -> None:
        self.runner.submit(OrderCommand(action, order.id, order.version, "maya", driver_id))  # type: ignore[arg-type]

    def set_duty(self, driver_id: str, duty: str) -> None:
        self.runner.submit(SetDuty(driver_id, duty, "maya"))  # type: ignore[arg-type]


class Phone:
    """A driver's program. It knows only what PROTOCOL §2 says."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.heard: list[dict[str, Any]] = []

    async def say(self, message: object) -> None:
        await self.connection.send(json.dumps(message))

    async def hear(self, kind: str, within_s: float = WAIT_S) -> dict[str, Any]:
        """The next message of this type; others before it are kept in `heard`."""
        async with asyncio.timeout(within_s):
            while True:
                message: dict[str, Any] = json.loads(await self.connection.recv(decode=True))
                self.heard.append(message)
                if message["type"] == kind:
                    return message

    async def silence(self, for_s: float = 0.1) -> list[dict[str, Any]]:
        """What comes within a while: expected to be nothing."""
        came = []
        try:
            async with asyncio.timeout(for_s):
                while True:
                    came.append(json.loads(await self.connection.recv(decode=True)))
        except TimeoutError:
            return came

    async def report(self, report: str, **fields: Any) -> dict[str, Any]:
        message = {"type": "report", "id": f"{report}-{len(self.heard)}", "report": report, "fix_ms": T0, **fields}
        await self.say(message)
        return await self.hear("ack")

    async def ping(self, seq: int | None = 0, **fields: Any) -> None:
        await self.say(ping_json(seq, **fields))

    async def closed(self, within_s: float = WAIT_S) -> int | None:
        """The close code, once the server has closed."""
        async with asyncio.timeout(within_s):
            try:
                while True:
                    self.heard.append(json.loads(await self.connection.recv(decode=True)))
            except ConnectionClosed as end:
                return end.rcvd.code if end.rcvd else None


def ping_json(seq: int | None = 0, **fields: Any) -> dict[str, Any]:
    """A ping as a phone writes it, at the test mall."""
    named = {} if seq is None else {"seq": seq}
    return {"type": "ping", **named, "fix_ms": T0, "lat": MALL[0], "lng": MALL[1], "accuracy_m": 8.0, **fields}


def two_malls() -> dict[str, Any]:
    """`plaza` of the builders, and `north` a hundred kilometres away."""
    return a_collection(
        *a_collection()["features"],
        a_mall_feature("north", MALL[0] + 1.0, MALL[1], name="North"),
        a_place_feature("n-door", "entrance", north=1.0016, mall_id="north"),
        a_place_feature("n-shop", "store", north=1.0, mall_id="north"),
    )


@asynccontextmanager
async def a_live_floor(directory: Path, settings: GatewaySettings | None = None) -> AsyncIterator[LiveFloor]:
    async with a_floor_with(HeldJournal(a_header()), directory, settings) as floor:
        yield floor


def a_header() -> JournalHeader:
    return JournalHeader(SCHEMA, two_malls(), Settings(), "tests", T0)


@asynccontextmanager
async def a_floor_with(
    journal: Any, directory: Path, settings: GatewaySettings | None = None
) -> AsyncIterator[LiveFloor]:
    malls = two_malls()
    runner = Runner(Engine(parse_malls(malls)), journal, ManualClock(T0))
    await runner.start()
    accounts = Accounts(directory, CHEAP)
    gateway = Gateway(runner, accounts, settings, wall=ManualClock(T0))
    server = await serve_sockets(gateway.handle, gateway.check_request, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield LiveFloor(runner, journal, accounts, gateway, port)
    finally:
        if isinstance(journal, HeldJournal):
            # A test that failed half-way must not leave the end waiting for a commit.
            journal.held = False
            journal.commit()
        await gateway.close()
        server.close()
        await server.wait_closed()
        await runner.stop()
        accounts.close()
