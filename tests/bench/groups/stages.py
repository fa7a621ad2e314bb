"""What each stage of a ping's way costs by itself, in this process: the bill that the whole has to be near.

It must not know the other groups' figures. CPU microseconds of all threads of this process, so that the journal's
writer counts; the network's own work, done by the kernel, is in none of them.
"""

import asyncio
import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from websockets.asyncio.server import ServerConnection, serve

from streamer.core.events import Ping
from streamer.core.settings import Settings
from streamer.edge import wire
from streamer.edge.connection import DirectConnection
from streamer.edge.journal.contract import SCHEMA, JournalHeader, PingRun
from streamer.edge.journal.sqlite import SqliteJournal
from streamer.edge.wire import Ack
from tests.bench.fleet import framed, upgrade
from tests.bench.groups.engine import Pings, an_engine
from tests.bench.groups.group import Cases, Group
from tests.bench.naive import NaiveIngestor
from tests.bench.places import the_floor
from tests.bench.sinks import HOST
from tests.bench.table import Figures, Medians, Row
from tests.bench.workshop import Workshop

DRIVERS = 5_000
BATCH = 50
COMMIT_PINGS = {1: 100, BATCH: 1_000}
"""Pings a commit at 5,000/s and at 50,000/s, with a commit every 20 ms."""
CHUNK = 8
"""Frames in one reading of the network, where they come in bursts."""


def cpu_us(work: Callable[[], object], items: int) -> float:
    """CPU microseconds for each item."""
    gc.collect()
    gc.freeze()
    begun = time.process_time()
    work()
    us = (time.process_time() - begun) / items * 1e6
    gc.unfreeze()
    return us


async def parsing(chunks: list[bytes], frames: int) -> float:
    """Frames through `data_received` of a real, open connection of the server, without the network under it."""
    ours: asyncio.Future[DirectConnection] = asyncio.get_running_loop().create_future()

    def claim(connection: ServerConnection, _request: object) -> None:
        assert isinstance(connection, DirectConnection)
        connection.claim()

    async def handle(connection: ServerConnection) -> None:
        assert isinstance(connection, DirectConnection)
        ours.set_result(connection)
        await connection.wait_closed()

    async with serve(
        handle, HOST, 0, process_request=claim, create_connection=DirectConnection, compression=None
    ) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        _, writer = await asyncio.open_connection(HOST, port)
        writer.write(upgrade("/", ""))
        connection, counted = await ours, [0]

        def sink(_message: bytes) -> None:
            counted[0] += 1

        connection.listen(sink)

        def work() -> None:
            for chunk in chunks:
                connection.data_received(chunk)

        us = cpu_us(work, frames)
        writer.close()
        assert counted[0] == frames, "every frame came out as one message"
    return us


async def acking(count: int) -> float:
    """Acks encoded and written to a socket that somebody reads, a write each."""
    ours: asyncio.Future[DirectConnection] = asyncio.get_running_loop().create_future()

    async def handle(connection: ServerConnection) -> None:
        assert isinstance(connection, DirectConnection)
        ours.set_result(connection)
        await connection.wait_closed()

    async with serve(handle, HOST, 0, create_connection=DirectConnection, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        reader, writer = await asyncio.open_connection(HOST, port, limit=1 << 24)
        writer.write(upgrade("/", ""))
        connection, us = await ours, 0.0
        for at in range(0, count, 100):

            def work(first: int = at) -> None:
                for seq in range(first, first + 100):
                    connection.say(wire.encode(Ack(seq=seq)))

            us += cpu_us(work, count)
            await reader.read(1 << 20)
        writer.close()
    return us


def journaling(folder: Path, pings: list[Ping], size: int) -> Figures:
    """Runs of `size` pings appended and committed, so many a commit as a busy floor has; and what they take on disk."""
    header = JournalHeader(SCHEMA, the_floor().geojson(), Settings(), "the bench", pings[0].fix_ms)
    journal = SqliteJournal(folder, header)
    journal.start(lambda ticket: None, lambda error: None)
    a_commit = COMMIT_PINGS[size]

    def work() -> None:
        for at in range(0, len(pings), size):
            run = pings[at : at + size]
            journal.append(PingRun(at + 1, run[0].fix_ms, ["ok"] * len(run), run))
            if (at + size) % a_commit == 0:
                journal.flush()
        journal.flush()

    empty = sum(path.stat().st_size for path in folder.iterdir())
    us = cpu_us(work, len(pings))
    journal.close()
    written = sum(path.stat().st_size for path in folder.iterdir())
    return {"us": us, "bytes": max(0, written - empty) / len(pings)}


@contextmanager
def stage_cases(shop: Workshop) -> Iterator[Cases]:
    source = Pings(DRIVERS)
    messages = source.next() + source.next() + source.next()
    count = len(messages)
    batches = [b"[" + b",".join(messages[at : at + BATCH]) + b"]" for at in range(0, count, BATCH)]
    frames = [framed(message) for message in messages]
    big = [framed(batch) for batch in batches]
    chunks = [b"".join(frames[at : at + CHUNK]) for at in range(0, count, CHUNK)]
    pings = [msgspec.json.decode(message, type=Ping) for message in messages]
    size = sum(map(len, messages)) / count

    def each(call: Callable[[bytes], object], over: list[bytes]) -> Callable[[], None]:
        def work() -> None:
            for message in over:
                call(message)

        return work

    def applying() -> Figures:
        engine = an_engine(DRIVERS)
        handle = engine.handle

        def take(round_of: list[Ping]) -> None:
            for ping in round_of:
                handle(ping.fix_ms, ping)

        # The first ping of a driver is not like those after it.
        take(pings[:DRIVERS])
        us = cpu_us(lambda: take(pings[DRIVERS:]), count - DRIVERS)
        assert engine.state.verdicts == {"ok": count}, "every ping is believed"
        return {"us": us, "bytes": size}

    def figures(us: float, size: float) -> Figures:
        return {"us": us, "bytes": size}

    yield {
        "frame": lambda: figures(asyncio.run(parsing(frames, count)), len(frames[0])),
        "frame burst": lambda: figures(asyncio.run(parsing(chunks, count)), len(frames[0])),
        "frame batch": lambda: figures(asyncio.run(parsing(big, len(big))) / BATCH, len(big[0]) / BATCH),
        "decode": lambda: figures(cpu_us(each(wire.decode_frame, messages), count), size),
        "decode batch": lambda: figures(cpu_us(each(wire.decode_frame, batches), count), size),
        "decode naive": lambda: figures(cpu_us(each(NaiveIngestor.decode, messages), count), size),
        "apply": applying,
        "journal": lambda: journaling(shop.fresh(), pings, 1),
        "journal batch": lambda: journaling(shop.fresh(), pings, BATCH),
        "ack": lambda: figures(asyncio.run(acking(1_000)), len(wire.encode(Ack(seq=1_000))) + 2),
    }


STAGES = {
    "frame": "frame parse, a frame a reading",
    "frame burst": f"frame parse, {CHUNK} frames a reading",
    "frame batch": f"frame parse, batch of {BATCH}",
    "decode": "decode and check",
    "decode batch": f"decode and check, batch of {BATCH}",
    "apply": "apply",
    "journal": f"journal, append and commit, {COMMIT_PINGS[1]} single pings a commit",
    "journal batch": f"journal, append and commit, {COMMIT_PINGS[BATCH] // BATCH} batches of {BATCH} a commit",
    "ack": "ack, encoded and written, with the system call",
}


def stage_rows(medians: Medians) -> list[Row]:
    rows = []
    for case, work in STAGES.items():
        unit = f"µs, {medians.of(case, 'bytes'):.0f} B"
        if case == "decode":
            rows.append(medians.speedup(work, "us", unit, case, "decode naive", "json and checks by hand"))
        else:
            rows.append(medians.alone(work, "us", unit, case))
    return rows


STAGES_GROUP = Group("stages", "each stage by itself: CPU and bytes a ping", stage_cases, stage_rows)
