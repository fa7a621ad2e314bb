"""The ingestor a hurried afternoon would write: the peer the whole pipeline and the engine are measured against.

`async for`, `json`, checks by hand, H3 by strings, every mall's polygon unprepared, one commit a ping, as durable as
ours (WAL, FULL), and the ack after it. It is spared much that the product does: tokens, duty, late, jump and gap
rules, debounced fences, indexes, checksums, the feed. So a ratio against it is a floor.
"""

import argparse
import json
import sqlite3
from pathlib import Path
from typing import Any

import h3
import uvloop
from shapely.geometry import Point, Polygon
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from streamer.core.malls import Floor
from tests.bench.places import the_floor
from tests.bench.sinks import HOST, MAX_BYTES, say_ready


class NaiveIngestor:
    """Last position, cell and mall of each driver, in dicts."""

    def __init__(self, floor: Floor) -> None:
        self.polygons = {mall.id: Polygon([(lng, lat) for lat, lng in mall.ring]) for mall in floor.malls.values()}
        self.drivers: dict[str, dict[str, Any]] = {}

    @staticmethod
    def decode(frame: bytes | str) -> list[dict[str, Any]]:
        """The pings of a frame, checked.

        Raises:
            ValueError: one is not well formed.
        """
        decoded = json.loads(frame)
        pings: list[dict[str, Any]] = decoded if isinstance(decoded, list) else [decoded]
        for ping in pings:
            if ping.get("type") != "ping" or not isinstance(ping.get("fix_ms"), int):
                raise ValueError("bad ping")
            if not (-90 <= ping["lat"] <= 90 and -180 <= ping["lng"] <= 180):
                raise ValueError("bad coordinate")
            for name in ("accuracy_m", "speed_mps", "heading_deg", "battery"):
                if ping.get(name) is not None and not isinstance(ping[name], int | float):
                    raise ValueError(name)
        return pings

    def apply(self, ping: dict[str, Any]) -> bool:
        """Keeps the ping if it is new."""
        last = self.drivers.get(ping["driver_id"])
        if last is not None and ping["seq"] <= last["seq"]:
            return False
        cell = h3.latlng_to_cell(ping["lat"], ping["lng"], 9)
        point = Point(ping["lng"], ping["lat"])
        mall = next((mall_id for mall_id, polygon in self.polygons.items() if polygon.contains(point)), None)
        self.drivers[ping["driver_id"]] = {**ping, "cell": cell, "mall": mall}
        return True


class NaiveServer:
    """The ingestor behind a socket and in front of a database."""

    def __init__(self, ingestor: NaiveIngestor, path: Path) -> None:
        self.ingestor = ingestor
        self.database = sqlite3.connect(path)
        self.database.execute("PRAGMA journal_mode = WAL")
        self.database.execute("PRAGMA synchronous = FULL")
        self.database.execute(
            "CREATE TABLE IF NOT EXISTS ping (driver_id, seq, fix_ms, lat, lng, accuracy_m, speed_mps, cell, mall)"
        )

    async def handle(self, connection: ServerConnection) -> None:
        """Takes pings until the peer leaves; a batch is answered once, by its last ping."""
        try:
            async for frame in connection:
                pings = self.ingestor.decode(frame)
                for ping in pings:
                    if self.ingestor.apply(ping):
                        self.keep(self.ingestor.drivers[ping["driver_id"]])
                ack = {"type": "ack", "seq": pings[-1]["seq"], "driver_id": pings[-1]["driver_id"]}
                await connection.send(json.dumps(ack, separators=(",", ":")))
        except ConnectionClosed:
            pass

    def keep(self, ping: dict[str, Any]) -> None:
        """Makes a ping durable."""
        columns = ("driver_id", "seq", "fix_ms", "lat", "lng", "accuracy_m", "speed_mps", "cell", "mall")
        self.database.execute(
            "INSERT INTO ping VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", tuple(ping[name] for name in columns)
        )
        self.database.commit()


async def run(data: Path) -> None:
    """Serve on a free port until ended."""
    naive = NaiveServer(NaiveIngestor(the_floor()), data / "naive.db")
    async with serve(naive.handle, HOST, 0, compression=None, max_size=MAX_BYTES) as server:
        say_ready(next(iter(server.sockets)).getsockname()[1])
        await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.bench.naive")
    parser.add_argument("--data", type=Path, required=True)
    uvloop.run(run(parser.parse_args().data))


if __name__ == "__main__":
    main()
