"""What a driver is doing, derived from duty, orders and silence.

It must not know pings' rules or commands.
"""

from collections.abc import Mapping

from streamer.core.events import DriverRegistered
from streamer.core.settings import Settings
from streamer.core.state import Driver, DriverState, Order


def registered(item: DriverRegistered) -> Driver:
    """A new driver, off duty until it says otherwise."""
    return Driver(
        item.driver_id, item.name or item.driver_id, item.capacity, item.mall_ids, item.shift_end_ms,
        region=item.mall_ids[0] if item.mall_ids else None,
    )  # fmt: skip


def state_of(driver: Driver, orders: Mapping[str, Order], at_ms: int, settings: Settings) -> DriverState:
    """The one word shown for a driver. Silence goes before work: a busy driver nobody hears is not known to be busy."""
    if driver.duty != "on_duty":
        return driver.duty
    if at_ms - max(driver.received_ms, driver.last_active_ms) >= settings.silent_ms:
        return "silent"
    if any(orders[order_id].status == "arrived_at_pickup" for order_id in driver.order_ids):
        return "at_store"
    return "busy" if driver.order_ids else "free"


def room(driver: Driver) -> int:
    """How many more orders it can take."""
    return max(0, driver.capacity - len(driver.order_ids))
