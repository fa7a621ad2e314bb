"""`make bench`: one table, medians of interleaved runs. Machines differ, so read the ratios, not the microseconds."""

import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from streamer.core.engine import Engine
from streamer.core.events import DriverRegistered, Ping, Report
from streamer.core.geo import METRES_PER_DEG
from streamer.core.hexes import DriverIndex, hex_of
from streamer.core.malls import Floor, parse_malls
from streamer.core.state import Driver
from streamer.edge import wire
from tests.bench.naive import NaiveIngestor

Setting = Callable[[], Callable[[], int]]
"""Prepares fresh state, and gives the work to be timed."""

ROUNDS = 5
DRIVERS = 2_000
PINGS_EACH = 10
T0 = 1_794_560_400_000


def a_floor() -> Floor:
    return parse_malls(msgspec.json.decode(Path("fixtures/malls.geojson").read_bytes()))


def some_frames(floor: Floor) -> list[bytes]:
    """Pings of drivers around the malls, half of them close, in the order a server would read them."""
    draw = np.random.Generator(np.random.PCG64(5))
    malls = list(floor.malls.values())
    spread = np.where(np.arange(DRIVERS) % 2, 0.002, 0.03)
    home = np.array([(malls[n % len(malls)].lat, malls[n % len(malls)].lng) for n in range(DRIVERS)])
    where = home + draw.normal(0, 1, (DRIVERS, 2)) * spread[:, None]
    frames = []
    for step in range(PINGS_EACH):
        where = where + draw.normal(0, 0.00008, (DRIVERS, 2))
        for n in range(DRIVERS):
            ping = Ping(
                fix_ms=T0 + step * 5000, lat=round(float(where[n, 0]), 5), lng=round(float(where[n, 1]), 5),
                driver_id=f"d-{n}", seq=step, accuracy_m=8.0, speed_mps=11.6, heading_deg=271.0, battery=0.83,
            )  # fmt: skip
            frames.append(msgspec.json.encode(ping))
    return frames


def an_engine(floor: Floor) -> Engine:
    engine = Engine(floor)
    for n in range(DRIVERS):
        engine.handle(T0, DriverRegistered(f"d-{n}"))
        engine.handle(T0, Report(id="r", report="on_duty", fix_ms=T0, driver_id=f"d-{n}"))
    return engine


def timed(work: Callable[[], int]) -> float:
    """CPU microseconds for each item of work."""
    begun = time.process_time()
    items = work()
    return (time.process_time() - begun) / items * 1e6


def decode_ours(frames: list[bytes]) -> int:
    for frame in frames:
        wire.decode_frame(frame)
    return len(frames)


def decode_naive(frames: list[bytes]) -> int:
    for frame in frames:
        NaiveIngestor.decode(frame)
    return len(frames)


def apply_ours(floor: Floor, pings: list[Ping]) -> Callable[[], int]:
    engine = an_engine(floor)

    def work() -> int:
        for ping in pings:
            engine.handle(ping.fix_ms, ping)
        assert engine.state.verdicts == {"ok": len(pings)}
        return len(pings)

    return work


def apply_naive(floor: Floor, frames: list[bytes]) -> Callable[[], int]:
    ingestor = NaiveIngestor(floor)
    pings = [ingestor.decode(frame) for frame in frames]

    def work() -> int:
        for ping in pings:
            ingestor.apply(ping)
        return len(pings)

    return work


def nearest_pair() -> tuple[Callable[[], int], Callable[[], int]]:
    """Nearest 10 of 50,000: rings of hexes, and numpy measuring everybody."""
    draw = np.random.Generator(np.random.PCG64(6))
    where = draw.normal((36.127, -115.172), (0.06, 0.08), (50_000, 2))
    index, drivers = DriverIndex(), {}
    for n, (lat, lng) in enumerate(where.tolist()):
        drivers[f"d-{n}"] = Driver(
            f"d-{n}", "", 5, (), None, ping=Ping(fix_ms=T0, lat=lat, lng=lng, driver_id=f"d-{n}")
        )
        index.put(f"d-{n}", hex_of(lat, lng))
    asked = draw.normal((36.127, -115.172), (0.03, 0.04), (60, 2)).tolist()

    def rings() -> int:
        for lat, lng in asked:
            assert len(index.nearest(lat, lng, 10, drivers)) == 10
        return len(asked)

    def everybody() -> int:
        for lat, lng in asked:
            metres = METRES_PER_DEG * np.hypot(where[:, 0] - lat, (where[:, 1] - lng) * np.cos(np.radians(lat)))
            assert len(np.argpartition(metres, 10)[:10]) == 10
        return len(asked)

    return rings, everybody


def main() -> None:
    floor = a_floor()
    frames = some_frames(floor)
    pings = [msgspec.json.decode(frame, type=Ping) for frame in frames]
    rings, everybody = nearest_pair()
    rows: list[tuple[str, str, Setting, Setting]] = [
        (
            "decode and check a ping", "json + checks by hand",
            lambda: lambda: decode_ours(frames), lambda: lambda: decode_naive(frames),
        ),
        (
            "apply a ping (rules, hex, fences, state)", "dict, H3 strings, shapely loop",
            lambda: apply_ours(floor, pings), lambda: apply_naive(floor, frames),
        ),
        ("nearest 10 of 50,000", "numpy over everybody", lambda: rings, lambda: everybody),
    ]  # fmt: skip
    table = Table(title=f"{platform.python_implementation()} {platform.python_version()}, one core, median of {ROUNDS}")
    for name in ("work", "ours µs", "peer µs", "ratio", "peer"):
        table.add_column(name, justify="right" if "µ" in name or name == "ratio" else "left")
    for label, peer, ours, theirs in rows:
        ours_us, peer_us = [], []
        for _ in range(ROUNDS):
            ours_us.append(timed(ours()))
            peer_us.append(timed(theirs()))
        mine, other = statistics.median(ours_us), statistics.median(peer_us)
        table.add_row(label, f"{mine:.2f}", f"{other:.2f}", f"{other / mine:.1f}x", peer)
    Console().print(table)


if __name__ == "__main__":
    main()
