"""A floor staged for a test: the real streamer and dashboard, a few drivers and orders, and advice as a test gives it.

It must not know pages. Its clock runs; its drivers stand still and keep reporting, and nothing happens by itself.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from streamer.core.engine import Engine
from streamer.core.events import Advice, DriverRegistered, Dropoff, OrderCommand, PlanMade, SetAutopilot
from streamer.core.malls import parse_malls
from streamer.core.settings import AutopilotRules, Settings
from streamer.core.state import Order
from streamer.edge.accounts import Accounts
from streamer.edge.child import DashboardChild
from streamer.edge.clock import WallClock
from streamer.edge.demo import PEOPLE
from streamer.edge.journal.contract import SCHEMA, JournalHeader, MemoryJournal
from streamer.edge.runner import Runner
from streamer.edge.server import LOOPBACK, Streamer
from tests.builders import MALL, MINUTE, a_collection, a_ping, a_report, an_order

SUGGESTED = {"drive": 9.0, "walk": 2.5, "wait": 3.0, "detour": 1.5}
LOOK_MS = 3_600_000
PINGS_S = 5
# Around the mall by degrees (north, east), so that all of it is in view.
DRIVERS = {"d-1": ("Ana R.", 0.012, 0.014), "d-2": ("Ben T.", -0.01, 0.02), "d-3": ("Cleo M.", 0.02, -0.016)}
HOMES = ((0.03, -0.03), (0.036, -0.012), (0.028, 0.012), (-0.03, -0.02), (-0.034, 0.01), (-0.02, 0.036))


class StagedFloor:
    """What a test does to the floor, and who may log in to it."""

    def __init__(self, runner: Runner, url: str, passwords: dict[str, tuple[str, str]], token: str) -> None:
        self.runner = runner
        self.url = url
        self.passwords = passwords
        self.token = token

    @property
    def now_ms(self) -> int:
        return self.runner.now_ms()

    def state_of(self, order_id: str) -> Order:
        return self.runner.engine.state.orders[order_id]

    async def rest(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Another client: a program with an ops lead's token."""
        headers = {"Authorization": f"Bearer {self.token}"}
        async with httpx.AsyncClient(base_url=f"{self.url}/api/v1", headers=headers, trust_env=False) as client:
            return await client.request(method, path, **more)

    async def set_rules(self, **rules: Any) -> None:
        await self.runner.ask(SetAutopilot("plaza", AutopilotRules(**{"look_ms": LOOK_MS, **rules}), "olga", "to test"))

    async def place(self, number: int = 0, due_min: float = 60, **fields: Any) -> str:
        """A new order; gives its id."""
        north, east = HOMES[number % len(HOMES)]
        home = Dropoff(MALL[0] + north, MALL[1] + east, name="Ivy Baker", address=f"{number} Elm St")
        due_ms = self.now_ms + int(due_min * MINUTE)
        await self.runner.ask(an_order(placed_ms=self.now_ms, due_ms=due_ms, dropoff=home, **fields))
        return f"o-{self.runner.engine.state.orders_placed}"

    async def advise(self, order_id: str, word: str, **fields: Any) -> None:
        """The autopilot looks and says this of the order."""
        advice = Advice(order_id, word, **fields)  # type: ignore[arg-type]
        await self.runner.ask(PlanMade("plaza", (advice,)))

    async def suggest(self, order_id: str, driver_id: str = "d-1", trip: tuple[str, ...] = (), **fields: Any) -> None:
        now_ms = self.now_ms
        given: dict[str, Any] = {
            "reason": "nearest with room", "driver_id": driver_id, "trip": trip or (order_id,),
            "depart_ms": now_ms + 4 * MINUTE, "leave_ms": now_ms + 14 * MINUTE, "eta_dropoff_ms": now_ms + 32 * MINUTE,
            "cost_min": sum(SUGGESTED.values()), "terms": SUGGESTED, "regret_min": 3.2, **fields,
        }  # fmt: skip
        await self.advise(order_id, given.pop("word", "suggested"), **given)

    async def offer(self, order_id: str, driver_id: str) -> None:
        """The autopilot gives the order out, to be accepted within the mall's `offer_ms`."""
        version = self.state_of(order_id).version
        await self.runner.ask(
            OrderCommand("assign", order_id, expected_version=version, driver_id=driver_id, actor="autopilot")
        )


@asynccontextmanager
async def staged_floor(directory: Path, port: int) -> AsyncIterator[StagedFloor]:
    """Opens the floor with its three drivers on duty."""
    clock = WallClock()
    # It looks once, at an empty floor, and then not for an hour: what advice there is, the test gives.
    settings = Settings(autopilot=AutopilotRules(mode="suggest", look_ms=LOOK_MS))
    engine = Engine(parse_malls(a_collection()), settings)
    header = JournalHeader(SCHEMA, a_collection(), engine.settings, "tests", clock.now_ms())
    runner = Runner(engine, MemoryJournal(header), clock)
    accounts = Accounts(directory)
    streamer = Streamer(runner, accounts, secret := secrets.token_urlsafe(12))
    passwords = {role: (name, f"{name}-{secrets.token_urlsafe(9)}") for name, role in PEOPLE}
    for name, role in PEOPLE:
        accounts.add_user(name, passwords[role][1], role)
    await runner.start(ticking=True)
    await streamer.open(LOOPBACK, 0)
    child = DashboardChild(f"ws://{LOOPBACK}:{streamer.port}/v1/link", secret, LOOPBACK, port)
    await child.start()
    token = accounts.mint_api_token("tests", "ops-lead", (), clock.now_ms())
    pings = asyncio.create_task(_report_on(runner))
    while streamer.autopilot.health["plaza"].last_look_ms is None:
        await asyncio.sleep(0.05)
    try:
        yield StagedFloor(runner, child.url, passwords, token)
    finally:
        pings.cancel()
        await child.end()
        await streamer.close()
        await runner.stop()
        accounts.close()


async def _report_on(runner: Runner) -> None:
    for driver_id, (name, _, _) in DRIVERS.items():
        runner.submit(DriverRegistered(driver_id, name))
        runner.submit(a_report("on_duty", driver_id, fix_ms=runner.now_ms()))
    while True:
        for driver_id, (_, north, east) in DRIVERS.items():
            runner.submit(a_ping(driver_id, runner.now_ms(), north, east))
        await asyncio.sleep(PINGS_S)
