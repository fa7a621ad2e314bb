"""Store readiness: what promises are worth, store by store and hour by hour, and what silence says."""

from collections.abc import Sequence
from math import sqrt

import numpy as np
import pytest

from streamer.core.estimates import above, later_of, under
from streamer.core.forecast import READY_PRIOR, Forecast
from streamer.core.learned import Learned
from streamer.core.learning import Learning
from streamer.core.settings import LearningRules, Settings, TravelRules
from streamer.core.state import Order
from streamer.core.travel import Travel
from tests.builders import MINUTE, T0, Bench, an_order

HOUR = 3_600_000
PROMISED = 15 * MINUTE


class Stores:
    """Orders of stores with known habits, learned from one after the other."""

    def __init__(self, **rules: bool) -> None:
        self.learned = Learned()
        self.forecast = Forecast(Travel(TravelRules()), self.learned, LearningRules(**rules))
        self.learning = Learning(self.forecast)

    def order(self, stores: Sequence[str] = ("macys",), at_ms: int = T0) -> Order:
        placed = an_order(stores=tuple(stores), placed_ms=at_ms, ready_ms=at_ms + PROMISED)
        order = Order(
            "o-1", "plaza", placed.stores, placed.dropoff, at_ms, placed.due_ms, placed.ready_ms, None, 1, 0, at_ms
        )
        self.learning.promised(order)
        return order

    def ready(self, late_min: float, stores: Sequence[str] = ("macys",), at_ms: int = T0) -> None:
        order = self.order(stores, at_ms)
        assert order.ready_ms is not None
        self.learning.ready(order, order.ready_ms + round(late_min * MINUTE))

    def late_min(self, store: str = "macys", at_ms: int = T0) -> float:
        return self.forecast.store_belief("plaza", store, at_ms + PROMISED).mean / MINUTE

    def sd_min(self, store: str = "macys") -> float:
        return self.forecast.store_belief("plaza", store, T0 + PROMISED).sd / MINUTE


def test_before_anything_is_known_a_promise_is_taken_at_its_word() -> None:
    stores = Stores()
    order = stores.order()
    expected = stores.forecast.ready(order, T0)
    assert abs(expected.expected_ms - (T0 + PROMISED)) < MINUTE
    assert expected.sd_ms > 4 * MINUTE


def test_habits_of_stores_are_found_out() -> None:
    rng, stores = np.random.default_rng(7), Stores()
    for _ in range(120):
        stores.ready(float(rng.normal(6.0, 2.0)), ("macys",))
        stores.ready(float(rng.normal(-3.0, 1.0)), ("zara",))
    assert stores.late_min("macys") == pytest.approx(6.0, abs=1.0)
    assert stores.late_min("zara") == pytest.approx(-3.0, abs=1.0)
    assert stores.sd_min("macys") == pytest.approx(2.0, rel=0.6)
    assert stores.sd_min("zara") < stores.sd_min("macys")


def test_one_order_moves_a_store_less_than_half_way() -> None:
    stores = Stores()
    stores.ready(20.0)
    assert 0.0 < stores.late_min() < 10.0


def test_a_store_never_seen_is_believed_to_be_like_its_mall() -> None:
    stores = Stores()
    for _ in range(30):
        stores.ready(8.0, ("macys",))
    assert 4.0 < stores.late_min("zara") < stores.late_min("macys") < 8.1


def test_an_hour_of_its_own_is_told_from_the_rest_of_the_day() -> None:
    stores = Stores()
    rush_ms = T0 + 5 * HOUR
    for _ in range(40):
        stores.ready(0.0, at_ms=T0)
        stores.ready(12.0, at_ms=rush_ms)
    assert stores.late_min(at_ms=rush_ms) > 9.0
    assert stores.late_min(at_ms=T0) < 3.0
    quiet = stores.late_min(at_ms=T0 + 12 * HOUR)
    assert stores.late_min(at_ms=T0) < quiet < stores.late_min(at_ms=rush_ms), "an unknown hour is the store's usual"


def test_a_store_that_changes_its_ways_is_followed() -> None:
    stores = Stores()
    for _ in range(200):
        stores.ready(10.0)
    for _ in range(40):
        stores.ready(0.0)
    assert stores.late_min() < 4.0


def test_a_slip_of_the_hand_teaches_nothing() -> None:
    stores = Stores()
    stores.ready(24 * 60.0)
    assert stores.learned.malls == {} or stores.late_min() == 0.0


def test_forecasts_of_steady_stores_beat_their_promises() -> None:
    rng, stores = np.random.default_rng(3), Stores()
    for _ in range(80):
        stores.ready(float(rng.normal(7.0, 2.0)), ("macys",))
        stores.ready(float(rng.normal(-4.0, 2.0)), ("zara",))
    mall = stores.learned.malls["plaza"]
    assert mall.ready_score.n == 160
    assert mall.ready_score.learned < 0.6 * mall.ready_score.plain
    assert mall.stores["macys"].score.n == 80


def test_a_score_counts_the_forecast_made_with_the_promise_not_a_later_one() -> None:
    stores = Stores()
    waiting = stores.order()
    for _ in range(50):
        stores.ready(10.0)
    score = stores.learned.malls["plaza"].ready_score
    before = score.learned
    assert waiting.ready_ms is not None
    stores.learning.ready(waiting, waiting.ready_ms + 10 * MINUTE)
    assert score.learned - before == pytest.approx(10 * MINUTE, abs=MINUTE / 4)


# ---------------------------------------------------------------- what is not said


def test_silence_past_the_promise_moves_the_expectation_beyond_now() -> None:
    stores = Stores()
    for _ in range(30):
        stores.learning.collected(_said(stores.order()), None, T0)
    order = stores.order()
    assert order.ready_ms is not None
    before = stores.forecast.ready(order, T0).expected_ms
    for minutes in (1, 5, 15):
        now_ms = order.ready_ms + minutes * MINUTE
        assert stores.forecast.ready(order, now_ms).expected_ms > max(now_ms - 2 * MINUTE, before)


def test_of_a_store_that_never_speaks_silence_proves_nothing() -> None:
    stores = Stores()
    for _ in range(40):
        stores.learning.collected(stores.order(), T0 + PROMISED, T0 + PROMISED + MINUTE)
    order = stores.order()
    assert order.ready_ms is not None
    assert stores.forecast.speaks("plaza", "macys") < 0.1
    now_ms = order.ready_ms + 20 * MINUTE
    assert stores.forecast.ready(order, now_ms).expected_ms < now_ms - 10 * MINUTE


def _said(order: Order) -> Order:
    order.is_ready = True
    return order


def test_who_waited_at_the_counter_saw_when_it_was_ready() -> None:
    stores, handing_ms = Stores(), TravelRules().pickup_ms
    for _ in range(40):
        order = stores.order()
        assert order.ready_ms is not None
        stores.learning.collected(order, order.ready_ms - 5 * MINUTE, order.ready_ms + 6 * MINUTE + handing_ms)
    assert stores.late_min() == pytest.approx(6.0, abs=1.0)


def test_a_pick_up_long_after_says_next_to_nothing_of_the_store() -> None:
    stores = Stores()
    for _ in range(20):
        order = stores.order()
        assert order.ready_ms is not None
        taken_ms = order.ready_ms + 40 * MINUTE
        stores.learning.collected(order, taken_ms - MINUTE, taken_ms)
    assert abs(stores.late_min()) < 0.5
    assert stores.learned.malls["plaza"].stores["macys"].any_hour.weight < 0.5
    assert stores.learned.malls["plaza"].ready_score.n == 0, "what is not known is not scored"


def test_censored_pick_ups_do_not_drag_a_store_below_what_is_possible() -> None:
    """The truth is 4 min late give or take 2; of three stores in four only an upper bound is seen."""
    rng, stores = np.random.default_rng(11), Stores()
    handing_ms = TravelRules().pickup_ms
    for number in range(400):
        late = float(rng.normal(4.0, 2.0))
        arrives = float(rng.normal(5.0, 4.0))
        order = stores.order()
        assert order.ready_ms is not None
        if number % 4 == 0:
            stores.learning.ready(order, order.ready_ms + round(late * MINUTE))
        else:
            arrived_ms = order.ready_ms + round(arrives * MINUTE)
            taken_ms = max(arrived_ms, order.ready_ms + round(late * MINUTE)) + handing_ms
            stores.learning.collected(order, arrived_ms, taken_ms)
    assert stores.late_min() == pytest.approx(4.0, abs=1.2)


def test_of_two_stores_the_later_one_is_waited_for() -> None:
    stores = Stores()
    for _ in range(40):
        stores.ready(0.0, ("macys",))
        stores.ready(10.0, ("zara",))
    both = stores.forecast.ready(stores.order(("macys", "zara")), T0).expected_ms
    slow = stores.forecast.ready(stores.order(("zara",)), T0).expected_ms
    assert slow <= both < slow + 2 * MINUTE


def test_an_order_of_two_stores_is_put_down_to_the_slow_one() -> None:
    stores = Stores()
    for _ in range(20):
        stores.ready(0.0, ("macys",))
        stores.ready(10.0, ("zara",))
    fast = stores.late_min("macys")
    for _ in range(20):
        stores.ready(10.0, ("macys", "zara"))
    assert stores.late_min("macys") < fast + 2.5
    assert stores.late_min("zara") > 8.0


# ---------------------------------------------------------------- on the floor


def test_the_floor_learns_from_the_word_ready_and_its_etas_follow() -> None:
    etas = []
    for late in (0, 12):
        bench = Bench()
        for _ in range(20):
            order = bench.place(ready_ms=bench.at_ms + PROMISED)
            bench.at_ms += PROMISED + late * MINUTE
            bench.command("ready", order)
        fresh = bench.place(ready_ms=bench.at_ms + 30 * MINUTE)
        assert fresh.eta_pickup_ms is not None
        etas.append(fresh.eta_pickup_ms - bench.at_ms)
    assert 7 * MINUTE < etas[1] - etas[0] < 13 * MINUTE


def test_with_both_switches_off_nothing_is_learned_and_nothing_is_used() -> None:
    bench = Bench(Settings(learning=LearningRules(learn=False, use=False)))
    for _ in range(5):
        order = bench.place(ready_ms=bench.at_ms + PROMISED)
        bench.at_ms += PROMISED + 20 * MINUTE
        bench.command("ready", order)
    fresh = bench.place(ready_ms=bench.at_ms + 30 * MINUTE)
    assert bench.engine.state.learned == Learned()
    assert fresh.eta_pickup_ms == bench.at_ms + 30 * MINUTE + TravelRules().pickup_ms
    assert (fresh.eta_low_ms, fresh.eta_high_ms, fresh.said) == (None, None, None)


def test_learning_without_use_keeps_scores_and_leaves_etas_alone() -> None:
    bench = Bench(Settings(learning=LearningRules(use=False)))
    for _ in range(10):
        order = bench.place(ready_ms=bench.at_ms + PROMISED)
        bench.at_ms += PROMISED + 10 * MINUTE
        bench.command("ready", order)
    fresh = bench.place(ready_ms=bench.at_ms + 30 * MINUTE)
    score = bench.engine.state.learned.malls["plaza"].ready_score
    assert score.learned < score.plain
    assert fresh.eta_pickup_ms == bench.at_ms + 30 * MINUTE + TravelRules().pickup_ms


# ---------------------------------------------------------------- the arithmetic


@pytest.mark.parametrize(("mean", "sd", "floor"), [(0.0, 1.0, -1.0), (5.0, 3.0, 9.0), (0.0, 2.0, 5.0)])
def test_what_lies_above_and_under_is_what_a_sample_says(mean: float, sd: float, floor: float) -> None:
    sample = np.random.default_rng(1).normal(mean, sd, 400_000)
    kept = sample[sample > floor]
    got, variance = above(mean, sd, floor)
    assert got == pytest.approx(float(kept.mean()), abs=0.05)
    assert variance == pytest.approx(float(kept.var()), abs=0.1)
    mirrored, same = under(-mean, sd, -floor)
    assert (mirrored, same) == (-got, variance)


def test_far_tails_are_finite_and_beyond_the_floor() -> None:
    for z in (7.0, 8.5, 40.0, 1e6):
        got, variance = above(0.0, 1.0, z)
        assert z < got < z + 0.2 or got == pytest.approx(z)
        assert 0.0 <= variance <= 1.0


@pytest.mark.parametrize("apart", [-3.0, 0.0, 0.5, 20.0])
def test_the_later_of_two_is_what_a_sample_says(apart: float) -> None:
    rng = np.random.default_rng(2)
    sample = np.maximum(rng.normal(10.0, 2.0, 400_000), rng.normal(10.0 + apart, 1.0, 400_000))
    mean, variance = later_of(10.0, 4.0, 10.0 + apart, 1.0)
    assert mean == pytest.approx(float(sample.mean()), abs=0.02)
    assert sqrt(variance) == pytest.approx(float(sample.std()), abs=0.02)


def test_the_later_of_two_certain_instants_is_simply_that() -> None:
    assert later_of(5.0, 0.0, 7.0, 0.0) == (7.0, 0.0)
    assert later_of(7.0, 0.0, 7.0, 0.0) == (7.0, 0.0)


def test_the_prior_is_no_surer_than_it_says() -> None:
    assert READY_PRIOR.sd > sqrt(READY_PRIOR.variance)
