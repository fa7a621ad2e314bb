"""A room that answers: it forks at a person's first decision or when told to; a seek leads back to the recording."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from streamer.core.engine import Engine
from streamer.core.geo import flat_m
from streamer.edge.desk.calls import Caller
from streamer.edge.recordings.fixtures import FixtureReader, find_fixture, read_companion
from streamer.edge.recordings.replay import floor_of
from streamer.edge.rooms.contract import RoomOrder
from streamer.edge.rooms.room import Room
from tests.builders import MINUTE
from tests.edge.floor_kit import SECRET
from tests.edge.rooms.rooms_kit import MAYA, VERA, ask, move, until

PATH = find_fixture("bad-day")


def moments() -> tuple[int, int]:
    with FixtureReader(PATH) as fixture:
        return fixture.header.start_ms, fixture.header.start_ms + read_companion(PATH).length_ms


START_MS, END_MS = moments()
FORK_MS = START_MS + 2 * MINUTE


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    """At a moment early in a bad day, of which no more was read than it needs."""
    room = Room(
        RoomOrder("r-1", "fixture", "bad-day", str(PATH), "viewer", START_MS, END_MS, FORK_MS, opened_by=VERA.name),
        tmp_path,
        SECRET,
    )
    try:
        await room.open()
        await room.player.seek(FORK_MS, 60)
        yield room
    finally:
        await room.close()


def recorded_engine(at_ms: int) -> Engine:
    assert at_ms >= START_MS
    with FixtureReader(PATH) as fixture:
        engine = floor_of(fixture.header, fixture.header.start_ms)
        for line in fixture:
            if line.at_ms > at_ms:
                break
            engine.handle(line.at_ms, line.input)
    return engine


def recorded_hash(at_ms: int) -> str:
    return recorded_engine(at_ms).hash()


async def test_a_decision_forks_a_room_and_a_seek_leads_back_to_the_recording(room: Room) -> None:
    status, problem = await ask(room, "comparison")
    assert (status, problem["code"]) == (409, "not_forked")
    state = room.runner.engine.state
    moved = next(order for order in state.orders.values() if order.status == "assigned")
    free = next(driver.id for driver in state.drivers.values() if driver.state == "free")
    wanted = {"action": "reassign", "order_id": moved.id, "expected_version": moved.version, "driver_id": free}
    assert (await ask(room, "command", MAYA, **wanted))[0] == 200
    await until(lambda: room.player.forked_at_ms is not None)
    assert room.player.forked_at_ms == FORK_MS
    assert room.feed.sign.forked_at_ms == FORK_MS

    _, recorded = await ask(room, "recorded")
    assert recorded["state"][recorded["driver_id"].index(free)] == "free", "here it is on its way"

    stands = await move(room, "step", step_ms=3 * MINUTE)
    assert (stands["forked_at_ms"], stands["at_ms"]) == (FORK_MS, FORK_MS + 3 * MINUTE)
    await the_recorded_world_is_told_as_far_as_it_differs(room, free)
    _, compared = await ask(room, "comparison")
    (row,) = [one for one in compared["orders"] if one["order_id"] == moved.id]
    assert row["forked_driver_id"] == free != row["recorded_driver_id"]
    assert compared["first_difference"]["what"] == f"maya: reassign {moved.id} to {free}"
    assert compared["first_difference"]["at_ms"] == FORK_MS
    assert compared["recorded"] != compared["forked"] or compared["orders"]
    assert (await ask(room, "fork", MAYA))[1]["code"] == "not_forked", "it is one already"

    stands = await move(room, "seek", at_ms=FORK_MS + MINUTE)
    assert (stands["forked_at_ms"], room.feed.sign.forked_at_ms) == (None, None)
    assert room.runner.engine.hash() == recorded_hash(FORK_MS + MINUTE)
    assert (await ask(room, "comparison"))[0] == 409
    assert (await ask(room, "recorded"))[1]["code"] == "not_forked"


async def the_recorded_world_is_told_as_far_as_it_differs(room: Room, parted: str) -> None:
    """Against the recording read again, and the fork's own floor."""
    there, here = recorded_engine(FORK_MS + 3 * MINUTE).state.drivers, room.runner.engine.state.drivers
    status, told = await ask(room, "recorded")
    assert (status, told["forked_at_ms"], told["parted"], told["forked_only"]) == (200, FORK_MS, True, [])
    columns = ("driver_id", "mall_id", "lat", "lng", "state", "order_ids")
    ghosts = {row[0]: row[1:] for row in zip(*(told[name] for name in columns), strict=True)}
    assert parted in ghosts
    for driver in there.values():
        ours, theirs = here[driver.id].ping, driver.ping
        shown = driver.state != "off_duty" and theirs is not None
        apart = shown and ours and theirs and flat_m(theirs.lat, theirs.lng, ours.lat, ours.lng) > 60
        assert (driver.id in ghosts) == bool(apart or (shown and driver.state != here[driver.id].state)), driver.id
        if driver.id in ghosts and theirs is not None:
            row = (driver.region, theirs.lat, theirs.lng, driver.state, list(driver.order_ids))
            assert ghosts[driver.id] == row
    elsewhere = Caller("nina", "viewer", ("another-mall",))
    assert (await ask(room, "recorded", elsewhere))[1]["driver_id"] == [], (
        "what is outside somebody's malls is not told"
    )
    assert (await ask(room, "recorded", None))[0] == 401
    assert room.link.desk.table["recorded"].role == "viewer"


async def test_a_room_is_forked_with_more_drivers_when_told_to(room: Room) -> None:
    (mall_id,) = room.runner.engine.floor.malls
    assert (await ask(room, "fork", drivers=[{"mall_id": mall_id, "number": 3}]))[0] == 403, "vera only looks"
    wrong = await ask(room, "fork", MAYA, drivers=[{"mall_id": "nowhere", "number": 3}])
    assert (wrong[0], wrong[1]["code"]) == (409, "not_forked")
    assert (await move(room))["forked_at_ms"] is None
    before = len(room.runner.engine.state.drivers)
    status, stands = await ask(room, "fork", MAYA, drivers=[{"mall_id": mall_id, "number": 3}])
    assert (status, stands["forked_at_ms"]) == (200, FORK_MS), stands
    await move(room, "step", step_ms=5_000)
    assert len(room.runner.engine.state.drivers) == before + 3
    _, told = await ask(room, "recorded")
    hired = [driver.id for driver in room.runner.engine.state.drivers.values() if driver.id.startswith("extra-")]
    on_duty = [one for one in hired if room.runner.engine.state.drivers[one].state != "off_duty"]
    assert told["forked_only"] == on_duty


async def test_a_fork_without_changes_is_the_recording_still(room: Room) -> None:
    assert (await ask(room, "fork", MAYA))[0] == 200
    await move(room, "step", step_ms=2 * MINUTE)
    assert room.runner.engine.hash() == recorded_hash(FORK_MS + 2 * MINUTE)
    _, told = await ask(room, "recorded")
    assert (told["driver_id"], told["forked_only"], told["parted"]) == ([], [], False)
