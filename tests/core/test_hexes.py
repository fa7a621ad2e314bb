"""Hexes: the nearest are the nearest, the indexes stay true, and the layers count what is there."""

import h3.api.basic_int as h3
import numpy as np
import pytest

from streamer.core.geo import flat_m
from streamer.core.hexes import FIRST_BELT, REACH_M, DriverIndex, HexGrid, _belt, boundary, hex_name, hex_of
from streamer.core.state import Driver
from tests.builders import MALL, Bench, a_floor, a_ping


def crowd(
    number: int, spread_deg: float, seed: int, middle: tuple[float, float] = MALL
) -> tuple[DriverIndex, dict[str, Driver]]:
    draw = np.random.Generator(np.random.PCG64(seed))
    index, drivers = DriverIndex(), {}
    for n in range(number):
        north, east = (float(x) for x in draw.normal(0, spread_deg, 2))
        lng = (middle[1] + east + 180) % 360 - 180
        ping = a_ping(f"d-{n}", 0, middle[0] + north - MALL[0], lng - MALL[1])
        drivers[f"d-{n}"] = Driver(f"d-{n}", "", 5, (), None, ping=ping, cell=hex_of(ping.lat, ping.lng))
        index.put(drivers[f"d-{n}"], 0)
    return index, drivers


def by_measuring_all(lat: float, lng: float, drivers: dict[str, Driver]) -> list[tuple[float, str]]:
    return sorted((flat_m(lat, lng, d.ping.lat, d.ping.lng), d.id) for d in drivers.values() if d.ping)


@pytest.mark.parametrize(
    ("number", "spread", "k"),
    [(5000, 0.05, 10), (5000, 0.005, 10), (40, 0.2, 10), (3, 0.01, 10), (0, 1, 5), (3, 1, 0), (0, 1, 0)],
)
@pytest.mark.parametrize("seed", range(5))
def test_nearest_by_rings_is_nearest_by_measuring_all(number: int, spread: float, k: int, seed: int) -> None:
    index, drivers = crowd(number, spread, seed)
    lat, lng = MALL[0] + 0.01 * seed, MALL[1]
    measured = by_measuring_all(lat, lng, drivers)
    nearest = index.nearest(lat, lng, k)
    assert [driver_id for driver_id, _ in nearest] == [driver_id for _, driver_id in measured[:k]]
    assert [metres for _, metres in nearest] == pytest.approx([metres for metres, _ in measured[:k]], rel=1e-6)


PENTAGON = h3.cell_to_latlng(sorted(h3.get_pentagons(9))[3])
PLACES = {
    "Las Vegas": MALL, "Oslo": (59.9, 10.75), "Stockholm": (59.33, 18.06), "London": (51.5, -0.12),
    "Lagos": (6.5, 3.4), "next to a pentagon": (PENTAGON[0] + 0.003, PENTAGON[1]), "antimeridian": (-16.5, 179.999),
    "far north": (84.0, 20.0), "where cells are largest": (34.7172, 169.2473),
}  # fmt: skip


@pytest.mark.parametrize(("number", "spread"), [(12, 0.05), (40, 0.035), (150, 0.035), (400, 0.035), (2000, 0.02)])
@pytest.mark.parametrize("place", PLACES)
def test_nearest_is_right_wherever_cells_are_small_or_bent(place: str, number: int, spread: float) -> None:
    middle = PLACES[place]
    asked = np.random.Generator(np.random.PCG64(number)).uniform(-0.01, 0.01, (15, 2))
    for seed in range(8):
        index, drivers = crowd(number, spread, seed, middle)
        for north, east in asked:
            lat, lng = middle[0] + float(north), (middle[1] + float(east) + 180) % 360 - 180
            measured = by_measuring_all(lat, lng, drivers)[:10]
            assert [driver_id for driver_id, _ in index.nearest(lat, lng, 10)] == [d for _, d in measured]


def test_few_and_far_drivers_are_measured_the_short_way_across_the_antimeridian() -> None:
    index, drivers = crowd(12, 1.0, 1, (65.0, -178.9))
    assert {driver.ping.lng > 0 for driver in drivers.values() if driver.ping} == {True, False}
    measured = by_measuring_all(65.0, -178.9, drivers)
    assert [driver_id for driver_id, _ in index.nearest(65.0, -178.9, 12)] == [d for _, d in measured]


@pytest.mark.parametrize("place", PLACES)
def test_no_point_is_nearer_than_the_gap_of_its_belt(place: str) -> None:
    """Neither of the belt's cells, each by its own gap, nor of those beyond, by the first."""
    lat, lng = PLACES[place]
    origin = hex_of(lat, lng)
    for ring in range(FIRST_BELT, 9):
        belt = _belt(lat, lng, ring)
        assert list(belt) == sorted(belt)
        assert {cell for _, cell in belt} >= set(h3.grid_ring(origin, ring))
        for gap_m, cell in belt:
            way_m = shortest_way_m(lat, lng, cell)
            assert gap_m <= way_m <= max(gap_m, 0.0) + REACH_M, "and no gap falls short by more than a cell's reach"
        assert all(belt[0][0] <= shortest_way_m(lat, lng, cell) for cell in h3.grid_ring(origin, ring + 1))


def shortest_way_m(lat: float, lng: float, cell: int) -> float:
    """To the nearest of points along a cell's sides."""
    corners = h3.cell_to_boundary(cell)
    ways = []
    for (lat1, lng1), (lat2, lng2) in zip(corners, corners[1:] + corners[:1], strict=True):
        east = (lng2 - lng1 + 180) % 360 - 180
        ways += [
            flat_m(lat, lng, lat1 + part * (lat2 - lat1), lng1 + part * east) for part in (0.0, 0.2, 0.4, 0.6, 0.8)
        ]
    return min(ways)


def test_no_cell_reaches_farther_than_is_said() -> None:
    """All over the globe, and in the middle of a face of H3's icosahedron, where they are largest."""
    draw = np.random.Generator(np.random.PCG64(1))
    anywhere = zip(np.degrees(np.arcsin(draw.uniform(-1, 1, 3000))), draw.uniform(-180, 180, 3000), strict=True)
    reaches_m = [reach_m(hex_of(float(lat), float(lng))) for lat, lng in anywhere]
    largest_m = reach_m(hex_of(*PLACES["where cells are largest"]))
    assert max(reaches_m) <= largest_m <= REACH_M
    assert largest_m > 0.99 * REACH_M


def reach_m(cell: int) -> float:
    centre = h3.cell_to_latlng(cell)
    return max(h3.great_circle_distance(centre, corner, unit="m") for corner in h3.cell_to_boundary(cell))


def test_index_moves_and_drops_without_leaving_empty_cells() -> None:
    index = DriverIndex()
    first, second = (Driver(name, "", 5, (), None, cell=11) for name in ("d-1", "d-2"))
    index.put(first, 0)
    first.cell = second.cell = 12
    index.put(first, 11)
    index.put(first, 12)
    index.put(second, 0)
    assert (index.cells, len(index)) == ({12: {"d-1": first, "d-2": second}}, 2)
    index.drop("d-1", 12)
    index.drop("d-1", 12)
    index.drop("d-2", 12)
    assert (index.cells, len(index)) == ({}, 0)


def test_free_index_holds_the_free_only(bench: Bench) -> None:
    bench.driver("d-1")
    bench.driver("d-2")
    bench.command("assign", bench.place(), "d-1")
    assert (len(bench.engine.everyone), len(bench.engine.free)) == (2, 1)


def test_grid_covers_the_service_area_once() -> None:
    mall = a_floor().malls["plaza"]
    grid = HexGrid(mall)
    assert len(set(grid.cells)) == len(grid.cells)
    assert {h3.get_resolution(cell) for cell in grid.cells} == {8, 9}
    draw = np.random.Generator(np.random.PCG64(1))
    for north, east in draw.uniform(-0.05, 0.05, (500, 2)):
        assert grid.locate(hex_of(mall.lat + north, mall.lng + east)) in set(grid.cells)
    home = grid.locate(hex_of(mall.lat, mall.lng))
    assert home in grid.cells
    ring = boundary(home)
    assert ring[0] == ring[-1]
    assert hex_name(home) == h3.int_to_str(home)


def test_what_lies_beyond_the_grid_is_not_shown(bench: Bench) -> None:
    bench.driver("near")
    bench.driver("far", north=0.2)
    layers = HexGrid(bench.engine.floor.malls["plaza"]).layers(bench.engine.state)
    assert sum(layer.supply for layer in layers.values()) == 1


def test_layers_count_free_drivers_and_open_orders(bench: Bench) -> None:
    bench.driver("d-1", north=0.001)
    order = bench.place()
    grid = HexGrid(bench.engine.floor.malls["plaza"])
    bench.at_ms += 180_000
    bench.driver("d-2", north=0.001)
    layers = grid.layers(bench.engine.state)
    drop = layers[grid.locate(hex_of(order.dropoff.lat, order.dropoff.lng))]
    assert (drop.demand, drop.supply, drop.balance, drop.wait) == (1, 0, -1, 3.0)
    assert sum(layer.supply for layer in layers.values()) == 2
    bench.command("cancel", order)
    assert sum(layer.demand for layer in grid.layers(bench.engine.state).values()) == 0
