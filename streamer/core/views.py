"""Orders and drivers as PROTOCOL §3 shows them to the outside.

It must not know who asks; roles and masking are the edge's.
"""

from msgspec import Struct

from streamer.core.events import Advice, Dropoff, Stop, Verdict
from streamer.core.hexes import hex_name
from streamer.core.state import Driver, DriverState, Order, Risk, Status


class OrderView(Struct, frozen=True):
    """An order as returned: its body, and where it stands. Instants are UTC epoch milliseconds."""

    id: str
    external_id: str | None
    mall_id: str
    stores: tuple[str, ...]
    items: int
    dropoff: Dropoff
    placed_ms: int
    ready_ms: int | None
    due_ms: int
    priority: int
    status: Status
    version: int
    driver_id: str | None
    assignment: int | None
    held: bool
    pinned: bool
    risk: Risk
    eta_pickup_ms: int | None
    eta_dropoff_ms: int | None
    updated_ms: int
    is_ready: bool
    picked_up_ms: int | None
    ended_ms: int | None
    eta_low_ms: int | None
    eta_high_ms: int | None
    offered_until_ms: int | None
    advice: Advice | None


class DriverView(Struct, frozen=True):
    """A driver as returned. `age_ms` is how old the shown position is by the floor's clock; null before the first."""

    id: str
    name: str
    state: DriverState
    lat: float | None
    lng: float | None
    fix_ms: int | None
    received_ms: int | None
    age_ms: int | None
    accuracy_m: float | None
    heading_deg: float | None
    speed_mps: float | None
    battery: float | None
    hex: str | None
    mall_id: str | None
    region: str | None
    verdict: Verdict | None
    order_ids: tuple[str, ...]
    assignment: int | None
    last_seq: int
    capacity: int
    shift_end_ms: int | None
    route: tuple[Stop, ...]


def order_view(order: Order) -> OrderView:
    """The outside's picture of an order; its history is asked for apart."""
    return OrderView(
        order.id, order.external_id, order.mall_id, order.stores, order.items, order.dropoff, order.placed_ms,
        order.ready_ms, order.due_ms, order.priority, order.status, order.version, order.driver_id, order.assignment,
        order.held, order.pinned, order.risk, order.eta_pickup_ms, order.eta_dropoff_ms, order.updated_ms,
        order.is_ready, order.picked_up_ms, order.ended_ms, order.eta_low_ms, order.eta_high_ms,
        order.offered_until_ms, order.advice,
    )  # fmt: skip


def driver_view(driver: Driver, at_ms: int) -> DriverView:
    """The outside's picture of a driver at `at_ms`."""
    ping = driver.ping
    return DriverView(
        driver.id, driver.name, driver.state,
        ping.lat if ping else None, ping.lng if ping else None, ping.fix_ms if ping else None,
        driver.received_ms if ping else None, max(0, at_ms - ping.fix_ms) if ping else None,
        ping.accuracy_m if ping else None, ping.heading_deg if ping else None, ping.speed_mps if ping else None,
        ping.battery if ping else None, hex_name(driver.cell) if driver.cell else None, driver.mall_id, driver.region,
        driver.verdict, tuple(driver.order_ids), driver.assignment or None, driver.last_seq, driver.capacity,
        driver.shift_end_ms, tuple(driver.route),
    )  # fmt: skip
