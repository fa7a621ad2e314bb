"""The still part of the map, and the colours: what Plotly would trip over, and what an eye could not tell apart."""

from collections.abc import Iterator

import pytest

from dashboard import theme
from dashboard.figures.floor_map import ROUTE_LINE, ROUTE_STOPS, STYLE, floor_map, route_traces
from dashboard.figures.places import read_places
from tests.builders import MALL, a_collection, a_mall_feature, a_place_feature

STOPS = [{"lat": 36.10, "lng": -115.10}, {"lat": 36.10, "lng": -115.10}, {"lat": 36.12, "lng": -115.14}]


def dictionaries(value: object) -> Iterator[dict[str, object]]:
    if isinstance(value, dict):
        yield value
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        yield from dictionaries(child)


def test_the_style_holds_no_empty_dictionary_because_plotly_prunes_them_and_drops_the_update() -> None:
    assert all(dictionaries(STYLE))
    assert list(dictionaries(STYLE))


def test_the_style_names_nothing_that_would_be_fetched() -> None:
    assert "http" not in str(STYLE)
    assert not {"glyphs", "sprite"} & set(STYLE)


def test_the_view_and_the_style_survive_the_coming_of_the_malls() -> None:
    empty, full = floor_map(), floor_map(read_places(a_collection()))
    assert empty.layout.uirevision == full.layout.uirevision == "floor"
    assert empty.layout.map.style == full.layout.map.style
    assert full.layout.map.fitbounds is False


def test_the_map_draws_each_mall_once_with_gaps_between() -> None:
    two = read_places(a_collection(a_mall_feature(), a_mall_feature("north", lat=37.0)))
    outlines = next(trace for trace in floor_map(two).data if trace.name == "malls")
    assert list(outlines.lat).count(None) == 1
    assert len(outlines.lat) == 5 + 1 + 5


def test_stores_and_entrances_are_told_apart() -> None:
    traces = {trace.name: trace for trace in floor_map(read_places(a_collection())).data}
    assert len(traces["stores"].lat) == 2
    assert len(traces["entrances"].lat) == 2


def test_the_reach_is_a_ring_of_the_service_radius() -> None:
    reach = next(trace for trace in floor_map(read_places(a_collection())).data if trace.name == "reach")
    assert max(reach.lat) - MALL[0] == pytest.approx(9000 / 111_195, rel=1e-3)


def test_the_route_is_written_to_the_traces_that_hold_it() -> None:
    figure = floor_map(read_places(a_collection()))
    assert [figure.data[ROUTE_LINE].name, figure.data[ROUTE_STOPS].name] == ["route", "stops"]
    assert len(figure.data) == ROUTE_STOPS + 1


def test_stops_are_numbered_in_order_and_share_a_label_where_they_share_a_place() -> None:
    _, stops = route_traces(STOPS)
    assert list(stops.text) == ["1+", "", "3"]


def test_the_route_begins_where_the_driver_is() -> None:
    line, stops = route_traces(STOPS, (36.2, -115.2))
    assert (line.lat[0], line.lon[0]) == (36.2, -115.2)
    assert len(line.lat) == len(stops.lat) + 1


def test_no_route_draws_nothing() -> None:
    line, stops = route_traces([], (36.2, -115.2))
    assert not line.lat
    assert not stops.lat


def test_places_answer_for_an_unknown_id_too() -> None:
    places = read_places(a_collection(a_mall_feature(), a_place_feature("macys", "store", name="Macy's")))
    assert (places.store_name("macys"), places.store_name("gone")) == ("Macy's", "gone")
    assert (places.timezone("plaza"), places.timezone("gone")) == ("America/Los_Angeles", "UTC")
    assert (places.mall_name("plaza"), places.mall_name("gone")) == ("Plaza", "gone")


def test_a_curbside_may_be_an_area() -> None:
    bay = a_mall_feature("bay")
    bay["properties"] = {"mall_id": "plaza", "kind": "curbside", "name": "Bay"}
    traces = {trace.name: trace for trace in floor_map(read_places(a_collection(a_mall_feature(), bay))).data}
    assert len(traces["curbside"].lat) == 5
    assert not traces["entrances"].lat


# ---------------------------------------------------------------- colours

SCHEMES = [pytest.param(theme.LIGHT, id="light"), pytest.param(theme.DARK, id="dark")]
TEXTS = ("text", "dim", "late", "at-risk", "on-time", "accent", "driver-free", "driver-busy")
MARKS = ("driver-free", "driver-busy", "driver-at-store", "driver-silent", "driver-on-break", "on-time", "late")


@pytest.mark.parametrize("colours", SCHEMES)
@pytest.mark.parametrize("name", TEXTS)
def test_text_reaches_the_contrast_of_wcag_aa(colours: dict[str, str], name: str) -> None:
    assert theme.contrast(colours[name], colours["surface"]) >= 4.5
    assert theme.contrast(colours["accent-text"], colours["accent"]) >= 4.5


@pytest.mark.parametrize("colours", SCHEMES)
@pytest.mark.parametrize("name", MARKS)
def test_marks_stand_out_from_the_ground(colours: dict[str, str], name: str) -> None:
    assert theme.contrast(colours[name], colours["map-ground"]) >= 3


def protanope_and_deuteranope(colour: str) -> list[tuple[float, ...]]:
    """The colour as red- and green-blind eyes see it. Source: Viénot, Brettel & Mollon 1999, linear RGB."""
    linear = [((int(colour[at : at + 2], 16) / 255) ** 2.2) for at in (1, 3, 5)]
    views = (
        ((0.11238, 0.88762, 0.0), (0.11238, 0.88762, 0.0), (0.00401, -0.00401, 1.0)),
        ((0.29275, 0.70725, 0.0), (0.29275, 0.70725, 0.0), (-0.02234, 0.02234, 1.0)),
    )
    return [
        tuple(max(0.0, sum(part * value for part, value in zip(row, linear, strict=True))) ** (1 / 2.2) for row in view)
        for view in views
    ]


@pytest.mark.parametrize("colours", SCHEMES)
@pytest.mark.parametrize(
    ("one", "other"), [("driver-free", "driver-busy"), ("late", "on-time"), ("driver-busy", "driver-silent")]
)
def test_states_differ_for_red_and_green_blind_eyes_too(colours: dict[str, str], one: str, other: str) -> None:
    for left, right in zip(
        protanope_and_deuteranope(colours[one]), protanope_and_deuteranope(colours[other]), strict=True
    ):
        assert sum((a - b) ** 2 for a, b in zip(left, right, strict=True)) ** 0.5 > 0.12


def test_both_schemes_name_the_same_colours() -> None:
    assert theme.LIGHT.keys() == theme.DARK.keys()


def test_the_style_sheet_is_the_one_written_from_the_theme() -> None:
    assert theme.PALETTE_FILE.read_text(encoding="utf-8") == theme.palette_css()


@pytest.mark.parametrize(("one", "other", "ratio"), [("#000000", "#ffffff", 21.0), ("#777777", "#777777", 1.0)])
def test_contrast_is_that_of_wcag(one: str, other: str, ratio: float) -> None:
    assert theme.contrast(one, other) == pytest.approx(ratio)
