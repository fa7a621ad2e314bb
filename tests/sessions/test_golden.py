"""Golden replays: every recording arrives at its stored hash, whatever the program, and through real sockets."""

import asyncio
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect

from streamer.core.events import (
    DriverRegistered,
    HandOver,
    Input,
    OrderCommand,
    OrderPlaced,
    Ping,
    PlanMade,
    Report,
    SetDuty,
    Tick,
    Undo,
)
from streamer.edge.accounts import Accounts
from streamer.edge.clock import ManualClock
from streamer.edge.journal.contract import SCHEMA, JournalHeader
from streamer.edge.journal.database import JournalReader
from streamer.edge.journal.recovery import recover
from streamer.edge.journal.sqlite import SqliteJournal
from streamer.edge.recordings.fixtures import FixtureReader, Line, find_fixture, fixture_names, read_companion
from streamer.edge.recordings.replay import floor_of
from streamer.edge.runner import Runner, Then
from streamer.edge.server import Streamer
from tests.faults.scale import RECORDINGS

SECRET = "the-link-of-a-golden-replay"


def test_there_are_recordings_to_replay() -> None:
    assert {"saturday-rush", "two-malls", "bad-day"} <= set(fixture_names())


@pytest.mark.parametrize(
    ("name", "hash_seed"), [*((name, "4711") for name in fixture_names()), *((name, "0") for name in RECORDINGS)]
)
def test_a_recording_replays_to_its_stored_hash_under_any_hash_seed(name: str, hash_seed: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "streamer.cli", "replay", name, "--speed", "max", "--verify", "--json"],
        env={**os.environ, "PYTHONHASHSEED": hash_seed}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    companion = read_companion(find_fixture(name))
    assert outcome["hash"] == companion.hash
    assert outcome["kpis"] == msgspec.to_builtins(companion.kpis)
    assert outcome["inputs"] == companion.counts.inputs


class CountingRunner(Runner):
    """Says when everything sent so far has been handled."""

    handled = 0

    def submit(self, item: Input, then: Then | None = None, at_ms: int | None = None) -> None:
        super().submit(item, then, at_ms)
        self.handled += 1

    def submit_pings(self, pings: Sequence[Ping], then: Then | None = None) -> None:
        super().submit_pings(pings, then)
        self.handled += len(pings)


class Sender:
    """Says a recording again, as the outside would: pings and reports by a gateway's socket, the rest by the link."""

    def __init__(self, runner: CountingRunner, gateway: ClientConnection, link: ClientConnection) -> None:
        self.runner = runner
        self.gateway = gateway
        self.link = link

    async def say(self, lines: list[Line]) -> None:
        """Everything of one instant, in order."""
        by_driver = itertools.groupby((line.input for line in lines), lambda item: isinstance(item, Ping | Report))
        for from_drivers, items in by_driver:
            if from_drivers:
                await self._by_gateway(list(items))
            else:
                for item in items:
                    await self._by_link(item)

    async def _by_gateway(self, items: list[Input]) -> None:
        expected = self.runner.handled + len(items)
        for start in range(0, len(items), 500):
            await self.gateway.send(msgspec.json.encode(items[start : start + 500]), text=True)
        while self.runner.handled < expected:
            await asyncio.sleep(0)

    async def _by_link(self, item: Input) -> None:
        match item:
            case Tick() | DriverRegistered() | PlanMade():
                # The floor's own timer, the accounts and the autopilot say these; they have no message.
                self.runner.submit(item)
            case OrderPlaced(actor=actor, key=key):
                await self._ask("place", actor, order=item, key=key)
            case OrderCommand():
                await self._ask("command", item.actor, **_fields(item))
            case HandOver():
                await self._ask("hand_over", item.actor, **_fields(item))
            case SetDuty():
                await self._ask("duty", item.actor, **_fields(item))
            case Undo():
                await self._ask("undo", item.actor, **_fields(item))

    async def _ask(self, call: str, actor: str, **params: Any) -> None:
        principal = {"name": actor, "role": "dispatcher", "mall_ids": []}
        await self.link.send(
            msgspec.json.encode({"id": 1, "call": call, "params": params, "principal": principal}), text=True
        )
        answer = json.loads(await self.link.recv())
        assert answer["status"] in {200, 201}, answer


def _fields(item: Input) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(item).items() if name != "actor"}


def instants(fixture: FixtureReader) -> Iterator[tuple[int, list[Line]]]:
    for at_ms, lines in itertools.groupby(fixture, lambda line: line.at_ms):
        yield at_ms, list(lines)


async def swallow(socket: ClientConnection) -> None:
    async for _ in socket:
        pass


def linked(port: int, path: str, token: str) -> connect:
    return connect(
        f"ws://127.0.0.1:{port}{path}", additional_headers={"Authorization": f"Bearer {token}"},
        compression=None, max_size=None, proxy=None,
    )  # fmt: skip


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", RECORDINGS)
async def test_the_same_recording_through_real_sockets_gives_the_same_hash(name: str, tmp_path: Path) -> None:
    path = find_fixture(name)
    with FixtureReader(path) as fixture:
        header = fixture.header
        journal = SqliteJournal(
            tmp_path, JournalHeader(SCHEMA, header.malls, header.settings, header.made_by, header.start_ms)
        )
        clock = ManualClock(0)
        runner = CountingRunner(floor_of(header, header.start_ms), journal, clock)
        accounts = Accounts(tmp_path / "accounts")
        streamer = Streamer(runner, accounts, SECRET)
        await runner.start()
        await streamer.open("127.0.0.1", 0)
        token = accounts.mint_gateway_token("recording", (), 0)
        async with (
            linked(streamer.port, "/v1/drivers", token) as gateway,
            linked(streamer.port, "/v1/link", SECRET) as link,
        ):
            reading = asyncio.create_task(swallow(gateway))
            sender = Sender(runner, gateway, link)
            for at_ms, lines in instants(fixture):
                clock.at_ms = at_ms
                await sender.say(lines)
            reading.cancel()
        await streamer.close()
        await runner.stop()
        accounts.close()
    assert runner.engine.hash() == read_companion(path).hash
    assert replayed(tmp_path) == runner.engine.hash(), "and the journal it left is the same recording"


def replayed(folder: Path) -> str:
    reader = JournalReader(folder)
    try:
        return recover(reader, use_snapshots=False).engine.hash()
    finally:
        reader.close()
