"""Roads in a mall's problem: in place of what was driven by the model, and of nothing else."""

import numpy as np
import pytest
from msgspec.structs import replace

from streamer.core.estimates import Moments
from streamer.core.settings import AutopilotRules
from streamer.dispatch.floor import laid_out
from streamer.dispatch.ground import Ways, on_roads
from streamer.dispatch.problem import Problem
from tests.builders import Bench

ROAD_MS = 1_000_000


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    for n in range(2):
        bench.driver(f"d-{n}", north=0.004 * (n + 1))
    for _ in range(3):
        bench.place()
    return bench


def laid(bench: Bench) -> tuple[Problem, Ways]:
    return laid_out(bench.engine, "plaza", bench.at_ms, AutopilotRules(mode="auto"))


def by_roads(problem: Problem, ways: Ways, known: bool = True) -> Problem:
    shape = (len(ways.points),) * 2
    return on_roads(problem, ways, np.full(shape, ROAD_MS), np.full(shape, known))


def test_the_mall_is_one_point_however_many_counters_are_asked_at(bench: Bench) -> None:
    _, ways = laid(bench)
    assert len(ways.points) == 2 + 1 + 3
    assert ways.point_of.tolist() == [0, 1, 2, 2, 2, 3, 4, 5]
    seats, mall, doors = slice(0, 2), slice(2, 3), slice(3, 6)
    wanted = ways.wanted()
    assert wanted[seats, mall].all()
    assert wanted[mall, doors].all()
    assert wanted[doors, mall].all()
    assert not wanted[:, seats].any()
    assert not wanted[seats, doors].any()


def test_parking_and_walking_stay_when_roads_come(bench: Bench) -> None:
    problem, ways = laid(bench)
    found = by_roads(problem, ways)
    assert (found.legs[ways.driven] - problem.legs[ways.driven] == ROAD_MS - ways.drives[ways.driven]).all()
    assert (found.legs[~ways.driven] == problem.legs[~ways.driven]).all()


def test_the_earliest_delivery_is_by_the_same_roads(bench: Bench) -> None:
    problem, ways = laid(bench)
    for was, now in zip(problem.orders, by_roads(problem, ways).orders, strict=True):
        by_model_ms = int(ways.drives[was.pickups[0], was.dropoff])
        assert now == replace(was, earliest_ms=was.earliest_ms + ROAD_MS - by_model_ms)


def test_what_was_learned_of_the_pace_is_not_laid_over_roads(bench: Bench) -> None:
    slowly = Moments()
    for _ in range(200):
        slowly.add(0.4, 200)
    problem, ways = laid(bench)
    bench.engine.state.learned.mall("plaza").drive = slowly
    bench.engine.planner.forecast.forget_drives()
    slower, slower_ways = laid(bench)
    assert (slower.legs > problem.legs).any()
    assert (by_roads(slower, slower_ways).legs == by_roads(problem, ways).legs).all()


def test_where_no_road_is_known_the_model_stays(bench: Bench) -> None:
    problem, ways = laid(bench)
    found = by_roads(problem, ways, known=False)
    assert (found.legs == problem.legs).all()
    assert found.orders == problem.orders
