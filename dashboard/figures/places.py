"""The malls as the figures and panels need them: names, time zones, outlines, doors and stores.

It must not know how the floor checks a mall file (`streamer.core.malls`); what arrives here has passed that.
"""

from collections.abc import Mapping

import msgspec
from msgspec import Struct

Line = tuple[tuple[float, float], ...]
"""Points as (lng, lat), as GeoJSON has them and as Plotly takes them."""


class Place(Struct, frozen=True):
    """A store, entrance or curbside. `outline` is empty for a point; (`lat`, `lng`) is its point or its middle."""

    id: str
    mall_id: str
    kind: str
    name: str
    lat: float
    lng: float
    outline: Line = ()


class MallShape(Struct, frozen=True):
    """A mall: its name, time zone, how far it serves (metres), outline and middle."""

    id: str
    name: str
    timezone: str
    service_radius_m: float
    lat: float
    lng: float
    outline: Line
    places: tuple[Place, ...]


class Places(Struct, frozen=True):
    """All malls by id, with look-ups by id that answer something for an unknown id too."""

    malls: dict[str, MallShape]

    def mall_name(self, mall_id: str) -> str:
        """The mall's name; the id itself if it is unknown."""
        return self.malls[mall_id].name if mall_id in self.malls else mall_id

    def timezone(self, mall_id: str) -> str:
        """The mall's IANA time zone; UTC if the mall is unknown."""
        return self.malls[mall_id].timezone if mall_id in self.malls else "UTC"

    def stores(self) -> dict[str, str]:
        """Names of all stores, by id."""
        return {place.id: place.name for mall in self.malls.values() for place in mall.places if place.kind == "store"}

    def store_name(self, store_id: str) -> str:
        """A store's name; the id itself if it is unknown."""
        return self.stores().get(store_id, store_id)


class _Geometry(Struct, frozen=True):
    type: str
    coordinates: tuple[object, ...]

    def outline(self) -> Line:
        """The outer ring; the point itself, once, for a point."""
        return msgspec.convert([self.coordinates] if self.type == "Point" else self.coordinates[0], Line)


class _Properties(Struct, frozen=True):
    name: str = ""
    timezone: str = "UTC"
    service_radius_m: float = 0.0
    mall_id: str | None = None
    kind: str = ""
    id: str = ""


class _Feature(Struct, frozen=True):
    geometry: _Geometry
    properties: _Properties
    id: str = ""

    @property
    def name(self) -> str:
        """The id, which GeoJSON keeps beside the properties and some files inside them."""
        return self.id or self.properties.id


class _Collection(Struct, frozen=True):
    features: tuple[_Feature, ...] = ()


def read_places(collection: Mapping[str, object]) -> Places:
    """Reads the `FeatureCollection` of PROTOCOL §5.

    Raises:
        msgspec.ValidationError: when it is not one.
    """
    features = msgspec.convert(collection, _Collection).features
    places = [_place(feature) for feature in features if feature.properties.mall_id]
    malls = [_mall(feature, places) for feature in features if not feature.properties.mall_id]
    return Places({mall.id: mall for mall in malls})


def _place(feature: _Feature) -> Place:
    outline = feature.geometry.outline()
    lat, lng = _middle(outline)
    said = feature.properties
    shape = outline if len(outline) > 1 else ()
    return Place(feature.name, said.mall_id or "", said.kind, said.name, lat, lng, shape)


def _mall(feature: _Feature, places: list[Place]) -> MallShape:
    outline = feature.geometry.outline()
    lat, lng = _middle(outline)
    own = tuple(place for place in places if place.mall_id == feature.name)
    said = feature.properties
    return MallShape(
        feature.name, said.name or feature.name, said.timezone, said.service_radius_m, lat, lng, outline, own
    )


def _middle(outline: Line) -> tuple[float, float]:
    """(lat, lng) of the middle of the bounding box: good enough to hang a name on."""
    lngs, lats = [point[0] for point in outline], [point[1] for point in outline]
    return (min(lats) + max(lats)) / 2, (min(lngs) + max(lngs)) / 2
