"""What a room can be opened on: the fixtures in some folders, each looked through once, and the live floor's own day.

It must not know rooms or their processes. A file that cannot be played is listed with what is wrong with it.
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from msgspec import Struct

from streamer.core.errors import ConfigurationError, StorageError
from streamer.core.malls import parse_malls
from streamer.edge.journal.contract import HistoryGoneError
from streamer.edge.journal.database import JournalReader
from streamer.edge.recordings.fixtures import (
    SUFFIX,
    Companion,
    FixtureError,
    FixtureReader,
    companion_path,
    read_companion,
)
from streamer.edge.rooms.contract import JOURNAL, RecordingItem
from streamer.edge.runner import Runner

SHORTEST_MS = 1_000
"""A day that is younger has nothing to look at yet."""


class Found(Struct, frozen=True):
    """A recording, and where it is: a fixture's file, or the folder of a journal."""

    item: RecordingItem
    path: Path


class Gallery:
    """The fixtures of some folders. `look` opens files; use it in a thread."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = tuple(folders)
        self._looked: dict[tuple[Path, int, int, int], Found] = {}

    def look(self) -> list[Found]:
        """Every fixture there is now, by name; of two with the same name the one of the earlier folder."""
        paths: dict[str, Path] = {}
        for folder in self._folders:
            for path in sorted(folder.glob(f"*{SUFFIX}")):
                paths.setdefault(path.name.removesuffix(SUFFIX), path)
        stamps = {_stamp(path): name for name, path in sorted(paths.items())}
        self._looked = {
            stamp: self._looked.get(stamp) or Found(_look_through(stamp[0], name), stamp[0])
            for stamp, name in stamps.items()
        }
        return list(self._looked.values())


def _stamp(path: Path) -> tuple[Path, int, int, int]:
    """Differs when a fixture or its companion has changed."""
    try:
        file = path.stat()
        beside = companion_path(path)
        return path, file.st_size, file.st_mtime_ns, beside.stat().st_mtime_ns if beside.exists() else 0
    except OSError:
        return path, 0, 0, 0


def _look_through(path: Path, name: str) -> RecordingItem:
    """The entry of a fixture. All of it is unpacked, which finds damage, but not decoded."""
    try:
        companion = read_companion(path)
        with FixtureReader(path) as fixture:
            header = fixture.header
            inputs = sum(1 for _ in fixture.texts())
        if inputs != companion.counts.inputs:
            raise FixtureError(
                f"fixture {path} holds {inputs} inputs, and its companion says {companion.counts.inputs}"
            )
        malls = tuple(parse_malls(header.malls).malls)
    except ConfigurationError as error:
        # Its folder is nobody's business who looks at the floor.
        problem = str(error).replace(f"{path.parent}/", "")
        return RecordingItem(name, "fixture", name, "", 0, 0, (), 0, 0, problem=problem)
    return _item(name, companion, header.start_ms, malls)


def _item(name: str, companion: Companion, start_ms: int, malls: tuple[str, ...]) -> RecordingItem:
    end_ms = start_ms + companion.length_ms
    counts = companion.counts
    return RecordingItem(
        name, "fixture", name, companion.story, start_ms, end_ms, malls, counts.drivers, counts.orders,
        kpis=companion.kpis,
    )  # fmt: skip


def journal_of_today(runner: Runner, folder: Path) -> Found:
    """The live floor's day so far, from the first midnight at any of its malls. Opens a file; use it in a thread."""
    now_ms = runner.now_ms()
    malls = runner.engine.floor.malls
    midnight_ms = min(_midnight_ms(mall.timezone, now_ms) for mall in malls.values())
    problem, start_ms = None, midnight_ms
    try:
        reader = JournalReader(folder)
        try:
            base = reader.base()
            start_ms = max(midnight_ms, reader.header.created_ms, base.at_ms + 1 if base is not None else 0)
        finally:
            reader.close()
    except (StorageError, ConfigurationError, HistoryGoneError) as error:
        problem = str(error).replace(f"{folder}/", "")
    if problem is None and now_ms - start_ms < SHORTEST_MS:
        problem = "nothing was recorded today yet"
    state = runner.engine.state
    orders = sum(order.placed_ms >= start_ms for order in list(state.orders.values()))
    item = RecordingItem(
        JOURNAL, "journal", "Today", "What happened on this floor today, from its own journal.", start_ms, now_ms,
        tuple(malls), len(state.drivers), orders, "ops-lead", problem,
    )  # fmt: skip
    return Found(item, folder)


def _midnight_ms(timezone: str, now_ms: int) -> int:
    now = datetime.fromtimestamp(now_ms / 1000, ZoneInfo(timezone))
    return int(now.replace(hour=0, minute=0, second=0, microsecond=0).timestamp() * 1000)
