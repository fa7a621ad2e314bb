"""A synthetic road network around a mall, and the quickest way through it.

It must not know who drives. No extract of the real roads is free of licence terms, so the town is drawn: a rotated grid
of sections with arterials every mile, as surveyed in Las Vegas and Chandler, collectors every half mile, local streets
between, some of them missing, and a freeway across.
"""

from collections import OrderedDict
from itertools import pairwise
from math import atan2, cos, hypot, pi, sin

import numpy as np
from msgspec import Struct
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, dijkstra
from scipy.spatial import cKDTree
from shapely.geometry import Point, Polygon

from streamer.sim.parameters import USUAL, RoadRules

MILE_M = 1609.344
BLOCKS_A_MILE = 8
BLOCK_M = MILE_M / BLOCKS_A_MILE
ARTERIAL_AT = (3, -2)
"""Grid lines of the arterials nearest the mall (column, row): a mall sits inside a section, near its corner."""
MARGIN_M = 900.0
"""Roads reach this far beyond the service radius."""
FREEWAY_TURN, FREEWAY_OFF_M = 0.62, 2_600.0
"""The freeway's angle to the grid (radians) and its distance from the mall."""
CACHED_TREES = 400

Row = tuple[int, int]


class Leg(Struct, frozen=True, gc=False):
    """A straight stretch of road. `exit_mps` is how fast its end may be passed; `signal`: lights stand there."""

    x0: float
    y0: float
    x1: float
    y1: float
    length_m: float
    mps: float
    heading_deg: int
    exit_mps: float
    signal: bool


class Roads:
    """The network of one mall, in metres of its `Plane`. Built once from a seeded generator.

    Args:
        rng: draws the missing edges and the grid's angle.
        radius_m: the mall's service radius.
        footprint: the mall's outline in metres; no road crosses it.
        rules: speeds, and how many streets are missing.
    """

    def __init__(
        self, rng: Generator, radius_m: float, footprint: list[tuple[float, float]], rules: RoadRules = USUAL.roads
    ) -> None:
        self.angle = float(rng.uniform(-0.1, 0.1)) if rng.random() < 0.7 else float(rng.uniform(0.35, 0.7))
        self.rules = rules
        builder = _Builder(rng, radius_m + MARGIN_M, Polygon(footprint).buffer(25.0), self.angle, rules)
        builder.grid()
        builder.freeway()
        self.xy, self._graph, self._speeds, self.lines = builder.finish()
        self._tree = cKDTree(self.xy)
        self._ways: OrderedDict[int, NDArray[np.int32]] = OrderedDict()

    def nearest(self, x: float, y: float) -> int:
        """The node nearest to a point."""
        return int(self._tree.query((x, y))[1])

    def street(self, node: int) -> tuple[str, int]:
        """Which way ("row" or "column") and number of the grid line that a node lies on; the name's seed."""
        column, row = self.lines[node]
        return ("row", row) if (column + row) % 2 else ("column", column)

    def path(self, start: tuple[float, float], goal: tuple[float, float], via: int | None = None) -> list[Leg]:
        """The quickest way by road between two points, off the road at both ends at parking-lot speed.

        Args:
            via: the node a car on the road is already heading for; None takes the one nearest to `start`.
        """
        first, last = self.nearest(*start) if via is None else via, self.nearest(*goal)
        ways = self._ways_to(last)
        nodes = [first]
        while nodes[-1] != last:
            nodes.append(int(ways[nodes[-1]]))
        points = [start, *((float(self.xy[n, 0]), float(self.xy[n, 1])) for n in nodes), goal]
        # A car already on the road keeps the road's speed to its next node; one in a lot rolls to the street.
        speeds = [self.rules.lot_mps if via is None else self.rules.collector_mps]
        speeds += [self._speeds[a, b] for a, b in pairwise(nodes)]
        speeds.append(self.rules.lot_mps)
        signals = [self._has_signal(n) for n in nodes] + [False]
        return _legs(points, speeds, signals)

    def _ways_to(self, node: int) -> NDArray[np.int32]:
        """For every node the next one on the quickest way to `node`; the last few hundred are kept."""
        if node in self._ways:
            self._ways.move_to_end(node)
            return self._ways[node]
        ways: NDArray[np.int32] = dijkstra(self._graph, directed=False, indices=node, return_predecessors=True)[1]
        self._ways[node] = ways
        if len(self._ways) > CACHED_TREES:
            self._ways.popitem(last=False)
        return ways

    def _has_signal(self, node: int) -> bool:
        column, row = self.lines[node]
        return _is_main(column, 0) and _is_main(row, 1) and (_is_arterial(column, 0) or _is_arterial(row, 1))


def _is_arterial(line: int, axis: int) -> bool:
    return (line - ARTERIAL_AT[axis]) % BLOCKS_A_MILE == 0


def _is_main(line: int, axis: int) -> bool:
    return (line - ARTERIAL_AT[axis]) % (BLOCKS_A_MILE // 2) == 0


class _Builder:
    """Draws nodes and edges, then keeps the largest connected part."""

    def __init__(self, rng: Generator, reach_m: float, keep_out: Polygon, angle: float, rules: RoadRules) -> None:
        self.rng, self.reach_m, self.keep_out, self.rules = rng, reach_m, keep_out, rules
        self.cos, self.sin, self.angle = cos(angle), sin(angle), angle
        self.xy: list[tuple[float, float]] = []
        self.lines: list[Row] = []
        self.edges: list[tuple[int, int, float]] = []
        self.at: dict[Row, int] = {}

    def _add(self, x: float, y: float, line: Row) -> int:
        self.xy.append((x, y))
        self.lines.append(line)
        return len(self.xy) - 1

    def grid(self) -> None:
        reach = int(self.reach_m / BLOCK_M)
        for column in range(-reach, reach + 1):
            for row in range(-reach, reach + 1):
                u, v = column * BLOCK_M, row * BLOCK_M
                x, y = u * self.cos - v * self.sin, u * self.sin + v * self.cos
                if hypot(x, y) <= self.reach_m and not self.keep_out.contains(Point(x, y)):
                    self.at[column, row] = self._add(x, y, (column, row))
        for (column, row), node in self.at.items():
            self._street(node, self.at.get((column + 1, row)), *self._class_of(row, 1))
            self._street(node, self.at.get((column, row + 1)), *self._class_of(column, 0))

    def _class_of(self, line: int, axis: int) -> tuple[float, float]:
        """Speed on a grid line, and the share of its streets that are missing."""
        if _is_arterial(line, axis):
            return self.rules.arterial_mps, 0.0
        if _is_main(line, axis):
            return self.rules.collector_mps, self.rules.collector_missing
        return self.rules.local_mps, self.rules.local_missing

    def _street(self, node: int, neighbour: int | None, mps: float, missing: float) -> None:
        drawn = self.rng.random()
        if neighbour is not None and drawn >= missing:
            self.edges.append((node, neighbour, mps))

    def freeway(self) -> None:
        """A straight freeway with an interchange about every mile, to the nearest crossing of two main roads."""
        bearing = self.angle + FREEWAY_TURN
        crossings = [n for (c, r), n in self.at.items() if _is_main(c, 0) and _is_main(r, 1)]
        tree = cKDTree([self.xy[n] for n in crossings])
        half = (self.reach_m**2 - FREEWAY_OFF_M**2) ** 0.5
        before: int | None = None
        for step in range(int(2 * half / MILE_M) + 1):
            along = step * MILE_M - half
            x = along * cos(bearing) - FREEWAY_OFF_M * sin(bearing)
            y = along * sin(bearing) + FREEWAY_OFF_M * cos(bearing)
            node = self._add(x, y, (1, 1))
            if before is not None:
                self.edges.append((before, node, self.rules.freeway_mps))
            self.edges.append((node, crossings[int(tree.query((x, y))[1])], self.rules.collector_mps))
            before = node

    def finish(self) -> tuple[NDArray[np.float64], csr_array, dict[Row, float], list[Row]]:
        xy = np.array(self.xy)
        ends = np.array([(a, b) for a, b, _ in self.edges])
        mps = np.array([speed for _, _, speed in self.edges])
        seconds = np.hypot(*(xy[ends[:, 0]] - xy[ends[:, 1]]).T) / mps
        graph = csr_array((seconds, (ends[:, 0], ends[:, 1])), shape=(len(xy), len(xy)))
        _, part = connected_components(graph, directed=False)
        keep = np.flatnonzero(part == np.bincount(part).argmax())
        number = {int(old): new for new, old in enumerate(keep)}
        speeds: dict[Row, float] = {}
        for a, b, speed in self.edges:
            if a in number and b in number:
                speeds[number[a], number[b]] = speeds[number[b], number[a]] = speed
        return xy[keep], graph[keep][:, keep].tocsr(), speeds, [self.lines[int(old)] for old in keep]


def _legs(points: list[tuple[float, float]], speeds: list[float], signals: list[bool]) -> list[Leg]:
    """Turn points into legs; a corner is passed slowly, the end almost standing."""
    headings = [atan2(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(points)]
    legs = []
    for k, (a, b) in enumerate(pairwise(points)):
        length = hypot(b[0] - a[0], b[1] - a[1])
        if length < 0.5:
            continue
        turn = abs((headings[k + 1] - headings[k] + pi) % (2 * pi) - pi) if k + 1 < len(headings) else pi
        exit_mps = 2.0 if k + 1 == len(headings) else (5.0 if turn > 0.6 else speeds[k])
        heading = round(headings[k] * 180 / pi) % 360
        legs.append(Leg(*a, *b, length, speeds[k], heading, exit_mps, signals[k]))
    return legs
