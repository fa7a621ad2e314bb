"""How good plans are on whole days, beside greedy and matching dispatchers, and how long a plan takes.

It must not know how any of them plans. Milliseconds are CPU time of one thread.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path

import numpy as np

from streamer.dispatch.nearest import nearest_idle
from streamer.dispatch.problem import Plan, PlanDriver, PlanOrder, PlanSettings, Problem, Service
from streamer.dispatch.search import plan
from streamer.sim.mdrp.day import Day, Policy
from streamer.sim.mdrp.instance import FILES, MINUTE_MS, Instance, parse
from streamer.sim.mdrp.metrics import Metrics, geometric_mean, measure
from tests.bench.children import BenchError
from tests.bench.dispatchers.matching import matching
from tests.bench.groups.group import Case, Cases, Group
from tests.bench.table import Figures, Medians, Row, Target
from tests.bench.workshop import Workshop
from tests.sim import mdrp_maker

ROOT = Path(__file__).parents[3]
PUBLIC = "MALLARD_MDRP"
"""Names a directory of public instances; without it the one beside a checkout is looked for."""
DISPATCHERS: dict[str, Policy] = {"ours": partial(plan, seed=1), "greedy": nearest_idle, "matching": matching}
LOOKS_MIN = {"ours": (5, 1), "greedy": (5,), "matching": (5, 1)}
SIZES = {"50 x 80": (50, 80), "200 x 300": (200, 300)}


@contextmanager
def dispatch_cases(shop: Workshop) -> Iterator[Cases]:
    days = {"synthetic": synthetic_days()[:1] if shop.quick else synthetic_days(), "public": public_days(shop.quick)}
    cases: Cases = {}
    for kind, instances in days.items():
        for name, looks in LOOKS_MIN.items():
            for look_min in looks:
                if instances:
                    cases[f"{kind} {name} {look_min}"] = playing(instances, DISPATCHERS[name], look_min)
    for size, (orders, drivers) in SIZES.items():
        cases[f"plan {size}"] = partial(planning, a_problem(orders, drivers))
    yield cases


def synthetic_days() -> list[Instance]:
    """The committed ones."""
    return [parse(name, mdrp_maker.read(name)) for name in mdrp_maker.RECIPES]


def public_days(quick: bool) -> list[Instance]:
    """Those on this machine, none in a hurry: they are not ours to pass on, so they are not in the repository.

    Raises:
        BenchError: a directory is named, and there are none in it.
    """
    named = os.environ.get(PUBLIC)
    folder = Path(named) if named else ROOT.parent / "shared" / "data" / "mdrp"
    found = sorted(path.parent for path in folder.glob("*/instance_parameters.txt"))
    if named and not found:
        raise BenchError(f"{PUBLIC} names {folder}, and there is no instance in it")
    return [] if quick else [parse(one.name, {file: (one / file).read_text() for file in FILES}) for one in found]


def playing(instances: Sequence[Instance], policy: Policy, look_min: int) -> Case:
    """Plays the days once, however many rounds there are: the same days come of the same seed."""

    @cache
    def case() -> Figures:
        played = [played_through(instance, policy, look_min) for instance in instances]
        largest = max(played, key=lambda metrics: metrics.orders)
        return {
            "xdt_min": geometric_mean([metrics.xdt_min for metrics in played]),
            "undelivered": float(sum(metrics.orders - metrics.delivered for metrics in played)),
            "per_trip": sum(metrics.delivered for metrics in played)
            / sum(metrics.delivered / metrics.orders_per_trip for metrics in played),
            "days": float(len(played)), "largest": float(largest.orders), "p95_s": largest.call_p95_ms / 1000,
        }  # fmt: skip

    return case


def played_through(instance: Instance, policy: Policy, look_min: int) -> Metrics:
    calls_ms: list[float] = []

    def timed(problem: Problem) -> Plan:
        made, took_s = cpu_s(lambda: policy(problem))
        calls_ms.append(took_s * 1000)
        return made

    day = Day(instance, timed, PlanSettings(look_ms=look_min * MINUTE_MS))
    for _ in day.play():
        pass
    return measure(instance, day.played, calls_ms)


def cpu_s(work: Callable[[], Plan]) -> tuple[Plan, float]:
    begun_s = time.thread_time()
    made = work()
    return made, time.thread_time() - begun_s


def planning(problem: Problem) -> Figures:
    made, took_s = cpu_s(lambda: plan(problem, seed=1))
    given = sum(len(trip.order_ids) for trips in made.trips.values() for trip in trips)
    assert given + len(made.unserved) == len(problem.orders), "every order is given or said not to be"
    return {"s": took_s}


def a_problem(orders: int, drivers: int, stores: int = 40) -> Problem:
    """One moment of a floor: orders that are ready over the next half hour, drivers free now or within ten minutes."""
    draw = np.random.Generator(np.random.PCG64(orders))
    xy_m = np.concatenate([draw.uniform(0, 12_000, (drivers + stores, 2)), draw.uniform(0, 12_000, (orders, 2))])
    metres = np.linalg.norm(xy_m[:, None] - xy_m[None], axis=2)
    legs = np.ceil(metres / 320).astype(np.int64) * MINUTE_MS
    service = Service(4 * MINUTE_MS, 4 * MINUTE_MS)
    ready_min = draw.integers(0, 30, orders).tolist()
    store_of = (drivers + draw.integers(0, stores, orders)).tolist()
    free_min = np.maximum(0, draw.integers(-10, 10, drivers)).tolist()
    plan_orders = []
    for number in range(orders):
        store, door, ready_ms = store_of[number], drivers + stores + number, ready_min[number] * MINUTE_MS
        earliest_ms = ready_ms + int(legs[store, door]) + 4 * MINUTE_MS
        plan_orders.append(PlanOrder(f"o{number}", (store,), door, ready_ms, ready_ms + 60 * MINUTE_MS, earliest_ms))
    plan_drivers = [
        PlanDriver(f"d{number}", number, free_min[number] * MINUTE_MS, 240 * MINUTE_MS, 5) for number in range(drivers)
    ]
    return Problem(0, tuple(plan_orders), tuple(plan_drivers), legs, service)


def dispatch_rows(medians: Medians) -> list[Row]:
    rows = day_rows(medians, "synthetic")
    if "public ours 5" in medians.runs:
        rows += day_rows(medians, "public")
    else:
        rows.append(Row("public days", float("nan"), "min", f"none: --quick, or {PUBLIC} is to name their directory"))
    targets = {"50 x 80": Target(0.15, 0.045, of="ours", unit="s"), "200 x 300": Target(1, 0.3, of="ours", unit="s")}
    for size, target in targets.items():
        orders, drivers = size.split(" x ")
        work = f"a plan of {orders} open orders and {drivers} drivers"
        rows.append(medians.alone(work, "s", "s CPU", f"plan {size}", target))
    return rows


def day_rows(medians: Medians, kind: str) -> list[Row]:
    ours, matched = f"{kind} ours 5", f"{kind} matching 5"
    days = f"{medians.of(ours, 'days'):.0f} {kind} days"
    many = medians.of(ours, "largest")
    return [
        medians.share(
            f"XDT an order, geometric mean of {days}, a look every 5 min",
            "xdt_min", "min", ours, f"{kind} greedy 5", "nearest-idle greedy", Target(0.27, 0.2),
        ),
        medians.share(
            "… beside matching", "xdt_min", "min", ours, matched, "rolling-horizon matching", Target(0.85, 0.75)
        ),
        medians.share(
            "… beside matching, both with a look every minute",
            "xdt_min", "min", f"{kind} ours 1", f"{kind} matching 1", "rolling-horizon matching", Target(0.9, 0.8),
        ),
        beside(medians, "… orders nobody delivered", "undelivered", "orders", ours, matched),
        beside(medians, "… orders a trip", "per_trip", "orders", ours, matched),
        medians.alone(
            f"a call at p95, the largest of the days ({many:,.0f} orders), a look every 5 min",
            "p95_s", "s CPU", ours, Target(2, 0.7, of="ours", unit="s"),
        ),
    ]  # fmt: skip


def beside(medians: Medians, work: str, figure: str, unit: str, ours: str, theirs: str) -> Row:
    """Two figures of which a ratio says nothing."""
    return Row(work, medians.of(ours, figure), unit, "rolling-horizon matching", medians.of(theirs, figure))


DISPATCH = Group("dispatch", "whole days of deliveries", dispatch_cases, dispatch_rows)
