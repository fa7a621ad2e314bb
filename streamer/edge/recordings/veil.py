"""Moves the fixes of a track that would give a door away, of a customer or a driver, to the centre of their hex.

It must not know names or files. Two kinds of fix: those in the hex of a door that the driver is bound for or stands at,
and those away from any mall where the driver stands still or may do so.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from streamer.core.events import Hex, Ping
from streamer.core.geo import flat_m
from streamer.core.hexes import hex_of
from streamer.core.learned import Leg
from streamer.core.malls import Floor
from streamer.core.settings import Settings
from streamer.core.state import Driver, Order
from streamer.edge.recordings.pseudonyms import blur

STILL_MPS = 2.0
"""Slower is on foot, or about to park."""


class Veil:
    """Veils the tracks of one recording, fix by fix in their order."""

    def __init__(self, floor: Floor, settings: Settings) -> None:
        self._malls = [
            (mall.lat, mall.lng, settings.fences.approach_m + max(flat_m(mall.lat, mall.lng, *at) for at in mall.ring))
            for mall in floor.malls.values()
        ]
        self._left: dict[str, Hex] = {}
        """By driver, the hex of a door that it has served and not been seen to leave."""

    def ping(self, ping: Ping, driver: Driver | None) -> Ping:
        """The fix as it may be shown; `driver` is as the engine knows it before this fix."""
        doors = frozenset() if driver is None else frozenset(_doors(driver))
        cell = hex_of(ping.lat, ping.lng)
        if cell in doors:
            self._left[ping.driver_id] = cell
        elif self._left.get(ping.driver_id) != cell:
            self._left.pop(ping.driver_id, None)
            if not self._may_stand(ping):
                return ping
        lat, lng = blur(ping.lat, ping.lng)
        return replace(ping, lat=lat, lng=lng)

    def driver(self, driver: Driver, orders: Mapping[str, Order]) -> Driver:
        """A driver of the state that a recording begins with; `orders` has all of that state."""
        served = {hex_of(o.dropoff.lat, o.dropoff.lng) for o in orders.values() if o.driver_id == driver.id}
        return replace(
            driver,
            ping=self._past(driver.ping, served) if driver.ping else None,
            jumps=tuple(self._past(jump, served) for jump in driver.jumps),
            recent=tuple((fix_ms, *self._point(lat, lng)) for fix_ms, lat, lng in driver.recent),
        )

    def leg(self, leg: Leg) -> Leg:
        """A drive under way, which often began at a door."""
        (lat, lng), (moved_lat, moved_lng) = blur(leg.lat, leg.lng), blur(leg.moved_lat, leg.moved_lng)
        return replace(leg, lat=lat, lng=lng, moved_lat=moved_lat, moved_lng=moved_lng)

    def _past(self, ping: Ping, served: set[Hex]) -> Ping:
        cell = hex_of(ping.lat, ping.lng)
        if cell in served:
            self._left[ping.driver_id] = cell
        elif not self._may_stand(ping):
            return ping
        lat, lng = blur(ping.lat, ping.lng)
        return replace(ping, lat=lat, lng=lng)

    def _may_stand(self, ping: Ping) -> bool:
        slow = ping.speed_mps is None or ping.speed_mps < STILL_MPS
        return slow and not self._near_mall(ping.lat, ping.lng)

    def _point(self, lat: float, lng: float) -> tuple[float, float]:
        return (lat, lng) if self._near_mall(lat, lng) else blur(lat, lng)

    def _near_mall(self, lat: float, lng: float) -> bool:
        return any(flat_m(lat, lng, mall_lat, mall_lng) < reach_m for mall_lat, mall_lng, reach_m in self._malls)


def _doors(driver: Driver) -> list[Hex]:
    return [hex_of(stop.lat, stop.lng) for stop in driver.route if stop.kind == "dropoff"]
