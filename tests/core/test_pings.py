"""Which pings are taken, which move the marker, and that refused ones leave no trace."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.core import pings
from streamer.core.events import DriverRegistered, Duty, Ping, PingTaken
from streamer.core.pings import GAPS_KEPT
from streamer.core.settings import PingRules
from streamer.core.snapshot import dump_state
from streamer.core.state import Driver
from tests.builders import T0, Bench, a_ping, a_report, refusal


def verdict(outputs: tuple[object, ...]) -> str:
    assert isinstance(outputs[0], PingTaken), outputs
    return outputs[0].verdict


@pytest.fixture
def on_duty(bench: Bench) -> Bench:
    bench.driver("d-1")
    return bench


def marker(bench: Bench) -> tuple[float, float]:
    ping = bench.engine.state.drivers["d-1"].ping
    assert ping is not None
    return ping.lat, ping.lng


def test_good_ping_moves_the_marker_and_lands_in_its_hex(on_duty: Bench) -> None:
    ping = a_ping(at_ms=T0 + 5000, north=0.0101, seq=7)
    assert verdict(on_duty.do(ping, 5000)) == "ok"
    driver = on_duty.engine.state.drivers["d-1"]
    assert (driver.ping, driver.last_seq, driver.received_ms) == (ping, 7, T0 + 5000)
    assert on_duty.engine.everyone.cells[driver.cell] == {"d-1": driver}


def test_repeated_ping_has_no_effect_at_all(on_duty: Bench) -> None:
    on_duty.do(a_ping(at_ms=T0 + 1000, north=0.0101, seq=7), 1000)
    before = dump_state(on_duty.engine.state)
    assert verdict(on_duty.do(a_ping(at_ms=T0 + 9000, north=0.5, seq=7), 9000)) == "duplicate"
    assert dump_state(on_duty.engine.state) == before


def test_ping_without_seq_is_known_by_time_and_place(on_duty: Bench) -> None:
    ping = a_ping(at_ms=T0 + 1000, north=0.0101)
    assert verdict(on_duty.do(ping, 1000)) == "ok"
    assert verdict(on_duty.do(ping, 1000)) == "duplicate"
    assert verdict(on_duty.do(a_ping(at_ms=T0 + 1000, north=0.0102), 0)) == "ok"


def test_late_ping_does_not_move_the_marker_but_is_kept(on_duty: Bench) -> None:
    on_duty.do(a_ping(at_ms=T0 + 9000, north=0.0105, seq=9), 9000)
    seq = on_duty.engine.state.seq
    assert verdict(on_duty.do(a_ping(at_ms=T0 + 4000, north=0.0101, seq=5), 0)) == "late"
    assert marker(on_duty)[0] == pytest.approx(36.127 + 0.0105)
    assert on_duty.engine.state.seq == seq + 1


def test_gap_filled_later_is_taken_once(on_duty: Bench) -> None:
    for seq in (10, 14):
        on_duty.do(a_ping(at_ms=T0 + seq * 1000, north=0.01, seq=seq), 1000)
    verdicts = [verdict(on_duty.do(a_ping(at_ms=T0 + 500, north=0.01, seq=seq))) for seq in (12, 12, 11, 13, 13, 10)]
    assert verdicts == ["late", "duplicate", "late", "late", "duplicate", "duplicate"]
    assert on_duty.engine.state.drivers["d-1"].gaps == ((0, 9),)


def test_jump_is_not_believed_at_once(on_duty: Bench) -> None:
    assert verdict(on_duty.do(a_ping(at_ms=T0 + 5000, north=0.3, seq=1), 5000)) == "jump"
    assert marker(on_duty)[0] == pytest.approx(36.127 + 0.01)


def test_jumps_that_agree_are_believed_at_the_third(on_duty: Bench) -> None:
    verdicts = [
        verdict(on_duty.do(a_ping(at_ms=T0 + 5000 * n, north=0.3 + n * 1e-4, seq=n), 5000)) for n in (1, 2, 3, 4)
    ]
    assert verdicts == ["jump", "jump", "ok", "ok"]


def test_jumps_that_disagree_are_never_believed(on_duty: Bench) -> None:
    verdicts = [
        verdict(on_duty.do(a_ping(at_ms=T0 + 1000 * n, north=0.3 * (-1) ** n, seq=n), 1000)) for n in range(1, 9)
    ]
    assert set(verdicts) == {"jump"}


def test_parked_driver_with_noise_never_jumps(on_duty: Bench) -> None:
    for n in range(1, 200):
        noise = 0.0004 * ((n * 7919) % 13 - 6) / 6
        assert verdict(on_duty.do(a_ping(at_ms=T0 + n, north=0.01 + noise, seq=n), 1)) == "ok"


def test_vague_fix_does_not_move_the_marker(on_duty: Bench) -> None:
    assert verdict(on_duty.do(a_ping(at_ms=T0 + 5000, north=0.0101, accuracy_m=900.0), 5000)) == "inaccurate"


@pytest.mark.parametrize(
    ("fix_ms", "code"),
    [(T0 + 30_000, None), (T0 + 30_001, "future"), (T0 - 86_400_000, None), (T0 - 86_400_001, "too_old"),
     (0, "too_old"), (T0 // 1000, "too_old"), (T0 * 1000, "future")],
)  # fmt: skip
def test_phones_clock_is_held_to_bounds(bench: Bench, fix_ms: int, code: str | None) -> None:
    bench.do(DriverRegistered("d-1"))
    bench.do(a_report("on_duty"))
    assert refusal(bench.do(a_ping(at_ms=fix_ms))) == code


@pytest.mark.parametrize("duty", ["off_duty", "on_break"])
def test_pings_outside_duty_are_refused_and_leave_no_trace(on_duty: Bench, duty: str) -> None:
    on_duty.do(a_report(duty))
    before = dump_state(on_duty.engine.state)
    assert refusal(on_duty.do(a_ping(at_ms=T0 + 5000, north=0.0101, seq=1), 5000)) == "off_duty"
    assert dump_state(on_duty.engine.state) == before


def test_unknown_driver_is_refused(bench: Bench) -> None:
    assert refusal(bench.do(a_ping("nobody"))) == "not_yours"


def test_antimeridian_is_no_jump(bench: Bench) -> None:
    bench.driver("d-1", east=180 - 0.0001 + 115.172)
    ping = a_ping(at_ms=T0 + 5000, north=0.01, east=-180 + 0.0001 + 115.172, seq=1)
    assert verdict(bench.do(ping, 5000)) == "ok"


@given(st.permutations(list(range(20))), st.data())
def test_any_order_with_repeats_ends_where_sorted_unique_ends(order: list[int], draw: st.DataObject) -> None:
    repeats = draw.draw(st.lists(st.sampled_from(range(20)), max_size=20))
    shuffled, sorted_bench = Bench(), Bench()
    for one in (shuffled, sorted_bench):
        one.driver("d-1")
        one.do(a_ping(at_ms=T0 + 1, north=0.01, seq=0), 100_000)
    pings = [a_ping(at_ms=T0 + 1000 * n, north=0.01 + n * 1e-5, seq=n + 1) for n in range(20)]
    for n in [*order, *repeats]:
        shuffled.do(pings[n])
    for ping in pings:
        sorted_bench.do(ping)
    assert marker(shuffled) == marker(sorted_bench)
    assert shuffled.engine.state.drivers["d-1"].gaps == ()
    assert sum(shuffled.engine.state.verdicts.values()) == sum(sorted_bench.engine.state.verdicts.values())


def test_a_ping_from_before_what_is_remembered_is_refused_and_not_called_known(on_duty: Bench) -> None:
    # Every other ping was refused on its way, as by a rate limit, and comes again much later.
    late = 2 * (GAPS_KEPT + 20)
    for seq in range(0, late, 2):
        on_duty.do(a_ping(at_ms=on_duty.at_ms, seq=seq), 100)
    outcomes = [on_duty.do(a_ping(at_ms=on_duty.at_ms, seq=seq)) for seq in range(1, late, 2)]
    refused = [seq for seq, outputs in zip(range(1, late, 2), outcomes, strict=True) if refusal(outputs) == "too_old"]
    taken = [seq for seq, outputs in zip(range(1, late, 2), outcomes, strict=True) if refusal(outputs) is None]
    assert refused == list(range(1, 2 * 19, 2))
    assert all(verdict(outputs) != "duplicate" for outputs in outcomes if refusal(outputs) is None)
    assert len(taken) == len(outcomes) - len(refused) > GAPS_KEPT
    assert refusal(on_duty.do(a_ping(at_ms=on_duty.at_ms, seq=0))) == "too_old", "it is no longer known"


@settings(max_examples=600)
@given(
    st.builds(
        a_ping, at_ms=st.integers(T0 - 5_000, T0 + 40_000), seq=st.none() | st.integers(1, 3),
        north=st.floats(-0.002, 0.002), east=st.floats(-0.002, 0.002), accuracy_m=st.none() | st.floats(0, 700),
    ),
    st.integers(0, 2), st.sampled_from(["on_duty", "off_duty"]), st.integers(T0 - 40_000, T0 + 40_000), st.booleans(),
)  # fmt: skip
def test_the_usual_ping_would_pass_every_step(
    ping: Ping, last_seq: int, duty: Duty, at_ms: int, has_jumped: bool
) -> None:
    driver = Driver("d-1", "", 5, (), None, duty=duty, ping=a_ping(), last_seq=last_seq)
    driver.jumps = (a_ping(north=0.5),) if has_jumped else ()
    rules = PingRules()
    if pings.usual(rules)(driver, ping, at_ms):
        assert not pings.is_duplicate(driver, ping)
        assert pings.refusal(driver, ping, at_ms, rules) is None
        assert pings.judge(driver, ping, rules) == "ok"
        assert driver.jumps == ()
        pings.note_identity(driver, ping)
        assert (driver.last_seq, driver.gaps, driver.recent) == (last_seq + 1, (), ())


def test_the_next_ping_of_a_driver_on_its_way_is_usual() -> None:
    driver = Driver("d-1", "", 5, (), None, duty="on_duty", ping=a_ping(), last_seq=6)
    is_usual = pings.usual(PingRules())
    assert is_usual(driver, a_ping(at_ms=T0 + 5_000, north=0.001, seq=7), T0 + 5_000)
    assert not is_usual(driver, a_ping(at_ms=T0 + 5_000, north=0.001, seq=8), T0 + 5_000)
    assert not is_usual(driver, a_ping(at_ms=T0 + 5_000, north=0.01, seq=7), T0 + 5_000)
