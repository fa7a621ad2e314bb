"""Words for people: instants on the mall's clock, durations, promises, and what is hidden of a phone number."""

import pytest

from dashboard import formats

MINUTE = 60_000
NOON_UTC = 1_794_571_200_000  # 2026-11-13 12:00:00 UTC


@pytest.mark.parametrize(
    ("span_ms", "words"),
    [
        (0, "0 min"),
        (29_000, "0 min"),
        (31_000, "1 min"),
        (59 * MINUTE, "59 min"),
        (65 * MINUTE, "1 h 05"),
        (-4 * MINUTE, "−4 min"),
        (-1000, "0 min"),
    ],
)
def test_a_duration_is_rounded_to_minutes_and_keeps_its_sign(span_ms: int, words: str) -> None:
    assert formats.minutes(span_ms) == words


@pytest.mark.parametrize(
    ("span_ms", "words"),
    [(400, "0 s"), (4_900, "4 s"), (119_999, "119 s"), (120_000, "2 min"), (7_800_000, "2 h 10"), (-5_000, "0 s")],
)
def test_an_age_is_never_rounded_up_to_look_older_nor_below_nought(span_ms: int, words: str) -> None:
    assert formats.age(span_ms) == words


@pytest.mark.parametrize(
    ("timezone", "shown"),
    [("America/Los_Angeles", "04:00"), ("America/New_York", "07:00"), ("America/Phoenix", "05:00"), ("UTC", "12:00")],
)
def test_an_instant_is_shown_on_the_malls_own_clock(timezone: str, shown: str) -> None:
    assert formats.clock(NOON_UTC, timezone) == shown


def test_a_replay_shows_the_time_of_its_recording() -> None:
    assert formats.clock(NOON_UTC, "UTC", offset_ms=-90 * MINUTE, seconds=True) == "10:30:00"


def test_an_unknown_time_zone_is_shown_as_utc_and_says_so() -> None:
    assert formats.clock(NOON_UTC, "Mars/Olympus") == "12:00 UTC"
    assert formats.clock(None, "UTC") == "–"


@pytest.mark.parametrize(
    ("eta_minutes", "words"),
    [(14, "6 min to spare"), (20, "on the minute"), (24, "late by 4 min"), (90, "late by 1 h 10")],
)
def test_a_promise_says_what_is_to_spare_or_how_late(eta_minutes: int, words: str) -> None:
    assert formats.promise(20 * MINUTE, eta_minutes * MINUTE) == words


def test_a_promise_without_an_eta_says_so() -> None:
    assert formats.promise(20 * MINUTE, None) == "no ETA yet"


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (10, 12, "+2 min"),
        (12, 7, "−5 min"),
        (10, 10, "no change"),
        (None, 10, "new ETA"),
        (10, None, "no ETA"),
    ],
)
def test_a_shift_of_an_eta_carries_its_sign(before: int | None, after: int | None, words: str) -> None:
    instants = [None if value is None else value * MINUTE for value in (before, after)]
    assert formats.shift(*instants) == words


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (0, 4, "now late by 4 min"),
        (9, 6, "late by 6 min (was 9 min)"),
        (6, 6, "late by 6 min"),
        (3, 0, "no longer late"),
        (None, -5, "on time"),
    ],
)
def test_lateness_says_what_a_change_does_to_the_promise(before: int | None, after: int, words: str) -> None:
    assert formats.lateness(None if before is None else before * MINUTE, after * MINUTE) == words


@pytest.mark.parametrize(("phone", "shown"), [("+17025550123", "••• ••• ••23"), ("123", ""), ("", "")])
def test_a_phone_number_shows_two_digits_at_most(phone: str, shown: str) -> None:
    assert formats.masked_phone(phone) == shown


def test_changes_leave_out_what_the_events_name_already_says() -> None:
    changed = {"status": "assigned", "driver_id": "d-1", "version": "7", "position": "2"}
    assert formats.changes(changed, {"d-1": "Ana R."}) == "driver: Ana R. · position: 2"
    assert formats.changes({"driver_id": ""}, {}) == "driver: none"


@pytest.mark.parametrize(
    ("text", "shown"), [("o-1 assigned to Ana R.", "o-1 assigned to Ana R."), ("late", "late."), ("", "")]
)
def test_a_sentence_ends_in_one_full_stop(text: str, shown: str) -> None:
    assert formats.sentence(text) == shown


@pytest.mark.parametrize(
    ("left_ms", "words"),
    [(9 * MINUTE + 59_000, "9 min left"), (69_900, "69 s left"), (0, "lapsed"), (-MINUTE, "lapsed")],
)
def test_what_is_left_of_an_offer_is_never_rounded_up(left_ms: int, words: str) -> None:
    assert formats.left(NOON_UTC + left_ms, NOON_UTC) == words


@pytest.mark.parametrize(("low_ms", "high_ms"), [(None, None), (None, NOON_UTC), (NOON_UTC, None)])
def test_half_an_interval_is_none(low_ms: int | None, high_ms: int | None) -> None:
    assert formats.between(low_ms, high_ms, "UTC") == ""
    assert formats.between(NOON_UTC, NOON_UTC + 11 * MINUTE, "UTC") == "between 12:00 and 12:11"
