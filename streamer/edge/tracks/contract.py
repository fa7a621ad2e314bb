"""What readers of tracks agree on: a point, a bad row, what may go wrong, and how numbers and instants are read.

It must not know any file format.
"""

import math
import re
from collections.abc import Callable
from datetime import datetime, tzinfo
from pathlib import Path

from msgspec import Struct

from streamer.core.errors import ConfigurationError

MAX_POINTS = 3_000_000
"""Of all files together; some 600 MB of memory."""
EARLIEST_MS, LATEST_MS = 100_000_000_000, 4_102_444_800_000
"""March 1973, before any satellite for it; and the year 2100."""
EPOCH_UNITS = ((10**17, 1e-6), (10**14, 1e-3), (10**11, 1.0), (10**8, 1e3))
"""From which number on an epoch time counts in nano-, micro-, milliseconds or seconds, and how many ms one is."""
NUMBER = re.compile(r"[0-9]{1,20}(\.[0-9]{1,12})?")


class TrackError(ConfigurationError):
    """A file of tracks cannot be used; the message names it, and the line if it is one line's fault."""


class Point(Struct, frozen=True, gc=False):
    """One fix of somebody's track. `who` is what the file calls them; `line` is where it stands in the file."""

    who: str
    fix_ms: int
    lat: float
    lng: float
    accuracy_m: float | None = None
    speed_mps: float | None = None
    heading_deg: float | None = None
    battery: float | None = None
    line: int = 0


class BadRow(Struct, frozen=True):
    """A row or point that is no fix, and why."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        """For people: `tracks.csv, line 7: no time`."""
        return f"{self.file}, line {self.line}: {self.reason}"


class Reading(Struct, frozen=True):
    """How a file is to be read.

    Attributes:
        zone: of instants that do not say how far from UTC they are; None: such a row is bad.
        columns: a CSV's own name of a field, by the field.
        swap: latitude and longitude have changed places.
        bad: told of each bad row.
    """

    path: Path
    zone: tzinfo | None
    columns: dict[str, str]
    swap: bool
    bad: Callable[[BadRow], None]

    def refuse(self, line: int, reason: str) -> None:
        """Report a bad row."""
        self.bad(BadRow(self.path.name, line, reason))

    def place(self, lat_text: str, lng_text: str) -> tuple[float, float]:
        """Latitude and longitude.

        Raises:
            ValueError: they are none; the message is the reason.
        """
        lat, lng = decimal("lat", lat_text), decimal("lng", lng_text)
        if self.swap:
            lat, lng = lng, lat
        if abs(lat) > 90 >= abs(lng) and abs(lat) <= 180:
            raise ValueError(f"lat and lng look swapped: there is no latitude {lat:g}")
        if abs(lat) > 90 or abs(lng) > 180:
            raise ValueError(f"there is no place {lat:g}, {lng:g}")
        if lat == lng == 0:
            raise ValueError("0, 0 is what a receiver says that knows nothing")
        return lat, lng

    def instant_ms(self, text: str) -> int:
        """UTC epoch milliseconds of an epoch time of any usual unit, or of ISO 8601.

        Raises:
            ValueError: it is none; the message is the reason.
        """
        text = text.strip()
        if not text:
            raise ValueError("no time")
        at_ms = _epoch_ms(float(text)) if NUMBER.fullmatch(text) else self._iso_ms(text)
        if at_ms is None or not EARLIEST_MS <= at_ms <= LATEST_MS:
            raise ValueError(f"{text[:40]!r} is no instant between 1973 and 2100")
        return at_ms

    def _iso_ms(self, text: str) -> int:
        try:
            at = datetime.fromisoformat(text.replace("/", "-"))
        except ValueError:
            raise ValueError(f"{text[:40]!r} is no instant: neither an epoch time nor ISO 8601") from None
        if at.tzinfo is None:
            if self.zone is None:
                raise ValueError(f"{text[:40]!r} does not say how far it is from UTC: name its zone with --timezone")
            at = at.replace(tzinfo=self.zone)
        return round(at.timestamp() * 1000)


def _epoch_ms(number: float) -> int | None:
    return next((round(number * ms) for least, ms in EPOCH_UNITS if number >= least), None)


def decimal(what: str, text: str) -> float:
    """A number, with a point or, where no point is, a comma before its decimals.

    Raises:
        ValueError: it is none, or not finite; the message is the reason.
    """
    text = text.strip()
    if not text:
        raise ValueError(f"no {what}")
    try:
        number = float(text if "." in text else text.replace(",", "."))
    except ValueError:
        raise ValueError(f"{what} is {text[:40]!r}, which is no number") from None
    if not math.isfinite(number):
        raise ValueError(f"{what} is {text[:40]!r}, which is no number")
    return number


def within(number: float | None, least: float, most: float) -> float | None:
    """The number if it can be true, else None: what a receiver makes up is no reason to lose the fix."""
    return number if number is not None and least <= number <= most else None
