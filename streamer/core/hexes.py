"""H3 cells: where drivers are, who is nearest, and the layers drawn around each mall.

It must not know pings or commands; cells come in, counts and shapes go out.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from functools import cached_property, lru_cache
from math import cos, inf, radians, sin, sqrt

import h3.api.basic_int as h3
from h3.api.basic_int import cell_to_latlng, great_circle_distance
from msgspec import Struct

from streamer.core.events import Hex
from streamer.core.geo import METRES_PER_DEG, flat_m
from streamer.core.malls import Mall
from streamer.core.state import Driver, Order, State

RES = 9
FAR_RES = 8
NEAR_RINGS = 3
"""Res-8 rings around a mall drawn as their res-9 children."""
EDGE_M = 200.786
"""Average edge of a res-9 cell. Source: h3geo.org, table of cell statistics."""
CELLS_KEPT = 20_000
"""Cells remembered by each look-up; a driver may be anywhere on the globe."""
REACH_M = 222.0
"""No res-9 cell reaches farther from its centre: 221.2 m where they are largest, in the middle of H3's faces, and 172 m
at the pentagons. One number for all makes a search look at few cells in vain, and asks nothing of each cell."""
BELTS_KEPT = 1024
FIRST_BELT = 2
"""Rings looked at together at first: most searches in a city end there or in the next."""
MAX_RINGS = 24
GAP_MARGIN = 1.001
"""Gaps are of great circles and by H3's radius of the Earth, distances by `flat_m`: a millionth would do."""
WRAP_LNG = 170.0
"""From this longitude on, a driver measured may be across the antimeridian."""

RADIANS = radians(1)

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


@lru_cache(maxsize=BELTS_KEPT)
def _belt(lat: float, lng: float, ring: int) -> tuple[tuple[float, int], ...]:
    """The cells `ring` steps from a point's cell, nearest first, as (gap in metres, cell); the first belt is a disk.

    The gap is how near to the point a point of that cell can be: the distance of its centre less `REACH_M`, so it may
    be negative. Who leaves the rings crosses the next one: the first gap of a belt holds of all that lies beyond it
    too. These very cells are measured, because cells differ in size and shape from place to place, by half and more
    around the pentagons.

    Malls are asked about again and again, and stay where they are: their belts are at hand.
    """
    origin, here = hex_of(lat, lng), (lat, lng)
    cells = h3.grid_disk(origin, ring) if ring == FIRST_BELT else h3.grid_ring(origin, ring)
    return tuple(sorted([(great_circle_distance(here, cell_to_latlng(cell), "m") - REACH_M, cell) for cell in cells]))


class DriverIndex:
    """Drivers by res-9 cell. Two of these exist: all drivers, and free drivers.

    A cell holds the drivers' own records, so a ping within a cell leaves the index alone.
    """

    def __init__(self) -> None:
        self.cells: dict[int, dict[str, Driver]] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def put(self, driver: Driver, before: int) -> None:
        """Places a driver in its cell, out of the one it was in before, if it was here at all."""
        cell, members = driver.cell, self.cells.get(before)
        if members is None or driver.id not in members:
            self._size += 1
        elif before == cell:
            return
        else:
            self._leave(driver.id, before)
        members = self.cells.get(cell)
        if members is None:
            self.cells[cell] = {driver.id: driver}
        else:
            members[driver.id] = driver

    def drop(self, driver_id: str, before: int) -> None:
        """Takes a driver out of the cell it was in; one that is not there is no fault."""
        if driver_id in self.cells.get(before, ()):
            self._size -= 1
            self._leave(driver_id, before)

    def _leave(self, driver_id: str, cell: int) -> None:
        members = self.cells[cell]
        del members[driver_id]
        if not members:
            del self.cells[cell]

    def nearest(self, lat: float, lng: float, k: int) -> list[tuple[str, float]]:
        """The `k` nearest as (driver id, metres), nearest first, ties by id.

        Belts of cells are looked at until no driver in the next can be among them, and in a belt the same holds cell
        by cell. Where that would be more cells than drivers to leave out, or more than `MAX_RINGS` (about 7 km, 5 km
        where cells are small), everybody is simply measured.
        """
        if k <= 0:
            return []
        measure, cells, ring = _measure_from(lat, lng), self.cells, FIRST_BELT
        found: list[tuple[float, str]] = []
        limit, limit_m = inf, inf
        while ring <= MAX_RINGS and 3 * ring * ring < len(self) - k:
            belt = _belt(lat, lng, ring)
            if belt[0][0] > limit_m:
                break
            for gap_m, cell in belt:
                if gap_m > limit_m:
                    break
                if cell not in cells:
                    continue
                found += measure(cells[cell].values(), limit)
                if len(found) >= k:
                    found.sort()
                    del found[k:]
                    limit = found[-1][0]
                    limit_m = GAP_MARGIN * METRES_PER_DEG * sqrt(limit)
            ring += 1
        else:
            found = sorted(measure([driver for crowd in cells.values() for driver in crowd.values()], inf))
        return [(driver_id, METRES_PER_DEG * sqrt(square)) for square, driver_id in found[:k]]


def _measure_from(lat: float, lng: float) -> Callable[[Iterable[Driver], float], list[tuple[float, str]]]:
    """Measures drivers from a point: (squared distance, driver id) of those within a limit, in degrees of latitude.

    This is `geo.flat_m` without its root, and with the cosine of the middle latitude by the first three terms of its
    series, which is right to a millionth at 100 km: most of a search is spent here.
    """
    across, half = abs(lng) > WRAP_LNG, RADIANS / 2
    wide = cos(lat * RADIANS)
    narrows, bends = sin(lat * RADIANS) * half, wide * half * half / 2

    def measure(crowd: Iterable[Driver], limit: float) -> list[tuple[float, str]]:
        pairs = []
        for driver in crowd:
            ping = driver.ping
            assert ping is not None, "an indexed driver has a position"
            north, east = ping.lat - lat, ping.lng - lng
            if across:
                east = (east + 180.0) % 360.0 - 180.0
            east *= wide - north * (narrows + north * bends)
            square = north * north + east * east
            if square <= limit:
                pairs.append((square, driver.id))
        return pairs

    return measure


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
    """The cells drawn around one mall: res 9 near it, res 8 out to its service radius.

    They are found when first asked for: of many malls most are not looked at, and a mall has some six hundred.
    """

    def __init__(self, mall: Mall) -> None:
        self.mall = mall
        self._drawn: dict[int, Hex] = {}

    @cached_property
    def cells(self) -> tuple[Hex, ...]:
        """All of them, the near ones first."""
        near = [child for cell in self._near for child in h3.cell_to_children(cell, RES)]
        return tuple(Hex(cell) for cell in sorted(near) + sorted(self._far))

    @cached_property
    def _near(self) -> frozenset[int]:
        """The res-8 cells that are drawn as their children."""
        return frozenset(h3.grid_disk(h3.latlng_to_cell(self.mall.lat, self.mall.lng, FAR_RES), NEAR_RINGS))

    @cached_property
    def _far(self) -> frozenset[int]:
        """The res-8 cells that are drawn as they are."""
        mall = self.mall
        rings = int(mall.service_radius_m / (1.5 * EDGE_M * sqrt(7))) + 1
        disk = h3.grid_disk(h3.latlng_to_cell(mall.lat, mall.lng, FAR_RES), rings)
        return frozenset(
            cell
            for cell in disk
            if cell not in self._near and flat_m(mall.lat, mall.lng, *h3.cell_to_latlng(cell)) <= mall.service_radius_m
        )

    def locate(self, cell: int) -> Hex:
        """The drawn cell that a res-9 cell counts towards."""
        drawn = self._drawn.get(cell)
        if drawn is None:
            if len(self._drawn) >= CELLS_KEPT:
                self._drawn.clear()
            parent = h3.cell_to_parent(cell, FAR_RES)
            drawn = self._drawn[cell] = Hex(cell if parent in self._near else parent)
        return drawn

    def layers(self, state: State) -> dict[Hex, HexLayers]:
        """Supply, demand and wait of every cell that is not all zero, in the order of `cells`."""
        return self.count(
            (driver for driver in state.drivers.values() if driver.region == self.mall.id),
            (order for order in state.orders.values() if order.mall_id == self.mall.id),
            state.at_ms,
        )

    def count(self, drivers: Iterable[Driver], orders: Iterable[Order], at_ms: int) -> dict[Hex, HexLayers]:
        """As `layers`, of the drivers shown on this mall's floor and its orders."""
        free = Counter([driver.cell for driver in drivers if driver.state == "free"])
        layers: dict[Hex, HexLayers] = {}
        for cell, supply in free.items():
            if cell:
                layers.setdefault(self.locate(cell), HexLayers()).supply += supply
        for order in orders:
            if order.ended_ms is not None:
                continue
            drop = layers.setdefault(self.locate(hex_of(order.dropoff.lat, order.dropoff.lng)), HexLayers())
            drop.demand += 1
            if order.status in UNCOLLECTED:
                waited = max(0.0, round((at_ms - order.placed_ms) / 60_000, 1))
                drop.wait = max(drop.wait, waited)
        # What `locate` left at res 9 is near, and so drawn.
        return {cell: layers[cell] for cell in sorted(layers) if cell in self._far or h3.get_resolution(cell) == RES}
