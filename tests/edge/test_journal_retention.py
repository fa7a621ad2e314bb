"""Retention: old days of pings go in bites, and what is left still leads to the same state."""

from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from streamer.core.engine import Engine
from streamer.core.errors import ConfigurationError
from streamer.core.events import Input, Ping, Tick
from streamer.core.snapshot import dump_state
from streamer.edge.journal import layout, retention
from streamer.edge.journal.contract import Entry, HistoryGoneError, PingRun, Snapshot
from streamer.edge.journal.database import JournalReader
from streamer.edge.journal.recovery import recover
from streamer.edge.journal.retention import Retention
from streamer.edge.journal.sqlite import SqliteJournal
from streamer.edge.recordings.record import Cut, record
from streamer.edge.recordings.replay import replay
from tests.builders import T0, a_floor, a_ping
from tests.edge.floor_kit import a_day, a_header
from tests.edge.test_journal import change

DAY_MS = 86_400_000
DAWN = T0 // DAY_MS * DAY_MS


class Days:
    """A floor that lives through days, with a snapshot early on each, and its journal."""

    def __init__(self, folder: Path, retention_days: int | None = 2) -> None:
        self.engine = Engine(a_floor())
        self.journal = SqliteJournal(folder, a_header(), retention_days=retention_days)

    def live(self, day: int, rounds: int = 3, snapshot: bool = True) -> None:
        first = next(at_ms for at_ms, _ in a_day(rounds))
        for at_ms, item in a_day(rounds):
            self.take(DAWN + day * DAY_MS + 3_600_000 + at_ms - first, item)
        if snapshot:
            state = self.engine.state
            self.journal.commit_now([Snapshot(state.seq, state.at_ms, dump_state(state))])

    def take(self, at_ms: int, item: Input) -> None:
        state, seq = self.engine.state, self.engine.state.seq
        if isinstance(item, Ping):
            # Each day's pings are new ones.
            item = a_ping(item.driver_id, at_ms, seq=state.seq)
        outputs = self.engine.handle(at_ms, item)
        if self.engine.state.seq > seq:
            verdict = getattr(outputs[0], "verdict", None) if outputs else None
            self.journal.commit_now([Entry(self.engine.state.seq, at_ms, item, verdict)])

    def tidy(self) -> int:
        """Do all the housekeeping; return in how many steps."""
        steps = 1
        while self.journal._store.tidy():
            steps += 1
        return steps

    def tables(self) -> list[str]:
        with closing(self.journal._store.reader()) as connection:
            return layout.all_ping_tables(connection)


@pytest.fixture
def days(tmp_path: Path) -> Days:
    return Days(tmp_path / "floor")


def day_name(day: int) -> str:
    return layout.day_table(DAWN + day * DAY_MS)


def test_days_within_the_retention_stay_and_older_ones_go(days: Days) -> None:
    for day in range(4):
        days.live(day)
        days.tidy()
    assert days.tables() == [day_name(day) for day in (1, 2, 3)]
    days.journal.close()


def test_the_floor_s_clock_decides_and_not_the_wall(days: Days) -> None:
    days.live(0)
    days.tidy()
    assert days.tables() == [day_name(0)]
    days.take(DAWN + 3 * DAY_MS - 1, Tick())
    days.tidy()
    assert days.tables() == [day_name(0)]
    days.take(DAWN + 3 * DAY_MS, Tick())
    days.tidy()
    assert days.tables() == []
    days.journal.close()


def test_recovery_with_and_without_snapshots_still_gives_the_same_state(days: Days) -> None:
    for day in range(5):
        days.live(day)
        days.tidy()
    base = days.journal.base()
    assert base is not None
    quick, full = recover(days.journal), recover(days.journal, use_snapshots=False)
    assert full.snapshot_seq == base.seq > 0
    assert full.replayed > quick.replayed
    assert quick.engine.hash() == full.engine.hash() == days.engine.hash()
    days.journal.close()


def test_as_much_history_is_kept_as_the_retention_says(days: Days) -> None:
    for day in range(6):
        days.live(day)
        # More than are kept for a quick start.
        for _ in range(4):
            days.take(days.engine.state.at_ms + 1000, Tick())
            state = days.engine.state
            days.journal.commit_now([Snapshot(state.seq, state.at_ms, dump_state(state))])
        days.tidy()
    base = days.journal.base()
    assert base is not None
    # The first snapshot at or after the end of the last day that went, not merely some newer one.
    assert DAWN + 2 * DAY_MS < base.at_ms < DAWN + 3 * DAY_MS + 7_200_000
    assert base.at_ms == min(snapshot.at_ms for snapshot in days.journal.snapshots())
    days.journal.close()


def test_nothing_goes_that_no_snapshot_stands_in_for(days: Days) -> None:
    days.live(0, snapshot=False)
    days.live(5, snapshot=False)
    days.tidy()
    assert days.tables() == [day_name(0), day_name(5)]
    state = days.engine.state
    days.journal.commit_now([Snapshot(state.seq, state.at_ms, dump_state(state))])
    days.take(state.at_ms + 3_600_000, Tick())
    days.tidy()
    assert days.tables() == [day_name(5)]
    days.journal.close()


@pytest.mark.parametrize("body", ["zeroblob(50)", "substr(body, 1, length(body) - 9)"])
def test_a_damaged_snapshot_is_no_base(tmp_path: Path, body: str) -> None:
    days = Days(tmp_path, None)
    days.live(0)
    days.live(4, snapshot=False)
    days.journal.close()
    change(tmp_path, f"UPDATE snapshot SET body = {body}")
    journal = SqliteJournal(tmp_path, a_header(), retention_days=2)
    journal.commit_now([Entry(days.engine.state.seq + 1, DAWN + 6 * DAY_MS, Tick())])
    journal._store.tidy()
    assert journal.base() is None
    assert recover(journal, use_snapshots=False).engine.state.seq == days.engine.state.seq + 1
    journal.close()


def test_a_snapshot_that_is_whole_but_of_another_version_is_no_base(tmp_path: Path) -> None:
    days = Days(tmp_path)
    days.live(0, snapshot=False)
    days.journal.commit_now([Snapshot(days.engine.state.seq, days.engine.state.at_ms, b"\x90")])
    days.live(4, snapshot=False)
    days.tidy()
    assert days.tables() == [day_name(0), day_name(4)]
    days.journal.close()


# ---------------------------------------------------------------- bites


def a_large_day(days: Days, pings: int = 20_000) -> None:
    """Pings of one day, in rows of 500, that are too old by the time of a tick."""
    for first in range(1, pings, 500):
        batch = [a_ping(f"d-{n}", DAWN, seq=first + n, accuracy_m=8.0) for n in range(500)]
        days.journal.commit_now([PingRun(first, DAWN + first, ["ok"] * 500, batch)])
    days.engine.state.seq = pings
    state = days.engine.state
    days.journal.commit_now([Snapshot(pings, DAWN + DAY_MS, dump_state(state))])
    days.journal.commit_now([Entry(pings + 1, DAWN + 9 * DAY_MS, Tick())])


def test_a_day_goes_in_bites_of_limited_size(days: Days, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BITE_BYTES", 100_000)
    a_large_day(days)
    bitten: list[int] = []
    bite = Retention.bite

    def watched(self: Retention) -> int:
        bitten.append(bite(self))
        return bitten[-1]

    monkeypatch.setattr(Retention, "bite", watched)
    days.tidy()
    assert days.tables() == []
    assert sum(bitten) > 1_500_000
    assert max(bitten) <= 100_000
    # The last one takes the empty table away.
    assert bitten[-1] == 0
    days.journal.close()


def test_one_row_larger_than_a_bite_goes_by_itself(days: Days, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BITE_BYTES", 10)
    a_large_day(days, 2_000)
    assert days.tidy() == 5
    assert days.tables() == []
    days.journal.close()


def test_a_half_dropped_day_is_not_read_and_goes_on_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BITE_BYTES", 100_000)
    days = Days(tmp_path)
    a_large_day(days)
    assert days.journal._store.tidy()
    assert days.journal._store.tidy()
    assert days.tables() == [day_name(0)]
    assert days.journal.track("d-1", DAWN, DAWN + DAY_MS, 0, 10).items == ()
    assert [entry.seq for entry in days.journal.entries(20_000)] == [20_001]
    days.journal.close()
    days.journal = SqliteJournal(tmp_path, a_header(), retention_days=2)
    days.journal.commit_now([Entry(20_002, DAWN + 9 * DAY_MS, Tick())])
    days.tidy()
    assert days.tables() == []
    days.journal.close()


def test_the_writer_drops_by_itself_while_it_commits_and_while_it_is_idle(days: Days) -> None:
    a_large_day(days)
    days.journal.start(lambda _ticket: None, lambda _error: None)
    days.journal.append(Entry(20_002, DAWN + 9 * DAY_MS, Tick()))
    days.journal.flush()
    for _ in range(200):
        if not days.tables():
            break
        days.journal._thread.join(0.02)  # type: ignore[union-attr]
    assert days.tables() == []
    days.journal.close()


def test_nothing_of_a_dropped_day_is_left_in_the_file(tmp_path: Path) -> None:
    days = Days(tmp_path)
    batch = [a_ping("d-secret", DAWN, seq=n) for n in range(5_000)]
    for n in range(0, 5_000, 500):
        days.journal.commit_now([PingRun(1 + n, DAWN + n, ["ok"] * 500, batch[n : n + 500])])
    days.engine.state.seq = 5_000
    days.journal.commit_now([Snapshot(5_000, DAWN + DAY_MS, dump_state(days.engine.state))])

    def seen() -> int:
        return sum(path.read_bytes().count(b"d-secret") for path in tmp_path.iterdir())

    # A name that lies across two pages is not seen.
    assert seen() > 4_500
    days.journal.commit_now([Entry(5_001, DAWN + 9 * DAY_MS, Tick())])
    days.tidy()
    days.journal.close()
    assert seen() == 0


# ---------------------------------------------------------------- what begins at the base


def test_reading_from_before_the_base_says_from_where_on(days: Days) -> None:
    for day in range(5):
        days.live(day)
        days.tidy()
    base = days.journal.base()
    assert base is not None
    with pytest.raises(HistoryGoneError, match=f"past their retention: read on from seq {base.seq}"):
        list(days.journal.entries())
    numbers = [entry.seq for entry in days.journal.entries(base.seq)]
    assert all(after == before + 1 for before, after in pairwise(numbers))
    days.journal.close()


def test_without_a_readable_snapshot_the_base_s_absence_is_one_clear_error(tmp_path: Path) -> None:
    days = Days(tmp_path)
    for day in range(5):
        days.live(day)
        days.tidy()
    days.journal.close()
    change(tmp_path, "DELETE FROM snapshot")
    reader = JournalReader(tmp_path)
    with pytest.raises(HistoryGoneError, match="restore a backup, or use the version of Mallard that wrote it"):
        recover(reader)
    reader.close()


def test_a_recording_begins_at_the_base_and_replays_to_its_hash(tmp_path: Path) -> None:
    days = Days(tmp_path / "floor")
    for day in range(5):
        days.live(day)
        days.tidy()
    out = tmp_path / "rest.ndjson.zst"
    companion = record(days.journal, Cut(), out)
    assert replay(out).hash == companion.hash == days.engine.hash()
    base = days.journal.base()
    assert base is not None
    with pytest.raises(ConfigurationError, match=f"past their retention: --from {base.at_ms + 1}"):
        record(days.journal, Cut(from_ms=base.at_ms), tmp_path / "early.ndjson.zst")
    record(days.journal, Cut(from_ms=base.at_ms + 1), tmp_path / "window.ndjson.zst")
    assert replay(tmp_path / "window.ndjson.zst").hash == days.engine.hash()
    days.journal.close()
