"""Distances and directions on the globe, in metres and degrees.

It must not know what is being measured.
"""

from math import asin, atan2, cos, degrees, hypot, radians, sin, sqrt

EARTH_RADIUS_M = 6_371_008.8
"""Mean radius R1. Source: IUGG, Moritz 2000, "Geodetic Reference System 1980"."""
METRES_PER_DEG = radians(1) * EARTH_RADIUS_M


def haversine_m(lat1: float, lng1: float, lat2: float, lng2: float) -> float:
    """Great-circle distance between two points of degrees, in metres."""
    phi1, phi2 = radians(lat1), radians(lat2)
    half = sin((phi2 - phi1) / 2) ** 2 + cos(phi1) * cos(phi2) * sin(radians(lng2 - lng1) / 2) ** 2
    return 2 * EARTH_RADIUS_M * asin(min(1.0, sqrt(half)))


def flat_m(lat1: float, lng1: float, lat2: float, lng2: float) -> float:
    """Distance in metres on a plane touching at the first point: within 0.1 % below 20 km, and twice as fast.

    The longitude difference is taken the short way round, so that the antimeridian does not tear a city apart.
    """
    dlng = (lng2 - lng1 + 180.0) % 360.0 - 180.0
    return METRES_PER_DEG * hypot(lat2 - lat1, dlng * cos(radians((lat1 + lat2) / 2)))


def bearing_deg(lat1: float, lng1: float, lat2: float, lng2: float) -> float:
    """Initial bearing from the first point to the second, degrees clockwise from north in [0, 360)."""
    phi1, phi2, dlng = radians(lat1), radians(lat2), radians(lng2 - lng1)
    east = sin(dlng) * cos(phi2)
    north = cos(phi1) * sin(phi2) - sin(phi1) * cos(phi2) * cos(dlng)
    return degrees(atan2(east, north)) % 360.0


def offset(lat: float, lng: float, north_m: float, east_m: float) -> tuple[float, float]:
    """The point `north_m` and `east_m` metres away, as (lat, lng); meant for distances below 50 km."""
    return lat + north_m / METRES_PER_DEG, lng + east_m / (METRES_PER_DEG * cos(radians(lat)))
