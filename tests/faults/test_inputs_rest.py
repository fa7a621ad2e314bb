"""Bad bodies and queries against REST, over a real dashboard and a real streamer: refused with a code, never a 500."""

import asyncio
import json
import logging
import random
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from dashboard.app import create_app
from dashboard.settings import Settings
from streamer.edge.accounts import Accounts
from tests.dashboard.conftest import running, small_pages
from tests.faults.bad_messages import ODD, spoilt
from tests.faults.conftest import Start
from tests.faults.evidence import Evidence
from tests.faults.program import SECRET
from tests.faults.scale import SCALE
from tests.faults.test_inputs import check_unmoved

ORDER = {
    "external_id": "x-1", "mall_id": "nowhere", "stores": ["macys"], "items": 2, "placed_ms": 1, "due_ms": 2,
    "dropoff": {"name": "Ann", "phone": "+1", "address": "a", "lat": 36.1, "lng": -115.1, "notes": ""}, "priority": 0,
}  # fmt: skip
BODIES: dict[str, dict[str, Any]] = {
    "/orders": ORDER,
    "/preview": {"order_ids": ["o-404"], "driver_id": "d-1"},
    "/orders/o-404/assign": {"expected_version": 1, "driver_id": "d-1", "reason": "near", "position": 0},
    "/orders/o-404/hold": {"expected_version": 1, "reason": "wait"},
    "/orders/o-404/ready": {"expected_version": 1, "ready_ms": 5},
    "/commands/bulk": {"commands": [{"action": "hold", "order_id": "o-404", "expected_version": 1}], "atomic": False},
    "/undo": {"command_id": "c-404"},
    "/drivers/d-404/hand-over": {"to_driver_id": "d-405", "reason": "flat tyre"},
}
"""None of these can take effect: what they name does not exist."""
QUERIES = (
    "/orders", "/orders/{}", "/orders/{}/candidates", "/orders/{}/history", "/drivers", "/drivers/{}", "/hexes",
    "/kpis",
)  # fmt: skip
NAMES = ("status", "mall_id", "driver_id", "risk", "q", "limit", "cursor", "layer", "from_ms")
TYPES = ("application/json", "text/csv", "application/x-ndjson", "text/plain", "application/json; charset=utf-16", "")


async def bad_request(client: httpx.AsyncClient, rng: random.Random) -> httpx.Response:
    """One request with something wrong in it: its body, its kind, its path or its query."""
    match rng.randrange(4):
        case 0:
            path = rng.choice(QUERIES).format(quote(str(rng.choice(ODD)), errors="replace", safe=""))
            query = {rng.choice(NAMES): printable(rng.choice(ODD)) for _ in range(rng.randint(0, 3))}
            return await client.get(path, params=query)
        case 1:
            rows = [spoilt(ORDER, rng) for _ in range(rng.randint(1, 5))]
            content = b"\n".join(as_bytes(row) for row in rows)
            return await client.post("/orders/import", content=content, headers={"Content-Type": rng.choice(TYPES)})
        case _:
            path = rng.choice(list(BODIES))
            headers = {"Content-Type": "application/json" if rng.random() < 0.8 else rng.choice(TYPES)}
            if rng.random() < 0.3:
                headers["Idempotency-Key"] = printable(rng.choice(ODD))[:300]
            return await client.post(path, content=as_bytes(spoilt(BODIES[path], rng)), headers=headers)


def as_bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode(errors="surrogatepass")


def printable(value: object) -> str:
    """What a header or a query can carry of a value."""
    return json.dumps(value)[:300]


@pytest.mark.timeout(120 + SCALE.bad_inputs // 100)
async def test_f15_no_body_of_rest_however_bad_fails_the_server(
    data: Path, start: Start, evidence: Evidence, caplog: pytest.LogCaptureFixture
) -> None:
    accounts = Accounts(data)
    token = accounts.mint_api_token("shop", "dispatcher", (), 0)
    accounts.close()
    program, statuses = start(), Counter[int]()
    # One program alone asks faster here than any is let elsewhere.
    settings = Settings(
        link_url=f"ws://127.0.0.1:{program.port}/v1/link", link_secret=SECRET, person_per_s=1e6, person_burst=1e6
    )
    app, rng = create_app(settings, small_pages), random.Random(17)
    headers = {"Authorization": f"Bearer {token}"}
    with caplog.at_level(logging.WARNING):
        async with running(app, settings) as site:
            assert await app.link.wait_up(5)
            async with httpx.AsyncClient(base_url=f"http://{site}/api/v1", headers=headers, timeout=20) as client:
                while statuses.total() < SCALE.bad_inputs // 20:
                    answers = await asyncio.gather(*(bad_request(client, rng) for _ in range(20)))
                    statuses.update(check(answer) for answer in answers)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert statuses[422] > statuses.total() / 10
    await check_unmoved(program, data)
    failed = sum(count for status, count in statuses.items() if status >= 500)
    evidence("bad requests to REST", statuses.total(), server_errors=failed, refused=refusals(statuses))


def check(answer: httpx.Response) -> int:
    """The status; a refusal is a problem of RFC 9457 with a code, and quotes no traceback."""
    shown = (answer.request.method, str(answer.request.url)[:200], answer.request.content[:300], answer.text[:500])
    assert answer.status_code < 500, shown
    if answer.status_code >= 400:
        assert answer.headers["Content-Type"].startswith("application/problem+json"), shown
        assert answer.json()["code"], shown
    assert "Traceback" not in answer.text
    return answer.status_code


def refusals(statuses: Counter[int]) -> int:
    return sum(count for status, count in statuses.items() if status >= 400)
