"""What can be replayed: fixtures, with what is wrong with those that cannot, and the floor's own day."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import zstandard

from streamer.core.engine import Engine
from streamer.core.snapshot import dump_state
from streamer.edge.journal.contract import Snapshot
from streamer.edge.journal.database import JournalReader
from streamer.edge.journal.sqlite import SqliteJournal
from streamer.edge.recordings.fixtures import companion_path, read_companion, write_companion
from streamer.edge.rooms import recording as reading
from streamer.edge.rooms.contract import RecordingItem, RoomOrder
from streamer.edge.rooms.gallery import Gallery, journal_of_today
from streamer.edge.rooms.recording import FixtureRecording, JournalRecording
from streamer.edge.rooms.room import Room
from tests.builders import MINUTE, T0, a_floor
from tests.edge.floor_kit import SECRET, a_day, a_header, a_runner, live_through, write_journal
from tests.edge.rooms.rooms_kit import END_MS, START_MS, a_recording


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_recording(tmp_path_factory.mktemp("good"))


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    """A folder with a good recording, to spoil."""
    for path in (good, companion_path(good)):
        shutil.copy(path, tmp_path)
    return tmp_path


def item(folder: Path) -> RecordingItem:
    (found,) = Gallery((folder,)).look()
    return found.item


def test_a_fixture_is_listed_with_its_story_its_span_and_its_figures(folder: Path) -> None:
    told = read_companion(folder / "a-day.ndjson.zst")
    assert item(folder) == RecordingItem(
        "a-day", "fixture", "a-day", "A day.", START_MS, END_MS, ("plaza",), 4, 20, kpis=told.kpis
    )


def test_of_two_folders_the_first_has_the_say_and_a_folder_that_is_not_there_has_nothing(
    folder: Path, good: Path
) -> None:
    found = Gallery((folder / "nowhere", folder, good.parent)).look()
    assert [one.path for one in found] == [folder / "a-day.ndjson.zst"]


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0x40]) + content[middle + 1 :]


def newer(content: bytes) -> bytes:
    header, _, rest = zstandard.ZstdDecompressor().decompressobj().decompress(content).partition(b"\n")
    text = msgspec.json.encode({**msgspec.json.decode(header), "schema": 99})
    return zstandard.compress(text + b"\n" + rest)


SPOILT = {
    "truncated": (cut, "fixture a-day.ndjson.zst is truncated: it ends in the middle of the compressed stream"),
    "damaged": (flipped, "fixture a-day.ndjson.zst is damaged: "),
    "foreign": (lambda _: b"PK\x03\x04 a zip archive", "fixture a-day.ndjson.zst is not Zstandard-compressed"),
    "another's": (lambda _: zstandard.compress(b'{"a":1}\n'), "fixture a-day.ndjson.zst, line 1: not a fixture header"),
    "newer": (newer, "fixture a-day.ndjson.zst has schema 99, and this version reads up to 1: update Mallard"),
    "empty": (lambda _: b"", "fixture a-day.ndjson.zst is not Zstandard-compressed"),
}


@pytest.mark.parametrize("way", SPOILT)
def test_a_fixture_that_cannot_be_played_is_listed_with_what_is_wrong(folder: Path, way: str) -> None:
    spoil, problem = SPOILT[way]
    path = folder / "a-day.ndjson.zst"
    path.write_bytes(spoil(path.read_bytes()))
    listed = item(folder)
    assert listed.problem is not None
    assert listed.problem.startswith(problem), listed.problem
    assert str(folder) not in listed.problem
    assert (listed.id, listed.start_ms, listed.orders) == ("a-day", 0, 0)


def test_a_fixture_without_its_companion_or_with_anothers_is_one_that_cannot_be_played(folder: Path) -> None:
    path = folder / "a-day.ndjson.zst"
    companion = read_companion(path)
    write_companion(
        path, msgspec.structs.replace(companion, counts=msgspec.structs.replace(companion.counts, inputs=7))
    )
    assert "and its companion says 7" in (item(folder).problem or "")
    companion_path(path).unlink()
    assert "the companion of a fixture" in (item(folder).problem or "")


def test_a_file_is_looked_through_once_and_again_when_it_has_changed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery = Gallery((folder,))
    (before,) = gallery.look()
    assert gallery.look()[0] is before
    path = folder / "a-day.ndjson.zst"
    path.write_bytes(cut(path.read_bytes()))
    assert gallery.look()[0].item.problem is not None
    path.unlink()
    assert gallery.look() == []


# ---------------------------------------------------------------- reading on from a place


def test_a_fixture_is_read_on_from_any_place(good: Path, tmp_path: Path) -> None:
    recording = FixtureRecording(good, tmp_path, END_MS)
    lines = list(recording.lines(recording.first))
    assert len(lines) == read_companion(good).counts.inputs
    for number in (0, 17, len(lines) - 2):
        place = lines[number][0]
        assert list(recording.lines(place)) == lines[number + 1 :]
    assert list(recording.lines(lines[-1][0])) == []


def test_a_fixture_that_unpacks_without_end_is_refused(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_UNPACKED_BYTES", 10_000)
    with pytest.raises(ValueError, match="unpacks to more than 10000 bytes"):
        FixtureRecording(good, tmp_path, END_MS)


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal of the small day, with a snapshot 40 s into it."""
    folder = tmp_path_factory.mktemp("journal")
    engine = Engine(a_floor())
    early = live_through(engine, (entry for entry in a_day() if entry[0] <= T0 + 40_000))
    snapshot = Snapshot(engine.state.seq, engine.state.at_ms, dump_state(engine.state))
    late = live_through(engine, (entry for entry in a_day() if entry[0] > T0 + 40_000))
    write_journal(folder, early, snapshot, *late)
    return folder


def test_a_journal_is_read_from_its_newest_snapshot_before_the_start_and_no_further_than_the_end(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BATCH", 7)
    recording = JournalRecording(journal, T0 + 60_000, T0 + 80_000)
    assert recording.begins.at_ms == T0 + 40_000
    lines = list(recording.lines(recording.first))
    assert (lines[0][1].at_ms, lines[-1][1].at_ms) == (T0 + 45_000, T0 + 80_000)
    assert [line.seq for _, line in lines] == list(range(recording.first + 1, lines[-1][1].seq + 1))
    assert list(recording.lines(lines[9][0])) == lines[10:]
    assert JournalRecording(journal, T0 + 20_000, T0 + 80_000).first == 0


async def test_a_day_of_a_journal_is_replayed_like_any_recording(journal: Path, tmp_path: Path) -> None:
    order = RoomOrder("r-1", "journal", "Today", str(journal), "ops-lead", T0 + 60_000, END_MS, END_MS)
    (folder := tmp_path / "room").mkdir()
    room = Room(order, folder, SECRET)
    try:
        await room.open()
        await room.player.seek(END_MS)
        engine = Engine(a_floor())
        live_through(engine, a_day())
        assert room.runner.engine.hash() == engine.hash()
    finally:
        await room.close()


def test_the_floors_own_day_begins_at_midnight_at_its_mall_and_is_for_ops_leads(journal: Path) -> None:
    runner = a_runner(at_ms=T0 + 100_000)
    live_through(runner.engine, a_day())
    found = journal_of_today(runner, journal)
    # T0 is 01:00 at the test mall, and its journal was begun then.
    assert (found.item.id, found.item.role, found.item.problem) == ("journal", "ops-lead", None)
    assert (found.item.start_ms, found.item.end_ms) == (T0, T0 + 100_000)
    assert (found.item.drivers, found.item.orders) == (4, 20)
    later = a_runner(at_ms=T0 + 24 * 60 * MINUTE)
    midnight = datetime.fromtimestamp(journal_of_today(later, journal).item.start_ms / 1000, UTC)
    assert (midnight.hour, midnight.minute) == (8, 0), "midnight in Los Angeles, in winter"
    assert journal_of_today(a_runner(at_ms=T0 + 10), journal).item.problem == "nothing was recorded today yet"
    assert "no readable journal" in (journal_of_today(runner, journal / "nowhere").item.problem or "")


async def test_a_replay_of_the_day_takes_nothing_from_the_floor_that_writes_it(tmp_path: Path) -> None:
    """The floor commits on, its log of changes is cleared meanwhile, and the replay still sees all it asked for."""
    runner = a_runner(SqliteJournal(tmp_path, a_header()))
    await runner.start()
    day = list(a_day())
    for at_ms, given in day[:60]:
        runner.submit(given, at_ms=at_ms)
    await runner.settled()
    recording = JournalRecording(tmp_path, T0, T0 + 10**6)
    lines = recording.lines(recording.first)
    before = next(lines)
    for at_ms, given in day[60:]:
        runner.submit(given, at_ms=at_ms)
    await runner.settled()
    hash_before = runner.engine.hash()
    seen = [before, *lines]
    await runner.stop()
    assert seen[-1][1].seq == runner.engine.state.seq
    assert runner.engine.hash() == hash_before
    reader = JournalReader(tmp_path)
    assert sum(1 for _ in reader.entries()) == len(seen)
    reader.close()
