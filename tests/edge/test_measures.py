"""Histograms: every value is counted once, and a quantile is never too low."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.edge.measures import Histogram

BOUNDS = (1.0, 2.0, 5.0)


@pytest.mark.parametrize(("value", "place"), [(-1, 0), (1, 0), (1.001, 1), (2, 1), (5, 2), (5.1, 3)])
def test_a_value_equal_to_a_bound_counts_below_it(value: float, place: int) -> None:
    histogram = Histogram(BOUNDS)
    histogram.add(value)
    assert histogram.counts == [int(n == place) for n in range(4)]


def test_no_values_have_the_quantile_zero() -> None:
    assert Histogram(BOUNDS).quantile(0.99) == 0


@given(st.lists(st.floats(0, 10), min_size=1), st.sampled_from([0.0, 0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_is_the_lowest_bound_that_is_not_below_the_true_one(values: list[float], q: float) -> None:
    histogram = Histogram(BOUNDS)
    for value in values:
        histogram.add(value)
    true = sorted(values)[max(1, math.ceil(q * len(values))) - 1]
    assert histogram.quantile(q) == next((bound for bound in BOUNDS if true <= bound), math.inf)
    assert (histogram.total, sum(histogram.counts)) == (len(values), len(values))
    assert histogram.sum == pytest.approx(sum(values))
