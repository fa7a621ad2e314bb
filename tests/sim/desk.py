"""An engine with a few drivers and orders, for what decides on it."""

from msgspec.structs import replace

from streamer.core.engine import Engine
from streamer.core.events import DriverRegistered, Input, Ping, Report
from streamer.core.malls import Floor
from streamer.core.state import Order
from streamer.sim.shoppers import Wish
from streamer.sim.town import Town
from tests.sim.conftest import T0

MINUTE_MS = 60_000


class Desk:
    """An engine with drivers near the mall and orders whose stores are ready."""

    def __init__(self, floor: Floor, town: Town) -> None:
        self.engine, self.town, self.at_ms = Engine(floor), town, T0

    def driver(self, driver_id: str, east_m: float = 900.0) -> None:
        lat, lng = self.town.plane.to_degrees(east_m, 0.0)
        self.enter(DriverRegistered(driver_id, mall_ids=(self.town.mall.id,), capacity=4))
        self.enter(Report(f"{driver_id}-on", "on_duty", self.at_ms, driver_id))
        self.enter(Ping(self.at_ms, lat, lng, driver_id, 1, 8.0))

    def order(self, number: int = 0, **fields: object) -> Order:
        wish: Wish = self.town.wishes[number]
        placed = replace(wish.placed, **{"placed_ms": T0, "ready_ms": T0, "due_ms": T0 + 90 * MINUTE_MS, **fields})
        self.enter(placed)
        return self.engine.state.orders[f"o-{self.engine.state.orders_placed}"]

    def enter(self, item: Input) -> None:
        self.engine.handle(self.at_ms, item)
