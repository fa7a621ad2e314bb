"""An instance of the meal-delivery benchmark, from the text of its four files.

It must not know where the files lie, nor how a day is played.
"""

import math
from collections.abc import Iterator, Mapping

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from streamer.core.errors import ConfigurationError

MINUTE_MS = 60_000
FILES = ("restaurants.txt", "couriers.txt", "orders.txt", "instance_parameters.txt")


class Restaurant(Struct, frozen=True):
    """Metres, on a plane."""

    id: str
    x_m: float
    y_m: float


class Driver(Struct, frozen=True):
    """Starts at (x, y), no earlier than `on_ms` after midnight; collects nothing after `off_ms`."""

    id: str
    x_m: float
    y_m: float
    on_ms: int
    off_ms: int


class Order(Struct, frozen=True):
    """To be brought to (x, y); known from `placed_ms` after midnight on. `restaurant` is an index."""

    id: str
    x_m: float
    y_m: float
    placed_ms: int
    restaurant: int
    ready_ms: int


class Instance(Struct, frozen=True):
    """A day. `target_ms` and `maximum_ms` are click-to-door; pay is in the instance's money."""

    name: str
    restaurants: tuple[Restaurant, ...]
    drivers: tuple[Driver, ...]
    orders: tuple[Order, ...]
    metres_per_minute: float
    pickup_ms: int
    dropoff_ms: int
    target_ms: int
    maximum_ms: int
    pay_per_order: float
    pay_per_hour: float


class Ground:
    """The places of an instance by number (drivers' starts, then restaurants, then drop-offs) and what lies between.

    Distances are computed as the instances' own checker does, so that rounding up never differs.
    """

    def __init__(self, instance: Instance) -> None:
        self.first_restaurant = len(instance.drivers)
        self.first_order = self.first_restaurant + len(instance.restaurants)
        placed: tuple[Driver | Restaurant | Order, ...] = (*instance.drivers, *instance.restaurants, *instance.orders)
        self.ids = tuple(place.id for place in placed)
        self._xy_m = np.array([(place.x_m, place.y_m) for place in placed], dtype=np.float64)
        self._metres_per_minute = instance.metres_per_minute

    def restaurant(self, number: int) -> int:
        """The place of a restaurant."""
        return self.first_restaurant + number

    def order(self, number: int) -> int:
        """The place of an order's drop-off."""
        return self.first_order + number

    def metres(self, origin: int, destination: int) -> float:
        """As the crow flies."""
        x_m, y_m = (self._xy_m[destination] - self._xy_m[origin]).tolist()
        return math.sqrt(x_m * x_m + y_m * y_m)

    def travel_ms(self, origin: int, destination: int) -> int:
        """Rounded up to a minute."""
        return math.ceil(self.metres(origin, destination) / self._metres_per_minute) * MINUTE_MS

    def legs(self, places: list[int]) -> NDArray[np.int64]:
        """`travel_ms` between each two of these places; shape (places, places)."""
        xy_m = self._xy_m[places]
        apart = xy_m[:, None] - xy_m[None]
        metres = np.sqrt(apart[..., 0] * apart[..., 0] + apart[..., 1] * apart[..., 1])
        return np.ceil(metres / self._metres_per_minute).astype(np.int64) * MINUTE_MS


def parse(name: str, texts: Mapping[str, str]) -> Instance:
    """The instance of these texts, by the names in `FILES`.

    Raises:
        ConfigurationError: a file is missing, or says something that cannot be; names file, line and fault.
    """
    for file in FILES:
        if file not in texts:
            raise ConfigurationError(f"{name}: there is no {file}")
    seen: dict[str, str] = {}
    restaurants = tuple(
        Restaurant(row.id("restaurant", seen), row.number("x"), row.number("y"))
        for row in _rows(name, "restaurants.txt", texts, ("restaurant", "x", "y"))
    )
    shift = ("courier", "x", "y", "on_time", "off_time")
    drivers = tuple(_driver(row, seen) for row in _rows(name, "couriers.txt", texts, shift))
    index = {restaurant.id: number for number, restaurant in enumerate(restaurants)}
    wanted = ("order", "x", "y", "placement_time", "restaurant", "ready_time")
    orders = tuple(_order(row, seen, index) for row in _rows(name, "orders.txt", texts, wanted))
    for file, found in zip(FILES, (restaurants, drivers, orders), strict=False):
        if not found:
            raise ConfigurationError(f"{name}/{file}: nothing below its header")
    return _with_parameters(name, texts, restaurants, drivers, orders)


def _driver(row: "_Row", seen: dict[str, str]) -> Driver:
    row.check_order("on_time", "off_time")
    return Driver(row.id("courier", seen), row.number("x"), row.number("y"), row.ms("on_time"), row.ms("off_time"))


def _order(row: "_Row", seen: dict[str, str], index: Mapping[str, int]) -> Order:
    row.check_order("placement_time", "ready_time")
    place = (row.id("order", seen), row.number("x"), row.number("y"))
    return Order(*place, row.ms("placement_time"), row.one_of("restaurant", index), row.ms("ready_time"))


def _with_parameters(
    name: str,
    texts: Mapping[str, str],
    restaurants: tuple[Restaurant, ...],
    drivers: tuple[Driver, ...],
    orders: tuple[Order, ...],
) -> Instance:
    speed, pickup, dropoff = "meters_per_minute", "pickup service minutes", "dropoff service minutes"
    target, maximum = "target click-to-door", "maximum click-to-door"
    per_order, per_hour = "pay per order", "guaranteed pay per hour"
    columns = (speed, pickup, dropoff, target, maximum, per_order, per_hour)
    rows = list(_rows(name, "instance_parameters.txt", texts, columns))
    if len(rows) != 1:
        raise ConfigurationError(f"{name}/instance_parameters.txt: {len(rows)} lines of parameters, not 1")
    row = rows[0]
    for column in columns:
        if row.number(column) < 0:
            raise row.fault(f"{column} is below 0")
    if row.number(speed) == 0:
        raise row.fault(f"{speed} is 0")
    return Instance(
        name, restaurants, drivers, orders, row.number(speed), row.ms(pickup), row.ms(dropoff), row.ms(target),
        row.ms(maximum), row.number(per_order), row.number(per_hour),
    )  # fmt: skip


class _Row(Struct, frozen=True):
    """A line of a file, by the names of its columns."""

    where: str
    fields: dict[str, str]

    def fault(self, what: str) -> ConfigurationError:
        return ConfigurationError(f"{self.where}: {what}")

    def id(self, column: str, seen: dict[str, str]) -> str:
        """An id no place has yet: the solution's moves name places by id alone, and start at `0`."""
        found = self.fields[column]
        if not found or found == "0" or any(letter.isspace() for letter in found):
            raise self.fault(f"{column} {found!r} is no id")
        if found in seen:
            raise self.fault(f"{found!r} is already the id of {seen[found]}")
        seen[found] = f"an {column}" if column == "order" else f"a {column}"
        return found

    def number(self, column: str) -> float:
        try:
            found = float(self.fields[column])
        except ValueError:
            found = math.nan
        if not math.isfinite(found):
            raise self.fault(f"{column} {self.fields[column]!r} is no number")
        return found

    def ms(self, column: str) -> int:
        """From minutes."""
        return round(self.number(column) * MINUTE_MS)

    def one_of(self, column: str, index: Mapping[str, int]) -> int:
        found = self.fields[column]
        if found not in index:
            raise self.fault(f"there is no {column} {found!r}")
        return index[found]

    def check_order(self, earlier: str, later: str) -> None:
        if self.number(later) < self.number(earlier):
            raise self.fault(f"{later} {self.fields[later]} is before {earlier} {self.fields[earlier]}")


def _rows(name: str, file: str, texts: Mapping[str, str], columns: tuple[str, ...]) -> Iterator[_Row]:
    lines = texts[file].splitlines() or [""]
    header = [column.strip() for column in lines[0].split("\t")]
    for column in columns:
        if column not in header:
            raise ConfigurationError(f"{name}/{file} line 1: there is no column {column!r}")
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        cells = [cell.strip() for cell in line.split("\t")]
        where = f"{name}/{file} line {number}"
        if len(cells) != len(header):
            raise ConfigurationError(f"{where}: {len(cells)} fields under {len(header)} columns")
        yield _Row(where, dict(zip(header, cells, strict=True)))
