"""A routing server on 127.0.0.1 that answers as it is told.

It must not know what is made of its answers.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable

import pytest

Reply = tuple[int, str]


def seconds_of(a: tuple[float, float], b: tuple[float, float]) -> float:
    """What the stub's roads take: another one each way, so that a transposed matrix shows."""
    return round(10_000 * abs(a[0] - b[0]), 1) + (5.0 if a[0] > b[0] else 1.0)


class Stub:
    """A routing server on 127.0.0.1. `twist` changes what it would have answered, or answers in its place."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []
        self.raw: list[str] = []
        self.twist: Callable[[list[list[float | None]]], list[list[float | None]] | Reply] = lambda rows: rows
        self.pause_s = 0.0
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := (await reader.readline()).decode():
                length = 0
                while (header := (await reader.readline()).decode().strip()) != "":
                    name, _, value = header.partition(":")
                    length = int(value) if name.lower() == "content-length" else length
                body = (await reader.readexactly(length)).decode()
                self.raw.append(line.strip())
                await asyncio.sleep(self.pause_s)
                status, text = self.answer(line.split()[1], body)
                head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(text.encode())}\r\n\r\n"
                writer.write((head + text).encode())
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def answer(self, path: str, body: str) -> Reply:
        sources, targets = _valhalla_asked(body) if body else _osrm_asked(path)
        self.asked.append((len(sources), len(targets)))
        twisted = self.twist([[seconds_of(a, b) for b in targets] for a in sources])
        if isinstance(twisted, tuple):
            return twisted
        if body:
            cells = [[{"time": s, "distance": 1.0} for s in row] for row in twisted]
            return 200, json.dumps({"sources_to_targets": cells, "units": "kilometers"})
        return 200, json.dumps({"code": "Ok", "durations": twisted, "sources": []})


def _osrm_asked(path: str) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    route, _, query = path.partition("?")
    points = [(float(lat), float(lng)) for lng, lat in (p.split(",") for p in route.split("/")[-1].split(";"))]
    wanted = dict(part.split("=") for part in query.split("&"))
    assert wanted["annotations"] == "duration"
    assert route.startswith("/table/v1/driving/")
    return (
        [points[int(n)] for n in wanted["sources"].split(";")],
        [points[int(n)] for n in wanted["destinations"].split(";")],
    )


def _valhalla_asked(body: str) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    asked = json.loads(body)
    assert asked["costing"] == "auto"
    return [(p["lat"], p["lon"]) for p in asked["sources"]], [(p["lat"], p["lon"]) for p in asked["targets"]]


@pytest.fixture
async def stub() -> AsyncIterator[Stub]:
    stub = Stub()
    server = await asyncio.start_server(stub.serve, "127.0.0.1", 0)
    stub.port = server.sockets[0].getsockname()[1]
    yield stub
    server.close()
