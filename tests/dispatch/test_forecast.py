"""What is expected comes from what was seen, never from what is to come."""

from collections import Counter

import pytest

from streamer.dispatch.forecast import Foresight, Seen, expected

MINUTE = 60_000
NOW = 180 * MINUTE
STEADY = [Seen(number % 4 // 3, number, number * MINUTE, (number + 10) * MINUTE) for number in range(180)]
"""An order a minute for three hours, ready in ten; every fourth from store 1, the others from store 0."""


def test_nothing_seen_is_nothing_expected() -> None:
    assert expected([], NOW, 0) == ()


def test_as_many_are_expected_as_come_and_from_where_they_come() -> None:
    found = expected(STEADY, NOW, 0)
    # Of the half hour's 30 those that are ready in it: placed in its first 20 minutes.
    assert len(found) == pytest.approx(20, abs=3)
    every = expected(STEADY, NOW, 0, Foresight(ahead_ms=300 * MINUTE))
    assert Counter(one.store for one in every)[1] / len(every) == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("seed", range(5))
def test_all_of_it_is_still_to_be_placed_and_like_something_seen(seed: int) -> None:
    kinds = {(one.store, one.dropoff, one.ready_ms - one.placed_ms) for one in STEADY}
    for one in expected(STEADY, NOW, seed):
        assert NOW < one.placed_ms < one.ready_ms <= NOW + 30 * MINUTE
        assert (one.store, one.dropoff, one.ready_ms - one.placed_ms) in kinds


def test_what_is_long_past_says_little() -> None:
    quiet = [one for one in STEADY if one.placed_ms < 60 * MINUTE]
    assert len(expected(quiet, NOW, 0)) < 0.25 * len(expected(STEADY, NOW, 0))


def test_a_first_order_is_no_rush() -> None:
    one = [Seen(0, 1, NOW, NOW + 5 * MINUTE)]
    assert len(expected(one, NOW, 0)) <= 1


def test_the_draw_is_the_seeds_and_does_not_hang_on_the_order_it_is_told_in() -> None:
    assert expected(STEADY, NOW, 1) == expected(STEADY[::-1], NOW, 1)
    assert expected(STEADY, NOW, 1) != expected(STEADY, NOW, 2)
