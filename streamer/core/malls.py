"""Malls, their stores and doors, read from GeoJSON and written back to it.

It must not know drivers or orders. This is the one place where GeoJSON's `[lng, lat]` is swapped to `lat, lng`.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct
from shapely.geometry import Polygon

from streamer.core.errors import MallFileError
from streamer.core.events import Id, Lat, Lng
from streamer.core.geo import flat_m

PlaceKind = Literal["entrance", "curbside", "store"]
Ring = tuple[tuple[float, float], ...]
"""A closed outline as (lat, lng) pairs, the first point not repeated."""

MAX_FOOTPRINT_M = 5_000.0
"""No mall is larger across; a footprint that is has its coordinates swapped or mistyped."""


class Place(Struct, frozen=True):
    """A store or a door of a mall. `walk_m`: a store's distance from the nearest door. `ring` is empty for a point."""

    id: str
    mall_id: str
    kind: PlaceKind
    name: str
    lat: float
    lng: float
    walk_m: float = 0.0
    ring: Ring = ()


class Mall(Struct, frozen=True):
    """A mall: where it is, how far it serves (`service_radius_m`), and its places, sorted by id."""

    id: str
    name: str
    timezone: str
    service_radius_m: float
    lat: float
    lng: float
    ring: Ring
    places: tuple[Place, ...]

    @property
    def stores(self) -> tuple[Place, ...]:
        """The places orders are collected from."""
        return tuple(place for place in self.places if place.kind == "store")

    def place(self, place_id: str) -> Place | None:
        """The place of that id, or None."""
        return next((place for place in self.places if place.id == place_id), None)


class Floor(Struct, frozen=True):
    """Every mall the engine runs, by id, in the file's order."""

    malls: dict[str, Mall]

    def nearest_mall(self, lat: float, lng: float) -> Mall | None:
        """The mall whose centre is nearest, or None when there is no mall; ties go to the lower id."""
        return min(self.malls.values(), key=lambda mall: (flat_m(lat, lng, mall.lat, mall.lng), mall.id), default=None)

    def geojson(self) -> dict[str, Any]:
        """The `FeatureCollection` of PROTOCOL §5 this floor was read from, in canonical form."""
        features = [_mall_feature(mall) for mall in self.malls.values()]
        features += [_place_feature(place) for mall in self.malls.values() for place in mall.places]
        return {"type": "FeatureCollection", "features": features}


def parse_malls(collection: object) -> Floor:
    """Reads a decoded GeoJSON `FeatureCollection`.

    Raises:
        MallFileError: naming the feature and what is wrong with it.
    """
    features = [_read_feature(number, raw) for number, raw in enumerate(_features(collection), 1)]
    _refuse_repeats(feature.properties.id for feature in features)
    malls = [feature for feature in features if feature.properties.mall_id is None]
    if not malls:
        raise MallFileError("collection", "no feature is a mall (a mall has no mall_id)")
    known = {mall.properties.id for mall in malls}
    for feature in features:
        if feature.properties.mall_id is not None and feature.properties.mall_id not in known:
            raise MallFileError(feature.label, f"its mall_id {feature.properties.mall_id!r} is no mall of this file")
    return Floor({mall.properties.id: _build_mall(mall, features) for mall in malls})


# ---------------------------------------------------------------- reading


class _Point(Struct, tag_field="type", tag="Point", frozen=True):
    coordinates: tuple[Lng, Lat]


class _Polygon(Struct, tag_field="type", tag="Polygon", frozen=True):
    coordinates: tuple[tuple[tuple[Lng, Lat], ...], ...]


class _Properties(Struct, frozen=True):
    id: Id
    name: Annotated[str, Meta(min_length=1, max_length=120)] = ""
    mall_id: Id | None = None
    kind: PlaceKind | None = None
    timezone: str = ""
    service_radius_m: Annotated[float, Meta(gt=0, le=100_000)] | None = None


class _Feature(Struct, frozen=True):
    geometry: _Point | _Polygon
    properties: _Properties
    label: str = ""


def _features(collection: object) -> list[object]:
    if not isinstance(collection, dict) or collection.get("type") != "FeatureCollection":
        raise MallFileError("collection", "it is not a GeoJSON FeatureCollection")
    features = collection.get("features")
    if not isinstance(features, list):
        raise MallFileError("collection", "its features are not a list")
    return features


def _read_feature(number: int, raw: object) -> _Feature:
    if not isinstance(raw, dict):
        raise MallFileError(f"feature {number}", "it is not an object")
    properties = raw.get("properties")
    properties = dict(properties) if isinstance(properties, dict) else {}
    # GeoJSON puts the id beside the properties (RFC 7946 §3.2), editors often put it inside: both are read.
    properties.setdefault("id", raw.get("id"))
    label = f"feature {number} ({properties['id']})"
    geometry: _Point | _Polygon = _converted(raw.get("geometry"), _Point | _Polygon, label, "geometry")
    checked: _Properties = _converted(properties, _Properties, label, "properties")
    feature = _Feature(geometry, checked, label)
    if checked.mall_id is None:
        _check_mall(feature)
    elif checked.kind is None:
        raise MallFileError(label, "it has a mall_id but no kind (entrance, curbside or store)")
    elif checked.kind == "store" and not checked.name:
        raise MallFileError(label, "a store needs a name")
    return feature


def _converted(raw: object, into: Any, label: str, part: str) -> Any:
    try:
        return msgspec.convert(raw, into)
    except msgspec.ValidationError as error:
        raise MallFileError(label, f"{part}: {error}") from error


def _check_mall(feature: _Feature) -> None:
    if not isinstance(feature.geometry, _Polygon):
        raise MallFileError(feature.label, "a mall's geometry must be a Polygon")
    for name in ("name", "timezone", "service_radius_m"):
        if not getattr(feature.properties, name):
            raise MallFileError(feature.label, f"a mall needs {name}")
    outline = _outline(feature)
    shape = Polygon(outline)
    if not shape.is_valid or shape.is_empty:
        raise MallFileError(feature.label, "its footprint crosses itself or has no area")
    lats, lngs = [lat for lat, _ in outline], [lng for _, lng in outline]
    across = flat_m(min(lats), min(lngs), max(lats), max(lngs))
    if across > MAX_FOOTPRINT_M:
        raise MallFileError(feature.label, f"its footprint is {across / 1000:.0f} km across: are lng and lat swapped?")


def _outline(feature: _Feature) -> Ring:
    assert isinstance(feature.geometry, _Polygon)
    rings = feature.geometry.coordinates
    if len(rings) != 1:
        raise MallFileError(feature.label, f"a footprint is one ring without holes, this has {len(rings)}")
    ring = rings[0]
    if len(ring) < 4 or ring[0] != ring[-1]:
        raise MallFileError(feature.label, "a ring has at least four positions and ends where it began")
    return tuple((lat, lng) for lng, lat in ring[:-1])


def _refuse_repeats(ids: Iterable[str]) -> None:
    for feature_id, times in Counter(ids).items():
        if times > 1:
            raise MallFileError(feature_id, f"this id stands {times} times")


def _build_mall(feature: _Feature, features: list[_Feature]) -> Mall:
    own = sorted(
        (other for other in features if other.properties.mall_id == feature.properties.id),
        key=lambda other: other.properties.id,
    )
    ring, properties = _outline(feature), feature.properties
    centre = Polygon(ring).centroid
    lat, lng = round(centre.x, 6), round(centre.y, 6)
    doors = [_position(other) for other in own if other.properties.kind != "store"] or [(lat, lng)]
    places = tuple(_build_place(other, doors, (lat, lng), properties.service_radius_m or 0.0) for other in own)
    if not any(place.kind == "store" for place in places):
        raise MallFileError(feature.label, "a mall needs at least one store")
    return Mall(
        properties.id, properties.name, properties.timezone, properties.service_radius_m or 0.0, lat, lng, ring, places
    )


def _build_place(
    feature: _Feature, doors: list[tuple[float, float]], centre: tuple[float, float], radius_m: float
) -> Place:
    lat, lng = _position(feature)
    if flat_m(lat, lng, *centre) > min(radius_m, MAX_FOOTPRINT_M):
        raise MallFileError(feature.label, f"it lies {flat_m(lat, lng, *centre) / 1000:.1f} km from its mall")
    properties = feature.properties
    assert properties.mall_id is not None
    assert properties.kind is not None
    walk_m = min(flat_m(lat, lng, *door) for door in doors) if properties.kind == "store" else 0.0
    ring = _outline(feature) if isinstance(feature.geometry, _Polygon) else ()
    name = properties.name or f"{properties.kind} {properties.id}"
    return Place(properties.id, properties.mall_id, properties.kind, name, lat, lng, round(walk_m, 1), ring)


def _position(feature: _Feature) -> tuple[float, float]:
    if isinstance(feature.geometry, _Point):
        lng, lat = feature.geometry.coordinates
        return lat, lng
    centre = Polygon(_outline(feature)).centroid
    return round(centre.x, 6), round(centre.y, 6)


# ---------------------------------------------------------------- writing


def _polygon(ring: Ring) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [[[lng, lat] for lat, lng in (*ring, ring[0])]]}


def _mall_feature(mall: Mall) -> dict[str, Any]:
    properties = {
        "id": mall.id, "name": mall.name, "timezone": mall.timezone, "service_radius_m": mall.service_radius_m,
    }  # fmt: skip
    return {"type": "Feature", "id": mall.id, "properties": properties, "geometry": _polygon(mall.ring)}


def _place_feature(place: Place) -> dict[str, Any]:
    properties = {"id": place.id, "mall_id": place.mall_id, "kind": place.kind, "name": place.name}
    point = {"type": "Point", "coordinates": [place.lng, place.lat]}
    geometry = _polygon(place.ring) if place.ring else point
    return {"type": "Feature", "id": place.id, "properties": properties, "geometry": geometry}
