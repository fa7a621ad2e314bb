"""The still part of the live map: malls, doors, stores, and the route of what is selected.

It must not know drivers or orders that move: those are drawn by the browser script on top (`assets/`).
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import plotly.graph_objects as go

from dashboard import theme
from dashboard.figures.places import Line, MallShape, Place, Places

EARTH_M_PER_DEG: Final = 111_195.0
ROUTE_LINE: Final = 5
"""Places of the traces in the figure, which `route_traces` is written to; `test_figures` holds them together."""
ROUTE_STOPS: Final = 6

# No dictionary in here may be empty: Plotly prunes empty ones and then calls setStyle on every update, which drops the
# layers of the browser script. The one-point source is there for that reason.
STYLE: Final = {
    "version": 8,
    "sources": {"anchor": {"type": "geojson", "data": {"type": "Point", "coordinates": [0, 0]}}},
    "layers": [{"id": "ground", "type": "background", "paint": {"background-color": theme.LIGHT["map-ground"]}}],
}


def floor_map(places: Places | None = None) -> go.Figure:
    """The map without a route. With no malls yet it is an empty ground, so that the first screen is not blank."""
    malls = list(places.malls.values()) if places else []
    figure = go.Figure([*_mall_traces(malls), *_place_traces(malls), *route_traces([])])
    figure.update_layout(
        map={"style": STYLE, "center": _centre(malls), "zoom": 11.5, "fitbounds": False},
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        showlegend=False,
        hovermode=False,
        dragmode="pan",
        uirevision="floor",
        paper_bgcolor="rgba(0,0,0,0)",
    )
    return figure


def _centre(malls: Sequence[MallShape]) -> dict[str, float]:
    return {"lat": malls[0].lat, "lon": malls[0].lng} if malls else {"lat": 36.127, "lon": -115.172}


def _mall_traces(malls: Sequence[MallShape]) -> list[go.Scattermap]:
    reach = _joined(_circle(mall.lat, mall.lng, mall.service_radius_m) for mall in malls if mall.service_radius_m)
    outlines = _joined(mall.outline for mall in malls)
    return [
        _trace("reach", reach, mode="lines", line={"color": theme.REACH_LINE, "width": 1}),
        _trace(
            "malls",
            outlines,
            mode="lines",
            fill="toself",
            fillcolor=theme.MALL_FILL,
            line={"color": theme.MALL_LINE, "width": 1.5},
        ),
    ]


def _place_traces(malls: Sequence[MallShape]) -> list[go.Scattermap]:
    def of(kind: str) -> list[Place]:
        return [place for mall in malls for place in mall.places if place.kind == kind]

    bays = _joined(place.outline for place in of("curbside") if place.outline)
    doors = of("entrance") + [place for place in of("curbside") if not place.outline]
    return [
        _trace("curbside", bays, mode="lines", line={"color": theme.MALL_LINE, "width": 2}),
        _trace("stores", _points(of("store")), mode="markers", marker={"size": 5, "color": theme.STORE}),
        _trace(
            "entrances", _points(doors), mode="markers", marker={"size": 7, "color": theme.ENTRANCE, "opacity": 0.6}
        ),
    ]


def route_traces(
    stops: Sequence[Mapping[str, object]], start: tuple[float, float] | None = None
) -> list[go.Scattermap]:
    """The line of a route and its numbered stops.

    Args:
        stops: as in the `route` message: `lat`, `lng` and more, in the order they will be visited.
        start: (lat, lng) where the driver is now, if known.
    """
    path = [(_degrees(stop, "lng"), _degrees(stop, "lat")) for stop in stops]
    line = [(start[1], start[0]), *path] if start and path else path
    return [
        _trace("route", _joined([line]), mode="lines", line={"color": theme.ROUTE, "width": 3}),
        go.Scattermap(
            name="stops",
            lon=[point[0] for point in path],
            lat=[point[1] for point in path],
            mode="markers+text",
            text=_numbers(path),
            textposition="top right",
            textfont={"size": 15, "weight": "bold", "color": theme.ROUTE},
            marker={"size": 22, "color": theme.ROUTE},
            hoverinfo="skip",
        ),
    ]


def _numbers(path: Line | list[tuple[float, float]]) -> list[str]:
    """1, 2, 3 …; stops at one place share one label, `1+`, because only one could be read there."""
    first: dict[tuple[float, float], int] = {}
    for number, point in enumerate(path, 1):
        first.setdefault(point, number)
    shared = Counter(path)
    numbered = enumerate(path, 1)
    return [
        "" if first[point] != number else f"{number}+" if shared[point] > 1 else f"{number}"
        for number, point in numbered
    ]


def _degrees(stop: Mapping[str, object], field: str) -> float:
    value = stop[field]
    return float(value) if isinstance(value, int | float) else math.nan


def _trace(name: str, points: tuple[list[float | None], list[float | None]], **look: object) -> go.Scattermap:
    return go.Scattermap(name=name, lon=points[0], lat=points[1], hoverinfo="skip", **look)


def _points(places: Iterable[Place]) -> tuple[list[float | None], list[float | None]]:
    shown = list(places)
    return [place.lng for place in shown], [place.lat for place in shown]


def _joined(lines: Iterable[Iterable[tuple[float, float]]]) -> tuple[list[float | None], list[float | None]]:
    """Several lines as one trace: longitudes and latitudes with a None between two lines."""
    lngs: list[float | None] = []
    lats: list[float | None] = []
    for line in lines:
        if lngs:
            lngs.append(None)
            lats.append(None)
        for lng, lat in line:
            lngs.append(lng)
            lats.append(lat)
    return lngs, lats


def _circle(lat: float, lng: float, radius_m: float, points: int = 72) -> list[tuple[float, float]]:
    """A closed ring of (lng, lat) `radius_m` metres around a point; flat-earth, right to 0.1 % at 20 km."""
    north = radius_m / EARTH_M_PER_DEG
    east = north / math.cos(math.radians(lat))
    turns = [2 * math.pi * step / points for step in range(points + 1)]
    return [(lng + east * math.sin(turn), lat + north * math.cos(turn)) for turn in turns]
