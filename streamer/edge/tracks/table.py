"""Reads tracks from CSV: columns by their names, in any order, units from the names.

It must not know floors.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from typing import TextIO

from streamer.edge.tracks.contract import Point, Reading, TrackError, decimal, within

MPH, KNOT, KMH = 0.44704, 1852 / 3600, 1 / 3.6
DELIMITERS = ",;\t|"
NAMES: dict[str, tuple[str, ...]] = {
    "driver": (
        "driver_id", "driver", "device_id", "device", "vehicle_id", "vehicle", "user_id", "user", "track_id", "id",
    ),
    "time": (
        "fix_ms", "time", "timestamp", "datetime", "date_time", "gps_time", "fix_time", "time_utc", "utc", "epoch",
        "epoch_s", "epoch_ms", "unix_time",
    ),
    "lat": ("lat", "latitude", "lat_deg", "y"),
    "lng": ("lng", "lon", "long", "longitude", "lng_deg", "lon_deg", "x"),
    "accuracy": ("accuracy_m", "accuracy", "hacc", "horizontal_accuracy", "accuracy_meters"),
    "heading": ("heading_deg", "heading", "bearing", "course", "direction"),
    "battery": ("battery", "battery_level", "batt"),
}  # fmt: skip
"""What a column may be called, once it is in lower case and all but letters and digits have become `_`."""
SPEEDS: dict[str, float] = {
    "speed_mps": 1.0, "speed_m_s": 1.0, "speed_ms": 1.0, "speed_kmh": KMH, "speed_km_h": KMH, "speed_kph": KMH,
    "speed_mph": MPH, "speed_kn": KNOT, "speed_knots": KNOT, "speed_kt": KNOT,
}  # fmt: skip
"""Metres a second of a speed, by the column's name; a speed without a unit is left out and taken from the track."""
NEEDED = ("time", "lat", "lng")


def read_table(reading: Reading) -> Iterator[Point]:
    """Yield the rows in the order of the file. Without a column for it, all are one driver's, named after the file.

    Raises:
        TrackError: it is no text, has no line of names, or lacks a column.
        OSError: it cannot be read.
    """
    try:
        with reading.path.open(encoding="utf-8-sig", newline="") as file:
            yield from _rows(reading, file)
    except UnicodeDecodeError as error:
        raise TrackError(f"{reading.path} is not UTF-8 text: {error}") from error


def _rows(reading: Reading, file: TextIO) -> Iterator[Point]:
    first = file.readline(100_000)
    file.seek(0)
    rows = csv.reader(file, delimiter=max(DELIMITERS, key=lambda mark: (first.count(mark), -DELIMITERS.index(mark))))
    columns: dict[str, tuple[int, float]] = {}
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            if not columns:
                raise TrackError(f"{reading.path}, line {rows.line_num}: {error}") from error
            reading.refuse(rows.line_num, str(error))
            continue
        if row is None:
            break
        if not columns:
            columns = _columns(reading, row)
        elif any(cell.strip() for cell in row):
            try:
                yield _point(reading, row, columns, rows.line_num)
            except ValueError as error:
                reading.refuse(rows.line_num, str(error))
    if not columns:
        raise TrackError(f"{reading.path} is empty")


def _columns(reading: Reading, row: Sequence[str]) -> dict[str, tuple[int, float]]:
    """Where each field stands, and by what it is multiplied."""
    names = [re.sub(r"[^a-z0-9]+", "_", name.strip().lower()).strip("_") for name in row]
    own = [name.strip() for name in row]
    found: dict[str, tuple[int, float]] = {}
    for field, called in reading.columns.items():
        if called not in own:
            raise TrackError(f"{reading.path} has no column {called}; it has {', '.join(own)[:400]}")
        found[field.partition("_")[0]] = own.index(called), SPEEDS.get(field, 1.0)
    for field, known in NAMES.items():
        places = [names.index(name) for name in known if name in names]
        if places and field not in found:
            found[field] = places[0], 1.0
    for name, mps in SPEEDS.items():
        if name in names and "speed" not in found:
            found["speed"] = names.index(name), mps
    missing = [field for field in NEEDED if field not in found]
    if missing:
        raise TrackError(
            f"{reading.path} has no column for {', '.join(missing)}; it has {', '.join(own)[:400]}: "
            f"name it with --column {missing[0]}=NAME"
        )
    return found


def _point(reading: Reading, row: Sequence[str], columns: dict[str, tuple[int, float]], line: int) -> Point:
    def cell(field: str) -> str:
        at = columns.get(field)
        return row[at[0]].strip() if at is not None and at[0] < len(row) else ""

    def number(field: str, least: float, most: float) -> float | None:
        try:
            return within(decimal(field, cell(field)) * columns[field][1], least, most)
        except ValueError:
            # Empty, `n/a` or `-`: the fix is good without it.
            return None

    lat, lng = reading.place(cell("lat"), cell("lng"))
    battery = number("battery", 0, 100)
    return Point(
        cell("driver") or reading.path.stem, reading.instant_ms(cell("time")), lat, lng,
        number("accuracy", 0, 100_000), number("speed", 0, 400), number("heading", 0, 360),
        battery / 100 if battery is not None and battery > 1 else battery, line,
    )  # fmt: skip
