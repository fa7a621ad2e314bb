"""A great many malformed requests over everything a stranger or a person can reach: refused, in words, and soon."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from dashboard.api.routes import PREFIX, build_api
from dashboard.auth.policy import PAGES, api_routes
from tests.attacks.product import Product, now_ms, order_body, tracebacks
from tests.attacks.test_scope import recorded_callbacks
from tests.faults.bad_messages import ODD, calls, messages, spoilt
from tests.faults.evidence import Evidence
from tests.faults.scale import SCALE

SEED = 7
PROGRAMS = 24
"""Each has a rate of its own, so that most requests meet the product and not its limits."""
WORKERS = 16
MIB = 1024 * 1024
TYPES = ("application/json", "text/csv", "application/x-ndjson", "text/plain", "application/json; charset=utf-16", "")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "PROPFIND")
BODIES = (
    order_body(), {"order_ids": ["o-404"], "driver_id": "d-1"}, {"expected_version": 1, "driver_id": "d-1"},
    {"commands": [{"action": "hold", "order_id": "o-404", "expected_version": 1}]}, {"command_id": "c-404"},
    {"name": "maya", "password": "guess"},
)  # fmt: skip
HEADS = (
    b"GET / HTTP/9.9\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"POST /login HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    b"\x00" * 200,
    b"GET " + b"/" * 9_000 + b" HTTP/1.1\r\n\r\n",
    b"GET /feed HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET / HTTP/1.1\r\nX: \xff\xfe\r\n\r\n",
    b"GET http://evil/ HTTP/1.1\r\nHost: evil\r\n\r\n",
)
PARTS = ("order_id", "driver_id", "message", "alarm_id", "rest:path", "package_name", "fingerprinted_path:path")
ODD_HEADERS = (
    {"Idempotency-Key": "x" * 300}, {"If-Match": "nan"}, {"Cookie": "mallard_session=;;=x"}, {"Accept": "\t"}, {}, {},
)  # fmt: skip
Throw = Callable[[random.Random], Awaitable[int]]
"""Throws one malformed request, or several, and tells how many."""


def resident_bytes(pid: int) -> int:
    """Memory a process has in use."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


class Thrower:
    """Throws at every surface in turn, and counts what came back."""

    def __init__(self, product: Product) -> None:
        self.product = product
        self.statuses: Counter[int] = Counter()
        self.closes: Counter[int | None] = Counter()
        self.clients: list[httpx.AsyncClient] = []
        self.paths = sorted({PREFIX + route.path for route in api_routes(build_api())} | set(PAGES))
        self.callbacks = [body for _output, body in recorded_callbacks().values()]
        for number in range(PROGRAMS):
            name = f"fuzz-{number}"
            product.tokens[name] = product.accounts.mint_api_token(name, "dispatcher", (), now_ms())
            self.clients.append(product.async_client(name))
        for number in range(4):
            transport = httpx.AsyncHTTPTransport(local_address=f"127.0.66.{number + 1}")
            self.clients.append(httpx.AsyncClient(base_url=product.url, transport=transport, timeout=30))

    async def close(self) -> None:
        for client in self.clients:
            await client.aclose()

    @property
    def surfaces(self) -> list[Throw]:
        """Each public way in; those by socket carry many a throw."""
        return [
            self.request, self.request, self.request, self.callback, self.callback, self.head, self.driver_socket,
            self.feed_socket, self.callback_socket, self.link_socket,
        ]  # fmt: skip

    async def request(self, rng: random.Random) -> int:
        """A request to a page or a REST route, with something wrong in each part that has room for it."""
        path = rng.choice(self.paths)
        for name in PARTS:
            path = path.replace(f"{{{name}}}", quote(str(rng.choice(ODD)), errors="replace", safe=""))
        names = rng.sample(("q", "limit", "status", "x"), rng.randint(0, 2))
        query = {name: json.dumps(rng.choice(ODD))[:300] for name in names}
        headers = {"Content-Type": rng.choice(TYPES), **rng.choice(ODD_HEADERS)}
        body = spoilt(rng.choice(BODIES), rng)
        content = body if isinstance(body, bytes) else body.encode(errors="surrogatepass")
        method = rng.choice(METHODS)
        content = b"" if method == "TRACE" else content
        return await self._sent(method, path, params=query, headers=headers, content=content)

    async def callback(self, rng: random.Random) -> int:
        """A Dash callback with something wrong in it, by somebody who may run it."""
        body = spoilt(rng.choice(self.callbacks), rng)
        content = body if isinstance(body, bytes) else body.encode(errors="surrogatepass")
        headers = {"Content-Type": "application/json"}
        return await self._sent("POST", "/_dash-update-component", headers=headers, content=content)

    async def _sent(self, method: str, path: str, **sent: object) -> int:
        client = self.clients[self.statuses.total() % len(self.clients)]
        try:
            answer = await client.request(method, path, **sent)  # type: ignore[arg-type]
        except httpx.TransportError:
            self.statuses[0] += 1
            return 1
        self.statuses[answer.status_code] += 1
        shown = (method, str(answer.request.url)[:200], answer.request.content[:400], answer.text[:300])
        assert answer.status_code < 500, shown
        assert "Traceback" not in answer.text, shown
        return 1

    async def head(self, rng: random.Random) -> int:
        """Bytes that are no request, at either port."""
        port = rng.choice((self.product.port, self.product.ingest_port))
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(rng.choice((*HEADS, rng.randbytes(rng.randrange(1, 300)) + b"\r\n\r\n")))
            writer.write_eof()
            with suppress(OSError, TimeoutError):
                answer = await asyncio.wait_for(reader.read(2_000), 5)
                if answer.startswith(b"HTTP/1."):
                    status = int(answer[9:12])
                    self.statuses[status] += 1
                    assert status < 500 or status == 503, answer
            writer.close()
        return 1

    async def driver_socket(self, rng: random.Random) -> int:
        """Bad frames of a driver, until the socket is closed for them."""
        connecting = self.product.phone("d-5")
        return await self._frames(connecting, messages(rng.randrange(2**32)))

    async def feed_socket(self, rng: random.Random) -> int:
        """Odd queries of the feed, and chatter on it."""
        asked = [f"{name}={quote(str(rng.choice(ODD)), errors='replace')}" for name in ("malls", "since", "epoch")]
        program = self.product.bearer(f"fuzz-{rng.randrange(PROGRAMS)}")
        connecting = self.product.socket(f"/feed?{'&'.join(asked)}"[:4_000], program)
        return await self._frames(connecting, calls(rng.randrange(2**32)), most=20)

    async def callback_socket(self, rng: random.Random) -> int:
        """Bad frames on Dash's own socket; each closes it."""
        connecting = self.product.socket("/_dash-ws-callback", self.product.bearer(f"fuzz-{rng.randrange(PROGRAMS)}"))
        frame = {"type": "callback_request", "requestId": "1", "rendererId": "r", "payload": rng.choice(self.callbacks)}
        return await self._frames(connecting, iter([spoilt(frame, rng) for _ in range(3)]), most=3)

    async def link_socket(self, rng: random.Random) -> int:
        """The streamer's own door, with wrong secrets."""
        secret = "".join(chr(rng.randrange(33, 126)) for _ in range(rng.randrange(0, 90)))
        connecting = self.product.phone(None, "/v1/link", Authorization=f"Bearer {secret}")
        return await self._frames(connecting, iter(()))

    async def _frames(self, connecting: object, frames: object, most: int = 200) -> int:
        thrown = 0
        try:
            async with connecting as socket:  # type: ignore[attr-defined]
                reading = asyncio.create_task(drain(socket))
                try:
                    for frame in frames:  # type: ignore[attr-defined]
                        await socket.send(frame)
                        thrown += 1
                        if thrown >= most:
                            break
                    await asyncio.sleep(0.02)
                except (ConnectionClosed, UnicodeEncodeError):
                    pass
                finally:
                    reading.cancel()
            self.closes[socket.close_code] += 1
        except InvalidHandshake:
            self.closes[None] += 1
        except (OSError, TimeoutError, ConnectionClosed, UnicodeEncodeError):
            pass
        return max(thrown, 1)


async def drain(socket: AsyncIterator[object]) -> None:
    """Reads and forgets."""
    with suppress(ConnectionClosed):
        async for _ in socket:
            pass


@pytest.mark.timeout(300 + SCALE.malformed // 20)
async def test_no_malformed_request_breaks_anything(product: Product, evidence: Evidence) -> None:
    thrower, thrown, seq = Thrower(product), 0, product.seq()
    pids = (product.process.pid, product.dashboard_pid())
    warm: list[int] = []
    began_s = time.monotonic()

    async def work(number: int) -> None:
        nonlocal thrown
        rng = random.Random(SEED * 1_000 + number)
        while thrown < SCALE.malformed:
            thrown += await rng.choice(thrower.surfaces)(rng)
            if not warm and thrown > SCALE.malformed // 3:
                warm.extend(map(resident_bytes, pids))

    await asyncio.gather(*(work(number) for number in range(WORKERS)))
    await thrower.close()
    grown = [resident_bytes(pid) - before for pid, before in zip(pids, warm, strict=True)]
    statuses = thrower.statuses
    found = tracebacks(product.log())
    evidence(
        "malformed requests", thrown, server_errors=sum(n for status, n in statuses.items() if status >= 500),
        tracebacks=len(found), refused_in_words=sum(n for status, n in statuses.items() if 400 <= status < 500),
        streamer_grew_mib=round(grown[0] / MIB, 1), dashboard_grew_mib=round(grown[1] / MIB, 1),
        seconds=round(time.monotonic() - began_s),
    )  # fmt: skip
    assert found == []
    # Two thirds of the throws fall between the two looks; a leak of 1 KiB each would be 64 MiB at full scale.
    assert max(grown) < 48 * MIB, grown
    assert statuses[429] < 0.5 * statuses.total(), statuses
    assert product.seq() >= seq
