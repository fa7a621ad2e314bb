"""Reads GPX 1.0 and 1.1: every point of every track, one driver for each name of a track, else for each file.

It must not know floors. Expat reads it piece by piece, so that a point knows its line and a large file takes little
memory; entities cannot swell, because a document type definition is refused.
"""

from collections.abc import Callable, Iterator
from xml.parsers import expat

from streamer.edge.tracks.contract import Point, Reading, TrackError, within

CHUNK_BYTES = 64 * 1024
MAX_DEPTH, MAX_TEXT = 64, 10_000
"""No GPX nests deeper, nor has so long a text in one element."""
WANTED = frozenset({"time", "name", "speed", "course", "heading", "accuracy"})
"""Elements of a point, or of its extensions (Garmin's TrackPointExtension has speed and course), and a track's name."""


def read_gpx(reading: Reading) -> Iterator[Point]:
    """Yield the points in the order of the file; routes and waypoints are nobody's track.

    Raises:
        TrackError: it is no GPX, not well formed, or has a document type definition.
        OSError: it cannot be read.
    """
    handler = _Handler(reading)
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler, parser.EndElementHandler = handler.start, handler.end
    parser.CharacterDataHandler = handler.text
    parser.StartDoctypeDeclHandler = handler.doctype
    handler.line = lambda: parser.CurrentLineNumber
    try:
        with reading.path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                parser.Parse(chunk)
                yield from handler.taken()
            parser.Parse(b"", True)
            yield from handler.taken()
    except (expat.ExpatError, ValueError, LookupError) as error:
        if isinstance(error, TrackError):
            raise
        raise TrackError(f"{reading.path} is not well-formed XML: {error}") from error


class _Handler:
    """Collects points from expat's calls."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._points: list[Point] = []
        self._path: list[str] = []
        self._text: list[str] = []
        self._length = 0
        self._point: dict[str, str] | None = None
        self._point_line = 0
        self._who = reading.path.stem
        self.line: Callable[[], int] = int

    def taken(self) -> list[Point]:
        """The points since the last call."""
        points, self._points = self._points, []
        return points

    def doctype(self, *_: object) -> None:
        raise TrackError(f"{self._reading.path}, line {self.line()}: a document type definition, which no GPX needs")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        local = name.rpartition(" ")[2]
        if not self._path and local != "gpx":
            raise TrackError(f"{self._reading.path} is no GPX: it begins with <{local[:40]}>")
        if len(self._path) >= MAX_DEPTH:
            raise TrackError(f"{self._reading.path}, line {self.line()}: nested more than {MAX_DEPTH} deep")
        self._path.append(local)
        self._text, self._length = [], 0
        if local == "trk":
            self._who = self._reading.path.stem
        if local == "trkpt":
            self._point, self._point_line = dict(attributes), self.line()

    def text(self, text: str) -> None:
        if self._path and self._path[-1] in WANTED:
            self._length += len(text)
            if self._length > MAX_TEXT:
                raise TrackError(f"{self._reading.path}, line {self.line()}: more than {MAX_TEXT} characters of text")
            self._text.append(text)

    def end(self, name: str) -> None:
        local, said = self._path.pop(), "".join(self._text).strip()
        self._text = []
        if local == "trkpt":
            self._take()
            self._point = None
        elif local in WANTED and self._point is not None:
            self._point.setdefault(local, said)
        elif local == "name" and self._path[-1] == "trk" and said:
            self._who = said
        del name

    def _take(self) -> None:
        point = self._point or {}
        try:
            lat, lng = self._reading.place(point.get("lat", ""), point.get("lon", ""))
            fix_ms = self._reading.instant_ms(point.get("time", ""))
        except ValueError as error:
            self._reading.refuse(self._point_line, str(error))
            return
        heading = _number(point, "course") if "course" in point else _number(point, "heading")
        self._points.append(
            Point(
                self._who, fix_ms, lat, lng, within(_number(point, "accuracy"), 0, 100_000),
                within(_number(point, "speed"), 0, 400), within(heading, 0, 360), None, self._point_line,
            )
        )  # fmt: skip


def _number(point: dict[str, str], name: str) -> float | None:
    try:
        return float(point[name])
    except (KeyError, ValueError):
        return None
