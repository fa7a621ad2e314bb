"""What a phone makes of where it is: noise that lasts, gaps indoors, and each kind of failure."""

from itertools import pairwise
from math import hypot
from statistics import mean, pstdev

import pytest

from streamer.core.events import Ping
from streamer.sim.incidents import DriverTrouble
from streamer.sim.phone import Phone, Sky
from streamer.sim.plane import Plane
from streamer.sim.town import stream
from tests.sim.conftest import T0

PLANE = Plane(36.127, -115.172)
HOUR_S = 3_600


def listen(
    phone: Phone, seconds: int = HOUR_S, sky: Sky = "open", moving: bool = False
) -> list[tuple[int, list[Ping]]]:
    """What a phone at the origin sends, by second."""
    return [
        (second, phone.look(T0 + second * 1000, second * 1000, 0.0, 0.0, 0.0, 90, sky, moving))
        for second in range(seconds)
    ]


def a_phone(*troubles: DriverTrouble, seed: int = 1) -> Phone:
    return Phone("d-01", PLANE, stream(seed, 9), troubles)


def errors(pings: list[Ping]) -> list[tuple[float, float]]:
    return [PLANE.to_xy(ping.lat, ping.lng) for ping in pings]


def flat(heard: list[tuple[int, list[Ping]]]) -> list[Ping]:
    return [ping for _, sent in heard for ping in sent]


@pytest.mark.parametrize(("moving", "gap_s"), [(True, 5), (False, 15)])
def test_it_speaks_every_five_seconds_moving_and_every_fifteen_at_rest(moving: bool, gap_s: int) -> None:
    when = [second for second, sent in listen(a_phone(), moving=moving) if sent]
    gaps = [b - a for a, b in pairwise(when)]
    assert set(gaps) <= {gap_s, 2 * gap_s, 3 * gap_s}
    assert gaps.count(gap_s) > 0.95 * len(gaps)


def test_errors_are_a_few_metres_outside_and_tens_inside_and_accuracy_says_so() -> None:
    outside, inside = (flat(listen(a_phone(), 20 * HOUR_S, sky)) for sky in ("parked", "indoors"))
    assert 2.0 < pstdev(x for x, _ in errors(outside)) < 5.0
    assert 12.0 < pstdev(x for x, _ in errors(inside)) < 22.0
    assert mean(p.accuracy_m or 0 for p in inside) > 3 * mean(p.accuracy_m or 0 for p in outside)


def test_neighbouring_fixes_err_alike() -> None:
    east = [x for x, _ in errors(flat(listen(a_phone(), 10 * HOUR_S, "parked")))]
    alike = mean(a * b for a, b in pairwise(east)) / mean(x * x for x in east)
    assert alike > 0.8


def test_many_fixes_are_lost_indoors() -> None:
    inside, outside = len(flat(listen(a_phone(), sky="indoors"))), len(flat(listen(a_phone(), sky="parked")))
    assert 0.4 * outside < inside < 0.75 * outside


def test_seq_rises_by_one_and_the_phones_clock_is_just_behind_the_floor() -> None:
    heard = listen(a_phone())
    pings = flat(heard)
    assert [ping.seq for ping in pings] == list(range(1, len(pings) + 1))
    assert all(0 < T0 + second * 1000 - ping.fix_ms < 1000 for second, sent in heard for ping in sent)


def test_numbers_are_short_so_that_fixtures_are_small() -> None:
    for ping in flat(listen(a_phone(), moving=True)):
        assert (ping.lat, ping.lng) == (round(ping.lat, 5), round(ping.lng, 5))
        assert ping.accuracy_m == round(ping.accuracy_m or 0)
        assert ping.battery == round(ping.battery or 0, 2)


def test_the_battery_runs_down_and_is_charged_before_it_is_empty() -> None:
    levels = [ping.battery or 0 for ping in flat(listen(a_phone(), 12 * HOUR_S))]
    assert min(levels) > 0.05
    assert any(b > a for a, b in pairwise(levels))
    assert any(b < a for a, b in pairwise(levels))


def test_duplicates_send_the_same_ping_twice() -> None:
    for _, sent in listen(a_phone(DriverTrouble("duplicates", 0, 0, HOUR_S * 1000)), 300):
        assert not sent or (len(sent) == 2 and sent[0] == sent[1])


def test_a_late_batch_sends_the_newest_first_and_then_all_that_was_kept() -> None:
    heard = listen(a_phone(DriverTrouble("late_batch", 0, 60_000, 600_000)), 900, moving=True)
    assert not any(sent for second, sent in heard if 65 <= second < 600)
    batch = next(sent for second, sent in heard if second >= 600 and sent)
    assert len(batch) == 109
    assert batch[0].fix_ms > max(ping.fix_ms for ping in batch[1:])
    assert [ping.seq for ping in batch[1:]] == sorted(ping.seq or 0 for ping in batch[1:])


def test_jumps_lie_kilometres_off_with_a_good_accuracy() -> None:
    pings = flat(listen(a_phone(DriverTrouble("jumps", 0, 0, HOUR_S * 1000)), moving=True))
    off = [ping for ping, error in zip(pings, errors(pings), strict=True) if hypot(*error) > 3_000]
    assert 0.2 < len(off) / len(pings) < 0.4
    assert all((ping.accuracy_m or 0) < 15 for ping in off)
