"""F21 and F22: a streamer that stalls, dies or answers into the void, under commands that are sent again."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from streamer.core.engine import Engine
from streamer.core.events import DriverRegistered, Output, Ping
from streamer.core.snapshot import dump_state, load_state, state_hash
from streamer.edge.accounts import Accounts
from streamer.edge.clock import ManualClock
from streamer.edge.journal.contract import Journal, MemoryJournal, Note, Quarantined, Record, Snapshot
from streamer.edge.journal.recovery import recover
from streamer.edge.journal.sqlite import SqliteJournal
from streamer.edge.runner import Runner
from tests.builders import T0, a_floor, a_ping, a_report
from tests.edge.floor_kit import a_day, a_header, live_through
from tests.faults.clients import Dispatcher, Fleet, an_order_body, until_cut
from tests.faults.conftest import Start, a_dashboard
from tests.faults.evidence import Evidence
from tests.faults.history import History, a_history, batches
from tests.faults.invariants import Acked, check_all, lost_of, read_log

COMMANDS = 12
STALL_S = 1.0
HOUR_MS = 3_600_000


@pytest.fixture
def api_token(data: Path) -> str:
    accounts = Accounts(data)
    token = accounts.mint_api_token("maya", "dispatcher", (), 0)
    accounts.close()
    return token


class Rest:
    """A program that sends each change with a key, and again until it gets an answer that is none of "try later"."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.acked = Acked()
        self.met: list[int] = []

    async def place(self, name: str) -> None:
        """Place an order and hold it."""
        placed = await self.until_answered("/api/v1/orders", f"p-{name}", an_order_body(name))
        self.acked.orders.add(placed["id"])
        body = {"expected_version": 1}
        held = await self.until_answered(f"/api/v1/orders/{placed['id']}/hold", f"h-{name}", body)
        assert held["held"]
        self.acked.commands.add(held["command_id"])

    async def until_answered(self, path: str, key: str, body: dict[str, Any]) -> dict[str, Any]:
        while True:
            answer = await self.client.post(path, json=body, headers={"Idempotency-Key": key}, timeout=30)
            self.met.append(answer.status_code)
            if answer.status_code in {200, 201}:
                return dict(answer.json())
            assert answer.status_code in {503, 504}, answer.text
            await asyncio.sleep(0.1)


@pytest.mark.timeout(60)
async def test_f21_a_killed_streamer_is_503_meanwhile_and_repeats_have_one_effect(
    data: Path, start: Start, api_token: str, evidence: Evidence
) -> None:
    program = start()
    async with a_dashboard(program.port, api_token) as client:
        rest = Rest(client)
        working = asyncio.gather(*(rest.place(f"x-{number}") for number in range(COMMANDS)))
        await asyncio.sleep(0.02)
        await program.end(signal.SIGKILL)
        assert (await client.get("/readyz")).status_code == 503
        refused = await client.get("/api/v1/orders")
        assert (refused.status_code, refused.json()["code"]) == (503, "link_lost")
        again = start(port=program.port)
        await working
        assert (await client.get("/readyz")).status_code == 200
        state = (await client.get("/api/v1/orders?limit=100")).json()["items"]
    assert await again.end() == 0, again.log()
    assert 503 in rest.met, "the streamer was gone and nobody noticed"
    assert sorted(order["external_id"] for order in state) == sorted(f"x-{number}" for number in range(COMMANDS))
    log = check_all(data, rest.acked)
    evidence("REST commands through a streamer that was killed", 2 * COMMANDS, lost=len(lost_of(log, rest.acked)))


@pytest.mark.timeout(60)
async def test_f21_a_stalled_streamer_acknowledges_only_what_it_took(data: Path, start: Start, api_token: str) -> None:
    program = start()
    async with a_dashboard(program.port, api_token) as client:
        rest = Rest(client)
        await rest.place("before")
        program.send(signal.SIGSTOP)
        working = asyncio.gather(*(rest.place(f"x-{number}") for number in range(COMMANDS)))
        await asyncio.sleep(STALL_S)
        assert len(rest.acked.orders) == 1, "somebody was told yes by a streamer that stood still"
        assert len([entry for entry in read_log(data).entries if type(entry.input).__name__ == "OrderPlaced"]) == 1
        program.send(signal.SIGCONT)
        await working
    assert await program.end() == 0, program.log()
    assert len(rest.acked.orders) == COMMANDS + 1
    check_all(data, rest.acked)


# ---------------------------------------------------------------- one contract, both journals


@pytest.fixture(params=["memory", "sqlite"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    """Each kind of journal, writing."""
    made: Journal = MemoryJournal(a_header()) if request.param == "memory" else SqliteJournal(tmp_path, a_header())
    made.start(lambda _ticket: None, lambda _error: None)
    yield made
    made.close()


@pytest.fixture(scope="module")
def history() -> History:
    return a_history(seed=3)


def test_f21_any_journal_gives_back_what_was_appended_in_order(journal: Journal, history: History) -> None:
    tickets = [journal.append(record) for batch in batches(history, random.Random(3)) for record in batch]
    journal.flush()
    assert tickets == sorted(set(tickets))
    assert list(journal.entries()) == history.entries
    for seq in (0, 1, 7, len(history.entries) - 1, len(history.entries), len(history.entries) + 5):
        assert list(journal.entries(seq)) == history.entries[seq:]


def test_f21_any_journal_recovers_the_same_engine_with_and_without_snapshots(journal: Journal) -> None:
    engine = Engine(a_floor())
    half = live_through(engine, a_day(rounds=10))
    snapshot = Snapshot(engine.state.seq, engine.state.at_ms, dump_state(engine.state))
    later = Engine(a_floor(), state=load_state(snapshot.body))
    rest = live_through(later, ((at_ms + HOUR_MS, item) for at_ms, item in a_day(rounds=13)))
    records: list[Record] = [*half, snapshot, *rest]
    for record in records:
        journal.append(record)
    journal.flush()
    assert [each.seq for each in journal.snapshots()] == [snapshot.seq]
    quick, full = recover(journal), recover(journal, use_snapshots=False)
    assert (quick.snapshot_seq, quick.replayed) == (snapshot.seq, len(rest))
    assert quick.engine.hash() == full.engine.hash() == state_hash(later.state)


def test_f21_any_journal_pages_through_a_track(journal: Journal, history: History) -> None:
    for batch in batches(history, random.Random(3)):
        for record in batch:
            journal.append(record)
    journal.flush()
    pings = [entry.input for entry in history.entries if isinstance(entry.input, Ping)]
    expected = [(ping.seq, ping.fix_ms) for ping in pings if ping.driver_id == "d-1"]
    found: list[Any] = []
    after: int | None = 0
    while after is not None:
        page = journal.track("d-1", 0, 1 << 50, after, 7)
        found += page.items
        after = page.next_seq
    assert [(point.seq, point.fix_ms) for point in found] == expected
    nobody = journal.track("nobody", 0, 1 << 50, 0, 7)
    assert (nobody.items, nobody.next_seq) == ((), None)


def test_f21_any_journal_keeps_notes_and_quarantine_out_of_its_inputs(journal: Journal, history: History) -> None:
    for record in (history.entries[0], Note(T0, "login", "maya"), Quarantined(T0, "why", a_ping()), history.entries[1]):
        journal.append(record)
    journal.flush()
    assert list(journal.entries()) == history.entries[:2]


async def test_f21_any_journal_lets_a_runner_answer_once_all_is_safe(journal: Journal) -> None:
    runner = Runner(Engine(a_floor()), journal, ManualClock(T0))
    await runner.start()
    answered: list[tuple[str, int]] = []

    def safe(outputs: Sequence[Output]) -> None:
        answered.append((type(outputs[0]).__name__, len(list(journal.entries()))))

    runner.submit(DriverRegistered("d-1"), safe)
    runner.submit(a_report("on_duty", fix_ms=T0), safe)
    runner.submit_pings([a_ping(seq=number) for number in range(3)], safe)
    await runner.settled()
    assert [name for name, _ in answered] == ["DriverChanged", "ReportTaken", "PingTaken"]
    assert all(durable >= needed for (_, durable), needed in zip(answered, (1, 2, 5), strict=True))
    check_all(journal, state=runner.engine.state)


# ---------------------------------------------------------------- the answer alone is lost


class AckEater:
    """A network that carries everything to the server, and nothing back once `eating` is set.

    With `appetite` it begins by itself, at the first answer that holds these bytes.
    """

    def __init__(self, appetite: bytes | None = None) -> None:
        self.eating = False
        self.appetite = appetite
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, back: bool) -> None:
        with suppress(OSError):
            while some := await source.read(65_536):
                self.eating |= back and self.appetite is not None and self.appetite in some
                if not (back and self.eating):
                    target.write(some)
                    await target.drain()
        target.close()

    async def cut(self) -> None:
        """End every connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @asynccontextmanager
    async def before(self, port: int) -> AsyncIterator["AckEater"]:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
            both = (self.carry(reader, far_writer, back=False), self.carry(far_reader, writer, back=True))
            tasks = [asyncio.create_task(each) for each in both]
            self._tasks.update(tasks)
            await asyncio.gather(*tasks, return_exceptions=True)
            writer.transport.abort()
            far_writer.transport.abort()

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        yield self
        server.close()
        await self.cut()
        await server.wait_closed()


@pytest.mark.timeout(60)
async def test_f22_pings_and_reports_whose_ack_was_lost_have_one_effect_when_said_again(
    data: Path, start: Start, fleet: Fleet, evidence: Evidence
) -> None:
    program = start()
    async with AckEater().before(program.port) as network:
        working = asyncio.create_task(until_cut(fleet.run(network.port)))
        await fleet.heard(lambda: len(fleet.highest) == len(fleet.drivers))
        network.eating = True
        before = len(fleet.acked)
        await asyncio.sleep(1.2)
        assert len(fleet.acked) == before
        taken = len(read_log(data).entries)
        await network.cut()
        await working
    working = asyncio.create_task(until_cut(fleet.run(program.port)))
    await fleet.heard(lambda: len(fleet.acked) > before + 1_000)
    assert await program.end() == 0, program.log()
    await working
    assert taken > before, "nothing was taken whose ack was lost"
    log = check_all(data, fleet.acked, nacks=fleet.nacks)
    evidence("answers eaten, and asked for again", taken - before, lost=len(lost_of(log, fleet.acked)))


@pytest.mark.timeout(60)
async def test_f22_commands_whose_answer_was_lost_get_the_same_answer_again(data: Path, start: Start) -> None:
    program = start()
    async with AckEater().before(program.port) as network:
        desk = await Dispatcher().open(network.port)
        network.eating = True
        calls: list[tuple[str, dict[str, Any]]] = [
            ("place", {"order": an_order_body("x-1"), "key": "k-place"}),
            ("duty", {"driver_id": "d-1", "duty": "on_duty", "key": "k-duty"}),
        ]
        lost = [asyncio.create_task(desk.call(name, **params)) for name, params in calls]
        await until_logged(data, 2, ("OrderPlaced", "SetDuty"))
        await network.cut()
        await asyncio.gather(*lost, return_exceptions=True)
        await desk.close()
    desk = await Dispatcher().open(program.port)
    again = [await desk.call(name, **params) for name, params in calls]
    third = [await desk.call(name, **params) for name, params in calls]
    await desk.close()
    assert [answer["status"] for answer in again] == [answer["status"] for answer in third]
    assert all(answer["status"] in {200, 201} for answer in again)
    assert await program.end() == 0, program.log()
    log = check_all(data, desk.acked)
    kinds = [type(entry.input).__name__ for entry in log.entries]
    assert (kinds.count("OrderPlaced"), kinds.count("SetDuty")) == (1, 1)


@pytest.mark.timeout(60)
async def test_f22_a_rest_call_whose_answer_was_lost_has_one_effect_when_sent_again(
    data: Path, start: Start, api_token: str
) -> None:
    program = start()
    async with AckEater(b'"x-rest"').before(program.port) as network, a_dashboard(network.port, api_token) as client:
        headers = {"Idempotency-Key": "k-1"}
        first = asyncio.create_task(client.post("/api/v1/orders", json=BODY, headers=headers, timeout=30))
        await until_logged(data, 1, ("OrderPlaced",))
        assert network.eating
        await network.cut()
        assert (await first).status_code == 503, "an unknown outcome is not a success"
        network.appetite, network.eating = None, False
        rest = Rest(client)
        placed = await rest.until_answered("/api/v1/orders", "k-1", BODY)
        other = await client.post("/api/v1/orders", json={**BODY, "items": 3}, headers=headers)
    assert other.status_code == 422, "the same key with another body"
    assert await program.end() == 0, program.log()
    log = check_all(data, Acked(orders={placed["id"]}))
    assert sum(type(entry.input).__name__ == "OrderPlaced" for entry in log.entries) == 1


BODY = an_order_body("x-rest")


async def until_logged(data: Path, count: int, kinds: tuple[str, ...]) -> None:
    """Return once so many inputs of these kinds are durable."""
    async with asyncio.timeout(10):
        while sum(type(entry.input).__name__ in kinds for entry in read_log(data).entries) < count:
            await asyncio.sleep(0.05)
