"""H3 cells: where drivers are, who is nearest, and the layers drawn around each mall.

It must not know pings or commands; cells come in, counts and shapes go out.
"""

from collections.abc import Iterable
from functools import lru_cache
from math import sqrt

import h3.api.basic_int as h3
from msgspec import Struct

from streamer.core.events import Hex
from streamer.core.geo import flat_m
from streamer.core.malls import Mall
from streamer.core.state import Driver, State

RES = 9
FAR_RES = 8
NEAR_RINGS = 3
"""Res-8 rings around a mall drawn as their res-9 children."""
EDGE_M = 200.786
"""Average edge of a res-9 cell. Source: h3geo.org, table of cell statistics."""
MAX_RINGS = 24
RING_MARGIN = 0.85
"""Cells near some places are smaller than average; distances promised by rings are cut by this."""

UNCOLLECTED = frozenset({"placed", "ready", "assigned", "enroute_to_pickup", "arrived_at_pickup"})


def hex_of(lat: float, lng: float) -> Hex:
    """The res-9 cell of a point. The caller has checked the range: H3 itself accepts any number."""
    return Hex(h3.latlng_to_cell(lat, lng, RES))


def hex_name(cell: int) -> str:
    """The cell as H3's usual hexadecimal string."""
    return str(h3.int_to_str(cell))


def boundary(cell: int) -> list[list[float]]:
    """The cell's outline as a closed ring of GeoJSON positions, [lng, lat]."""
    ring = [[round(lng, 6), round(lat, 6)] for lat, lng in h3.cell_to_boundary(cell)]
    return [*ring, ring[0]]


@lru_cache(maxsize=4096)
def _ring(cell: int, k: int) -> tuple[int, ...]:
    return tuple(sorted(h3.grid_ring(cell, k)))


class DriverIndex:
    """Drivers by res-9 cell. Two of these exist: all drivers, and free drivers."""

    def __init__(self) -> None:
        self.cells: dict[int, set[str]] = {}
        self._cell_of: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._cell_of)

    def put(self, driver_id: str, cell: int) -> None:
        """Places a driver in a cell, out of the one it was in."""
        old = self._cell_of.get(driver_id)
        if old == cell:
            return
        if old is not None:
            self._leave(driver_id, old)
        self._cell_of[driver_id] = cell
        self.cells.setdefault(cell, set()).add(driver_id)

    def drop(self, driver_id: str) -> None:
        """Takes a driver out; one that is not there is no fault."""
        old = self._cell_of.pop(driver_id, None)
        if old is not None:
            self._leave(driver_id, old)

    def _leave(self, driver_id: str, cell: int) -> None:
        members = self.cells[cell]
        members.discard(driver_id)
        if not members:
            del self.cells[cell]

    def nearest(self, lat: float, lng: float, k: int, drivers: dict[str, Driver]) -> list[tuple[str, float]]:
        """The `k` nearest as (driver id, metres), nearest first, ties by id.

        Rings of cells are added until no unseen cell can hold a nearer driver; past `MAX_RINGS` (about 8 km) the few
        that are left are simply measured.
        """
        if k <= 0:
            return []
        origin = hex_of(lat, lng)
        found: list[tuple[float, str]] = []
        for ring in range(MAX_RINGS + 1):
            members = (m for cell in _ring(origin, ring) if cell in self.cells for m in self.cells[cell])
            found.extend(_measured(lat, lng, members, drivers))
            if len(found) >= k:
                found.sort()
                if found[k - 1][0] <= (ring - 0.5) * RING_MARGIN * sqrt(3) * EDGE_M:
                    return [(driver_id, metres) for metres, driver_id in found[:k]]
            if len(found) == len(self):
                break
        else:
            found = list(_measured(lat, lng, self._cell_of, drivers))
        return [(driver_id, metres) for metres, driver_id in sorted(found)[:k]]


def _measured(
    lat: float, lng: float, members: Iterable[str], drivers: dict[str, Driver]
) -> Iterable[tuple[float, str]]:
    for driver_id in members:
        ping = drivers[driver_id].ping
        assert ping is not None, "an indexed driver has a position"
        yield flat_m(lat, lng, ping.lat, ping.lng), driver_id


class HexLayers(Struct):
    """What is shown of one cell. `wait` is in minutes."""

    supply: int = 0
    demand: int = 0
    wait: float = 0.0

    @property
    def balance(self) -> int:
        """Free drivers less open orders."""
        return self.supply - self.demand


class HexGrid:
    """The cells drawn around one mall: res 9 near it, res 8 out to its service radius."""

    def __init__(self, mall: Mall) -> None:
        self.mall = mall
        centre = h3.latlng_to_cell(mall.lat, mall.lng, FAR_RES)
        self._near = frozenset(h3.grid_disk(centre, NEAR_RINGS))
        far_edge_m = EDGE_M * sqrt(7)
        rings = int(mall.service_radius_m / (1.5 * far_edge_m)) + 1
        far = [
            cell
            for cell in h3.grid_disk(centre, rings)
            if cell not in self._near and flat_m(mall.lat, mall.lng, *h3.cell_to_latlng(cell)) <= mall.service_radius_m
        ]
        near = [child for cell in self._near for child in h3.cell_to_children(cell, RES)]
        self.cells: tuple[Hex, ...] = tuple(Hex(cell) for cell in sorted(near) + sorted(far))
        self._known = frozenset(self.cells)
        self.home = self.locate(hex_of(mall.lat, mall.lng))

    def locate(self, cell: int) -> Hex:
        """The drawn cell that a res-9 cell counts towards."""
        parent = h3.cell_to_parent(cell, FAR_RES)
        return Hex(cell if parent in self._near else parent)

    def layers(self, state: State) -> dict[Hex, HexLayers]:
        """Supply, demand and wait of every cell that is not all zero, in the order of `cells`."""
        layers: dict[Hex, HexLayers] = {}
        for driver in state.drivers.values():
            if driver.state == "free" and driver.region == self.mall.id and driver.cell:
                layers.setdefault(self.locate(driver.cell), HexLayers()).supply += 1
        for order in state.orders.values():
            if order.mall_id != self.mall.id or order.ended_ms is not None:
                continue
            drop = layers.setdefault(self.locate(hex_of(order.dropoff.lat, order.dropoff.lng)), HexLayers())
            drop.demand += 1
            if order.status in UNCOLLECTED:
                waited = max(0.0, round((state.at_ms - order.placed_ms) / 60_000, 1))
                drop.wait = max(drop.wait, waited)
        return {cell: layers[cell] for cell in sorted(layers) if cell in self._known}
