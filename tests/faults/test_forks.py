"""A forked world in which nothing is changed is the recorded one, for every recording; docs/what-if.md has the bounds.

At the moments and with the seeds of `scale`: late in each recording in `make test`, from its start on in `make prove`.
"""

from functools import cache

import pytest

from streamer.core.changes import Changes
from streamer.core.kpis import Kpis
from streamer.edge.recordings.fixtures import FixtureReader, find_fixture, fixture_names, read_companion
from streamer.edge.recordings.whatif import Moment, live, moment_of
from streamer.sim.fork import run
from tests.faults.evidence import Evidence
from tests.faults.scale import SCALE

DELIVERED, ORDERS_PER_TRIP, CLICK_TO_DOOR = 0.10, 0.10, 0.06
"""How far a world of simulated drivers may be from the recorded one, as a share of what was recorded."""
ON_TIME, LATE = 0.05, 0.08
"""The same in points: of the share delivered in time, and of late orders among the open ones and those delivered."""
CASES = [(name, share) for name in fixture_names() for share in SCALE.fork_moments]


@cache
def moment(name: str, share: float) -> Moment:
    path = find_fixture(name)
    with FixtureReader(path) as fixture:
        start_ms = fixture.header.start_ms
    return moment_of(path, start_ms + round(share * read_companion(path).length_ms))


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("name", "share"), CASES)
def test_a_fork_without_a_change_is_the_recording_to_the_last_bit(name: str, share: float, evidence: Evidence) -> None:
    fork, engine = moment(name, share).fork(Changes())
    found = run(fork, engine)
    companion = read_companion(find_fixture(name))
    evidence("forks without a change", 1, differing=int(engine.hash() != companion.hash))
    assert engine.hash() == companion.hash
    assert found.complete
    assert found.recorded == found.forked == companion.kpis
    assert found.first_difference is None
    assert all(row.recorded_late_ms == row.forked_late_ms for row in found.orders)
    assert (len(fork.simulated), fork.skipped) == (0, 0)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(1, SCALE.fork_seeds + 1))
@pytest.mark.parametrize(("name", "share"), CASES)
def test_a_world_of_simulated_drivers_is_near_the_recorded_one(
    name: str, share: float, seed: int, evidence: Evidence
) -> None:
    found = live(moment(name, share), Changes(), seed, everybody=True)
    there, here = found.recorded, found.forked
    assert there == read_companion(find_fixture(name)).kpis
    differences = {
        "delivered": _share(there.delivered, here.delivered),
        "orders_per_trip": _share(there.orders_per_trip, here.orders_per_trip),
        "click_to_door": _share(there.click_to_door_ms, here.click_to_door_ms),
        "on_time": abs((there.on_time or 0.0) - (here.on_time or 0.0)),
        "late": abs(_late(there) - _late(here)),
    }
    evidence("forks with every driver simulated", 1, **{what: round(value, 3) for what, value in differences.items()})
    assert differences["delivered"] <= DELIVERED
    assert differences["orders_per_trip"] <= ORDERS_PER_TRIP
    assert differences["click_to_door"] <= CLICK_TO_DOOR
    assert differences["on_time"] <= ON_TIME
    assert differences["late"] <= LATE


def _share(there: float | None, here: float | None) -> float:
    assert there
    assert here
    return abs(here - there) / there


def _late(kpis: Kpis) -> float:
    return kpis.late / (kpis.open + kpis.delivered)
