"""Fences: found exactly, crossed without flapping."""

from copy import deepcopy
from itertools import pairwise

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from streamer.core.events import FenceCrossed, Tick
from streamer.core.fences import FenceIndex, is_settled, observe
from streamer.core.hexes import hex_of
from streamer.core.malls import parse_malls
from streamer.core.settings import FenceRules
from streamer.core.state import FencePresence
from tests.builders import MALL, Bench, a_collection, a_floor, a_mall_feature, a_ping, a_place_feature

RULES = FenceRules()


def test_index_agrees_with_the_exact_polygons_everywhere() -> None:
    index = FenceIndex(a_floor(), RULES)
    draw = np.random.Generator(np.random.PCG64(7))
    held = 0
    for north, east in draw.uniform(-0.012, 0.012, (4000, 2)):
        lat, lng = MALL[0] + float(north), MALL[1] + float(east)
        exact = sorted(f.id for f in index.fences.values() if shapely.intersects_xy(f.shape, lng, lat))
        assert list(index.holding(hex_of(lat, lng), lat, lng)) == exact
        held += bool(exact)
    assert held > 500


def test_index_agrees_with_the_exact_polygons_along_their_borders() -> None:
    index = FenceIndex(a_floor(), RULES)
    draw = np.random.Generator(np.random.PCG64(8))
    for fence in index.fences.values():
        corners = shapely.get_coordinates(fence.shape)
        for lng, lat in corners.tolist():
            assert fence.id in index.holding(hex_of(lat, lng), lat, lng), "a corner is inside"
        for start, end in pairwise(corners):
            for part, off_lng, off_lat in draw.uniform((0, -2e-6, -2e-6), (1, 2e-6, 2e-6), (20, 3)):
                lng, lat = (start + part * (end - start) + (off_lng, off_lat)).tolist()
                exact = bool(shapely.intersects_xy(fence.shape, lng, lat))
                assert (fence.id in index.holding(hex_of(lat, lng), lat, lng)) == exact


def test_approach_ring_is_as_wide_as_it_says() -> None:
    index = FenceIndex(a_floor(), RULES)
    south = index.fences["plaza"].shape.bounds[1]
    for metres, inside in ((RULES.approach_m - 10, True), (RULES.approach_m + 10, False)):
        lat = south - metres / 111_195
        assert ("plaza:approach" in index.holding(hex_of(lat, MALL[1]), lat, MALL[1])) is inside


def test_fences_of_malls_that_overlap_are_all_found() -> None:
    """Where two approach rings meet, a whole cell of one may hold a border of the other."""
    near, far = a_collection()["features"], 0.009
    second = [
        a_mall_feature("plaza-too", lng=MALL[1] + far),
        a_place_feature("door-w", "entrance", east=far - 0.003, mall_id="plaza-too"),
        a_place_feature("muji", "store", east=far, mall_id="plaza-too"),
    ]
    index = FenceIndex(parse_malls(a_collection(*near, *second)), RULES)
    draw = np.random.Generator(np.random.PCG64(9))
    together = 0
    for north, east in draw.uniform((-0.012, -0.012), (0.012, 0.021), (4000, 2)):
        lat, lng = MALL[0] + float(north), MALL[1] + float(east)
        exact = sorted(f.id for f in index.fences.values() if shapely.intersects_xy(f.shape, lng, lat))
        assert list(index.holding(hex_of(lat, lng), lat, lng)) == exact
        together += {"plaza:approach", "plaza-too:approach"} <= set(exact)
    assert together > 300


@pytest.mark.parametrize(
    ("fixes", "events"),
    [
        ("I", []),
        ("II", ["enter"]),
        ("IOIOIOIO", []),
        ("IIOIOIOI", ["enter", "dwell"]),
        ("IIOO", ["enter", "leave"]),
        ("IIIIIIIII", ["enter", "dwell"]),
        ("IIIIIIIIIIIIOOII", ["enter", "dwell", "leave", "enter"]),
        ("OOOO", []),
    ],
)
def test_crossing_needs_fixes_that_agree(fixes: str, events: list[str]) -> None:
    """One fix each 20 s; I is inside, O outside; dwell is 120 s."""
    presence = FencePresence()
    seen = [observe(presence, fix == "I", n * 20_000, RULES) for n, fix in enumerate(fixes)]
    assert [event for event in seen if event] == events


def crossings(bench: Bench, steps: list[tuple[float, dict[str, float]]]) -> list[tuple[str, str]]:
    seen: list[tuple[str, str]] = []
    for north, fields in steps:
        for output in bench.do(a_ping(at_ms=bench.at_ms + 20_000, north=north, **fields), 20_000):
            if isinstance(output, FenceCrossed):
                seen.append((output.fence_id, output.event))
    return seen


def test_arrival_goes_through_its_stages(bench: Bench) -> None:
    bench.driver("d-1", north=0.02)
    way_in = [0.02, 0.008, 0.007, 0.0035, 0.0025, 0.0016, 0.0016, 0.0, 0.0]
    assert crossings(bench, [(north, {}) for north in way_in]) == [
        ("plaza:approach", "enter"),
        ("door-n", "enter"),
        ("plaza", "enter"),
        ("door-n", "leave"),
        ("plaza:approach", "dwell"),
    ]


def test_mall_is_the_footprint_of_the_last_believed_fix(bench: Bench) -> None:
    bench.driver("d-1", north=0.0)
    assert bench.engine.state.drivers["d-1"].mall_id == "plaza"
    bench.do(a_ping(at_ms=bench.at_ms + 60_000, north=0.01), 60_000)
    assert bench.engine.state.drivers["d-1"].mall_id is None
    assert bench.engine.state.drivers["d-1"].region == "plaza"


def test_vague_fixes_do_not_cross_fences(bench: Bench) -> None:
    bench.driver("d-1", north=0.02)
    assert crossings(bench, [(0.0, {"accuracy_m": 80.0})] * 4) == []


def test_dwell_comes_by_the_clock_when_the_phone_is_indoors(bench: Bench) -> None:
    bench.driver("d-1", north=0.0)
    crossings(bench, [(0.0, {})])
    outputs = bench.do(Tick(), 125_000)
    dwelt = {output.fence_id for output in outputs if isinstance(output, FenceCrossed) and output.event == "dwell"}
    assert dwelt == {"plaza", "plaza:approach"}
    again = bench.do(Tick(), 5_000)
    assert not [output for output in again if isinstance(output, FenceCrossed)]


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 90_000)), max_size=40))
def test_of_the_settled_nothing_follows(fixes: list[tuple[bool, bool, int]]) -> None:
    known: dict[str, FencePresence] = {}
    at_ms, quiet = 0, 0
    for in_mall, in_ring, waited_ms in fixes:
        at_ms += waited_ms
        holding = ("m",) * in_mall + ("m:approach",) * in_ring
        settled, before = is_settled(known, holding, at_ms, RULES), deepcopy(known)
        events = []
        for fence_id in ("m", "m:approach"):
            presence = known.setdefault(fence_id, FencePresence())
            events.append(observe(presence, fence_id in holding, at_ms, RULES))
            if not presence.inside and not presence.against:
                del known[fence_id]
        quiet = quiet + 1 if known == before and not any(events) else 0
        assert settled == (quiet > 0)
