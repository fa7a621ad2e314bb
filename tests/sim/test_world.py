"""The world as a whole: repeatable, complete, and in the order it promises."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from itertools import groupby

import pytest

from streamer.core.events import DriverRegistered, OrderPlaced, Ping, Report, Tick
from streamer.core.malls import Floor
from streamer.core.snapshot import state_hash
from streamer.sim.incidents import DriverTrouble, Incidents
from streamer.sim.world import HOUR_MS, Story, World
from tests.sim.conftest import T0, Lived

Live = Callable[..., Lived]


def test_the_same_seed_gives_the_same_inputs_and_the_same_state(lively: Live) -> None:
    one, two = lively(), lively()
    assert one.lines == two.lines
    assert state_hash(one.engine.state) == state_hash(two.engine.state)


def test_another_seed_gives_another_day(lively: Live) -> None:
    assert lively().lines != lively(seed=4).lines


def test_the_day_does_not_depend_on_how_strings_are_hashed() -> None:
    program = (
        "import json, pathlib; from streamer.core.engine import Engine; from streamer.core.malls import parse_malls\n"
        "from streamer.sim.world import World; from tests.sim.conftest import MALLS, T0, live\n"
        "floor = parse_malls(json.loads(MALLS.read_text()))\n"
        "lived = live(World(floor, ('baybrook',), 3, T0, 0.3, 8, 30), Engine(floor))\n"
        "print(lived.engine.hash(), len(lived.lines))"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": "."},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert said[0] == said[1]
    assert len(said[0].split()) == 2


def test_every_driver_and_order_enters_once(lively: Live) -> None:
    entered = [line[1] for line in lively(drivers=7, orders=25).lines]
    assert len({one.driver_id for one in entered if isinstance(one, DriverRegistered)}) == 7
    assert sum(isinstance(one, DriverRegistered) for one in entered) == 7
    assert len({one.external_id for one in entered if isinstance(one, OrderPlaced)}) == 25
    assert sum(isinstance(one, OrderPlaced) for one in entered) == 25


def test_a_tick_is_the_last_input_of_every_fifth_second(lively: Live) -> None:
    lived = lively(drivers=3, orders=5)
    ticks = [at_ms for at_ms, entered, _ in lived.lines if isinstance(entered, Tick)]
    assert ticks == list(range(lived.world.start_ms, lived.world.end_ms + 1, 5_000))
    for at_ms, second in groupby(lived.lines, key=lambda line: line[0]):
        entered = [line[1] for line in second]
        if at_ms in ticks:
            assert isinstance(entered[-1], Tick)


def test_instants_are_whole_seconds_and_never_fall(lively: Live) -> None:
    times = [line[0] for line in lively(drivers=3, orders=5).lines]
    assert times == sorted(times)
    assert all(at_ms % 1000 == 0 for at_ms in times)


def test_the_engine_refuses_nothing_in_an_ordinary_world(lively: Live) -> None:
    assert not lively(drivers=12, orders=60, hours=1.0).refused()


def test_an_ordinary_hour_delivers_most_orders_on_time(lively: Live) -> None:
    lived = lively(Story(warmup_ms=0), drivers=14, orders=50, hours=2.0)
    tally = lived.engine.state.tallies["baybrook"]
    assert tally.delivered > 20
    assert tally.on_time / tally.delivered > 0.7


def test_drivers_and_orders_are_shared_out_over_malls(floor: Floor) -> None:
    world = World(floor, ("tysons-corner-center", "baybrook"), 1, T0, 1.0, 9, 21)
    first = world.step(T0)
    homes = Counter(one.mall_ids for one in first if isinstance(one, DriverRegistered))
    assert homes == {("tysons-corner-center",): 5, ("baybrook",): 4}
    assert [len(town.wishes) for town in world.towns] == [11, 10]


def test_numbers_can_go_on_from_an_earlier_run(floor: Floor) -> None:
    world = World(floor, ("baybrook",), 1, T0, 1.0, 5, 20, first_number=1_000_000)
    entered = [one for second in range(300) for one in world.step(T0 + second * 1000)]
    assert all((one.seq or 0) > 1_000_000 for one in entered if isinstance(one, Ping))
    assert all(int(one.id.split("-")[-1]) > 1_000_000 for one in entered if isinstance(one, Report))
    assert all(
        int((one.external_id or "").split("-")[-1]) > 1_000_000 for one in entered if isinstance(one, OrderPlaced)
    )


def test_trouble_with_one_phone_leaves_the_other_drivers_as_they_were(floor: Floor) -> None:
    def until(story: Story) -> list[object]:
        world = World(floor, ("baybrook",), 1, T0, 1.0, 4, 0, story)
        return [one for second in range(900) for one in world.step(T0 + second * 1000)]

    trouble = Story(incidents=Incidents(drivers=(DriverTrouble("jumps", 2, 0, HOUR_MS),)))
    usual, troubled = (
        [one for one in until(story) if isinstance(one, Ping | Report) and one.driver_id != "d-03"]
        for story in (Story(), trouble)
    )
    assert usual == troubled


@pytest.mark.parametrize("step", [0, 1])
def test_most_drivers_are_on_duty_within_the_first_minute(floor: Floor, step: int) -> None:
    world = World(floor, ("baybrook",), step, T0, 1.0, 40, 0)
    reports = [one for second in range(60) for one in world.step(T0 + second * 1000) if isinstance(one, Report)]
    assert sum(one.report == "on_duty" for one in reports) >= 28
