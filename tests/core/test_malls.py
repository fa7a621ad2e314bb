"""Mall files: what is read, and how each bad one is named."""

from typing import Any

import msgspec
import pytest

from streamer.core.errors import MallFileError
from streamer.core.malls import parse_malls
from tests.builders import a_collection, a_floor, a_mall_feature, a_place_feature

STORE = a_place_feature("macys", "store")


def test_floor_comes_back_as_it_was_written() -> None:
    floor = a_floor()
    again = parse_malls(msgspec.json.decode(msgspec.json.encode(floor.geojson())))
    assert again == floor
    assert [store.id for store in floor.malls["plaza"].stores] == ["macys", "zara"]
    assert floor.malls["plaza"].stores[0].walk_m == pytest.approx(194, abs=15)


def test_id_is_read_beside_the_properties_or_among_them() -> None:
    feature = a_mall_feature()
    feature["properties"]["id"] = feature.pop("id")
    assert list(parse_malls(a_collection(feature, STORE)).malls) == ["plaza"]


def mall_with(geometry: Any) -> dict[str, Any]:
    return a_collection(a_mall_feature() | {"geometry": geometry}, STORE)


def polygon(*rings: list[list[float]]) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": list(rings)}


MALL, PLACE = "feature 1 (plaza)", "feature 2 (x)"
SQUARE = [[-115.1, 36.1], [-115.09, 36.1], [-115.09, 36.11], [-115.1, 36.11], [-115.1, 36.1]]


@pytest.mark.parametrize(
    ("collection", "feature", "reason"),
    [
        (None, "collection", "not a GeoJSON FeatureCollection"),
        ({"type": "Feature"}, "collection", "not a GeoJSON FeatureCollection"),
        ({"type": "FeatureCollection", "features": {}}, "collection", "not a list"),
        ({"type": "FeatureCollection", "features": []}, "collection", "no feature is a mall"),
        (a_collection(STORE), "collection", "no feature is a mall"),
        (a_collection(a_mall_feature()), MALL, "at least one store"),
        (a_collection(a_mall_feature(), STORE, STORE), "macys", "stands 2 times"),
        (a_collection(a_mall_feature(), a_place_feature("x", "store", mall_id="no")), PLACE, "is no mall of this file"),
        (a_collection(a_mall_feature(), a_place_feature("x", "kiosk")), PLACE, "Invalid enum value 'kiosk'"),
        (a_collection(a_mall_feature(), a_place_feature("x", "store", name="")), PLACE, "name"),
        (a_collection(a_mall_feature(), a_place_feature("a b", "store")), "feature 2 (a b)", "regex"),
        (a_collection(a_mall_feature(), a_place_feature("x", "store", north=0.2)), PLACE, "km from its mall"),
        (a_collection(a_mall_feature(timezone=""), STORE), MALL, "a mall needs timezone"),
        (a_collection(a_mall_feature(service_radius_m=-1), STORE), MALL, "service_radius_m"),
        (a_collection(a_mall_feature(service_radius_m="far"), STORE), MALL, "service_radius_m"),
        (mall_with(None), MALL, "geometry: Expected `object`, got `null`"),
        (mall_with({"type": "Point", "coordinates": [0, 0]}), MALL, "must be a Polygon"),
        (mall_with({"type": "Sphere"}), MALL, "Sphere"),
        (mall_with(polygon(SQUARE[:-1])), MALL, "ends where it began"),
        (mall_with(polygon(SQUARE, SQUARE)), MALL, "without holes"),
        (mall_with(polygon([SQUARE[n] for n in (0, 2, 1, 3, 0)])), MALL, "crosses itself"),
        (mall_with(polygon([[181, 0], [182, 0], [182, 1], [181, 0]])), MALL, "180"),
        (mall_with(polygon([[1, 1], [2, 1], [2, 2], [1, 1]])), MALL, "km across"),
        (mall_with(polygon([[float("nan"), 1], [2, 1], [2, 2], [1, 1]])), MALL, "geometry"),
        ({"type": "FeatureCollection", "features": [7]}, "feature 1", "not an object"),
    ],
)  # fmt: skip
def test_bad_mall_file_is_refused_with_the_feature_and_the_reason(
    collection: object, feature: str, reason: str
) -> None:
    with pytest.raises(MallFileError) as caught:
        parse_malls(collection)
    assert caught.value.feature == feature
    assert reason in caught.value.reason
