"""What the dashboard holds of the live feed, and what it gives a reader from it."""

import msgspec
import pytest

from dashboard.feed import KEPT_DELTAS, SNAPSHOT_AGE, Feed


def a_frame(seq: int, frame: str = "delta", mall_id: str = "m", epoch: str = "e1") -> str:
    head: dict[str, object] = {"frame": frame, "mall_id": mall_id, "seq": seq, "at_ms": seq}
    return msgspec.json.encode(head | ({"epoch": epoch} if frame == "snapshot" else {})).decode()


def a_feed(*frames: str) -> Feed:
    feed = Feed()
    for frame in frames:
        feed.take(frame)
    return feed


def seqs(texts: list[str]) -> list[tuple[str, int]]:
    heads = [msgspec.json.decode(text) for text in texts]
    return [(head["frame"], head["seq"]) for head in heads]


def test_new_reader_gets_the_snapshot_and_the_deltas_since() -> None:
    feed = a_feed(a_frame(4, "snapshot"), a_frame(5), a_frame(6))
    assert seqs(feed.catch_up("m", None, None)) == [("snapshot", 4), ("delta", 5), ("delta", 6)]


@pytest.mark.parametrize(
    ("since", "epoch", "expected"),
    [
        (5, "e1", [("delta", 6)]),
        (6, "e1", []),
        (4, "e1", [("delta", 5), ("delta", 6)]),
        (3, "e1", [("snapshot", 4), ("delta", 5), ("delta", 6)]),
        (7, "e1", [("snapshot", 4), ("delta", 5), ("delta", 6)]),
        (5, "another", [("snapshot", 4), ("delta", 5), ("delta", 6)]),
        (5, None, [("snapshot", 4), ("delta", 5), ("delta", 6)]),
    ],
)
def test_returning_reader_gets_what_it_missed_or_starts_anew(
    since: int, epoch: str | None, expected: list[tuple[str, int]]
) -> None:
    feed = a_feed(a_frame(4, "snapshot"), a_frame(5), a_frame(6))
    assert seqs(feed.catch_up("m", since, epoch)) == expected


def test_repeated_delta_is_nothing_new() -> None:
    feed = a_feed(a_frame(1, "snapshot"), a_frame(2))
    assert feed.take(a_frame(2)) is None
    assert seqs(feed.catch_up("m", None, None)) == [("snapshot", 1), ("delta", 2)]


def test_gap_stops_the_mall_until_its_next_snapshot() -> None:
    feed = a_feed(a_frame(1, "snapshot"))
    assert feed.take(a_frame(3)) is None
    assert feed.take(a_frame(4)) is None
    assert feed.catch_up("m", None, None) == []
    assert feed.wants_snapshot()
    assert feed.resume_from() == ({}, "e1")
    assert feed.take(a_frame(4, "snapshot")) is not None
    assert seqs(feed.catch_up("m", None, None)) == [("snapshot", 4)]


def test_old_snapshot_is_renewed_without_troubling_readers_that_follow() -> None:
    feed = a_feed(a_frame(0, "snapshot"), *(a_frame(seq) for seq in range(1, SNAPSHOT_AGE + 1)))
    assert feed.wants_snapshot()
    assert not feed.wants_snapshot(), "it is asked for once"
    assert feed.resume_from() == ({}, "e1")
    assert feed.take(a_frame(SNAPSHOT_AGE, "snapshot")) is None
    assert seqs(feed.catch_up("m", None, None)) == [("snapshot", SNAPSHOT_AGE)]
    assert seqs(feed.catch_up("m", SNAPSHOT_AGE - 1, "e1")) == [("delta", SNAPSHOT_AGE)]


def test_snapshot_that_never_comes_breaks_the_mall_rather_than_the_line() -> None:
    feed = a_feed(a_frame(0, "snapshot"))
    for seq in range(1, KEPT_DELTAS + 2):
        feed.take(a_frame(seq))
        feed.wants_snapshot()
    assert feed.catch_up("m", None, None) == []


def test_new_epoch_forgets_everything_of_the_old_one() -> None:
    feed = a_feed(a_frame(9, "snapshot"), a_frame(9, "snapshot", "n"))
    assert feed.take(a_frame(1, "snapshot", "m", "e2")) is not None
    assert feed.catch_up("n", None, None) == []
    assert feed.resume_from() == ({"m": 1}, "e2")


def test_age_counts_from_the_last_frame() -> None:
    now_s = [100.0]
    feed = Feed(clock=lambda: now_s[0])
    assert feed.age_s() is None
    feed.take(a_frame(1, "snapshot"))
    now_s[0] = 102.5
    assert feed.age_s() == 2.5


def test_what_is_no_frame_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        Feed().take('{"frame":"poem"}')
