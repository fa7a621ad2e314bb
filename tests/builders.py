"""Builders with defaults, so that a test names only what it is about."""

from itertools import count
from typing import Any

from streamer.core.engine import Engine
from streamer.core.events import (
    DriverRegistered,
    Dropoff,
    OrderCommand,
    OrderPlaced,
    Output,
    Ping,
    Refused,
    Report,
    Undo,
)
from streamer.core.malls import Floor, parse_malls
from streamer.core.settings import Settings
from streamer.core.state import Order

T0 = 1_794_560_400_000
"""The instant tests begin at, UTC epoch milliseconds."""
MINUTE = 60_000
MALL = (36.1270, -115.1720)
"""The middle of the test mall, (lat, lng)."""

_ids = count(1)


def a_mall_feature(
    mall_id: str = "plaza", lat: float = MALL[0], lng: float = MALL[1], **properties: Any
) -> dict[str, Any]:
    ring = [
        [lng - 0.003, lat - 0.0017], [lng + 0.003, lat - 0.0017], [lng + 0.003, lat + 0.0017],
        [lng - 0.003, lat + 0.0017], [lng - 0.003, lat - 0.0017],
    ]  # fmt: skip
    given = {"name": "Plaza", "timezone": "America/Los_Angeles", "service_radius_m": 9000, **properties}
    return {
        "type": "Feature", "id": mall_id, "properties": given, "geometry": {"type": "Polygon", "coordinates": [ring]},
    }  # fmt: skip


def a_place_feature(
    place_id: str, kind: str, north: float = 0.0, east: float = 0.0, mall_id: str = "plaza", name: str | None = None
) -> dict[str, Any]:
    point = {"type": "Point", "coordinates": [MALL[1] + east, MALL[0] + north]}
    properties = {"mall_id": mall_id, "kind": kind, "name": place_id if name is None else name}
    return {"type": "Feature", "id": place_id, "properties": properties, "geometry": point}


def a_collection(*features: dict[str, Any]) -> dict[str, Any]:
    given = features or (
        a_mall_feature(),
        a_place_feature("door-n", "entrance", north=0.0016), a_place_feature("curb", "curbside", north=-0.0016),
        a_place_feature("macys", "store", east=0.001), a_place_feature("zara", "store", east=-0.001),
    )  # fmt: skip
    return {"type": "FeatureCollection", "features": list(given)}


def a_floor() -> Floor:
    return parse_malls(a_collection())


def a_ping(driver_id: str = "d-1", at_ms: int = T0, north: float = 0.0, east: float = 0.0, **fields: Any) -> Ping:
    """A ping at the mall's middle moved by degrees; `at_ms` is the phone's own time."""
    given: dict[str, Any] = {"accuracy_m": 8.0, **fields}
    return Ping(fix_ms=at_ms, lat=MALL[0] + north, lng=MALL[1] + east, driver_id=driver_id, **given)


def a_report(
    report: str, driver_id: str = "d-1", orders: tuple[str, ...] = (), assignment: int | None = None, **fields: Any
) -> Report:
    given: dict[str, Any] = {"id": f"r-{next(_ids)}", "fix_ms": T0, **fields}
    return Report(report=report, driver_id=driver_id, order_ids=orders, assignment=assignment, **given)  # type: ignore[arg-type]


def an_order(**fields: Any) -> OrderPlaced:
    given: dict[str, Any] = {
        "mall_id": "plaza", "stores": ("macys",), "dropoff": Dropoff(MALL[0] + 0.02, MALL[1] - 0.02, name="Ann"),
        "placed_ms": T0, "due_ms": T0 + 90 * MINUTE, **fields,
    }  # fmt: skip
    return OrderPlaced(**given)


class Bench:
    """An engine with shorthand for what tests do all the time."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.engine = Engine(a_floor(), settings)
        self.at_ms = T0

    def do(self, item: Any, after_ms: int = 0) -> tuple[Output, ...]:
        self.at_ms += after_ms
        return self.engine.handle(self.at_ms, item)

    def driver(self, driver_id: str = "d-1", north: float = 0.01, east: float = 0.0, **fields: Any) -> None:
        self.do(DriverRegistered(driver_id, driver_id, **fields))
        self.do(a_report("on_duty", driver_id))
        self.do(a_ping(driver_id, self.at_ms, north, east))

    def place(self, **fields: Any) -> Order:
        self.do(an_order(placed_ms=self.at_ms, due_ms=self.at_ms + fields.pop("due_in", 90 * MINUTE), **fields))
        return self.engine.state.orders[f"o-{self.engine.state.orders_placed}"]

    def command(self, action: str, order: Order, driver_id: str | None = None, **fields: Any) -> tuple[Output, ...]:
        given: dict[str, Any] = {"actor": "maya", "expected_version": order.version, **fields}
        return self.do(OrderCommand(action=action, order_id=order.id, driver_id=driver_id, **given))  # type: ignore[arg-type]

    def report(self, report: str, order: Order, after_ms: int = 0, **fields: Any) -> tuple[Output, ...]:
        given: dict[str, Any] = {"driver_id": order.driver_id, "assignment": order.assignment, **fields}
        return self.do(a_report(report, orders=(order.id,), **given), after_ms)

    def undo(self, command_id: str, **fields: Any) -> tuple[Output, ...]:
        return self.do(Undo(command_id, **{"actor": "maya", **fields}))

    def last_command(self) -> str:
        return next(reversed(self.engine.state.commands))


def refusal(outputs: tuple[Output, ...]) -> str | None:
    """The code of a refusal, or None when the input took effect."""
    return outputs[0].code if outputs and isinstance(outputs[0], Refused) else None
