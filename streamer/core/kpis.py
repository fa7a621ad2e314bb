"""The figures in the strip above the floor, counted from state.

It must not know how they are shown.
"""

from collections import Counter
from collections.abc import Collection, Iterable

from msgspec import Struct

from streamer.core.orders import QUEUED
from streamer.core.state import Driver, DriverState, Order, State, Tally


class Kpis(Struct):
    """Figures of some malls, now. Ratios are None before there is anything to divide."""

    open: int = 0
    unassigned: int = 0
    at_risk: int = 0
    late: int = 0
    free: int = 0
    busy: int = 0
    silent: int = 0
    off_duty: int = 0
    delivered: int = 0
    cancelled: int = 0
    failed: int = 0
    reassigned: int = 0
    offers: int = 0
    """Orders the autopilot gave out for a driver to accept."""
    declined: int = 0
    lapsed: int = 0
    """Offers nobody answered in time."""
    orders_per_trip: float | None = None
    """Orders a driver carries out of the mall at once, mean."""
    on_time: float | None = None
    """Delivered by the due time, share of delivered, 0-1."""
    click_to_door_ms: int | None = None
    """Placed to delivered, median."""
    wait_at_store_ms: int | None = None
    """Drivers' waiting at stores a pick-up: from arrival to pick-up, or to where the order was taken back unready."""
    eta_inside_share: float | None = None
    """Delivered within the interval that was said when the order was assigned, share, 0-1; meant to be 0.8."""
    eta_error_ms: int | None = None
    """Between that ETA and the delivery, either way, mean."""


def kpis(state: State, mall_ids: Collection[str] | None) -> Kpis:
    """Counts the floor of these malls, or of all with None."""
    if mall_ids is None:
        return count(state.drivers.values(), state.orders.values(), state.tallies.values())
    return count(
        (driver for driver in state.drivers.values() if driver.region in mall_ids),
        (order for order in state.orders.values() if order.mall_id in mall_ids),
        [tally for mall, tally in state.tallies.items() if mall in mall_ids],
    )


def count(drivers: Iterable[Driver], orders: Iterable[Order], tallies: Collection[Tally]) -> Kpis:
    """Counts these drivers and orders, with the running figures of their malls."""
    figures = Kpis()
    for order in orders:
        if order.ended_ms is None:
            figures.open += 1
            figures.unassigned += order.status in QUEUED
            figures.at_risk += order.risk == "at_risk"
            figures.late += order.risk == "late"
    _count_drivers(figures, Counter([driver.state for driver in drivers]))
    _add_tallies(figures, tallies)
    return figures


def _count_drivers(figures: Kpis, states: Counter[DriverState]) -> None:
    figures.free = states["free"]
    figures.busy = states["busy"] + states["at_store"]
    figures.silent = states["silent"]
    figures.off_duty = states["off_duty"] + states["on_break"]


def _add_tallies(figures: Kpis, tallies: Collection[Tally]) -> None:
    figures.delivered = sum(tally.delivered for tally in tallies)
    figures.cancelled = sum(tally.cancelled for tally in tallies)
    figures.failed = sum(tally.failed for tally in tallies)
    figures.reassigned = sum(tally.reassigned for tally in tallies)
    figures.offers = sum(tally.offers for tally in tallies)
    figures.declined = sum(tally.declined for tally in tallies)
    figures.lapsed = sum(tally.lapsed for tally in tallies)
    trips, waits = sum(tally.trips for tally in tallies), sum(tally.waits for tally in tallies)
    if trips:
        figures.orders_per_trip = round(sum(tally.trip_orders for tally in tallies) / trips, 3)
    if waits:
        figures.wait_at_store_ms = sum(tally.wait_ms for tally in tallies) // waits
    said = sum(tally.eta_assigned.n for tally in tallies)
    if said:
        figures.eta_inside_share = round(sum(tally.eta_assigned.inside for tally in tallies) / said, 4)
        figures.eta_error_ms = sum(tally.eta_assigned.miss_ms for tally in tallies) // said
    if figures.delivered:
        figures.on_time = round(sum(tally.on_time for tally in tallies) / figures.delivered, 4)
        figures.click_to_door_ms = _median([tally.click_to_door_ms for tally in tallies])


def _median(sorted_lists: list[list[int]]) -> int:
    """The lower median of already sorted lists; one mall, the usual case, needs no sorting."""
    lists = [part for part in sorted_lists if part]
    merged = lists[0] if len(lists) == 1 else sorted(value for part in lists for value in part)
    return merged[(len(merged) - 1) // 2]
