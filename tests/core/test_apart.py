"""Which drivers two worlds do not have alike: those that are elsewhere, in another state, or in one of them alone."""

import pytest

from streamer.core.apart import NEAR_M, added, elsewhere
from streamer.core.events import SetDuty
from streamer.core.geo import METRES_PER_DEG
from streamer.core.snapshot import dump_state, load_state
from streamer.core.state import State
from tests.builders import MINUTE, Bench, a_ping

NORTH = 0.01


def two_worlds() -> tuple[State, Bench]:
    """The recorded one, where d-1 and d-2 are free, and the same to be changed."""
    bench = Bench()
    bench.driver("d-1", NORTH)
    bench.driver("d-2", NORTH)
    return load_state(dump_state(bench.engine.state)), bench


def ids(recorded: State, forked: State) -> tuple[list[str], list[str]]:
    return [one.id for one in elsewhere(recorded, forked)], [one.id for one in added(recorded, forked)]


def test_worlds_that_are_one_have_every_driver_alike() -> None:
    recorded, bench = two_worlds()
    assert ids(recorded, bench.engine.state) == ([], [])


@pytest.mark.parametrize(("metres", "apart"), [(NEAR_M - 2, []), (NEAR_M + 2, ["d-1"])])
def test_a_driver_is_elsewhere_beyond_the_distance_at_which_places_are_one(metres: float, apart: list[str]) -> None:
    recorded, bench = two_worlds()
    bench.do(a_ping("d-1", bench.at_ms + MINUTE, NORTH + metres / METRES_PER_DEG), MINUTE)
    bench.do(a_ping("d-2", bench.at_ms, NORTH))
    found = elsewhere(recorded, bench.engine.state)
    assert [one.id for one in found] == apart
    assert all(one is recorded.drivers[one.id] for one in found), "it is given as recorded"


def test_a_driver_in_another_state_at_the_same_place_is_not_alike() -> None:
    recorded, bench = two_worlds()
    bench.command("assign", bench.place(), "d-2")
    assert ids(recorded, bench.engine.state) == (["d-2"], [])


def test_who_is_on_duty_in_one_world_alone_is_told_of_that_world() -> None:
    recorded, bench = two_worlds()
    bench.do(SetDuty("d-1", "off_duty", "maya"))
    bench.driver("d-3")
    assert ids(recorded, bench.engine.state) == (["d-1"], ["d-3"])
    assert ids(bench.engine.state, recorded) == (["d-3"], ["d-1"])
