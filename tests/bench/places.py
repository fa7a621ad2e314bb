"""Where the load happens: forty made-up malls in a flat city, and fifty thousand drivers of whom half are near one.

It must not know who is measured. Everything is drawn from fixed seeds, so all peers see the same places.
"""

from math import cos, pi, sin
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamer.core.malls import Floor, parse_malls

MALLS = 40
SOUTH, NORTH, WEST, EAST = 36.00, 36.30, -115.35, -115.05
"""A square of some 33 by 27 km, as large as a metropolitan floor."""
HALF_LAT, HALF_LNG = 0.0022, 0.0027
"""Half a mall's height and width in degrees: some 490 m across."""
CORNERS = (24, 60, 120)
"""Of a footprint; the malls take turns."""
NEAR_DEG = 0.010
"""Spread of the drivers that are near a mall, about a kilometre."""
DOWNTOWN_DEG = 0.020
"""Spread of those that are in the middle of the city instead, some two kilometres."""

Positions = NDArray[np.float64]
"""One row each: lat, lng."""


def centres() -> Positions:
    """The middles of the malls: one in each field of a board of eight by five, so that no two overlap."""
    draw = np.random.Generator(np.random.PCG64(3))
    fields = np.array([(row, column) for row in range(8) for column in range(5)])
    size = np.array(((NORTH - SOUTH) / 8, (EAST - WEST) / 5))
    where: Positions = (SOUTH, WEST) + (fields + draw.uniform(0.2, 0.8, (MALLS, 2))) * size
    return where.round(5)


def forty_malls() -> dict[str, Any]:
    """The malls as PROTOCOL's GeoJSON: a wavy footprint, four doors, a curbside and three stores each."""
    features: list[dict[str, Any]] = []
    for number, (lat, lng) in enumerate(centres().tolist()):
        mall_id = f"mall-{number:02d}"
        properties = {"name": f"Mall {number}", "timezone": "America/Los_Angeles", "service_radius_m": 9000}
        polygon = {"type": "Polygon", "coordinates": [_footprint(lat, lng, CORNERS[number % len(CORNERS)])]}
        features.append({"type": "Feature", "id": mall_id, "properties": properties, "geometry": polygon})
        doors = (("north", 1.0, 0.0), ("south", -1.0, 0.0), ("east", 0.0, 1.0), ("west", 0.0, -1.0))
        features += [_place(mall_id, f"{mall_id}-{name}", "entrance", lat, lng, up, right) for name, up, right in doors]
        features.append(_place(mall_id, f"{mall_id}-curb", "curbside", lat, lng, -1.1, 0.5))
        features += [_place(mall_id, f"{mall_id}-s{n}", "store", lat, lng, 0.3 * n - 0.3, 0.2) for n in range(3)]
    return {"type": "FeatureCollection", "features": features}


def _footprint(lat: float, lng: float, corners: int) -> list[list[float]]:
    """A star with five soft points, closed, as [lng, lat]."""
    turns = [2 * pi * corner / corners for corner in range(corners)]
    reach = [0.8 + 0.2 * sin(5 * turn) for turn in turns]
    ring = [
        [round(lng + far * HALF_LNG * cos(turn), 6), round(lat + far * HALF_LAT * sin(turn), 6)]
        for turn, far in zip(turns, reach, strict=True)
    ]
    return [*ring, ring[0]]


def _place(mall_id: str, place_id: str, kind: str, lat: float, lng: float, up: float, right: float) -> dict[str, Any]:
    point = {"type": "Point", "coordinates": [round(lng + right * HALF_LNG, 6), round(lat + up * HALF_LAT, 6)]}
    properties = {"mall_id": mall_id, "kind": kind, "name": place_id}
    return {"type": "Feature", "id": place_id, "properties": properties, "geometry": point}


def the_floor() -> Floor:
    """The forty malls, as the engine has them."""
    return parse_malls(forty_malls())


def write_malls(folder: Path) -> Path:
    """The malls as a file for `--malls`."""
    path = folder / "forty-malls.geojson"
    path.write_bytes(msgspec.json.encode(forty_malls()))
    return path


def homes(drivers: int) -> Positions:
    """Where each driver begins: every other one near a mall, the rest anywhere in the city."""
    draw = np.random.Generator(np.random.PCG64(5))
    near = centres()[np.arange(drivers) // 2 % MALLS] + draw.normal(0, NEAR_DEG, (drivers, 2))
    return _every_other(near, draw)


def downtown_homes(drivers: int) -> Positions:
    """The same with every other driver in one dense centre instead."""
    draw = np.random.Generator(np.random.PCG64(6))
    centre = ((SOUTH + NORTH) / 2, (WEST + EAST) / 2)
    return _every_other(draw.normal(centre, DOWNTOWN_DEG, (drivers, 2)), draw)


def _every_other(near: Positions, draw: np.random.Generator) -> Positions:
    anywhere = draw.uniform((SOUTH, WEST), (NORTH, EAST), near.shape)
    return np.where((np.arange(len(near)) % 2 == 0)[:, None], near, anywhere)


def random_points(count: int) -> Positions:
    """Points anywhere in the city, to ask from."""
    draw = np.random.Generator(np.random.PCG64(11))
    return draw.uniform((SOUTH + 0.03, WEST + 0.03), (NORTH - 0.03, EAST - 0.03), (count, 2))
