"""Road times from a routing server: OSRM's `/table` or Valhalla's `/sources_to_targets`, with the model behind them.

It must not know orders, drivers or plans. Whatever happens outside, `RoadTimes.legs` answers in bounded time with a
whole matrix: what the server did not give, or did not give in time, comes from the travel model, and `status` says so.
What the floor learned about the model must not be laid over times of the roads: they are not the model's.
"""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import product
from typing import Annotated, Literal, Self

import httpx
import msgspec
import numpy as np
import structlog
from msgspec import Meta, Struct, field
from numpy.typing import NDArray

from streamer.core.settings import TravelRules
from streamer.core.travel import Travel

log = structlog.get_logger("routing")

Kind = Literal["model", "osrm", "valhalla"]
Point = tuple[float, float]
"""(lat, lng), degrees WGS 84."""
Spot = tuple[int, int]
"""A point rounded to `ROUNDED` parts of a degree."""
Answered = list[list[float | None]]
"""Seconds, row by row; None where there is no way."""

ROUNDED = 10_000
"""Points within some 11 m are one to the cache: less than the width of a car park."""
LONGEST_S = 24 * 3600.0
"""No leg of a delivery takes a day; a server that says so measures something else."""
MAX_ANSWER_BYTES = 8 * 1024 * 1024
AT_ONCE = 4
"""Requests under way at a time."""
FAILURES_ALLOWED = 3
FIRST_REST_S, LONGEST_REST_S = 5.0, 300.0
"""After so many failures in a row the server is left alone for a while, twice as long each time a try fails again."""


class RoutingRules(Struct, frozen=True, forbid_unknown_fields=True):
    """The `routing` table of `serve --config`. `url` is the server's root: `http://127.0.0.1:5000`."""

    kind: Kind = "model"
    url: str = ""
    profile: Annotated[str, Meta(pattern=r"^[a-z_]{1,32}$")] = ""
    """OSRM's profile or Valhalla's costing; by default `driving` or `auto`."""
    timeout_ms: Annotated[int, Meta(ge=50, le=60_000)] = 1_500
    """For the whole of `legs`: a plan does not wait longer, whatever is under way."""
    chunk: Annotated[int, Meta(ge=1, le=500)] = 50
    """Sources and targets of one request. OSRM by default takes 100 points in all, Valhalla 2,500 pairs."""
    cached_pairs: Annotated[int, Meta(ge=1, le=10_000_000)] = 200_000
    """Some 200 bytes each."""
    cached_ms: Annotated[int, Meta(ge=0, le=604_800_000)] = 900_000

    def __post_init__(self) -> None:
        """Raises ValueError for a server without an address, which decoding reports with the place in the file."""
        try:
            address = httpx.URL(self.url)
        except httpx.InvalidURL as error:
            raise ValueError(f"url: {error}") from error
        if address.port is not None and address.port > 65_535:
            raise ValueError(f"url: there is no port {address.port}")
        if self.kind != "model" and (address.scheme not in {"http", "https"} or not address.host):
            raise ValueError(f"routing by {self.kind} needs url: http://HOST:PORT")


class Legs(Struct, frozen=True):
    """Driving times from every point to every point, ms; 0 on the diagonal. `road` counts cells that are of roads."""

    matrix: NDArray[np.int64]
    road: int
    cells: int
    """Cells off the diagonal; `cells - road` of them are the model's."""


class RoutingStatus(Struct):
    """Where times come from now, for people: `source` is the kind while it answers, else `model`."""

    source: Kind
    since_ms: int
    last_error: str = ""
    last_error_ms: int | None = None


class RoutingTally(Struct):
    """Running counts for `/metrics`; `failures` by what was wrong."""

    requests: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    cells_cached: int = 0
    cells_fetched: int = 0
    cells_model: int = 0
    rests: int = 0
    """How often the server was left alone."""


class RoutingError(Exception):
    """A request failed; `kind` is a word for the tally. Never leaves this module."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind


class RoadTimes:
    """Asks the server, remembers what it said, and does without it when it must. Use as an async context manager.

    Args:
        rules: which server; of kind `model` none is ever asked.
        travel: the model behind it.
        now_s: a clock that never goes back, seconds; tests turn it by hand.
        wall_ms: UTC epoch milliseconds for the status.
    """

    def __init__(
        self, rules: RoutingRules, travel: Travel, now_s: Callable[[], float] = time.monotonic,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:  # fmt: skip
        self.rules = rules
        self.travel = travel
        self.status = RoutingStatus("model", wall_ms())
        self.tally = RoutingTally()
        self._now_s, self._wall_ms = now_s, wall_ms
        self._cache: OrderedDict[tuple[Spot, Spot], tuple[int | None, float]] = OrderedDict()
        self._failures = 0
        self._rest_until_s = -math.inf
        # The environment's proxies are for the internet; a routing server stands beside the floor.
        self._client = httpx.AsyncClient(
            timeout=rules.timeout_ms / 1000, trust_env=False, limits=httpx.Limits(max_connections=AT_ONCE)
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of all connections."""
        await self._client.aclose()

    async def legs(self, points: Sequence[Point]) -> Legs:
        """The times between these points, within `timeout_ms` and a little, and never an exception from outside."""
        spots = _spots(points)
        own = dict.fromkeys(spots)
        known = await self._asked(dict.fromkeys(pair for pair in product(own, own) if pair[0] != pair[1]))
        return self._filled(points, spots, known)

    async def road_ms(
        self, points: Sequence[Point], wanted: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Milliseconds of roads between the points that are `wanted`, and which are known; shapes (points, points).

        As `legs`, but asks for nothing else, and leaves what is not known to whoever asks. The loop has a turn between
        any two rows.
        """
        spots = _spots(points)
        rows = [np.flatnonzero(row).tolist() for row in wanted]
        pairs: dict[tuple[Spot, Spot], None] = {}
        for i, row in enumerate(rows):
            pairs.update(dict.fromkeys((spots[i], spots[j]) for j in row if spots[i] != spots[j]))
            await asyncio.sleep(0)
        known = await self._asked(pairs)
        matrix, is_road = np.zeros(wanted.shape, np.int64), np.zeros(wanted.shape, np.bool_)
        for i, row in enumerate(rows):
            for j in row:
                leg_ms = 0 if spots[i] == spots[j] else known.get((spots[i], spots[j]))
                if leg_ms is not None:
                    matrix[i, j], is_road[i, j] = leg_ms, True
            await asyncio.sleep(0)
        self.tally.cells_model += int((wanted & ~is_road).sum())
        return matrix, is_road

    async def _asked(self, pairs: dict[tuple[Spot, Spot], None]) -> dict[tuple[Spot, Spot], int | None]:
        """What is remembered of these pairs, and what the server says of the others."""
        known, missing = self._known(pairs)
        self.tally.cells_cached += len(known)
        if missing and self.rules.kind != "model" and self._now_s() >= self._rest_until_s:
            fetched = await self._fetch(missing)
            self.tally.cells_fetched += len(fetched)
            known.update(fetched)
        return known

    def counters(self) -> dict[str, object]:
        """The tally and status as lines for the table of counters."""
        tally = self.tally
        return {
            "routing_requests_total": tally.requests,
            **{f"routing_failures_total.kind.{kind}": count for kind, count in sorted(tally.failures.items())},
            "routing_cells_total.source.cache": tally.cells_cached,
            "routing_cells_total.source.server": tally.cells_fetched,
            "routing_cells_total.source.model": tally.cells_model,
            "routing_rests_total": tally.rests,
            "routing_on_model": int(self.status.source == "model"),
        }

    # ------------------------------------------------------------ cache

    def _known(
        self, pairs: dict[tuple[Spot, Spot], None]
    ) -> tuple[dict[tuple[Spot, Spot], int | None], list[tuple[Spot, Spot]]]:
        """What is remembered and still fresh of these pairs, and those that are not, in order."""
        known: dict[tuple[Spot, Spot], int | None] = {}
        missing: list[tuple[Spot, Spot]] = []
        now_s = self._now_s()
        for pair in pairs:
            entry = self._cache.get(pair)
            if entry is None or entry[1] <= now_s:
                missing.append(pair)
            else:
                self._cache.move_to_end(pair)
                known[pair] = entry[0]
        return known, missing

    def _remember(self, pair: tuple[Spot, Spot], leg_ms: int | None) -> None:
        self._cache[pair] = leg_ms, self._now_s() + self.rules.cached_ms / 1000
        self._cache.move_to_end(pair)
        while len(self._cache) > self.rules.cached_pairs:
            self._cache.popitem(last=False)

    def _filled(self, points: Sequence[Point], spots: list[Spot], known: dict[tuple[Spot, Spot], int | None]) -> Legs:
        size = len(points)
        matrix = np.zeros((size, size), np.int64)
        road = 0
        for i, j in product(range(size), repeat=2):
            if i == j:
                continue
            leg_ms = 0 if spots[i] == spots[j] else known.get((spots[i], spots[j]))
            if leg_ms is None:
                leg_ms = self.travel.drive_ms(*points[i], *points[j])
                self.tally.cells_model += 1
            else:
                road += spots[i] != spots[j]
            matrix[i, j] = leg_ms
        return Legs(matrix, road, size * (size - 1))

    # ------------------------------------------------------------ the server

    async def _fetch(self, missing: list[tuple[Spot, Spot]]) -> dict[tuple[Spot, Spot], int | None]:
        """Asks for what is missing, chunk by chunk; what has not come in time is left out.

        While the server is on trial after a rest, one chunk goes ahead of the others.
        """
        blocks = _blocks(missing, self.rules.chunk)
        fetched: dict[tuple[Spot, Spot], int | None] = {}
        room = asyncio.Semaphore(AT_ONCE)
        try:
            async with asyncio.timeout(self.rules.timeout_ms / 1000):
                if self._failures:
                    await self._fetch_block(*blocks.pop(0), fetched, room)
                async with asyncio.TaskGroup() as group:
                    for sources, targets in blocks:
                        group.create_task(self._fetch_block(sources, targets, fetched, room))
        except TimeoutError:
            self._failed(RoutingError("timeout", f"no answer within {self.rules.timeout_ms} ms"))
        return fetched

    async def _fetch_block(
        self, sources: list[Spot], targets: list[Spot], fetched: dict[tuple[Spot, Spot], int | None],
        room: asyncio.Semaphore,
    ) -> None:  # fmt: skip
        async with room:
            if self._now_s() < self._rest_until_s:
                return
            self.tally.requests += 1
            try:
                rows = _checked(await self._ask(sources, targets), len(sources), len(targets))
            except RoutingError as error:
                self._failed(error)
                return
        self._succeeded()
        for (i, source), (j, target) in product(enumerate(sources), enumerate(targets)):
            if source != target:
                seconds = rows[i][j]
                fetched[source, target] = leg_ms = None if seconds is None else round(1000 * seconds)
                self._remember((source, target), leg_ms)

    async def _ask(self, sources: list[Spot], targets: list[Spot]) -> Answered:
        build = _osrm if self.rules.kind == "osrm" else _valhalla
        request = build(self._client, self.rules, sources, targets)
        try:
            async with self._client.stream(request.method, request.url, content=request.content) as response:
                body = bytearray()
                async for piece in response.aiter_bytes():
                    body += piece
                    if len(body) > MAX_ANSWER_BYTES:
                        raise RoutingError("too_long", f"more than {MAX_ANSWER_BYTES} bytes")
        except httpx.TimeoutException as error:
            raise RoutingError("timeout", type(error).__name__) from error
        except (httpx.HTTPError, OSError, UnicodeError) as error:
            raise RoutingError("unreachable", f"{type(error).__name__} {error}".strip()) from error
        if response.status_code != 200:
            raise RoutingError("status", f"{response.status_code} {bytes(body[:120]).decode(errors='replace')}")
        try:
            return _read_osrm(bytes(body)) if self.rules.kind == "osrm" else _read_valhalla(bytes(body))
        except msgspec.DecodeError as error:
            raise RoutingError("garbage", str(error)) from error

    def _failed(self, error: RoutingError) -> None:
        self.tally.failures[error.kind] = self.tally.failures.get(error.kind, 0) + 1
        self._failures += 1
        self.status.last_error, self.status.last_error_ms = str(error), self._wall_ms()
        if self._failures >= FAILURES_ALLOWED and self._now_s() >= self._rest_until_s:
            self.tally.rests += 1
            tried_again = min(self._failures - FAILURES_ALLOWED, 16)
            self._rest_until_s = self._now_s() + min(LONGEST_REST_S, FIRST_REST_S * 2.0**tried_again)
            self._turn_to("model")

    def _succeeded(self) -> None:
        self._failures = 0
        self._turn_to(self.rules.kind)

    def _turn_to(self, source: Kind) -> None:
        if self.status.source != source:
            self.status.source, self.status.since_ms = source, self._wall_ms()
            log.warning("road times from", source=source, error=self.status.last_error)


async def try_roads(rules: RoutingRules, lat: float, lng: float) -> tuple[RoutingStatus, bool]:
    """Asks the server once, from a place to one a kilometre north: its status, and whether it knows a way."""
    async with RoadTimes(rules, Travel(TravelRules())) as times:
        legs = await times.legs([(lat, lng), (lat + 0.01, lng)])
        return times.status, legs.road > 0


def _spots(points: Sequence[Point]) -> list[Spot]:
    return [(round(lat * ROUNDED), round(lng * ROUNDED)) for lat, lng in points]


def _blocks(missing: list[tuple[Spot, Spot]], chunk: int) -> list[tuple[list[Spot], list[Spot]]]:
    """Blocks of at most `chunk` sources and targets that hold every missing pair, and not many others.

    A place that is new lacks its way to nearly all others, they only theirs to it: these two are asked apart.
    """
    targets_of: dict[Spot, list[Spot]] = {}
    for source, target in missing:
        targets_of.setdefault(source, []).append(target)
    most = max(len(targets) for targets in targets_of.values())
    new = [source for source, targets in targets_of.items() if 2 * len(targets) >= most]
    old = [source for source, targets in targets_of.items() if 2 * len(targets) < most]
    blocks = []
    for sources in (new, old):
        for first in range(0, len(sources), chunk):
            some = sources[first : first + chunk]
            targets = list(dict.fromkeys(target for source in some for target in targets_of[source]))
            blocks += [(some, targets[at : at + chunk]) for at in range(0, len(targets), chunk)]
    return blocks


def _checked(rows: Answered, sources: int, targets: int) -> Answered:
    if len(rows) != sources or any(len(row) != targets for row in rows):
        raise RoutingError("wrong_size", f"not {sources} rows of {targets}")
    for row in rows:
        for seconds in row:
            if seconds is not None and not 0.0 <= seconds <= LONGEST_S:  # Not-a-number is not within either.
                raise RoutingError("absurd", f"a leg of {seconds} s")
    return rows


# ---------------------------------------------------------------- OSRM
# Source: https://project-osrm.org/docs/v5.24.0/api/#table-service


class _OsrmTable(Struct):
    code: str
    durations: Answered


def _osrm(client: httpx.AsyncClient, rules: RoutingRules, sources: list[Spot], targets: list[Spot]) -> httpx.Request:
    places = ";".join(f"{lng / ROUNDED:.4f},{lat / ROUNDED:.4f}" for lat, lng in (*sources, *targets))
    first = ";".join(str(number) for number in range(len(sources)))
    second = ";".join(str(len(sources) + number) for number in range(len(targets)))
    query = f"sources={first}&destinations={second}&annotations=duration"
    url = f"{rules.url.rstrip('/')}/table/v1/{rules.profile or 'driving'}/{places}?{query}"
    return client.build_request("GET", url)


def _read_osrm(body: bytes) -> Answered:
    table = msgspec.json.decode(body, type=_OsrmTable)
    if table.code != "Ok":
        raise RoutingError("refused", table.code)
    return table.durations


# ---------------------------------------------------------------- Valhalla
# Source: https://valhalla.github.io/valhalla/api/matrix/api-reference/


class _ValhallaCell(Struct):
    time: float | None = None


class _ValhallaMatrix(Struct):
    sources_to_targets: list[list[_ValhallaCell]]


def _valhalla(
    client: httpx.AsyncClient, rules: RoutingRules, sources: list[Spot], targets: list[Spot]
) -> httpx.Request:
    def places(spots: list[Spot]) -> list[dict[str, float]]:
        return [{"lat": lat / ROUNDED, "lon": lng / ROUNDED} for lat, lng in spots]

    body = {"sources": places(sources), "targets": places(targets), "costing": rules.profile or "auto"}
    return client.build_request(
        "POST", f"{rules.url.rstrip('/')}/sources_to_targets", content=msgspec.json.encode(body)
    )


def _read_valhalla(body: bytes) -> Answered:
    matrix = msgspec.json.decode(body, type=_ValhallaMatrix)
    return [[cell.time for cell in row] for row in matrix.sources_to_targets]
