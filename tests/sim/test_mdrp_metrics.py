"""The benchmark's metrics of a toy day, worked out by hand."""

import math

import pytest

from streamer.sim.mdrp.metrics import Metrics, geometric_mean, measure
from tests.sim.mdrp_kit import TOY, play, scripted, toy


def of_the_toy() -> Metrics:
    """c1 carries o1 and o2 together from 22; o3 is never delivered; o4 nobody could."""
    day = play(scripted({15: {"c1": ("o1", "o2")}}))
    return measure(day.instance, day.played, [1.0, 2.0, 3.0, 10.0])


def test_orders_are_counted_without_those_nobody_could_deliver() -> None:
    found = of_the_toy()
    assert (found.orders, found.left_out, found.delivered) == (3, 1, 2)
    assert found.delivered_share == pytest.approx(2 / 3)


def test_xdt_is_the_excess_over_the_earliest_conceivable_and_two_hours_for_a_lost_order() -> None:
    # o1: off at 24, dropped at 31, could have been at 29. o2: 31 + 2 + 2 + 2 = 37, could have been at 33.
    assert of_the_toy().xdt_min == pytest.approx((2 + 4 + 120) / 3)


def test_times_are_of_delivered_orders() -> None:
    found = of_the_toy()
    assert found.click_to_door_mean_min == pytest.approx((28 + 25) / 2)
    assert found.click_to_door_p90_min == pytest.approx(25 + 0.9 * 3)
    assert found.click_to_door_max_min == 28
    assert found.over_target_share == 0
    assert found.ready_to_pickup_mean_min == pytest.approx((2 + 0) / 2)
    assert found.ready_to_door_mean_min == pytest.approx((11 + 15) / 2)


def test_the_share_over_target_is_of_those_later_than_it() -> None:
    day = play(scripted({15: {"c1": ("o1", "o2")}}), toy(**{
        "instance_parameters": TOY["instance_parameters.txt"].replace("\t40\t", "\t25\t")
    }))  # fmt: skip
    assert measure(day.instance, day.played, []).over_target_share == 0.5


def test_work_pay_and_distance_are_by_order() -> None:
    found = of_the_toy()
    # Shifts of 50 and 120 minutes; 2 orders pay 20, more than c1's guarantee of 12.50; c2 is paid its guarantee of 30.
    assert found.orders_per_driver_hour == pytest.approx(2 / (170 / 60))
    assert found.orders_per_trip == 2
    assert found.cost_per_order == pytest.approx((20 + 30) / 2)
    assert found.km_per_order == pytest.approx((0.3 + 0.5 + 0.2) / 2)


def test_calls_are_summed_up() -> None:
    found = of_the_toy()
    assert (found.calls, found.call_mean_ms, found.call_max_ms) == (4, 4.0, 10.0)
    assert found.call_p95_ms == pytest.approx(3 + 0.85 * 7)


def test_a_day_on_which_nothing_is_delivered_has_no_means() -> None:
    day = play(scripted({}))
    found = measure(day.instance, day.played, [])
    assert (found.delivered, found.xdt_min) == (0, 120.0)
    assert all(
        math.isnan(value)
        for value in (found.click_to_door_mean_min, found.orders_per_trip, found.cost_per_order, found.call_p95_ms)
    )


def test_a_geometric_mean_is_0_when_a_value_is() -> None:
    assert geometric_mean([1.0, 4.0]) == pytest.approx(2.0)
    assert geometric_mean([0.0, 4.0]) == 0.0
