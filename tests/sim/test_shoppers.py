"""Orders: when, from where, to whom; and promises that err."""

import re
from collections import Counter
from math import hypot
from statistics import mean

import pytest

from streamer.core.malls import Floor
from streamer.sim import names
from streamer.sim.incidents import Incidents, StoreLate
from streamer.sim.shoppers import CARRIED_MS, local_hour, order_times
from streamer.sim.town import Span, Town, stream
from streamer.sim.world import HOUR_MS
from tests.sim.conftest import T0

DAY_MS = 24 * HOUR_MS
LAS_VEGAS = -115.172


@pytest.fixture(scope="module")
def busy(floor: Floor) -> Town:
    return Town(floor.malls["fashion-show"], 11, 0, Span(T0, T0, T0 + 4 * HOUR_MS), 600, Incidents(), 1001)


def test_times_rise_in_whole_seconds_and_some_lie_before_the_beginning() -> None:
    times = order_times(stream(1), LAS_VEGAS, T0, T0 + 2 * HOUR_MS, 300)
    assert times == sorted(times)
    assert len(times) == 300
    assert all(T0 - CARRIED_MS <= at_ms < T0 + 2 * HOUR_MS and at_ms % 1000 == 0 for at_ms in times)
    assert 20 < sum(at_ms < T0 for at_ms in times) < 150


def test_orders_follow_the_hours_of_the_day_at_the_mall() -> None:
    by_hour = Counter(
        local_hour(at_ms, LAS_VEGAS) for at_ms in order_times(stream(2), LAS_VEGAS, T0, T0 + DAY_MS, 9_000)
    )
    assert by_hour[14] > 5 * by_hour[7]
    assert by_hour[14] > 5 * by_hour[23]
    assert by_hour[3] < by_hour[7]


def test_the_hour_by_the_sun_is_near_the_clock() -> None:
    # T0 is 14:00 in Las Vegas.
    assert abs(local_hour(T0, LAS_VEGAS) - 14) <= 1


def test_homes_lie_apart_in_the_service_radius_and_in_neighbourhoods(busy: Town) -> None:
    away = [hypot(*wish.door) for wish in busy.wishes]
    assert max(away) < busy.mall.service_radius_m
    assert min(away) > 500
    assert len({wish.door for wish in busy.wishes}) == len(away)
    near = [
        sum(hypot(a.door[0] - b.door[0], a.door[1] - b.door[1]) < 600 for b in busy.wishes) - 1 for a in busy.wishes
    ]
    # Spread evenly, 600 homes in this circle would have 2 neighbours each within 600 m.
    assert mean(near) > 8


def test_people_are_invented_and_reachable_nowhere(busy: Town) -> None:
    for wish in busy.wishes:
        dropoff = wish.placed.dropoff
        assert re.fullmatch(r"\+170255501\d\d", dropoff.phone)
        assert re.fullmatch(r"\d{3,4} [A-Z][A-Za-z ]+ (Ave|Blvd|Dr|St|Rd|Ln)( Apt \d+)?", dropoff.address)
        first, last = dropoff.name.split(" ")
        assert first in names.FIRST
        assert last in names.LAST


def test_promises_err_both_ways_and_each_store_in_its_own(busy: Town) -> None:
    factors: dict[str, list[float]] = {}
    for wish in busy.wishes:
        promised = (wish.placed.ready_ms or 0) - wish.placed.placed_ms
        assert promised >= 10 * 60_000
        if len(wish.placed.stores) == 1:
            factors.setdefault(wish.placed.stores[0], []).append((wish.ready_ms - wish.placed.placed_ms) / promised)
    every = [factor for some in factors.values() for factor in some]
    assert 0.2 < sum(factor < 1 for factor in every) / len(every) < 0.8
    leanings = sorted(mean(some) for some in factors.values() if len(some) >= 15)
    assert leanings[-1] > leanings[0] + 0.15


def test_due_times_lie_one_to_two_hours_after_the_order_was_placed(busy: Town) -> None:
    assert {(w.placed.due_ms - w.placed.placed_ms) / HOUR_MS for w in busy.wishes} == {1.0, 1.25, 1.5, 1.75, 2.0}


def test_a_late_store_is_late_in_its_window_and_only_it(floor: Floor) -> None:
    span, mall = Span(T0, T0, T0 + 2 * HOUR_MS), floor.malls["fashion-show"]
    usual = Town(mall, 4, 0, span, 200, Incidents(), 1)
    store = Counter(name for wish in usual.wishes for name in wish.placed.stores).most_common(1)[0][0]
    trouble = Incidents(stores=(StoreLate(store, 0, HOUR_MS, HOUR_MS),))
    delayed = Town(mall, 4, 0, span, 200, trouble, 1)
    moved = [(a, b) for a, b in zip(usual.wishes, delayed.wishes, strict=True) if a != b]
    assert len(moved) > 5
    for was, now in moved:
        assert now.placed == was.placed
        assert store in now.placed.stores
        assert 0 < now.ready_ms - was.ready_ms <= HOUR_MS


def test_drivers_names_are_short_and_differ_on_one_floor() -> None:
    assert all(re.fullmatch(r"[A-Z][a-z]+ [A-Z]\.", names.driver_name(number)) for number in range(2_000))
    assert len({names.driver_name(number) for number in range(700)}) == 700
