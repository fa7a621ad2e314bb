"""A fleet's gateway and a dispatcher, written from docs alone, that remember all they were told.

They must not know the server's code. What was not answered before a connection broke is said again, as a phone does.
"""

import asyncio
import json
import random
import time
from collections import defaultdict
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.faults.invariants import Acked
from tests.faults.program import SECRET

DISPATCHER = {"name": "maya", "role": "dispatcher", "mall_ids": []}
OPS_LEAD = {"name": "olga", "role": "ops-lead", "mall_ids": []}
STATUSES_DONE = range(200, 300)
ANSWER_S = 15.0


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def open_socket(port: int, path: str, token: str) -> connect:
    """A client connection with a bearer token."""
    headers = {"Authorization": f"Bearer {token}"}
    return connect(
        f"ws://127.0.0.1:{port}{path}", additional_headers=headers, compression=None, proxy=None, close_timeout=1
    )


async def until_cut(work: Coroutine[Any, Any, None]) -> None:
    """Run until the other end goes away."""
    with suppress(ConnectionClosed, OSError):
        await work


class Fleet:
    """A gateway that speaks for drivers. Use as `async with fleet.at(port): ...`, as often as the server restarts.

    Attributes:
        acked: what it was told is safe; `nacks` what was refused; `closed` the codes its sockets were closed with.
    """

    def __init__(self, token: str, drivers: list[str], seed: int = 1, acked: Acked | None = None) -> None:
        self.token = token
        self.drivers = drivers
        self.acked = acked if acked is not None else Acked()
        self.nacks: list[dict[str, Any]] = []
        self.closed: list[int | None] = []
        self.highest: dict[str, int] = defaultdict(int)
        self._said: dict[str, int] = defaultdict(int)
        self._unacked: dict[tuple[str, int], dict[str, Any]] = {}
        self._reports: dict[tuple[str, str], dict[str, Any]] = {}
        self._random = random.Random(seed)
        self._news = asyncio.Event()
        self.socket: ClientConnection | None = None

    async def run(self, port: int, pause_s: float = 0.01) -> None:
        """Connect, go on duty, and send a round of pings every `pause_s` until the server goes away."""
        with suppress(ConnectionClosed, OSError):
            async with open_socket(port, "/v1/drivers", self.token) as socket:
                self.socket = socket
                hearing = asyncio.create_task(until_cut(self.hear()))
                try:
                    await self._say_again()
                    while True:
                        await self.ping_round()
                        await asyncio.sleep(pause_s)
                finally:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(hearing, 5)
                    self.closed.append(socket.close_code)
                    self.socket = None

    async def _say_again(self) -> None:
        """Duty first; then all that was said before and never answered, in the same order."""
        waiting = [*self._reports.values(), *self._unacked.values()]
        await self.report_round("on_duty")
        for start in range(0, len(waiting), 500):
            await self.say(waiting[start : start + 500])

    async def report_round(self, report: str) -> None:
        """One report of every driver."""
        at_ms = now_ms()
        for driver in self.drivers:
            report_id = f"{driver}-{report}-{at_ms}"
            self._reports[driver, report_id] = {
                "type": "report", "id": report_id, "report": report, "driver_id": driver, "fix_ms": at_ms,
            }  # fmt: skip
        await self.say([self._reports[driver, f"{driver}-{report}-{at_ms}"] for driver in self.drivers])

    async def ping_round(self) -> None:
        """The next ping of every driver, as one frame."""
        pings = []
        for driver in self.drivers:
            self._said[driver] += 1
            ping = {
                "type": "ping", "driver_id": driver, "seq": self._said[driver], "fix_ms": now_ms(), "accuracy_m": 8,
                "lat": 36.127 + self._random.random() / 1000, "lng": -115.171,
            }  # fmt: skip
            self._unacked[driver, self._said[driver]] = ping
            pings.append(ping)
        await self.say(pings)

    async def say(self, messages: list[dict[str, Any]]) -> None:
        assert self.socket is not None
        await self.socket.send(json.dumps(messages))

    async def hear(self) -> None:
        """Keep books of every answer, until the socket closes."""
        assert self.socket is not None
        async for text in self.socket:
            self._note(json.loads(text))
            self._news.set()

    def _note(self, message: dict[str, Any]) -> None:
        if message["type"] == "nack":
            self.nacks.append(message)
        elif message["type"] == "ack" and "id" in message:
            self.acked.reports.add((message["driver_id"], message["id"]))
            self._reports.pop((message["driver_id"], message["id"]), None)
        elif message["type"] == "ack" and message.get("seq") is not None:
            driver, seq = message["driver_id"], message["seq"]
            for number in range(self.highest[driver] + 1, seq + 1):
                self.acked.pings.add((driver, number))
                self._unacked.pop((driver, number), None)
            self.highest[driver] = max(self.highest[driver], seq)

    async def heard(self, wanted: Any, within_s: float = ANSWER_S) -> None:
        """Return once `wanted()` holds, looked at after each answer."""
        async with asyncio.timeout(within_s):
            while not wanted():
                self._news.clear()
                await self._news.wait()


class Dispatcher:
    """A dashboard's end of the link (docs/link.md): calls, their answers, and the frames of the feed."""

    def __init__(self, acked: Acked | None = None, principal: dict[str, Any] | None = None) -> None:
        self.acked = acked if acked is not None else Acked()
        self.principal = principal or DISPATCHER
        self.held: set[str] = set()
        self.frames: list[dict[str, Any]] = []
        self.answers: list[int] = []
        self.unknown: list[tuple[str, dict[str, Any]]] = []
        """Calls whose connection broke before the answer: ask them again, with the same key."""
        self._number = 0
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._hearing: asyncio.Task[None] | None = None
        self._socket: ClientConnection | None = None

    async def open(self, port: int, secret: str = SECRET) -> "Dispatcher":
        """Connect."""
        self._socket = await open_socket(port, "/v1/link", secret)
        self._hearing = asyncio.create_task(until_cut(self._hear()))
        return self

    async def close(self) -> None:
        if self._socket is not None:
            await self._socket.close()
        if self._hearing is not None:
            await self._hearing

    async def call(self, call: str, **params: Any) -> dict[str, Any]:
        """One call and its answer: `{status, body or problem}`.

        Raises:
            ConnectionClosed: the outcome is unknown.
        """
        assert self._socket is not None
        self._number += 1
        future = asyncio.get_running_loop().create_future()
        self._waiting[self._number] = future
        message = {"id": self._number, "call": call, "params": params, "principal": self.principal}
        try:
            await self._socket.send(json.dumps(message))
            answer: dict[str, Any] = await asyncio.wait_for(future, ANSWER_S)
        except ConnectionClosed:
            self.unknown.append((call, params))
            raise
        self.answers.append(answer["status"])
        if answer["status"] in STATUSES_DONE:
            self._book(call, answer["body"])
        return answer

    def _book(self, call: str, body: dict[str, Any]) -> None:
        if call == "place":
            self.acked.orders.add(body["id"])
        elif call == "command" and body["held"]:
            self.held.add(body["id"])
        if "command_id" in body:
            self.acked.commands.add(body["command_id"])

    async def subscribe(self) -> None:
        """Ask for the frames of all malls; they gather in `frames`."""
        assert self._socket is not None
        await self._socket.send(json.dumps({"call": "subscribe", "malls": [], "since": {}, "epoch": ""}))

    async def ask_again(self, unknown: list[tuple[str, dict[str, Any]]]) -> None:
        """Repeat calls whose outcome is unknown; each has to be answered now, whether it took effect or not."""
        for call, params in unknown:
            answer = await self.call(call, **params)
            assert answer["status"] in STATUSES_DONE, answer

    async def ask_again_until_cut(self, unknown: list[tuple[str, dict[str, Any]]]) -> None:
        """The same, by a floor that may die once more; what it did not answer stays unknown."""
        for number, (call, params) in enumerate(unknown):
            try:
                await self.ask_again([(call, params)])
            except ConnectionClosed:
                self.unknown += unknown[number + 1 :]
                return

    async def place_and_hold(self) -> None:
        """Place orders and hold each, one after the other, until the server goes away."""
        with suppress(ConnectionClosed):
            while True:
                name = f"{id(self):x}-{now_ms()}-{self._number}"
                placed = await self.call("place", order=an_order_body(name), key=f"place-{name}")
                if placed["status"] in STATUSES_DONE:
                    await self._hold(placed["body"]["id"])

    async def _hold(self, order_id: str) -> None:
        await self.call("command", action="hold", order_id=order_id, expected_version=1, key=f"hold-{order_id}")

    async def _hear(self) -> None:
        assert self._socket is not None
        try:
            async for text in self._socket:
                message = json.loads(text)
                if "frame" in message:
                    self.frames.append(message)
                elif (future := self._waiting.pop(message["id"], None)) is not None and not future.done():
                    future.set_result(message)
        finally:
            lost = ConnectionClosed(None, None)
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(lost)
                    future.exception()
            self._waiting.clear()


def an_order_body(external_id: str, **fields: Any) -> dict[str, Any]:
    """The body of an order for one of the demo malls."""
    at_ms = now_ms()
    return {
        "external_id": external_id, "mall_id": "fashion-show", "stores": ["fs-macys"],
        "dropoff": {"lat": 36.13, "lng": -115.19}, "placed_ms": at_ms, "due_ms": at_ms + 3_600_000, **fields,
    }  # fmt: skip
