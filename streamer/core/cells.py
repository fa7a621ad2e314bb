"""Which res-9 cell a point lies in: a question of every ping, and nearly always with the same answer as before.

It must not know drivers.
"""

from math import cos, inf, radians

import h3.api.basic_int as h3
from h3.api.basic_int import latlng_to_cell

RES = 9
HEARTS_KEPT = 20_000
"""Cells remembered; a driver may be anywhere on the globe."""
HEART_SHARE = 0.98
"""Of the way to the nearest side: for the bend of the sides and of the Earth, which are a thousandth at most."""
FARTHEST_LAT = 80.0
"""Nearer to a pole a degree of longitude is not the same length all over a cell."""

Heart = tuple[float, float, float, float]
"""Centre lat and lng, the length of a degree of longitude in degrees of latitude, and the radius in these, squared."""


class CellFinder:
    """Finds cells as H3 does, and asks it only when the point has left the heart of the cell it was in.

    A cell's heart is the circle around its centre that is surely within its sides, nine tenths of the cell. To see
    that a point is in a circle takes a quarter of the time H3 needs.
    """

    def __init__(self) -> None:
        self._hearts: dict[int, Heart] = {}

    def cell_of(self, before: int, lat: float, lng: float) -> int:
        """The cell of a point. `before` is the cell it was probably in before; 0 or any other cell does no harm."""
        heart = self._hearts.get(before)
        if heart is not None:
            centre_lat, centre_lng, wide, reach = heart
            north, east = lat - centre_lat, (lng - centre_lng) * wide
            if north * north + east * east < reach:
                return before
        cell: int = latlng_to_cell(lat, lng, RES)
        if cell not in self._hearts:
            if len(self._hearts) >= HEARTS_KEPT:
                self._hearts.clear()
            self._hearts[cell] = _heart_of(cell)
        return cell


def _heart_of(cell: int) -> Heart:
    """The circle that is surely in a cell; none of it near a pole or across the antimeridian."""
    lat, lng = h3.cell_to_latlng(cell)
    wide = cos(radians(lat))
    corners = [(corner_lat - lat, (corner_lng - lng) * wide) for corner_lat, corner_lng in h3.cell_to_boundary(cell)]
    across = any(abs(corner_lng - lng) > 180.0 for _, corner_lng in h3.cell_to_boundary(cell))
    if across or abs(lat) > FARTHEST_LAT:
        return lat, lng, wide, 0.0
    nearest = inf
    for (north, east), (to_north, to_east) in zip(corners, corners[1:] + corners[:1], strict=True):
        along_north, along_east = to_north - north, to_east - east
        length = along_north * along_north + along_east * along_east
        # From the centre straight to the side's line: no nearer than to the side itself.
        area = north * along_east - east * along_north
        nearest = min(nearest, area * area / length)
    return lat, lng, wide, nearest * HEART_SHARE * HEART_SHARE
