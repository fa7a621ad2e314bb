"""A flat map of one mall's surroundings: metres east and north of its centre.

It must not know roads or drivers; it only turns metres into degrees and back.
"""

from math import cos, radians

from msgspec import Struct

from streamer.core.geo import METRES_PER_DEG


class Plane(Struct, frozen=True):
    """An equirectangular plane touching at (`lat`, `lng`); true to 0.1 % within 20 km."""

    lat: float
    lng: float

    def to_xy(self, lat: float, lng: float) -> tuple[float, float]:
        """Metres (east, north) of the centre."""
        return (lng - self.lng) * METRES_PER_DEG * cos(radians(self.lat)), (lat - self.lat) * METRES_PER_DEG

    def to_degrees(self, x: float, y: float) -> tuple[float, float]:
        """(lat, lng) rounded to 5 decimals, about a metre: what phones can honestly say, and short in a fixture."""
        lng = self.lng + x / (METRES_PER_DEG * cos(radians(self.lat)))
        return round(self.lat + y / METRES_PER_DEG, 5), round(lng, 5)
