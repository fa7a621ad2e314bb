"""Road times from a server that answers, dawdles, fails and lies: the matrix is always whole."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import numpy as np
import pytest

from streamer.core.settings import TravelRules
from streamer.core.travel import Travel
from streamer.edge.travel_http import FAILURES_ALLOWED, FIRST_REST_S, RoadTimes, RoutingRules, try_roads
from tests.builders import MALL
from tests.edge.routing_kit import Stub, seconds_of, stub

__all__ = ["stub"]

TRAVEL = Travel(TravelRules())


def places(count: int) -> list[tuple[float, float]]:
    return [(MALL[0] + 0.01 * n, MALL[1] - 0.007 * n) for n in range(count)]


def modelled(points: list[tuple[float, float]]) -> list[list[int]]:
    return [[0 if a is b else TRAVEL.drive_ms(*a, *b) for b in points] for a in points]


class Watch:
    """A clock that goes when it is told to."""

    s = 0.0

    def __call__(self) -> float:
        return self.s


@asynccontextmanager
async def road_times(
    stub: Stub, kind: str = "osrm", watch: Watch | None = None, **rules: Any
) -> AsyncIterator[RoadTimes]:
    given = RoutingRules(kind=kind, url=stub.url, **rules)  # type: ignore[arg-type]
    async with RoadTimes(given, TRAVEL, watch or Watch(), lambda: 1_000) as times:
        yield times
    # The stub's side of a kept-alive connection ends a moment after the client's.
    await asyncio.sleep(0)


@pytest.mark.parametrize("kind", ["osrm", "valhalla"])
async def test_the_matrix_is_the_servers_from_every_point_to_every_point(stub: Stub, kind: str) -> None:
    points = places(4)
    async with road_times(stub, kind) as times:
        legs = await times.legs(points)
    expected = [[0 if a is b else round(1000 * seconds_of(a, b)) for b in points] for a in points]
    assert legs.matrix.tolist() == expected
    assert legs.matrix.dtype == np.int64
    assert (legs.road, legs.cells) == (12, 12)
    assert (times.status.source, times.status.since_ms, times.status.last_error) == (kind, 1_000, "")


async def test_large_matrices_are_asked_for_in_chunks(stub: Stub) -> None:
    points = places(13)
    async with road_times(stub, chunk=5) as times:
        legs = await times.legs(points)
    assert max(max(size) for size in stub.asked) <= 5
    assert sum(sources * targets for sources, targets in stub.asked) == 13 * 13
    assert legs.matrix[12, 3] == round(1000 * seconds_of(points[12], points[3]))
    assert legs.road == legs.cells


async def test_what_was_asked_once_is_remembered_until_it_is_old(stub: Stub) -> None:
    watch = Watch()
    async with road_times(stub, watch=watch, cached_ms=60_000) as times:
        await times.legs(places(3))
        await times.legs([(lat + 1e-6, lng) for lat, lng in places(3)])
        assert len(stub.asked) == 1, "a metre further is the same place"
        await times.legs(places(4))
        assert sorted(stub.asked[1:]) == [(1, 3), (3, 1)], "only what is new"
        before, watch.s = len(stub.asked), 61.0
        await times.legs(places(3))
        assert len(stub.asked) == before + 1


async def test_the_cache_is_bounded(stub: Stub) -> None:
    async with road_times(stub, cached_pairs=6) as times:
        await times.legs(places(3))
        await times.legs(places(9)[5:])
        asked = len(stub.asked)
        await times.legs(places(3))
        assert len(stub.asked) == asked + 1, "the first three points made room"


@pytest.mark.parametrize("kind", ["osrm", "valhalla"])
async def test_a_cell_without_a_way_is_the_models(stub: Stub, kind: str) -> None:
    points = places(3)
    no_way = seconds_of(points[0], points[2])
    stub.twist = lambda rows: [[None if seconds == no_way else seconds for seconds in row] for row in rows]
    async with road_times(stub, kind) as times:
        legs = await times.legs(points)
    assert legs.matrix[0, 2] == modelled(points)[0][2]
    assert legs.matrix[2, 0] == round(1000 * seconds_of(points[2], points[0]))
    assert (legs.road, legs.cells) == (5, 6)
    assert times.status.source == kind


WRONG: dict[str, tuple[Any, str]] = {
    "a fault of its own": (lambda _rows: (500, "boom"), "status"),
    "too many points": (lambda _rows: (400, '{"code":"TooBig"}'), "status"),
    "a refusal with 200": (lambda _rows: (200, '{"code":"NoTable","durations":[]}'), "refused"),
    "garbage": (lambda _rows: (200, "<html>"), "garbage"),
    "half an answer": (lambda _rows: (200, '{"code":"Ok","durations":[[0,1'), "garbage"),
    "text for numbers": (lambda _rows: (200, '{"code":"Ok","durations":[["0","1","2"]]}'), "garbage"),
    "a row too few": (lambda rows: rows[:-1], "wrong_size"),
    "a column too many": (lambda rows: [[*row, 1.0] for row in rows], "wrong_size"),
    "not a number": (lambda rows: [[float("nan")] * len(row) for row in rows], "garbage"),
    "infinity": (lambda _rows: (200, '{"code":"Ok","durations":[[1e400,1,2],[1,1,1],[1,1,1]]}'), "absurd"),
    "a negative time": (lambda rows: [[-1.0] * len(row) for row in rows], "absurd"),
    "a week": (lambda rows: [[7 * 86_400.0] * len(row) for row in rows], "absurd"),
    "without an end": (lambda _rows: (200, " " * (9 * 1024 * 1024)), "too_long"),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_wrong_answer_leaves_the_model_and_is_counted(stub: Stub, wrong: str) -> None:
    stub.twist, kind = WRONG[wrong]
    points = places(3)
    async with road_times(stub) as times:
        legs = await times.legs(points)
    assert legs.matrix.tolist() == modelled(points)
    assert legs.road == 0
    assert set(times.tally.failures) <= {kind, "garbage"}, "a library may name infinity a fault of the text"
    assert times.status.source == "model"
    assert times.status.last_error != ""
    assert times.status.last_error_ms == 1_000


async def test_a_slow_server_costs_no_more_than_the_time_allowed(stub: Stub) -> None:
    stub.pause_s = 5.0
    points = places(12)
    async with road_times(stub, timeout_ms=100, chunk=4) as times:
        began = asyncio.get_running_loop().time()
        legs = await times.legs(points)
        took_s = asyncio.get_running_loop().time() - began
    assert took_s < 2.0
    assert legs.matrix.tolist() == modelled(points)
    assert set(times.tally.failures) == {"timeout"}


async def test_what_came_in_time_is_kept_when_the_rest_does_not(stub: Stub) -> None:
    def slower(rows: list[list[float | None]]) -> list[list[float | None]]:
        stub.pause_s = 5.0
        return rows

    stub.twist = slower
    async with road_times(stub, timeout_ms=500, chunk=2) as times:
        legs = await times.legs(places(6))
    assert 0 < legs.road < legs.cells
    assert (legs.matrix >= 0).all()


async def test_nobody_there_is_the_model(stub: Stub) -> None:
    rules = RoutingRules(kind="osrm", url="http://127.0.0.1:1")
    async with RoadTimes(rules, TRAVEL) as times:
        legs = await times.legs(places(3))
    assert legs.matrix.tolist() == modelled(places(3))
    assert times.tally.failures == {"unreachable": 1}


async def test_a_failing_server_is_left_alone_and_tried_again_with_one_request(stub: Stub) -> None:
    watch = Watch()
    stub.twist = lambda _rows: (503, "")
    async with road_times(stub, watch=watch, chunk=2) as times:
        for _ in range(FAILURES_ALLOWED):
            await times.legs(places(2))
        assert len(stub.asked) == FAILURES_ALLOWED
        await times.legs(places(8))
        assert len(stub.asked) == FAILURES_ALLOWED, "it rests"
        watch.s += FIRST_REST_S + 0.1
        await times.legs(places(8))
        assert len(stub.asked) == FAILURES_ALLOWED + 1, "one goes ahead, and the others stay when it fails"
        watch.s += FIRST_REST_S + 0.1
        await times.legs(places(8))
        assert len(stub.asked) == FAILURES_ALLOWED + 1, "the second rest is longer"
        watch.s += FIRST_REST_S
        stub.twist = lambda rows: rows
        legs = await times.legs(places(8))
    assert legs.road == legs.cells
    assert times.status.source == "osrm"
    assert times.tally.rests == 2


async def test_of_kind_model_nobody_is_asked(stub: Stub) -> None:
    async with RoadTimes(RoutingRules(), TRAVEL) as times:
        legs = await times.legs(places(3))
    assert legs.matrix.tolist() == modelled(places(3))
    assert times.counters()["routing_cells_total.source.model"] == 6
    assert times.counters()["routing_requests_total"] == 0


async def test_counters_tell_where_the_cells_came_from(stub: Stub) -> None:
    async with road_times(stub) as times:
        await times.legs(places(3))
        await times.legs(places(3))
    counters = times.counters()
    assert counters["routing_cells_total.source.server"] == counters["routing_cells_total.source.cache"] == 6
    assert counters["routing_on_model"] == 0


@pytest.mark.parametrize("count", [0, 1])
async def test_fewer_than_two_points_need_nobody(stub: Stub, count: int) -> None:
    async with road_times(stub) as times:
        legs = await times.legs(places(count))
    assert legs.matrix.shape == (count, count)
    assert stub.asked == []


async def test_two_orders_at_one_door_are_no_distance_apart(stub: Stub) -> None:
    async with road_times(stub) as times:
        legs = await times.legs([MALL, MALL, places(2)[1]])
    assert legs.matrix[0, 1] == legs.matrix[1, 0] == 0
    assert legs.matrix[0, 2] == legs.matrix[1, 2] > 0


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ({"kind": "osrm"}, "needs url"), ({"kind": "valhalla", "url": "ftp://x"}, "needs url"),
        ({"kind": "osrm", "url": "http://h:99999999"}, "url"), ({"kind": "google", "url": "http://h"}, "kind"),
        ({"timeout_ms": 1}, "timeout_ms"), ({"speed": 1}, "speed"), ({"profile": "../x"}, "profile"),
    ],
)  # fmt: skip
def test_wrong_settings_are_refused_where_they_are_read(said: dict[str, Any], fault: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=fault):
        msgspec.convert(said, RoutingRules)


async def test_only_what_is_wanted_is_asked_for_and_only_what_is_known_is_said(stub: Stub) -> None:
    points = places(3)
    wanted = np.array([[0, 1, 1], [0, 0, 0], [0, 1, 0]], dtype=np.bool_)
    stub.twist = lambda rows: [[None if seconds > 150 else seconds for seconds in row] for row in rows]
    async with road_times(stub) as times:
        road_ms, is_road = await times.road_ms(points, wanted)
        assert is_road.tolist() == [[False, True, False], [False] * 3, [False, True, False]]
        assert road_ms[is_road].tolist() == [round(1000 * seconds_of(points[a], points[1])) for a in (0, 2)]
        assert (times.tally.cells_fetched, times.tally.cells_model) == (3, 1)


async def test_one_question_tells_whether_the_server_knows_a_way(stub: Stub) -> None:
    status, is_road = await try_roads(RoutingRules(kind="osrm", url=stub.url), *MALL)
    assert (is_road, status.source, status.last_error) == (True, "osrm", "")
    stub.twist = lambda _: (500, "out of order")
    status, is_road = await try_roads(RoutingRules(kind="osrm", url=stub.url), *MALL)
    assert (is_road, status.last_error) == (False, "status: 500 out of order")
