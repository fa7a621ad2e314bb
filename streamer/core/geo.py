"""Distances on the globe, in metres.

It must not know what is being measured.
"""

from math import cos, hypot, radians

EARTH_RADIUS_M = 6_371_008.8
"""Mean radius R1. Source: IUGG, Moritz 2000, "Geodetic Reference System 1980"."""
METRES_PER_DEG = radians(1) * EARTH_RADIUS_M


def flat_m(lat1: float, lng1: float, lat2: float, lng2: float) -> float:
    """Distance in metres on a plane touching at the first point: within 0.1 % below 20 km.

    The longitude difference is taken the short way round, so that the antimeridian does not tear a city apart.
    """
    dlng = (lng2 - lng1 + 180.0) % 360.0 - 180.0
    return METRES_PER_DEG * hypot(lat2 - lat1, dlng * cos(radians((lat1 + lat2) / 2)))
