"""Routes: times that add up, stops in a sensible order."""

from itertools import pairwise
from math import asin, cos, radians, sin, sqrt

import pytest

from streamer.core.geo import EARTH_RADIUS_M, METRES_PER_DEG, flat_m
from streamer.core.settings import TravelRules
from streamer.core.travel import Travel
from tests.builders import MALL, MINUTE, Bench


def haversine_m(lat1: float, lng1: float, lat2: float, lng2: float) -> float:
    """The exact distance on a sphere, to hold the flat one against."""
    half = sin(radians(lat2 - lat1) / 2) ** 2
    half += cos(radians(lat1)) * cos(radians(lat2)) * sin(radians(lng2 - lng1) / 2) ** 2
    return 2 * EARTH_RADIUS_M * asin(sqrt(half))


def offset(north_m: float, east_m: float) -> tuple[float, float]:
    return MALL[0] + north_m / METRES_PER_DEG, MALL[1] + east_m / METRES_PER_DEG / cos(radians(MALL[0]))


@pytest.mark.parametrize("north_m", [-9000.0, 0.0, 40.0, 9000.0])
@pytest.mark.parametrize("east_m", [-9000.0, 0.0, 40.0, 9000.0])
def test_flat_distance_is_the_spheres_to_a_thousandth(north_m: float, east_m: float) -> None:
    there = offset(north_m, east_m)
    assert flat_m(*MALL, *there) == pytest.approx(haversine_m(*MALL, *there), rel=1e-3, abs=0.01)


def test_distance_goes_the_short_way_round() -> None:
    assert flat_m(0, 179.999, 0, -179.999) == pytest.approx(222.4, abs=1)


def test_driving_time_grows_steadily_and_speeds_up_with_distance() -> None:
    travel = Travel(TravelRules())
    times = [travel.drive_ms(*MALL, *offset(metres, 0)) for metres in range(0, 20_000, 100)]
    assert times[0] == 0
    assert all(a < b for a, b in pairwise(times))
    assert times[5] / 500 > times[100] / 10_000 * 1.2
    # Seven miles across town: between a free run at 65 mph and a crawl at 15.
    eleven_km_min = times[110] / MINUTE
    assert 7 < eleven_km_min < 28


def test_orders_of_one_mall_are_collected_together(bench: Bench) -> None:
    bench.driver("d-1", north=0.03)
    for _ in range(3):
        bench.command("assign", bench.place(), "d-1")
    kinds = [stop.kind for stop in bench.engine.state.drivers["d-1"].route]
    assert kinds == ["pickup"] * 3 + ["dropoff"] * 3


def test_driver_waits_for_the_store(bench: Bench) -> None:
    bench.driver("d-1")
    order = bench.place(ready_ms=bench.at_ms + 40 * MINUTE)
    bench.command("assign", order, "d-1")
    assert order.eta_pickup_ms is not None
    assert order.eta_pickup_ms >= bench.at_ms + 40 * MINUTE
    bench.command("ready", order)
    assert order.eta_pickup_ms < bench.at_ms + 20 * MINUTE


def test_driver_at_the_counter_is_not_sent_elsewhere_first(bench: Bench) -> None:
    bench.driver("d-1")
    first = bench.place(ready_ms=bench.at_ms + 30 * MINUTE)
    bench.command("assign", first, "d-1")
    bench.report("accepted", first)
    bench.report("arrived_at_pickup", first)
    bench.command("assign", bench.place(), "d-1")
    assert bench.engine.state.drivers["d-1"].route[0].order_id == first.id


def test_urgent_delivery_goes_first(bench: Bench) -> None:
    bench.driver("d-1")
    bench.command("assign", bench.place(), "d-1")
    urgent = bench.place(due_in=22 * MINUTE)
    bench.command("assign", urgent, "d-1")
    drops = [stop.order_id for stop in bench.engine.state.drivers["d-1"].route if stop.kind == "dropoff"]
    assert drops[0] == urgent.id
