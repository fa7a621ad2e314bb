"""Whole days under every dispatcher keep the rules, as a checker finds that shares no code with the player."""

from functools import partial

import pytest

from streamer.dispatch.nearest import nearest_idle
from streamer.dispatch.problem import PlanSettings
from streamer.dispatch.search import plan
from streamer.sim.mdrp.day import Day, Policy
from streamer.sim.mdrp.instance import MINUTE_MS, parse
from streamer.sim.mdrp.metrics import measure
from streamer.sim.mdrp.solution import solution_files
from tests.bench.dispatchers.matching import matching
from tests.sim import mdrp_maker
from tests.sim.mdrp_checker import check
from tests.sim.mdrp_kit import TOY, play, scripted

POLICIES: dict[str, Policy] = {"plan": partial(plan, seed=1), "nearest": nearest_idle, "matching": matching}
ASSIGNMENTS, ORDERS, MOVES = (f"solution_info_{name}.txt" for name in ("assignments", "orders", "couriers"))


def played(name: str, policy: Policy, **settings: int) -> Day:
    day = Day(parse(name, mdrp_maker.read(name)), policy, PlanSettings(effort=10, **settings))
    list(day.play())
    return day


@pytest.mark.parametrize("look_min", [1, 5])
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", mdrp_maker.RECIPES)
def test_every_dispatcher_keeps_the_rules_and_is_credited_what_its_solution_says(
    name: str, policy: str, look_min: int
) -> None:
    day = played(name, POLICIES[policy], look_ms=look_min * MINUTE_MS)
    verdict = check(mdrp_maker.read(name), solution_files(day.instance, day.played))
    assert verdict.faults == []
    metrics = measure(day.instance, day.played, [])
    assert metrics.xdt_min == pytest.approx(verdict.xdt_min)
    assert metrics.delivered == verdict.delivered > 0.8 * metrics.orders
    assert metrics.orders_per_trip == pytest.approx(verdict.delivered / verdict.trips)


def test_trips_over_several_stores_keep_the_rules_of_that_mode_and_not_of_the_other() -> None:
    busy = mdrp_maker.make(mdrp_maker.RECIPES["rush400"]._replace(drivers=45))
    day = Day(parse("busy", busy), POLICIES["plan"], PlanSettings(effort=10, multi_pickup_ms=3 * MINUTE_MS))
    list(day.play())
    solution = solution_files(day.instance, day.played)
    assert check(busy, solution, near_min=3).faults == []
    assert all("collects at ['r" in fault for fault in check(busy, solution).faults)
    assert len(check(busy, solution).faults) > 5


def test_the_same_seed_plays_the_same_day() -> None:
    first, second = (played("quiet150", POLICIES["plan"]) for _ in range(2))
    assert solution_files(first.instance, first.played) == solution_files(second.instance, second.played)


def the_toys() -> dict[str, str]:
    """c1 carries o1 and o2 together from r1, then waits, then collects o3 at r2."""
    day = play(scripted({10: {"c1": ("o1",)}, 15: {"c1": ("o1", "o2")}, 40: {"c1": ("o3",)}}))
    return solution_files(day.instance, day.played)


def test_the_files_are_as_the_instances_own_checker_reads_them() -> None:
    assert the_toys() == {
        ASSIGNMENTS: "assignment_time pickup_time courier orders\n15 22 c1 o1 o2\n40 47 c1 o3\n",
        ORDERS: (
            "order placement_time restaurant ready_time pickup_time dropoff_time courier\n"
            "o1 3 r1 20 22 31 c1\no2 12 r1 22 22 37 c1\no3 13 r2 15 47 53 c1\no4 0 r1 90 NA NA NA\n"
        ),
        MOVES: (
            "courier departure_time origin destination\n"
            "c1 10 0 r1\nc1 24 r1 o1\nc1 33 o1 o2\nc1 40 o2 r2\nc1 49 r2 o3\n"
        ),
    }
    assert check(TOY, the_toys()).faults == []


@pytest.mark.parametrize(
    ("file", "old", "new", "fault"),
    [
        (ASSIGNMENTS, "15 22 c1 o1 o2", "11 22 c1 o1 o2", "o2 is assigned at 11, before it is placed at 12"),
        (ASSIGNMENTS, "15 22 c1 o1 o2", "25 22 c1 o1 o2", "c1 is assigned at 25 what it collects at 22"),
        (ASSIGNMENTS, "15 22 c1 o1 o2", "15 21 c1 o1 o2", "c1: the assignment says 21, its orders 22"),
        (ASSIGNMENTS, "15 22 c1 o1 o2", "15 22 c1 o2 o1", "a move from r1 to o1, not from r1 to o2"),
        (ASSIGNMENTS, "40 47 c1 o3", "40 47 c1 o3 o1", "an order is in two assignments"),
        (ASSIGNMENTS, "40 47 c1 o3\n", "", "assignments and orders disagree about who carries what"),
        (ORDERS, "r1 22 22 37", "r1 22 21 37", "c1 collects at r1 at [21, 22]"),
        (ORDERS, "o2 12 r1 22 22 37 c1", "o2 12 r1 22 22 35 c1", "o2 is dropped at 35, its driver there at 35"),
        (ORDERS, "o2 12 r1 22 22 37 c1", "o2 11 r1 22 22 37 c1", "o2: placement_time is not the instance's"),
        (ORDERS, "15 47 53 c1", "15 46 53 c1", "c1 arrives at r2 at 45, collects at 46"),
        (ORDERS, "15 47 53 c1", "15 NA 53 c1", "o3 is half delivered"),
        (ORDERS, "o4 0 r1 90 NA NA NA\n", "", "the order file has other orders than the instance"),
        (MOVES, "c1 10 0 r1", "c1 9 0 r1", "c1 leaves c1 at 9, before it is free at 10"),
        (MOVES, "c1 33 o1 o2", "c1 32 o1 o2", "off to o2 at 32, not 33"),
        (MOVES, "c1 40 o2 r2", "c1 38 o2 r2", "c1 leaves o2 at 38, before it is free at 39"),
        (MOVES, "c1 40 o2 r2", "c1 40 o1 r2", "a move from o1 to r2, not from o2 to r2"),
        (MOVES, "r2 o3\n", "r2 o3\nc1 60 o3 r1\n", "c1 moves on after its last drop-off"),
    ],
)
def test_the_checker_finds_what_is_broken(file: str, old: str, new: str, fault: str) -> None:
    solution = the_toys()
    assert solution[file].count(old) == 1
    broken = {**solution, file: solution[file].replace(old, new)}
    if "NA 53" in new:
        broken[ASSIGNMENTS] = broken[ASSIGNMENTS].replace("40 47 c1 o3\n", "")
        broken[MOVES] = broken[MOVES].replace("c1 40 o2 r2\nc1 49 r2 o3\n", "")
    assert fault in check(TOY, broken).faults


def test_the_checker_finds_a_pick_up_before_an_order_is_ready() -> None:
    slow = {**TOY, "orders.txt": TOY["orders.txt"].replace("13\tr2\t15", "13\tr2\t50")}
    faults = check(slow, the_toys()).faults
    assert faults == ["o3: ready_time is not the instance's", "o3 is collected at 47, before it is ready"]


def test_the_checker_finds_a_pick_up_after_the_shift() -> None:
    short = {**TOY, "couriers.txt": TOY["couriers.txt"].replace("10\t60", "10\t40")}
    assert check(short, the_toys()).faults == ["c1 collects at 47, after its shift"]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("policy", POLICIES)
def test_odd_little_days_keep_the_rules_too(seed: int, policy: str) -> None:
    size = 15 + 10 * seed
    recipe = mdrp_maker.Recipe(
        seed, size, 2 + seed, 1 + 2 * seed, "blocks" if seed % 2 else "spread", town_m=3_000 * (1 + seed), preparing=2.5
    )
    near_min = seed % 4 if policy == "plan" else 0
    settings = PlanSettings(look_ms=(1 + seed) * MINUTE_MS, effort=10, multi_pickup_ms=near_min * MINUTE_MS)
    day = Day(parse("odd", mdrp_maker.make(recipe)), POLICIES[policy], settings)
    list(day.play())
    assert check(mdrp_maker.make(recipe), solution_files(day.instance, day.played), near_min).faults == []
