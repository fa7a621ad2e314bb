"""Replay rooms beside a real floor: spoilt recordings, killed rooms, a killed floor; and what replaying costs."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import msgspec
import pytest

from streamer.edge.accounts import Accounts
from streamer.edge.recordings.fixtures import find_fixture, read_companion
from tests.edge.rooms.rooms_kit import END_MS, START_MS, a_recording
from tests.faults.conftest import Start, a_dashboard
from tests.faults.evidence import Evidence
from tests.faults.replays import Replays, Seeks
from tests.faults.scale import SCALE

LEVEL_MIB = 6.0
"""What an allocator may keep, whatever a program does."""
FASTEST_S = 500.0
SEEK_MS = 300.0


def measured(path: Path) -> tuple[Replays, Seeks]:
    """Of a program of its own, so that nothing else is in its memory."""
    command = [sys.executable, "-m", "tests.faults.replays", str(path)]
    counts = ["--replays", str(SCALE.replays), "--seeks", str(SCALE.seeks)]
    done = subprocess.run(
        [*command, *counts], stdout=subprocess.PIPE, check=True, timeout=1_800, env={**os.environ, "PYTHONPATH": "."}
    )
    replays, seeks = done.stdout.splitlines()
    return msgspec.json.decode(replays, type=Replays), msgspec.json.decode(seeks, type=Seeks)


@pytest.mark.timeout(1_900)
def test_a_recording_replays_fast_again_and_again_and_any_moment_is_reached_at_once(
    tmp_path: Path, evidence: Evidence
) -> None:
    """The rush itself in the long evidence; a small day, for the same lines of code, in `make test`."""
    path = find_fixture("saturday-rush") if SCALE.replays >= 10 else a_recording(tmp_path, rounds=250)
    replays, seeks = measured(path)
    evidence(
        "replays in a row", len(replays.hashes), speed=round(replays.speed), grown_mib=round(replays.grown_mib, 2),
        mib=round(replays.mib[-1], 1), cpu_s=round(min(replays.cpu_s), 2), wall_s=round(min(replays.wall_s), 2),
    )  # fmt: skip
    evidence(
        "seeks in a recording", len(seeks.seconds), median_ms=round(seeks.median_ms, 1),
        slowest_ms=round(1000 * max(seeks.seconds), 1), first_s=round(seeks.first_s, 2),
        indexed_s=round(seeks.indexed_s, 2), mib=round(seeks.mib, 1),
    )  # fmt: skip
    assert {*replays.hashes, seeks.hash} == {read_companion(path).hash}
    assert replays.grown_mib < LEVEL_MIB
    assert replays.speed >= FASTEST_S
    assert seeks.median_ms <= SEEK_MS


async def answers(client: httpx.AsyncClient) -> None:
    state = await client.get("/api/v1/state")
    assert state.status_code == 200, state.text


async def test_a_floor_serves_on_whatever_becomes_of_recordings_and_rooms(
    data: Path, start: Start, tmp_path: Path, evidence: Evidence
) -> None:
    folder = tmp_path / "recordings"
    folder.mkdir()
    good = a_recording(folder).read_bytes()
    beside = (folder / "a-day.json").read_bytes()
    spoilt = {"torn": good[:700], "flipped": good[:500] + b"\xff\xff" + good[502:], "foreign": b"GIF89a", "empty": b""}
    for name, content in spoilt.items():
        (folder / f"{name}.ndjson.zst").write_bytes(content)
        (folder / f"{name}.json").write_bytes(beside)
    accounts = Accounts(data)
    token = accounts.mint_api_token("olga", "ops-lead", (), 0)
    accounts.close()
    floor = start("--fixtures", str(folder))
    async with a_dashboard(floor.port, token) as client:
        items = (await client.get("/api/v1/recordings")).json()["items"]
        problems = {item["id"]: item["problem"] for item in items if item.get("problem")}
        assert set(spoilt) <= set(problems)
        assert "a-day" not in problems
        for name in spoilt:
            refused = await client.post("/api/v1/rooms", json={"source": name})
            assert (refused.status_code, refused.json()["code"]) == (409, "bad_recording"), name
            await answers(client)
        moments = (START_MS, END_MS)
        for at_ms in moments:
            opened = await client.post("/api/v1/rooms", json={"source": "a-day", "at_ms": at_ms})
            assert opened.status_code == 201, opened.text
        processes = children_of(floor.running.pid)
        assert len(processes) == 2
        os.kill(processes[0], signal.SIGKILL)
        while len(left := (await client.get("/api/v1/rooms")).json()["items"]) > 1:
            await asyncio.sleep(0.02)
        await answers(client)
        at = f"/api/v1/rooms/{left[0]['room']}/transport"
        while (stands := (await client.post(at)).json())["seeking_ms"] is not None:
            pass
        assert stands["at_ms"] == left[0]["at_ms"]
    floor.send(signal.SIGKILL)
    floor.wait()
    while any(Path(f"/proc/{pid}").exists() for pid in processes):
        await asyncio.sleep(0.02)
    evidence("spoilt recordings refused in words", len(spoilt), rooms_left_behind=0)


def children_of(pid: int) -> list[int]:
    """Processes that a process started and that live, by id."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
