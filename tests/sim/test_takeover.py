"""A driver taken over goes on where it was: at the door, at the counter, on the road, or at rest."""

from math import hypot

import pytest
from msgspec import Struct

from streamer.core.events import Ping, Report
from streamer.core.state import Order
from streamer.sim.outlook import Life
from streamer.sim.takeover import Cast, Scene, Successor, scenes_of
from streamer.sim.town import Span
from streamer.sim.truths import Truth
from tests.builders import MINUTE, Bench, a_floor, a_ping

HOUR = 60 * MINUTE


class Taken(Struct):
    """A driver of a bench's floor, taken over as it stands."""

    driver: Successor
    at_ms: int

    def says(self, kind: str, within_s: int) -> int | None:
        """After how many seconds it says so; None: not in that time."""
        for second in range(1, within_s + 1):
            said = self.driver.step(self.at_ms + 1000 * second)
            if any(isinstance(item, Report) and item.report == kind for item in said):
                return second
        return None


@pytest.fixture(scope="module")
def scene() -> Scene:
    return scenes_of(a_floor(), 3)["plaza"]


def taken(bench: Bench, scene: Scene, life: Life | None = None, **truths: Truth) -> Taken:
    span = Span(bench.at_ms, bench.at_ms, bench.at_ms + HOUR)
    scene.span, scene.orders, scene.truths = span, bench.engine.state.orders, truths
    driver = bench.engine.state.drivers["d-1"]
    return Taken(Cast(1, span).take_over(driver, 0, scene, life or Life(), bench.at_ms), bench.at_ms)


def on_its_way(bench: Bench, *words: str) -> Order:
    bench.driver()
    order = bench.place()
    bench.command("assign", order, "d-1")
    for word in words:
        bench.report(word, order, MINUTE)
    return order


def test_who_stood_at_a_door_for_a_while_is_done_sooner(scene: Scene) -> None:
    waits: list[int] = []
    for spent_ms in (0, 40_000):
        bench = Bench()
        order = on_its_way(bench, "accepted", "picked_up", "arrived_at_dropoff")
        bench.at_ms += spent_ms
        second = taken(bench, scene, **{order.id: Truth(0, somebody_in=True)}).says("delivered", 300)
        assert second is not None
        waits.append(second)
    assert waits[0] - waits[1] == 40


def test_who_waits_at_a_counter_is_given_the_bag_once_it_is_packed_and_not_before(scene: Scene) -> None:
    bench = Bench()
    order = on_its_way(bench, "accepted", "arrived_at_pickup")
    second = taken(bench, scene, **{order.id: Truth(bench.at_ms + 200_000)}).says("picked_up", 400)
    assert second is not None
    assert 200 < second < 280


def test_an_order_not_answered_yet_is_answered(scene: Scene) -> None:
    bench = Bench()
    on_its_way(bench)
    second = taken(bench, scene, Life(accepted=9)).says("accepted", 60)
    assert second is not None


def test_who_declined_everything_declines_on(scene: Scene) -> None:
    bench = Bench()
    on_its_way(bench)
    assert taken(bench, scene, Life(declined=9)).says("declined", 60) is not None


def test_nobody_home_is_nobody_home_for_whoever_comes(scene: Scene) -> None:
    bench = Bench()
    order = on_its_way(bench, "accepted", "picked_up", "arrived_at_dropoff")
    assert taken(bench, scene, **{order.id: Truth(0, somebody_in=False)}).says("failed", 300) is not None


def test_it_is_where_its_phone_was_last_and_drives_on_from_there(scene: Scene) -> None:
    bench = Bench()
    bench.driver()
    bench.do(a_ping(at_ms=bench.at_ms + 5_000, north=0.012, speed_mps=12.0, heading_deg=0.0), 5_000)
    order = bench.place()
    bench.command("assign", order, "d-1")
    driver = taken(bench, scene).driver
    x, y = driver.x, driver.y
    assert abs(y - 0.012 * 111_195) < 30
    steps = []
    for second in range(1, 60):
        driver.step(bench.at_ms + 1000 * second)
        steps.append(hypot(driver.x - x, driver.y - y))
        x, y = driver.x, driver.y
    assert max(steps) < 35, "nobody jumps"
    assert sum(steps) > 100


def test_pings_number_on_and_a_silence_is_kept(scene: Scene) -> None:
    bench = Bench()
    bench.driver()
    bench.do(a_ping(at_ms=bench.at_ms + 5_000, north=0.02, seq=41), 5_000)
    silence = (bench.at_ms + 60_000, bench.at_ms + 240_000)
    driver = taken(bench, scene, Life(silences=[silence])).driver
    heard: list[tuple[int, Ping]] = []
    for second in range(1, 400):
        heard += [
            (second, item) for item in driver.step(bench.at_ms + 1000 * second) if isinstance(item, Ping)
        ]  # fmt: skip
    assert heard[0][1].seq == 42
    assert not [second for second, _ in heard if 61 < second < 239]
    assert [second for second, _ in heard if second > 245]


def test_it_leaves_when_it_left_in_the_recording(scene: Scene) -> None:
    bench = Bench()
    bench.driver()
    life = Life(offs=[bench.at_ms + 120_000], breaks=[])
    second = taken(bench, scene, life).says("off_duty", 900)
    assert second is not None
    assert second >= 120
