"""kill -9 of a real streamer under load: nothing acknowledged is lost, and the state is the journal's replay."""

import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from streamer.core.events import OrderPlaced, Ping
from streamer.edge.accounts import Accounts
from streamer.edge.journal import audit
from streamer.edge.journal.database import JournalReader
from streamer.edge.journal.recovery import recover
from streamer.edge.journal.sqlite import SqliteJournal
from tests.edge.floor_kit import a_header

DRIVERS = [f"d-{number}" for number in range(20)]
SECRET = "the-link-of-a-crashing-floor"
WHO = {"name": "maya", "role": "dispatcher", "mall_ids": []}
CYCLES = 5


class Program:
    """`python -m streamer` on a data directory, at a free port."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.log = (data.parent / "streamer.log").open("a+")
        self.log.seek(0, os.SEEK_END)
        begun = self.log.tell()
        self.running = subprocess.Popen(
            [sys.executable, "-m", "streamer", "--data", str(data), "--ingest-port", "0"], stderr=self.log,
            env={**os.environ, "MALLARD_LINK_SECRET": SECRET},
        )  # fmt: skip
        self.port = self._port(begun)

    def _port(self, begun: int) -> int:
        for _ in range(300):
            self.log.seek(begun)
            text = self.log.read()
            if found := re.search(r'"port": (\d+)', text):
                return int(found[1])
            assert self.running.poll() is None, text
            time.sleep(0.05)
        raise AssertionError("the streamer did not start")

    def end(self, number: signal.Signals) -> int:
        self.running.send_signal(number)
        code = self.running.wait(timeout=20)
        self.log.close()
        return code


class Load:
    """A gateway that logs its acks, and a dispatcher that logs its answers."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.sent: dict[str, int] = defaultdict(int)
        self.acked: dict[str, int] = defaultdict(int)
        self.orders: list[str] = []
        self.held: list[str] = []

    async def run(self, port: int) -> None:
        """Until the streamer dies. What was not acknowledged is said again, as a phone does."""
        self.sent.update(self.acked)
        async with (
            self._connect(port, "/v1/drivers", self.token) as gateway,
            self._connect(port, "/v1/link", SECRET) as link,
            asyncio.TaskGroup() as tasks,
        ):
            for work in (self._drive(gateway), self._hear(gateway), self._dispatch(link)):
                tasks.create_task(quietly(work))

    def _connect(self, port: int, path: str, token: str) -> connect:
        headers = {"Authorization": f"Bearer {token}"}
        return connect(
            f"ws://127.0.0.1:{port}{path}", additional_headers=headers, compression=None, proxy=None, close_timeout=1
        )

    async def _drive(self, gateway: ClientConnection) -> None:
        now = time.time_ns() // 1_000_000
        on_duty = [
            {"type": "report", "id": f"{driver}-{now}", "report": "on_duty", "driver_id": driver, "fix_ms": now}
            for driver in DRIVERS
        ]
        await gateway.send(json.dumps(on_duty))
        while True:
            now = time.time_ns() // 1_000_000
            pings = []
            for driver in DRIVERS:
                self.sent[driver] += 1
                pings.append({
                    "type": "ping", "driver_id": driver, "seq": self.sent[driver], "fix_ms": now,
                    "lat": 36.127 + random.random() / 1000, "lng": -115.171, "accuracy_m": 8,
                })  # fmt: skip
            await gateway.send(json.dumps(pings))
            await asyncio.sleep(0.01)

    async def _hear(self, gateway: ClientConnection) -> None:
        async for text in gateway:
            message = json.loads(text)
            assert message["type"] != "nack", message
            if message["type"] == "ack" and "seq" in message:
                self.acked[message["driver_id"]] = max(self.acked[message["driver_id"]], message["seq"])

    async def _dispatch(self, link: ClientConnection) -> None:
        while True:
            now = time.time_ns() // 1_000_000
            order = {
                "external_id": f"x-{now}-{len(self.orders)}", "mall_id": "fashion-show", "stores": ["fs-macys"],
                "dropoff": {"lat": 36.13, "lng": -115.19}, "placed_ms": now, "due_ms": now + 3_600_000,
            }  # fmt: skip
            placed = await self._ask(link, "place", order=order)
            self.orders.append(placed["id"])
            await self._ask(link, "command", action="hold", order_id=placed["id"], expected_version=1)
            self.held.append(placed["id"])

    async def _ask(self, link: ClientConnection, call: str, **params: Any) -> dict[str, Any]:
        await link.send(json.dumps({"id": 1, "call": call, "params": params, "principal": WHO}))
        answer = json.loads(await link.recv())
        assert answer["status"] in {200, 201}, answer
        return answer["body"]  # type: ignore[no-any-return]


async def quietly(work: Any) -> None:
    with suppress(ConnectionClosed):
        await work


def journaled(data: Path) -> tuple[dict[str, set[int]], int]:
    """The ping numbers on disk by driver, and how many orders."""
    reader = JournalReader(data)
    pings: dict[str, set[int]] = defaultdict(set)
    orders = 0
    for entry in reader.entries():
        if isinstance(entry.input, Ping):
            assert entry.input.seq is not None
            assert entry.input.seq not in pings[entry.input.driver_id], "a repeat took effect"
            pings[entry.input.driver_id].add(entry.input.seq)
        orders += isinstance(entry.input, OrderPlaced)
    audit.verify(reader.connection)
    reader.close()
    return pings, orders


@pytest.fixture
def data(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    accounts = Accounts(data)
    for driver in DRIVERS:
        accounts.register_driver(driver)
    accounts.close()
    return data


@pytest.mark.timeout(120)
async def test_kill_9_under_load_loses_nothing_acknowledged(data: Path) -> None:
    accounts = Accounts(data)
    load = Load(accounts.mint_gateway_token("crash", (), 0))
    accounts.close()
    for _ in range(CYCLES):
        program = Program(data)
        work = asyncio.create_task(load.run(program.port))
        # Long enough for a second ack: there is at most one a second for a driver.
        await asyncio.sleep(1.5 + random.random())
        await asyncio.to_thread(program.end, signal.SIGKILL)
        await work
        on_disk, orders = journaled(data)
        for driver in DRIVERS:
            missing = set(range(1, load.acked[driver] + 1)) - on_disk[driver]
            assert not missing, f"acknowledged pings of {driver} are lost: {sorted(missing)[:5]}"
        assert orders >= len(load.orders)
    assert min(load.acked.values()) > 50
    assert len(load.held) > 50
    check_state(data, load)


def check_state(data: Path, load: Load) -> None:
    """A restarted streamer holds all that was answered, and its state is a plain replay of its journal."""
    program = Program(data)
    assert program.end(signal.SIGTERM) == 0
    journal = SqliteJournal(data, a_header())
    quick, full = recover(journal), recover(journal, use_snapshots=False)
    journal.close()
    assert quick.replayed == 0, "an orderly stop leaves a snapshot of everything"
    assert quick.engine.hash() == full.engine.hash()
    state = full.engine.state
    assert set(load.orders) <= set(state.orders)
    assert all(state.orders[order_id].held for order_id in load.held)


@pytest.mark.timeout(60)
async def test_sigterm_under_load_drains_and_exits_with_0(data: Path) -> None:
    accounts = Accounts(data)
    load = Load(accounts.mint_gateway_token("crash", (), 0))
    accounts.close()
    program = Program(data)
    work = asyncio.create_task(load.run(program.port))
    await asyncio.sleep(1)
    began = time.monotonic()
    assert await asyncio.to_thread(program.end, signal.SIGTERM) == 0
    assert time.monotonic() - began < 8
    await work
    on_disk, _ = journaled(data)
    assert all(set(range(1, load.acked[driver] + 1)) <= on_disk[driver] for driver in DRIVERS)
    check_state(data, load)
