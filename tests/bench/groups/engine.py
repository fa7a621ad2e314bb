"""The engine by itself, in this process: applying pings, beside Redis, which only keeps positions, and the naive.

It must not know sockets or journals. All figures here are wall microseconds of one thread, since Redis works elsewhere.
"""

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import msgspec
import numpy as np

from streamer.core.engine import Engine
from streamer.core.events import DriverRegistered, Ping, Report
from tests.bench import redis_peer
from tests.bench.fleet import STEP_DEG, Fleet, driver_name
from tests.bench.groups.group import Cases, Group
from tests.bench.naive import NaiveIngestor
from tests.bench.places import homes, the_floor
from tests.bench.table import Figures, Medians, Row, Target
from tests.bench.workshop import Workshop

T0 = 1_794_560_400_000
STEP_MS = 5_000
DRIVERS = 50_000
PIPELINE = 250
NAIVE_PINGS = 10_000


def timed(work: Callable[[], int]) -> Figures:
    """Wall microseconds for each item of work; what was there before is kept out of the collector's way, for all."""
    gc.collect()
    gc.freeze()
    begun = time.perf_counter()
    items = work()
    us = (time.perf_counter() - begun) / items * 1e6
    gc.unfreeze()
    return {"us": us}


def an_engine(drivers: int) -> Engine:
    """Forty malls, and this many drivers on duty."""
    engine = Engine(the_floor())
    for number in range(drivers):
        name = driver_name(number)
        engine.handle(T0, DriverRegistered(name))
        engine.handle(T0, Report(id="duty", report="on_duty", fix_ms=T0, driver_id=name))
    return engine


class Pings:
    """Rounds of every driver's next ping, as messages."""

    def __init__(self, drivers: int) -> None:
        self.fleet = Fleet(drivers)
        self.drivers = drivers
        self.rounds = 0

    def next(self) -> list[bytes]:
        """One more round, in the order in which a server might read them."""
        self.rounds += 1
        return [self.fleet.ping(number, T0 + self.rounds * STEP_MS) for number in range(self.drivers)]


@contextmanager
def apply_cases(_shop: Workshop) -> Iterator[Cases]:
    engine, pings = an_engine(DRIVERS), Pings(DRIVERS)
    naive, naive_pings = NaiveIngestor(the_floor()), Pings(NAIVE_PINGS)
    decoder = msgspec.json.Decoder(Ping)

    def ours() -> Figures:
        items = [decoder.decode(message) for message in pings.next()]
        handle = engine.handle

        def work() -> int:
            for ping in items:
                handle(ping.fix_ms, ping)
            return len(items)

        figures = timed(work)
        assert engine.state.verdicts == {"ok": pings.rounds * DRIVERS}, "every ping is believed"
        return figures

    def theirs() -> Figures:
        items = [naive.decode(message)[0] for message in naive_pings.next()]
        return timed(lambda: sum(naive.apply(ping) for ping in items))

    ours()  # The first ping of a driver is not like those after it.
    theirs()
    with ExitStack() as stack:
        cases: Cases = {"ours": ours, "naive": theirs}
        if not redis_peer.absence():
            client = stack.enter_context(redis_peer.own_redis())
            cases["redis"] = moving(client)
            cases["redis"]()
        yield cases


def moving(client: Any) -> Callable[[], Figures]:
    """Every driver's next position to Redis, each time it is called: some metres from the last."""
    draw, names = np.random.Generator(np.random.PCG64(10)), [driver_name(number) for number in range(DRIVERS)]
    where = homes(DRIVERS)

    def case() -> Figures:
        where[:] += draw.normal(0, STEP_DEG, where.shape)
        rows = where.tolist()
        return timed(lambda: geoadd(client, "drivers", names, rows))

    return case


def geoadd(client: Any, key: str, names: Sequence[str], rows: Sequence[Sequence[float]]) -> int:
    """Positions to Redis, a command each, so many in a pipeline."""
    for at in range(0, len(names), PIPELINE):
        pipeline = client.pipeline(transaction=False)
        for name, (lat, lng) in zip(names[at : at + PIPELINE], rows[at : at + PIPELINE], strict=True):
            pipeline.geoadd(key, (lng, lat, name))
        pipeline.execute()
    return len(names)


def apply_rows(medians: Medians) -> list[Row]:
    work = "apply a ping: rules, hex, fences of 40 malls, indexes, state"
    target = Target(5, 8, more=True)
    rows = [medians.speedup(work, "us", "µs", "ours", "naive", "naive apply")]
    if "redis" in medians.runs:
        peer = f"Redis GEOADD, pipeline of {PIPELINE}, from Python"
        rows.append(
            medians.speedup("… beside Redis, which only keeps the position", "us", "µs", "ours", "redis", peer, target)
        )
    else:
        rows.append(Row("… beside Redis", medians.of("ours", "us"), "µs", redis_peer.absence(), target=target))
    return rows


APPLY = Group("engine", "the engine beside Redis and the naive", apply_cases, apply_rows)
