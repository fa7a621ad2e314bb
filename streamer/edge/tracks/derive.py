"""Puts a track in order and gives it what its file did not say: speeds and headings, from one fix to the next.

It must not know files or floors.
"""

from collections.abc import Iterable
from math import atan2, cos, degrees, radians

from msgspec.structs import replace

from streamer.core.geo import flat_m
from streamer.edge.tracks.contract import Point

LONGEST_STEP_MS = 120_000
"""After a longer silence nothing is known of the speed."""
LEAST_TURN_M = 5.0
"""A shorter move is noise: the heading stays."""
FASTEST_MPS = 90.0
"""What is faster was a leap, not a speed; the floor judges the fix itself."""


def in_order(points: Iterable[Point]) -> tuple[list[Point], int]:
    """The points of one track by their instants, one for each, and how many stood at the instant of another."""
    ordered: list[Point] = []
    repeats = 0
    for point in sorted(points, key=lambda p: (p.fix_ms, p.line)):
        if ordered and ordered[-1].fix_ms == point.fix_ms:
            repeats += 1
        else:
            ordered.append(point)
    return ordered, repeats


def with_movement(points: list[Point]) -> list[Point]:
    """The points with a speed and a heading wherever either follows from the fix before."""
    made: list[Point] = []
    heading_deg: float | None = None
    before: Point | None = None
    for point in points:
        speed_mps = point.speed_mps
        if before is not None and point.fix_ms - before.fix_ms <= LONGEST_STEP_MS:
            metres = flat_m(before.lat, before.lng, point.lat, point.lng)
            mps = metres / ((point.fix_ms - before.fix_ms) / 1000)
            speed_mps = round(mps, 1) if speed_mps is None and mps <= FASTEST_MPS else speed_mps
            heading_deg = _bearing_deg(before, point) if metres >= LEAST_TURN_M else heading_deg
        else:
            heading_deg = None
        heading_deg = point.heading_deg if point.heading_deg is not None else heading_deg
        made.append(replace(point, speed_mps=speed_mps, heading_deg=heading_deg))
        before = point
    return made


def _bearing_deg(start: Point, end: Point) -> float:
    """Clockwise from north, on a plane at the first point."""
    east = ((end.lng - start.lng + 180.0) % 360.0 - 180.0) * cos(radians(start.lat))
    return float(round(degrees(atan2(east, end.lat - start.lat))) % 360)
