"""Who is nearest: rings of hexes in this process, beside Redis over loopback and numpy measuring everybody.

It must not know sockets or journals. Wall microseconds of one thread, since Redis works elsewhere.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from streamer.core.engine import Engine
from streamer.core.events import Ping, Report
from streamer.core.geo import METRES_PER_DEG
from tests.bench import redis_peer
from tests.bench.fleet import driver_name
from tests.bench.groups.engine import DRIVERS, T0, an_engine, geoadd, timed
from tests.bench.groups.group import Cases, Group
from tests.bench.places import MALLS, Positions, centres, downtown_homes, homes, random_points
from tests.bench.table import Figures, Medians, Row, Target
from tests.bench.workshop import Workshop

NEAREST = 10
RADIUS_KM = 1
FREE_SHARE = 0.4
ASKED = 200


def a_floor_of_drivers(where: Positions) -> tuple[Engine, list[int]]:
    """An engine of drivers at these positions, and the numbers of those that are free; the rest are on a break."""
    engine = an_engine(len(where))
    is_free = np.random.Generator(np.random.PCG64(8)).random(len(where)) < FREE_SHARE
    for number, (lat, lng) in enumerate(where.tolist()):
        name = driver_name(number)
        engine.handle(T0, Ping(fix_ms=T0, lat=lat, lng=lng, driver_id=name, seq=1))
        if not is_free[number]:
            engine.handle(T0, Report(id="break", report="on_break", fix_ms=T0, driver_id=name))
    return engine, np.flatnonzero(is_free).tolist()


LAYOUTS = {"malls": homes, "downtown": downtown_homes}
ASKED_AT: dict[str, list[list[float]]] = {
    "malls": centres().tolist() * (ASKED // MALLS),
    "random": random_points(ASKED).tolist(),
}


@contextmanager
def nearest_cases(_shop: Workshop) -> Iterator[Cases]:
    with ExitStack() as stack:
        client = None if redis_peer.absence() else stack.enter_context(redis_peer.own_redis())
        cases: Cases = {}
        for layout, homes_of in LAYOUTS.items():
            cases |= _asking(layout, homes_of(DRIVERS), client)
        yield cases


def _asking(layout: str, where: Positions, client: Any) -> Cases:
    """The same questions to the engine, to numpy and to Redis, about drivers at these positions."""
    engine, free = a_floor_of_drivers(where)
    of_free, names = where[free], [driver_name(number) for number in free]

    def rings(lat: float, lng: float) -> list[str]:
        return [driver_id for driver_id, _ in engine.nearest(lat, lng, NEAREST)]

    def everybody(lat: float, lng: float) -> list[str]:
        metres = METRES_PER_DEG * np.hypot(of_free[:, 0] - lat, (of_free[:, 1] - lng) * np.cos(np.radians(lat)))
        nearest = np.argpartition(metres, NEAREST)[:NEAREST]
        return [names[place] for place in nearest[np.argsort(metres[nearest])]]

    def search(lat: float, lng: float) -> list[str]:
        return client.geosearch(  # type: ignore[no-any-return]
            layout, longitude=lng, latitude=lat, radius=RADIUS_KM, unit="km", sort="ASC", count=NEAREST
        )

    def a_case(ask: Callable[[float, float], list[str]], asked: list[list[float]]) -> Callable[[], Figures]:
        def work() -> int:
            for lat, lng in asked:
                ask(lat, lng)
            return len(asked)

        return lambda: timed(work)

    asks = {"ours": rings, "numpy": everybody}
    if client is not None:
        geoadd(client, layout, names, of_free.tolist())
        asks["redis"] = search
    for lat, lng in ASKED_AT["random"][:50]:
        assert rings(lat, lng) == everybody(lat, lng), "rings and measuring everybody agree"
    return {
        f"{peer} {layout} {kind}": a_case(ask, points)
        for kind, points in ASKED_AT.items()
        for peer, ask in asks.items()
    }


def nearest_rows(medians: Medians) -> list[Row]:
    rows = []
    for layout, where in (("malls", "half around 40 malls"), ("downtown", "half downtown")):
        for kind, asked in (("malls", "asked at malls"), ("random", "asked anywhere")):
            rows += _nearest_pair(
                medians, f"{layout} {kind}", f"nearest {NEAREST} free of {DRIVERS:,}, {where}, {asked}"
            )
    return rows


def _nearest_pair(medians: Medians, case: str, work: str) -> list[Row]:
    target = Target(4, 8, more=True)
    if f"redis {case}" in medians.runs:
        peer = f"Redis GEOSEARCH, {RADIUS_KM} km"
        row = medians.speedup(work, "us", "µs", f"ours {case}", f"redis {case}", peer, target)
    else:
        row = Row(work, medians.of(f"ours {case}", "us"), "µs", redis_peer.absence(), target=target)
    return [
        row,
        medians.speedup("… beside numpy measuring everybody", "us", "µs", f"ours {case}", f"numpy {case}", "numpy"),
    ]


NEAREST_GROUP = Group("nearest", "who is nearest", nearest_cases, nearest_rows)
