"""ETAs as intervals: they hold what they say, whatever the misses are like; and the same history teaches the same."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from streamer.core.estimates import Quantiles
from streamer.core.events import DriverRegistered, Dropoff, Tick
from streamer.core.kpis import kpis
from streamer.core.lessons import lessons
from streamer.core.settings import LearningRules, Settings
from streamer.core.snapshot import dump_state, load_state
from streamer.core.state import Order
from tests.builders import MALL, MINUTE, Bench, a_ping, a_report

DAYS = {
    "normal": lambda rng: float(rng.normal(0.0, 1.0)),
    "surer than thought": lambda rng: float(rng.normal(0.0, 0.3)),
    "late, with a long tail": lambda rng: float(rng.gamma(2.0, 2.0)) - 1.0,
    "one in ten goes wrong": lambda rng: float(rng.normal(0.0, 1.0)) + (15.0 if rng.random() < 0.1 else 0.0),
}


@pytest.mark.parametrize("day", DAYS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_four_of_five_come_within_the_interval_whatever_the_misses(day: str, seed: int) -> None:
    rng, misses = np.random.default_rng(seed), Quantiles(-1.28, 1.28)
    inside = []
    for _ in range(1_500):
        miss = DAYS[day](rng)
        inside.append(misses.low <= miss <= misses.high)
        misses.add(miss)
    assert np.mean(inside) == pytest.approx(0.8, abs=0.04)
    assert np.mean(inside[-500:]) == pytest.approx(0.8, abs=0.06)


def test_when_the_floor_changes_the_interval_follows() -> None:
    rng, misses = np.random.default_rng(4), Quantiles(-1.28, 1.28)
    for _ in range(500):
        misses.add(float(rng.normal(0.0, 1.0)))
    inside = []
    for _ in range(800):
        miss = float(rng.normal(6.0, 2.0))
        inside.append(misses.low <= miss <= misses.high)
        misses.add(miss)
    assert np.mean(inside[400:]) == pytest.approx(0.8, abs=0.07)


# ---------------------------------------------------------------- on the floor


class Day:
    """One driver's deliveries, one after the other, with a seeded share of trouble."""

    def __init__(self, seed: int = 1, rules: LearningRules | None = None) -> None:
        self.bench = Bench(Settings(learning=rules or LearningRules()))
        self.rng = np.random.default_rng(seed)
        self.bench.do(DriverRegistered("d-1", "d-1"))
        self.bench.do(a_report("on_duty", "d-1"))

    def assigned(self) -> Order:
        bench = self.bench
        for _ in range(2):
            bench.do(a_ping(at_ms=bench.at_ms + 5_000), after_ms=5_000)
        north, east = self.rng.uniform(0.01, 0.04), self.rng.uniform(-0.03, 0.03)
        dropoff = Dropoff(MALL[0] + float(north), MALL[1] + float(east))
        order = bench.place(dropoff=dropoff, ready_ms=bench.at_ms + 10 * MINUTE)
        bench.command("assign", order, "d-1")
        bench.report("accepted", order)
        bench.report("arrived_at_pickup", order, after_ms=MINUTE)
        return order

    def deliver(self) -> Order:
        bench, order = self.bench, self.assigned()
        assert order.ready_ms is not None
        bench.at_ms = max(bench.at_ms, order.ready_ms + round(float(self.rng.normal(3.0, 3.0)) * MINUTE))
        bench.command("ready", order)
        bench.report("picked_up", order, after_ms=MINUTE)
        travel = bench.engine.planner.travel
        drive_ms = travel.drive_ms(*MALL, order.dropoff.lat, order.dropoff.lng)
        took_ms = drive_ms * 1.25 * float(np.exp(self.rng.normal(0.0, 0.2)))
        for share in np.linspace(0.05, 1.0, 20):
            lat, lng = order.dropoff.lat - MALL[0], order.dropoff.lng - MALL[1]
            fix = a_ping(at_ms=bench.at_ms + round(took_ms / 20), north=lat * float(share), east=lng * float(share))
            bench.do(fix, after_ms=round(took_ms / 20))
            bench.do(Tick())
        bench.report("arrived_at_dropoff", order)
        bench.report("delivered", order, after_ms=round(float(self.rng.uniform(60, 180)) * 1_000))
        return order


def test_an_interval_stands_around_the_eta_of_every_open_order() -> None:
    day = Day()
    queued = day.bench.place()
    given = day.assigned()
    for order in (queued, given):
        assert order.eta_low_ms is not None
        assert order.eta_dropoff_ms is not None
        assert order.eta_high_ms is not None
        assert day.bench.at_ms <= order.eta_low_ms < order.eta_dropoff_ms < order.eta_high_ms


def test_the_interval_narrows_once_the_goods_are_on_board() -> None:
    day = Day()
    order = day.assigned()
    before = (order.eta_high_ms or 0) - (order.eta_low_ms or 0)
    day.bench.command("ready", order)
    day.bench.report("picked_up", order, after_ms=MINUTE)
    assert 0 < (order.eta_high_ms or 0) - (order.eta_low_ms or 0) < before


@pytest.mark.parametrize("seed", [1, 2])
def test_four_of_five_deliveries_of_a_noisy_floor_come_within_what_was_said(seed: int) -> None:
    day = Day(seed)
    for _ in range(120):
        day.deliver()
    tally = day.bench.engine.state.tallies["plaza"]
    for said in (tally.eta_assigned, tally.eta_aboard):
        assert said.n == 120
        assert said.inside / said.n == pytest.approx(0.8, abs=0.1)
    assert tally.eta_aboard.width_ms < tally.eta_assigned.width_ms


def test_learning_makes_etas_truer() -> None:
    errors = {}
    for use in (True, False):
        day = Day(rules=LearningRules(use=use))
        missed = []
        for _ in range(80):
            order = day.deliver()
            said = [line.at_ms for line in order.history if line.action == "picked_up"]
            assert said
            missed.append(abs(order.ended_ms - _eta_said(day, order)) if order.ended_ms else 0)
        errors[use] = float(np.mean(missed[20:]))
    assert errors[True] < errors[False]


def _eta_said(day: Day, order: Order) -> int:
    """What the planner now says a delivery begun at this pick-up takes; the floor has learned from all before."""
    assert order.picked_up_ms is not None
    forecast = day.bench.engine.planner.forecast
    drive = forecast.drive("plaza", order.picked_up_ms, *MALL, order.dropoff.lat, order.dropoff.lng)
    leave_ms, _ = forecast.leave_of("plaza")
    return order.picked_up_ms + leave_ms + drive.expected_ms + forecast.travel.rules.dropoff_ms // 2


def test_figures_of_etas_are_shown() -> None:
    day = Day()
    for _ in range(5):
        day.deliver()
    state = day.bench.engine.state
    figures = kpis(state, ("plaza",))
    tally = state.tallies["plaza"]
    assert figures.eta_inside_share == round(tally.eta_assigned.inside / 5, 4)
    assert figures.eta_error_ms == tally.eta_assigned.miss_ms // 5
    shown = lessons(state, day.bench.engine.floor.malls["plaza"], day.bench.engine.planner.forecast)
    assert (shown.eta_assigned.scored, shown.eta_aboard.scored) == (5, 5)
    assert shown.eta_assigned.inside_share == figures.eta_inside_share
    assert [store.store_id for store in shown.stores] == ["macys", "zara"]
    macys, zara = shown.stores
    assert macys.scored == shown.ready_scored == 5
    assert (zara.scored, zara.promise_error_ms) == (0, None)
    assert shown.drive.scored == 5
    assert shown.drive.factor > 1.0


def test_before_the_first_delivery_there_is_nothing_to_divide_by() -> None:
    bench = Bench()
    shown = lessons(bench.engine.state, bench.engine.floor.malls["plaza"], bench.engine.planner.forecast)
    assert shown.eta_assigned.inside_share is None
    assert shown.drive.model_error is None
    assert shown.ready_promise_error_ms is None
    assert bench.engine.state.learned.malls == {}, "to look is not to learn"


def test_an_ended_order_has_no_interval_any_more() -> None:
    day = Day()
    order = day.deliver()
    assert (order.eta_low_ms, order.eta_high_ms, order.said) == (None, None, None)
    cancelled = day.bench.place()
    day.bench.command("cancel", cancelled)
    assert (cancelled.eta_low_ms, cancelled.eta_high_ms) == (None, None)


def test_a_reassigned_order_is_held_against_what_was_said_last() -> None:
    day = Day()
    day.bench.driver("d-2", north=0.02)
    order = day.assigned()
    day.bench.command("reassign", order, "d-2")
    assert order.said is not None
    assert order.said.assigned is not None
    assert order.said.assigned.assignment == order.assignment


# ---------------------------------------------------------------- the same history


def test_what_was_learned_goes_through_a_snapshot_and_on() -> None:
    whole, cut = Day(9), Day(9)
    for _ in range(6):
        whole.deliver()
        cut.deliver()
        cut.bench.engine = cut.bench.engine.twin(load_state(dump_state(cut.bench.engine.state)))
    assert cut.bench.engine.state.learned == whole.bench.engine.state.learned
    assert cut.bench.engine.state.tallies == whole.bench.engine.state.tallies
    assert whole.bench.engine.state.learned.malls["plaza"].drive_score.n > 3


SCRIPT = """
from tests.core.test_learned_etas import Day
day = Day(3)
for _ in range(8):
    day.deliver()
print(day.bench.engine.hash())
"""


def test_the_hash_of_what_was_learned_does_not_depend_on_the_hash_seed() -> None:
    root = Path(__file__).parents[2]
    hashes = set()
    for hash_seed in ("0", "4711"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(root)}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], env=environment, cwd=root, capture_output=True, text=True, check=True
        )
        hashes.add(done.stdout)
    assert len(hashes) == 1
