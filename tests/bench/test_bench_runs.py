"""The bench's programs against each other, over real sockets: everything sent is counted, applied and acknowledged."""

import asyncio
import os
from pathlib import Path

import msgspec
import pytest

from tests.bench.children import BenchError, cpu_s, rss_kib
from tests.bench.groups.endurance import forget_snapshots
from tests.bench.plan import Plan
from tests.bench.storm import Storm, StormPlan
from tests.bench.workshop import Workshop

pytestmark = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="the bench needs two cores")


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    shop = Workshop(tmp_path, quick=True)
    shop.sockets = shop.phones = 10
    return shop


@pytest.mark.parametrize(("connections", "batch"), [(10, 1), (2, 50)])
def test_the_product_acknowledges_everything_the_load_sends(shop: Workshop, connections: int, batch: int) -> None:
    tokens = shop.driver_tokens(10) if batch == 1 else shop.gateway_tokens(2)
    drivers = connections * batch
    with shop.product("--ack-interval-s", "0") as child:
        plan = Plan(
            child.port, child.pid, connections, drivers, "window", tokens, batch, warm_s=0.2, seconds=0.4, duty=True
        )
        outcome = shop.load(plan)
    assert (outcome.unanswered, outcome.nacks, outcome.complaint) == (0, 0, "")
    assert outcome.pings > 0
    assert outcome.server_cpu_s > 0


@pytest.mark.parametrize("peer", ["ours", "websockets", "fastapi"])
def test_a_sink_counts_every_frame(shop: Workshop, peer: str) -> None:
    with shop.sink(peer) as child:
        plan = Plan(child.port, child.pid, 4, 4, "paced", rate=500, burst=2, warm_s=0.1, seconds=0.3, answers=False)
        outcome = shop.load(plan)
    assert outcome.pings > 50
    assert outcome.unanswered == 0


def test_the_naive_peer_acknowledges_batches_by_their_last_ping(shop: Workshop) -> None:
    with shop.naive() as child:
        plan = Plan(child.port, child.pid, 2, 20, "window", batch=5, warm_s=0.1, seconds=0.4)
        outcome = shop.load(plan)
    assert outcome.unanswered == 0
    assert outcome.pings % 5 == 0
    assert outcome.pings > 0


def test_a_refused_load_is_one_line_and_no_figure(shop: Workshop) -> None:
    with shop.product() as child, pytest.raises(BenchError, match=r"the load failed: HTTP/1\.1 401"):
        shop.load(Plan(child.port, child.pid, 1, 1, "paced", ["mld_wrong"], rate=10))


def test_pings_off_duty_are_counted_against_the_run(shop: Workshop) -> None:
    with shop.product() as child:
        tokens = shop.driver_tokens(2)
        plan = Plan(child.port, child.pid, 2, 2, "paced", tokens, rate=20, warm_s=0.1, seconds=0.3, drain_s=0.5)
        outcome = shop.load(plan)
    assert outcome.nacks > 0
    assert outcome.unanswered > 0
    assert "off_duty" in outcome.complaint


def test_a_storm_comes_back_after_a_503_until_all_are_in() -> None:
    calls = 0
    answering: list[asyncio.Task[None] | None] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        calls += 1
        turn = calls
        answering.append(asyncio.current_task())
        await reader.readuntil(b"\r\n\r\n")
        if turn <= 3:
            writer.write(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\n\r\n")
        else:
            writer.write(b'HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x12{"type":"welcome"}')
            await reader.read()
        writer.close()
        await writer.wait_closed()

    async def run() -> None:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            storm = Storm(StormPlan(server.sockets[0].getsockname()[1], ["a", "b", "c", "d", "e"]))
            outcome = await asyncio.to_thread(storm.run)
            assert (outcome.welcomed, outcome.refused, outcome.errors) == (5, 3, 0)
            storm.close()
            await asyncio.gather(*(task for task in answering if task is not None))

    asyncio.run(run())
    assert calls == 8


def test_a_history_is_as_long_as_asked_and_recovers(shop: Workshop) -> None:
    data = shop.fresh()
    shop.program("tests.bench.history", "--data", str(data), "--inputs", "3000", "--drivers", "100")
    with pytest.raises(BenchError, match="no snapshot"):
        forget_snapshots(data)
    with shop.product(data=data) as child:
        assert child.ready_s > 0
        assert rss_kib(child.pid) > 10_000
        assert cpu_s(child.pid) > 0
    lines = [msgspec.json.decode(line) for line in shop.log.read_text().splitlines() if line.startswith("{")]
    assert [line["seq"] for line in lines if line["event"] == "recovered"] == [3000]
