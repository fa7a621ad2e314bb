"""Cells found without H3 are those H3 would have named."""

from math import asin, cos, degrees, radians

import h3.api.basic_int as h3
import pytest
from h3.api.basic_int import latlng_to_cell
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.core import cells
from streamer.core.cells import RES, CellFinder

SMALL = st.floats(-0.004, 0.004)


@settings(max_examples=400, deadline=None)
@given(st.floats(-1, 1), st.floats(-180, 180), st.lists(st.tuples(SMALL, SMALL), min_size=1, max_size=20))
def test_wherever_on_the_globe_a_driver_wanders_its_cell_is_h3s(
    height: float, lng: float, moves: list[tuple[float, float]]
) -> None:
    finder, cell = CellFinder(), 0
    lat = degrees(asin(height))
    for north, east in [(0.0, 0.0), *moves]:
        lat = max(-90.0, min(90.0, lat + north))
        lng = (lng + east / max(0.01, cos(radians(lat))) + 180.0) % 360.0 - 180.0
        cell = finder.cell_of(cell, lat, lng)
        assert cell == latlng_to_cell(lat, lng, RES)


def _cells_of_interest() -> list[int]:
    """Cells that are not like the others: the pentagons and their neighbours, and cells across the edges of the
    icosahedron, of which H3 gives more than six corners.
    """
    near = [cell for pentagon in h3.get_pentagons(RES) for cell in h3.grid_disk(pentagon, 3)]
    lines = [h3.grid_path_cells(cell, h3.cell_to_center_child(h3.cell_to_parent(cell, 7), RES)) for cell in near[:3]]
    return near + [cell for line in lines for cell in line]


def test_around_the_pentagons_the_hearts_lie_within_their_cells() -> None:
    for cell in _cells_of_interest():
        lat, lng = h3.cell_to_latlng(cell)
        finder = CellFinder()
        finder.cell_of(0, lat, lng)
        for corner_lat, corner_lng in h3.cell_to_boundary(cell):
            for share in (0.3, 0.6, 0.8, 0.9, 0.97, 1.03):
                point = lat + share * (corner_lat - lat), lng + share * (corner_lng - lng)
                assert finder.cell_of(cell, *point) == latlng_to_cell(*point, RES)


def test_within_a_cell_h3_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    finder = CellFinder()
    cell = finder.cell_of(0, 36.1269, -115.1702)
    lat, lng = h3.cell_to_latlng(cell)
    asked: list[float] = []
    monkeypatch.setattr(
        cells, "latlng_to_cell", lambda lat, lng, res: asked.append(lat) or latlng_to_cell(lat, lng, res)
    )
    assert finder.cell_of(cell, lat + 0.001, lng) == cell
    assert asked == []
    assert finder.cell_of(cell, lat + 0.01, lng) != cell
    assert asked == [lat + 0.01]


def test_it_forgets_cells_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "HEARTS_KEPT", 5)
    finder = CellFinder()
    for step in range(40):
        finder.cell_of(0, 36.0 + step / 100, -115.0)
        assert len(finder._hearts) <= 5
