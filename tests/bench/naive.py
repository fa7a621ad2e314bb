"""The ingestor a hurried afternoon would write: the peer the engine is measured against.

Decode with `json`, check by hand, H3 by strings, every mall's polygon unprepared. It does less than the engine (no
late, jump or gap rules, no debounce), so a ratio against it is a floor.
"""

import json
from typing import Any

import h3
from shapely.geometry import Point, Polygon

from streamer.core.malls import Floor


class NaiveIngestor:
    """Last position, cell and mall of each driver, in dicts."""

    def __init__(self, floor: Floor) -> None:
        self.polygons = {mall.id: Polygon([(lng, lat) for lat, lng in mall.ring]) for mall in floor.malls.values()}
        self.drivers: dict[str, dict[str, Any]] = {}

    def take(self, frame: bytes) -> None:
        ping = self.decode(frame)
        self.apply(ping)

    @staticmethod
    def decode(frame: bytes) -> dict[str, Any]:
        ping: dict[str, Any] = json.loads(frame)
        if ping.get("type") != "ping" or not isinstance(ping.get("fix_ms"), int):
            raise ValueError("bad ping")
        if not (-90 <= ping["lat"] <= 90 and -180 <= ping["lng"] <= 180):
            raise ValueError("bad coordinate")
        for name in ("accuracy_m", "speed_mps", "heading_deg", "battery"):
            if ping.get(name) is not None and not isinstance(ping[name], int | float):
                raise ValueError(name)
        return ping

    def apply(self, ping: dict[str, Any]) -> None:
        last = self.drivers.get(ping["driver_id"])
        if last is not None and ping["seq"] <= last["seq"]:
            return
        cell = h3.latlng_to_cell(ping["lat"], ping["lng"], 9)
        point = Point(ping["lng"], ping["lat"])
        mall = next((mall_id for mall_id, polygon in self.polygons.items() if polygon.contains(point)), None)
        self.drivers[ping["driver_id"]] = {**ping, "cell": cell, "mall": mall}
