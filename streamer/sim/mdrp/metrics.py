"""The benchmark's metrics of a day that was played.

It must not know how it was played. Source: Reyes et al. 2018, section 3; XDT, the excess of a delivery over the
earliest conceivable one, is what a dispatcher can answer for.
"""

import math
from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from streamer.sim.mdrp.day import Played
from streamer.sim.mdrp.instance import MINUTE_MS, Ground, Instance

UNDELIVERED_MIN = 120.0
"""What an order that nobody delivers counts in XDT."""
HOUR_MS = 60 * MINUTE_MS


class Metrics(Struct, frozen=True):
    """Of one day. `_min` are minutes, `_share` are 0 to 1; means over delivered orders unless said otherwise.

    Figures that have nothing to be made of are NaN, which JSON shows as null.
    """

    orders: int
    """Without those that nobody could ever deliver within the maximum."""
    left_out: int
    delivered: int
    delivered_share: float
    xdt_min: float
    """Over all orders, an undelivered one counting `UNDELIVERED_MIN`."""
    click_to_door_mean_min: float
    click_to_door_p90_min: float
    click_to_door_max_min: float
    over_target_share: float
    ready_to_pickup_mean_min: float
    ready_to_door_mean_min: float
    orders_per_driver_hour: float
    """Over all hours of all shifts."""
    orders_per_trip: float
    cost_per_order: float
    """A driver is paid by order or the guarantee for its shift, whichever is more."""
    km_per_order: float
    calls: int
    call_mean_ms: float
    call_p95_ms: float
    call_max_ms: float


def measure(instance: Instance, played: Played, calls_ms: Sequence[float]) -> Metrics:
    """The metrics of a day, and of the milliseconds each call of the policy took."""
    kept = [number for number in range(len(instance.orders)) if number not in played.left_out]
    done = [number for number in kept if number in played.dropoff_ms]
    orders = instance.orders
    lost_min = UNDELIVERED_MIN * (len(kept) - len(done))
    excess_min = [(played.dropoff_ms[n] - played.earliest_ms[n]) / MINUTE_MS for n in done]
    click_min = np.array([(played.dropoff_ms[n] - orders[n].placed_ms) / MINUTE_MS for n in done])
    pickup_min = np.array([(played.pickup_ms[n] - orders[n].ready_ms) / MINUTE_MS for n in done])
    door_min = np.array([(played.dropoff_ms[n] - orders[n].ready_ms) / MINUTE_MS for n in done])
    hours = sum(driver.off_ms - driver.on_ms for driver in instance.drivers) / HOUR_MS
    ground = Ground(instance)
    km = sum(ground.metres(move.origin, move.destination) for moves in played.moves for move in moves) / 1000
    return Metrics(
        orders=len(kept),
        left_out=len(played.left_out),
        delivered=len(done),
        delivered_share=_ratio(len(done), len(kept)),
        xdt_min=_ratio(sum(excess_min) + lost_min, len(kept)),
        click_to_door_mean_min=_mean(click_min),
        click_to_door_p90_min=_percentile(click_min, 90),
        click_to_door_max_min=_percentile(click_min, 100),
        over_target_share=_mean(click_min > instance.target_ms / MINUTE_MS),
        ready_to_pickup_mean_min=_mean(pickup_min),
        ready_to_door_mean_min=_mean(door_min),
        orders_per_driver_hour=_ratio(len(done), hours),
        orders_per_trip=_ratio(len(done), len(played.trips)),
        cost_per_order=_ratio(_pay(instance, played), len(done)),
        km_per_order=_ratio(km, len(done)),
        calls=len(calls_ms),
        call_mean_ms=_mean(np.array(calls_ms)),
        call_p95_ms=_percentile(np.array(calls_ms), 95),
        call_max_ms=_percentile(np.array(calls_ms), 100),
    )


def geometric_mean(values: Sequence[float]) -> float:
    """Of values of 0 and more; 0 when one of them is."""
    return 0.0 if min(values) <= 0 else math.exp(sum(map(math.log, values)) / len(values))


def _pay(instance: Instance, played: Played) -> float:
    carried = [0] * len(instance.drivers)
    for trip in played.trips:
        carried[trip.driver] += len(trip.orders)
    return sum(
        max(instance.pay_per_order * count, instance.pay_per_hour * (driver.off_ms - driver.on_ms) / HOUR_MS)
        for driver, count in zip(instance.drivers, carried, strict=True)
    )


def _ratio(above: float, below: float) -> float:
    return above / below if below else math.nan


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else math.nan


def _percentile(values: np.ndarray, percent: float) -> float:
    return float(np.percentile(values, percent)) if values.size else math.nan
