"""How fast a recording replays, what memory that leaves, how long a seek takes: `python -m tests.faults.replays NAME`.

It must not know what is good enough; the tests say so.
"""

import argparse
import asyncio
import gc
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from streamer.edge.recordings.fixtures import FixtureReader, find_fixture, read_companion
from streamer.edge.recordings.replay import replay
from streamer.edge.rooms.contract import RoomOrder
from streamer.edge.rooms.room import Room


class Replays(Struct, frozen=True):
    """Replays in a row in one program. The warm-up costs time like the rest, and is not counted as recorded time."""

    hashes: list[str]
    mib: list[float]
    cpu_s: list[float]
    wall_s: list[float]
    recorded_s: float

    @property
    def speed(self) -> float:
        """The median replay's recorded seconds for each second of a core."""
        return self.recorded_s / statistics.median(self.cpu_s)

    @property
    def grown_mib(self) -> float:
        """What the last replay needed more than the second did; the first fills the caches."""
        return self.mib[-1] - self.mib[1]


class Seeks(Struct, frozen=True):
    """Seeks to random moments, the room's index complete; `first_s` is the first, before that, to the very end."""

    seconds: list[float]
    first_s: float
    indexed_s: float
    mib: float
    hash: str

    @property
    def median_ms(self) -> float:
        """The median, milliseconds."""
        return 1000 * statistics.median(self.seconds)


def replays(path: Path, times: int) -> Replays:
    """Replay a recording again and again."""
    hashes, mib, cpu_s, wall_s = [], [], [], []
    for _ in range(times):
        began_cpu_s, began_s = time.process_time(), time.monotonic()
        hashes.append(replay(path).hash)
        cpu_s.append(time.process_time() - began_cpu_s)
        wall_s.append(time.monotonic() - began_s)
        gc.collect()
        mib.append(_resident_mib())
    return Replays(hashes, mib, cpu_s, wall_s, read_companion(path).length_ms / 1000)


async def seeks(path: Path, times: int, seed: int = 1) -> Seeks:
    """Seek in a room of this program."""
    companion = read_companion(path)
    with FixtureReader(path) as fixture:
        start_ms = fixture.header.start_ms
    end_ms = start_ms + companion.length_ms
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        order = RoomOrder("r-1", "fixture", path.name, str(path), "viewer", start_ms, end_ms, start_ms)
        room = Room(order, Path(folder), "secret")
        try:
            await room.open()
            began_s = time.monotonic()
            await room.player.seek(end_ms, 600)
            first_s, state_hash = time.monotonic() - began_s, room.runner.engine.hash()
            await room.index.reach(end_ms)
            indexed_s = time.monotonic() - began_s
            seconds = []
            for _ in range(times):
                at_ms = rng.randrange(start_ms, end_ms)
                began_s = time.monotonic()
                await room.player.seek(at_ms)
                seconds.append(time.monotonic() - began_s)
            return Seeks(seconds, first_s, indexed_s, _resident_mib(), state_hash)
        finally:
            await room.close()


def _resident_mib() -> float:
    """What this program has in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def main() -> None:
    """Print both as JSON, one a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recording")
    parser.add_argument("--replays", type=int, default=10)
    parser.add_argument("--seeks", type=int, default=200)
    given = parser.parse_args()
    path = find_fixture(given.recording)
    for outcome in (replays(path, given.replays), asyncio.run(seeks(path, given.seeks))):
        sys.stdout.write(msgspec.json.encode(outcome).decode() + "\n")


if __name__ == "__main__":
    main()
