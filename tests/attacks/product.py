"""The running product under attack: `mallard serve` with its dashboard, as an operator starts it, and who may use it.

It must not know any attack.
"""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from dashboard.auth.request import csrf_of
from streamer.edge.accounts import Accounts

START_S = 90.0
PASSWORD = "correct horse battery"
HOME_MALL, OTHER_MALL = "fashion-show", "baybrook"
HOME, AWAY = (36.1275, -115.1716), (29.5403, -95.1500)
"""A place inside the one mall and the other, lat, lng."""
PEOPLE: dict[str, tuple[str, tuple[str, ...]]] = {
    "vera": ("viewer", ()),
    "maya": ("dispatcher", (HOME_MALL,)),
    "bill": ("dispatcher", (OTHER_MALL,)),
    "dina": ("dispatcher", ()),
    "olga": ("ops-lead", ()),
}
"""Name, role and malls of everybody; no malls means all. Each also has an API token of the same name."""
DRIVERS = {"d-1": (HOME_MALL,), "d-2": (HOME_MALL,), "d-3": (OTHER_MALL,), "d-4": (HOME_MALL,), "d-5": (HOME_MALL,)}


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Product:
    """`mallard serve` on a fresh data directory. Use as a context manager."""

    def __init__(self, data: Path, *options: str, env: Mapping[str, str] | None = None) -> None:
        self.data = data
        self.accounts = Accounts(data)
        self.tokens: dict[str, str] = {}
        self._pages: dict[str, dict[str, str]] = {}
        for name, (role, mall_ids) in PEOPLE.items():
            self.accounts.add_user(name, PASSWORD, role, mall_ids)
            self.tokens[name] = self.accounts.mint_api_token(name, role, mall_ids, now_ms())
        for driver_id, mall_ids in DRIVERS.items():
            self.accounts.register_driver(driver_id, driver_id.upper(), mall_ids=mall_ids)
            self.tokens[driver_id] = self.accounts.mint_driver_token(driver_id, now_ms())
        self.tokens["fleet"] = self.accounts.mint_gateway_token("fleet", (HOME_MALL,), now_ms())
        self.port, self.ingest_port = free_port(), free_port()
        self.url, self.sockets = f"http://127.0.0.1:{self.port}", f"ws://127.0.0.1:{self.ingest_port}"
        self._log_path = data.parent / f"{data.name}.log"
        ports = ("--port", str(self.port), "--ingest-port", str(self.ingest_port))
        command = (sys.executable, "-m", "streamer.cli", "serve", "--data", str(data), *ports, *options)
        with self._log_path.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **(env or {})})

    def __enter__(self) -> Self:
        until_s = time.monotonic() + START_S
        while "Mallard is live" not in self.log():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < until_s, self.log()
            time.sleep(0.05)
        with self.client("olga") as rest:
            while rest.get("/readyz").status_code != 200:
                time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.accounts.close()

    def stop(self) -> None:
        """End it as an operator would."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)

    # ------------------------------------------------------------ what it shows

    def log(self) -> str:
        """Everything both processes have printed."""
        return self._log_path.read_text(errors="replace")

    def files(self) -> dict[str, bytes]:
        """Every file of the data directory, as it lies on the disk now."""
        return {path.name: path.read_bytes() for path in self.data.iterdir() if path.is_file()}

    def dashboard_pid(self) -> int:
        """The process that serves pages and REST: the child of ours."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0])

    # ------------------------------------------------------------ who talks to it

    def client(self, name: str | None = None, **options: Any) -> httpx.Client:
        """A program with the token of `name`, or a stranger."""
        return httpx.Client(base_url=self.url, headers=self.bearer(name), timeout=20, trust_env=False, **options)

    def async_client(self, name: str | None = None, **options: Any) -> httpx.AsyncClient:
        """The same, for many requests at once."""
        return httpx.AsyncClient(base_url=self.url, headers=self.bearer(name), timeout=30, trust_env=False, **options)

    def bearer(self, name: str | None) -> dict[str, str]:
        """The header a program shows."""
        return {"Authorization": f"Bearer {self.tokens[name]}"} if name else {}

    def page(self, name: str) -> dict[str, str]:
        """What a logged-in page of ours sends along with a change; always of the same log-in."""
        if name not in self._pages:
            self._pages[name] = self.log_in(name)
        return self._pages[name]

    def log_in(self, name: str) -> dict[str, str]:
        """As `page`, of a new log-in."""
        with self.client() as browser:
            answer = browser.post("/login", data={"name": name, "password": PASSWORD}, headers={"Origin": self.url})
            assert answer.status_code == 303, answer.text
            session = browser.cookies["mallard_session"]
        return {"Cookie": f"mallard_session={session}", "X-CSRFToken": csrf_of(session), "Origin": self.url}

    def phone(self, name: str | None, path: str = "/v1/drivers", **headers: str) -> connect:
        """A driver's or gateway's socket, not opened yet."""
        return connect(
            self.sockets + path, additional_headers={**self.bearer(name), **headers}, compression=None, proxy=None
        )

    def socket(self, path: str, headers: Mapping[str, str], **options: Any) -> connect:
        """A socket of the dashboard, not opened yet."""
        return connect(f"ws://127.0.0.1:{self.port}{path}", additional_headers=dict(headers), proxy=None, **options)

    # ------------------------------------------------------------ what is on the floor

    def place(self, mall_id: str = HOME_MALL, by: str = "dina", **fields: Any) -> dict[str, Any]:
        """An order of the mall, placed by a program."""
        with self.client(by) as rest:
            answer = rest.post("/api/v1/orders", json=order_body(mall_id, **fields))
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def order(self, order_id: str) -> dict[str, Any]:
        """The order as it is now."""
        with self.client("olga") as rest:
            return dict(rest.get(f"/api/v1/orders/{order_id}").json())

    def seq(self) -> int:
        """How many inputs took effect."""
        with self.client("olga") as rest:
            return int(rest.get("/api/v1/state").json()["seq"])

    def order_ids(self) -> set[str]:
        """The orders there are."""
        with self.client("olga") as rest:
            return {str(order["id"]) for order in rest.get("/api/v1/orders", params={"limit": 500}).json()["items"]}


def order_body(mall_id: str = HOME_MALL, **fields: Any) -> dict[str, Any]:
    """PROTOCOL's order body."""
    lat, lng = HOME if mall_id == HOME_MALL else AWAY
    store = "fs-macys" if mall_id == HOME_MALL else "bb-dillards"
    dropoff = {"name": "Ann", "phone": "+17025550123", "address": "12 Elm St", "lat": lat + 0.01, "lng": lng}
    return {
        "mall_id": mall_id, "stores": [store], "dropoff": {**dropoff, **fields.pop("dropoff", {})},
        "placed_ms": now_ms(), "due_ms": now_ms() + 5_400_000, **fields,
    }  # fmt: skip


def ping(seq: int, place: tuple[float, float] = HOME, **fields: Any) -> dict[str, Any]:
    """A driver's ping, of now."""
    return {
        "type": "ping",
        "seq": seq,
        "fix_ms": now_ms(),
        "lat": place[0],
        "lng": place[1],
        "accuracy_m": 8.0,
        **fields,
    }


def report(kind: str, report_id: str, **fields: Any) -> dict[str, Any]:
    """A driver's report, of now."""
    return {"type": "report", "id": report_id, "report": kind, "fix_ms": now_ms(), **fields}


async def hear(phone: ClientConnection, kind: str, within_s: float = 5.0) -> dict[str, Any]:
    """The next message of a kind; others are passed over."""
    async with asyncio.timeout(within_s):
        while True:
            message = json.loads(await phone.recv())
            if message["type"] == kind:
                return dict(message)


async def closed(socket: ClientConnection, within_s: float = 5.0) -> tuple[int | None, list[dict[str, Any]]]:
    """The code a socket is closed with by the other end, and what came before.

    Raises:
        TimeoutError: it stays open.
    """
    said = []
    async with asyncio.timeout(within_s):
        try:
            while True:
                said.append(json.loads(await socket.recv()))
        except ConnectionClosed:
            return socket.close_code, said


def tracebacks(log: str) -> list[str]:
    """Lines that begin a traceback."""
    return re.findall(r"^.*Traceback \(most recent call last\).*$", log, re.MULTILINE)
