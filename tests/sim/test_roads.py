"""The synthetic road network: connected, quick, repeatable."""

from itertools import pairwise
from math import hypot

import pytest

from streamer.sim.parameters import RoadRules
from streamer.sim.roads import Leg, Roads
from streamer.sim.town import stream

SQUARE = [(-300.0, -200.0), (300.0, -200.0), (300.0, 200.0), (-300.0, 200.0)]
PLACES = [(250.0, -350.0), (4_000.0, 3_000.0), (-7_500.0, 900.0), (600.0, -8_200.0), (-40.0, 420.0)]


@pytest.fixture(scope="module")
def roads() -> Roads:
    return Roads(stream(1, 0), 10_000.0, SQUARE)


def seconds(legs: list[Leg]) -> float:
    return sum(leg.length_m / leg.mps for leg in legs)


@pytest.mark.parametrize("start", PLACES)
@pytest.mark.parametrize("goal", PLACES)
def test_every_place_can_be_reached_in_one_unbroken_line(
    roads: Roads, start: tuple[float, float], goal: tuple[float, float]
) -> None:
    legs = roads.path(start, goal)
    if start != goal:
        assert hypot(legs[0].x0 - start[0], legs[0].y0 - start[1]) < 1.0
        assert hypot(legs[-1].x1 - goal[0], legs[-1].y1 - goal[1]) < 1.0
    for one, after in pairwise(legs):
        assert hypot(one.x1 - after.x0, one.y1 - after.y0) < 1.0


def test_a_path_takes_no_longer_than_the_detour_over_any_other_node(roads: Roads) -> None:
    rng = stream(2, 0)
    for _ in range(40):
        a, b, c = (roads.xy[int(rng.integers(len(roads.xy)))] for _ in range(3))
        start, middle, goal = ((float(p[0]), float(p[1])) for p in (a, b, c))
        detour = seconds(roads.path(start, middle)) + seconds(roads.path(middle, goal))
        assert seconds(roads.path(start, goal)) <= detour + 1e-6


def test_long_ways_use_all_four_classes_of_road_and_the_lots_at_the_ends(roads: Roads) -> None:
    rng = stream(3, 0)
    used = {
        leg.mps
        for _ in range(60)
        for leg in roads.path(*(tuple(map(float, rng.uniform(-6_500, 6_500, 2))) for _ in range(2)))  # type: ignore[arg-type]
    }
    rules = RoadRules()
    classes = (rules.lot_mps, rules.local_mps, rules.collector_mps, rules.arterial_mps, rules.freeway_mps)
    assert used == set(classes)


def test_no_node_lies_inside_the_mall(roads: Roads) -> None:
    assert not any(abs(x) < 300 and abs(y) < 200 for x, y in roads.xy)


def test_a_car_on_the_road_goes_on_to_the_node_ahead_of_it(roads: Roads) -> None:
    node = roads.nearest(3_000.0, 3_000.0)
    ahead = (float(roads.xy[node, 0]), float(roads.xy[node, 1]))
    first = roads.path((ahead[0] - 90.0, ahead[1]), PLACES[3], via=node)[0]
    assert (first.x1, first.y1) == ahead


def test_the_same_seed_draws_the_same_town_and_another_seed_another() -> None:
    one, same, other = (Roads(stream(seed, 0), 9_000.0, SQUARE) for seed in (7, 7, 8))
    assert one.xy.tolist() == same.xy.tolist()
    assert one.path(PLACES[1], PLACES[2]) == same.path(PLACES[1], PLACES[2])
    assert one.xy.tolist() != other.xy.tolist()
