"""Makes a fixture of tracks from elsewhere: their people are registered, go on duty, and are seen where they were.

It must not know file formats, nor what the floor makes of a fix.
"""

import heapq
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import tzinfo
from pathlib import Path
from statistics import median

import h3.api.basic_int as h3
from msgspec import Struct, field

from streamer.core.engine import Engine
from streamer.core.errors import ConfigurationError
from streamer.core.events import DriverRegistered, Input, Ping, Refused, Report, Tick
from streamer.core.kpis import kpis
from streamer.core.malls import Floor, Mall
from streamer.core.settings import Settings
from streamer.core.snapshot import state_hash
from streamer.edge.journal.layout import utc
from streamer.edge.recordings.fixtures import (
    QUICK_LEVEL,
    SCHEMA,
    Companion,
    Counts,
    FixtureWriter,
    Header,
    write_companion,
)
from streamer.edge.tracks.contract import MAX_POINTS, BadRow, Point, Reading, TrackError
from streamer.edge.tracks.derive import in_order, with_movement
from streamer.edge.tracks.gpx import read_gpx
from streamer.edge.tracks.table import read_table

READERS: dict[str, Callable[[Reading], Iterator[Point]]] = {
    ".gpx": read_gpx, ".csv": read_table, ".tsv": read_table, ".txt": read_table,
}  # fmt: skip
MAX_FILE_BYTES = 1 << 30
LONGEST_MS = 48 * 3_600_000
"""A floor's clock ticks through all of it; weeks are cut by `--from` and `--to`."""
PAUSE_MS = 15 * 60_000
"""Nobody is on duty through a longer silence."""
BAD_KEPT = 1_000
"""Bad rows beyond these are only counted."""
PROGRESS_EVERY = 5_000


class Import(Struct, frozen=True, kw_only=True):
    """What to import, and how. Instants are UTC epoch milliseconds; see `Reading` for the rest.

    Attributes:
        mall_id: whose floor; None: the nearest one.
        strict: refuse the import when a single row is bad.
    """

    files: tuple[Path, ...]
    mall_id: str | None = None
    zone: tzinfo | None = None
    columns: dict[str, str] = {}
    swap: bool = False
    strict: bool = False
    from_ms: int | None = None
    to_ms: int | None = None


class Imported(Struct):
    """What came of it."""

    companion: Companion
    mall: Mall
    bad: list[BadRow]
    bad_count: int
    repeats: int
    """Fixes at the instant of another one of the same driver."""
    outside: int
    """Fixes before `from_ms` or after `to_ms`."""


class _Gathered(Struct):
    points: dict[str, list[Point]] = field(default_factory=dict)
    count: int = 0
    outside: int = 0
    bad: list[BadRow] = field(default_factory=list)
    bad_count: int = 0

    def refuse(self, row: BadRow) -> None:
        self.bad_count += 1
        if len(self.bad) < BAD_KEPT:
            self.bad.append(row)


def import_tracks(wanted: Import, floor: Floor, out: Path, progress: Callable[[int], None] | None = None) -> Imported:
    """Write the fixture `out` and its companion.

    Raises:
        TrackError: a file is no track, has nothing usable, or, if strict, a bad row; or there is too much or too long a
            time in it; or no mall is near.
        ConfigurationError: there is no such mall, or no directory for `out`.
        OSError: a file cannot be read or written.
    """
    gathered = _gather(wanted, progress)
    mall = _mall(wanted, floor, gathered)
    tracks, repeats = _tracks(gathered)
    first_ms, last_ms = min(t[0].fix_ms for t in tracks.values()), max(t[-1].fix_ms for t in tracks.values())
    if last_ms - first_ms > LONGEST_MS:
        raise TrackError(
            f"these tracks go from {utc(first_ms)} to {utc(last_ms)}: more than {LONGEST_MS // 3_600_000} hours; "
            "cut a day out with --from and --to"
        )
    floor = Floor({mall.id: mall})
    companion = _write(out, floor, _story(tracks, mall, first_ms, last_ms), _inputs(tracks, mall, first_ms), progress)
    return Imported(companion, mall, gathered.bad, gathered.bad_count, repeats, gathered.outside)


# ---------------------------------------------------------------- reading


def _gather(wanted: Import, progress: Callable[[int], None] | None) -> _Gathered:
    gathered = _Gathered()
    for path in wanted.files:
        read = READERS.get(path.suffix.lower())
        if read is None:
            raise TrackError(f"{path} is neither .gpx nor .csv")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise TrackError(f"{path} has more than {MAX_FILE_BYTES:,} bytes")
        reading = Reading(path, wanted.zone, wanted.columns, wanted.swap, gathered.refuse)
        for point in read(reading):
            if not (wanted.from_ms or 0) <= point.fix_ms <= (wanted.to_ms or point.fix_ms):
                gathered.outside += 1
                continue
            gathered.count += 1
            if gathered.count > MAX_POINTS:
                raise TrackError(f"more than {MAX_POINTS:,} fixes: cut a part out with --from and --to")
            gathered.points.setdefault(point.who, []).append(point)
            if progress is not None and gathered.count % PROGRESS_EVERY == 0:
                progress(gathered.count)
    if wanted.strict and gathered.bad:
        raise TrackError(f"{gathered.bad[0]}; {gathered.bad_count:,} bad rows in all, and --strict takes none")
    if not gathered.count:
        raise TrackError(_nothing(gathered))
    return gathered


def _nothing(gathered: _Gathered) -> str:
    if gathered.bad:
        reason, _ = Counter(row.reason for row in gathered.bad).most_common(1)[0]
        return f"no usable fix among {gathered.bad_count:,} rows: {reason} (the first: {gathered.bad[0]})"
    if gathered.outside:
        return f"all {gathered.outside:,} fixes lie before --from or after --to"
    return "there is no fix in these files"


def _mall(wanted: Import, floor: Floor, gathered: _Gathered) -> Mall:
    """The mall these tracks belong to."""
    if wanted.mall_id is not None and wanted.mall_id not in floor.malls:
        raise ConfigurationError(f"there is no mall {wanted.mall_id}; known: {', '.join(floor.malls)}")
    points = [point for track in gathered.points.values() for point in track]
    lat, lng = median(point.lat for point in points), median(point.lng for point in points)
    nearest = min(floor.malls.values(), key=lambda mall: (_km(lat, lng, mall), mall.id))
    mall = nearest if wanted.mall_id is None else floor.malls[wanted.mall_id]
    reach_km = mall.service_radius_m / 1000
    if any(_km(point.lat, point.lng, mall) <= reach_km for point in points):
        return mall
    where = f"around {lat:.4f}, {lng:.4f}"
    swapped = min((_km(lng, lat, m) for m in floor.malls.values()), default=0.0) if abs(lng) <= 90 else float("inf")
    if swapped < reach_km * 3:
        raise TrackError(f"lat and lng look swapped: as they are, the tracks are {where}; give --swap")
    if mall is not nearest and _km(lat, lng, nearest) < _km(lat, lng, mall):
        far = (
            f"{_km(lat, lng, mall):,.0f} km from {mall.name}; {nearest.id} is nearer, {_km(lat, lng, nearest):,.0f} km"
        )
        raise TrackError(f"the tracks are {where}, {far}")
    raise TrackError(
        f"no mall is near: the tracks are {where}, and the nearest mall, {nearest.name}, is "
        f"{_km(lat, lng, nearest):,.0f} km away: name malls there with --malls FILE"
    )


def _km(lat: float, lng: float, mall: Mall) -> float:
    return float(h3.great_circle_distance((lat, lng), (mall.lat, mall.lng), unit="km"))


# ---------------------------------------------------------------- making


def _tracks(gathered: _Gathered) -> tuple[dict[str, list[Point]], int]:
    """Tracks in order and with movement, by who they are of."""
    tracks: dict[str, list[Point]] = {}
    repeats = 0
    for who in sorted(gathered.points):
        ordered, again = in_order(gathered.points[who])
        tracks[who] = with_movement(ordered)
        repeats += again
    return tracks, repeats


def driver_ids(names: Sequence[str]) -> dict[str, str]:
    """An id for each name: what of it an id may hold, numbered where two would be alike."""
    ids: dict[str, str] = {}
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:40] or "driver"
        alike, number = plain, 1
        while alike in ids.values():
            number += 1
            alike = f"{plain}-{number}"
        ids[name] = alike
    return ids


def _inputs(tracks: dict[str, list[Point]], mall: Mall, first_ms: int) -> Iterator[tuple[int, Input]]:
    """Everything in the order of time: people, then their fixes, and the floor's ticks between."""
    ids = driver_ids(list(tracks))
    for who, driver_id in ids.items():
        yield first_ms, DriverRegistered(driver_id, who[:120], mall_ids=(mall.id,))
    tick_ms, next_ms = Settings().tick_ms, first_ms
    for at_ms, _, entered in heapq.merge(*(_life(ids[who], track) for who, track in tracks.items())):
        while next_ms < at_ms:
            yield next_ms, Tick()
            next_ms += tick_ms
        yield at_ms, entered
    yield next_ms, Tick()


def _life(driver_id: str, track: list[Point]) -> Iterator[tuple[int, tuple[str, int], Report | Ping]]:
    """One driver's fixes, on duty from the first to the last but for long silences; with a total order."""
    number = 0

    def said(kind: str, at_ms: int) -> tuple[int, tuple[str, int], Report]:
        report = Report(f"{driver_id}-{number}", kind, at_ms, driver_id)  # type: ignore[arg-type]  # literals below
        return at_ms, (driver_id, number), report

    before_ms: int | None = None
    for seq, point in enumerate(track, 1):
        if before_ms is None or point.fix_ms - before_ms > PAUSE_MS:
            if before_ms is not None:
                number += 1
                yield said("off_duty", before_ms)
            number += 1
            yield said("on_duty", point.fix_ms)
        number += 1
        before_ms = point.fix_ms
        ping = Ping(
            point.fix_ms, point.lat, point.lng, driver_id, seq, point.accuracy_m, point.speed_mps, point.heading_deg,
            point.battery,
        )  # fmt: skip
        yield point.fix_ms, (driver_id, number), ping
    number += 1
    yield said("off_duty", before_ms or 0)


def _story(tracks: dict[str, list[Point]], mall: Mall, first_ms: int, last_ms: int) -> str:
    return f"{len(tracks)} imported tracks around {mall.name}, {utc(first_ms)} to {utc(last_ms)}."


def _write(
    out: Path, floor: Floor, story: str, inputs: Iterator[tuple[int, Input]], progress: Callable[[int], None] | None
) -> Companion:
    """What the floor does not refuse, as a journal would have it."""
    engine = Engine(floor)
    first_ms, first = next(inputs)
    header = Header(
        schema=SCHEMA, malls=floor.geojson(), settings=engine.settings, made_by="mallard import-tracks",
        licence="none: imported", story=story, start_ms=first_ms,
    )  # fmt: skip
    counts = Counter[type[Input]]()
    with FixtureWriter(out, header, QUICK_LEVEL) as fixture:
        for at_ms, entered in _chain((first_ms, first), inputs):
            outputs = engine.handle(at_ms, entered)
            if outputs and isinstance(outputs[0], Refused):
                continue
            fixture.write(at_ms, entered)
            counts[type(entered)] += 1
            if progress is not None and fixture.seq % PROGRESS_EVERY == 0:
                progress(fixture.seq)
    told = Counts(counts[DriverRegistered], 0, counts[Ping], counts.total())
    state = engine.state
    companion = Companion(story, state.at_ms - first_ms, told, kpis(state, None), state_hash(state))
    write_companion(out, companion)
    return companion


def _chain(first: tuple[int, Input], rest: Iterator[tuple[int, Input]]) -> Iterator[tuple[int, Input]]:
    yield first
    yield from rest
