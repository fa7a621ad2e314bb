"""What the tests of replay rooms build: a small recording with its companion, and a room in this very program."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from streamer.core.engine import Engine
from streamer.edge.accounts import Role
from streamer.edge.desk.calls import Call, Caller, CallRefusedError
from streamer.edge.desk.desk import Entry
from streamer.edge.recordings.fixtures import SCHEMA, Companion, Counts, FixtureWriter, Header, write_companion
from streamer.edge.recordings.replay import replay
from streamer.edge.rooms.contract import RoomOrder
from streamer.edge.rooms.room import Room
from tests.builders import T0, a_floor
from tests.edge.floor_kit import SECRET, a_day, encode, live_through

START_MS = T0 + 30_000
END_MS = T0 + 100_000
VERA = Caller("vera", "viewer")
MAYA = Caller("maya", "dispatcher")
OLGA = Caller("olga", "ops-lead")


def a_recording(folder: Path, name: str = "a-day", rounds: int = 20, **fields: Any) -> Path:
    """A fixture of 100 s, 30 of them warm-up, and its companion."""
    path = folder / f"{name}.ndjson.zst"
    engine = Engine(a_floor())
    given: dict[str, Any] = {
        "schema": SCHEMA, "malls": a_floor().geojson(), "settings": engine.settings, "made_by": "a test",
        "licence": "CC0-1.0", "story": "A day.", "start_ms": START_MS, **fields,
    }  # fmt: skip
    with FixtureWriter(path, Header(**given)) as fixture:
        entries = live_through(engine, a_day(rounds))
        for entry in entries:
            fixture.write(entry.at_ms, entry.input)
    outcome = replay(path)
    counts = Counts(4, rounds, 4 * rounds, len(entries))
    write_companion(path, Companion("A day.", outcome.at_ms - START_MS, counts, outcome.kpis, outcome.hash))
    return path


def an_order_for(path: Path, at_ms: int | None = START_MS, role: Role = "viewer", end_ms: int = END_MS) -> RoomOrder:
    return RoomOrder("r-1", "fixture", "a-day", str(path), role, START_MS, end_ms, at_ms, opened_by=VERA.name)


@asynccontextmanager
async def a_room(order: RoomOrder, folder: Path) -> AsyncIterator[Room]:
    """A room on a port of its own, all of its recording read."""
    folder.mkdir(exist_ok=True)
    room = Room(order, folder, SECRET)
    try:
        await room.open()
        await room.index.reach(END_MS)
        yield room
    finally:
        await room.close()


async def asked(table: Mapping[str, Entry], call: str, who: Caller, **params: Any) -> tuple[int, dict[str, Any]]:
    """A call of the live floor's table: status, and body or problem."""
    entry = table[call]
    given = msgspec.json.decode(Call(call, 1, encode(params), who).params, type=entry.params)
    try:
        answer = await entry.answer(who, given)
    except CallRefusedError as error:
        return error.status, msgspec.json.decode(msgspec.json.encode(error.problem))
    return answer.status, msgspec.json.decode(msgspec.json.encode(answer.body))


async def ask(room: Room, call: str, who: Caller | None = VERA, **params: Any) -> tuple[int, dict[str, Any]]:
    """A call of the room's desk: status, and body or problem."""
    try:
        answer = await room.link.desk.answer(Call(call, 1, encode(params), who))
    except CallRefusedError as error:
        return error.status, msgspec.json.decode(msgspec.json.encode(error.problem))
    return answer.status, msgspec.json.decode(msgspec.json.encode(answer.body))


async def move(room: Room, do: str | None = None, **params: Any) -> dict[str, Any]:
    """The transport's status after a move."""
    status, body = await ask(room, "transport", **({"do": do} if do else {}), **params)
    assert status == 200, body
    return body


async def until(true: Any) -> None:
    """Waits until `true()`; the test's own time limit ends it otherwise."""
    while not true():
        await asyncio.sleep(0)
