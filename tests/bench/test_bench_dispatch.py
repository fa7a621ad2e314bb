"""The dispatchers our plan is measured beside are no straw men, and the group's rows say what was played."""

from pathlib import Path

import pytest

from streamer.dispatch.nearest import nearest_idle
from streamer.dispatch.problem import NOWHERE, PlanDriver, PlanOrder, Problem
from streamer.sim.mdrp.day import Policy
from streamer.sim.mdrp.instance import MINUTE_MS
from streamer.sim.mdrp.metrics import geometric_mean
from tests.bench.children import BenchError
from tests.bench.dispatchers.matching import matching
from tests.bench.groups.dispatch import (
    PUBLIC,
    a_problem,
    dispatch_rows,
    planning,
    played_through,
    public_days,
    synthetic_days,
)  # fmt: skip
from tests.bench.table import Medians

REFERENCE_MIN = {
    "0r50t100s2p100": (2.98, 1.36), "2o50t75s1p125": (3.14, 1.27),
    "5o50t100s2p100": (54.4, 4.30), "8o100t100s1p100": (6.63, 2.60),
}  # fmt: skip
"""XDT of nearest-idle greedy and of matching, as an independent evaluator of the same rules measured them."""


def test_matching_beats_greedy_on_every_synthetic_day() -> None:
    for instance in synthetic_days():
        greedy, matched = (played_through(instance, policy, 5).xdt_min for policy in (nearest_idle, matching))
        assert matched < 0.7 * greedy


@pytest.mark.parametrize(("column", "policy"), [(0, nearest_idle), (1, matching)])
def test_a_peer_is_as_good_as_was_measured_elsewhere(column: int, policy: Policy) -> None:
    days = [instance for instance in public_days(quick=False) if instance.name in REFERENCE_MIN]
    if len(days) < len(REFERENCE_MIN):
        pytest.skip(f"the public instances are not here; {PUBLIC} names their directory")
    reference = geometric_mean([REFERENCE_MIN[instance.name][column] for instance in days])
    measured = geometric_mean([played_through(instance, policy, 5).xdt_min for instance in days])
    assert measured <= 1.05 * reference


def test_a_made_problem_is_planned_whole() -> None:
    assert planning(a_problem(20, 30))["s"] > 0


def test_nearest_takes_the_nearest_idle_driver_and_one_order_each() -> None:
    problem = a_problem(6, 4)
    made = nearest_idle(problem)
    assert all(len(trip.order_ids) == 1 for (trip,) in made.trips.values())
    first = min(problem.orders, key=lambda order: (order.due_ms, order.id))
    idle = [driver for driver in problem.drivers if driver.free_ms <= problem.at_ms]
    nearest = min(idle, key=lambda driver: (problem.legs[driver.place, first.pickups[0]], driver.id))
    assert made.trips[nearest.id][0].order_ids == (first.id,)
    assert len(made.trips) == min(len(idle), 6)


def under_way(told: tuple[str | None, ...], off_ms: int) -> Problem:
    """Two drivers that wait at the one store of some orders, all ready."""
    problem = a_problem(len(told), 2, stores=1)
    drivers = tuple(PlanDriver(f"d{n}", 2, 0, off_ms, 5, heading=2) for n in range(2))
    orders = tuple(
        PlanOrder(o.id, o.pickups, o.dropoff, 0, o.due_ms, o.earliest_ms, told=who)
        for o, who in zip(problem.orders, told, strict=True)
    )
    return Problem(0, orders, drivers, problem.legs, problem.service)


@pytest.mark.parametrize("off_ms", [60 * MINUTE_MS, 0])
def test_matching_leaves_nobody_under_way_with_nothing(off_ms: int) -> None:
    made = matching(under_way(("d0", "d1", "d0", None), off_ms))
    assert all(driver.heading != NOWHERE for driver in under_way((None,), off_ms).drivers)
    carried = [order_id for trips in made.trips.values() for trip in trips for order_id in trip.order_ids]
    assert set(made.trips) == {"d0", "d1"}
    assert len(carried) == len(set(carried)) >= 3


def test_a_named_directory_without_instances_is_an_error_and_none_named_is_a_row(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(PUBLIC, str(tmp_path))
    with pytest.raises(BenchError, match="there is no instance in it"):
        public_days(quick=False)
    figures = {"xdt_min": 2.0, "undelivered": 0.0, "per_trip": 1.1, "days": 3.0, "largest": 400.0, "p95_s": 0.1}
    names = [f"synthetic {name}" for name in ("ours 5", "ours 1", "greedy 5", "matching 5", "matching 1")]
    runs = {name: [figures] for name in names} | {f"plan {size}": [{"s": 0.1}] for size in ("50 x 80", "200 x 300")}
    rows = dispatch_rows(Medians(runs))
    assert [row.peer for row in rows if row.work == "public days"] == [
        f"none: --quick, or {PUBLIC} is to name their directory"
    ]
    assert rows[1].ratio == 1.0
    assert rows[1].verdict == "no"
