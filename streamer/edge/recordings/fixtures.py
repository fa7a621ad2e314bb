"""Fixtures on disk: read and write NAME.ndjson.zst and its companion NAME.json.

It must not know what an input does, nor at what speed a fixture is played.
"""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import zstandard
from msgspec import Struct

from streamer.core.errors import ConfigurationError
from streamer.core.events import Input, Instant
from streamer.core.kpis import Kpis
from streamer.core.settings import Settings
from streamer.core.state import State

SCHEMA = 1
SUFFIX = ".ndjson.zst"
LEVEL = 19
"""The slowest level whose window (8 MiB) every zstd reader accepts unasked; fixtures are written once, read often."""
QUICK_LEVEL = 6
"""For whole days that somebody waits for: a tenth of the time, and two thirds larger (imported tracks, measured)."""
CHUNK_BYTES = 1024
"""Read at a time. The library decompresses all it is given at once, and a block of 4 bytes may unpack to 128 KiB, so
this bounds what a hostile file can make us hold to 32 MiB."""
MAX_LINE_BYTES = 64 * 1024 * 1024
"""A cut recording carries a whole state in its header; anything longer is not a fixture."""
MAGIC = b"\x28\xb5\x2f\xfd"
FOLDERS = (Path(__file__).parents[3] / "fixtures", Path(__file__).parents[2] / "fixtures")
"""Where a bare name is looked for: the checkout, then the installed package."""


class FixtureError(ConfigurationError):
    """A fixture cannot be read: it is missing, damaged, too new, or not a fixture."""


class Header(Struct, frozen=True, omit_defaults=True):
    """First line of a fixture: everything a replay needs besides the inputs.

    `malls` is the GeoJSON of PROTOCOL §5. Inputs before `start_ms` are the warm-up: they are handled at full
    speed and play begins there. `start` is the state to begin from, in a recording that was cut out of a journal.
    `parameters` are those of the simulated world that it was recorded in, where they are not the usual ones.
    """

    schema: int
    malls: dict[str, object]
    settings: Settings
    made_by: str
    licence: str
    story: str
    start_ms: Instant
    seed: int | None = None
    start: State | None = None
    parameters: dict[str, object] | None = None


class Line(Struct, frozen=True):
    """One input, in the order it was handled. `seq` rises; `at_ms` never falls."""

    seq: int
    at_ms: Instant
    input: Input


class Counts(Struct, frozen=True):
    """How much a fixture holds."""

    drivers: int
    orders: int
    pings: int
    inputs: int


class Companion(Struct, frozen=True):
    """NAME.json: the story in a sentence, the length of play, and what a replay must arrive at."""

    story: str
    length_ms: int
    counts: Counts
    kpis: Kpis
    hash: str


class _Schema(Struct):
    schema: int


_HEADER = msgspec.json.Decoder(Header)
_LINE = msgspec.json.Decoder(Line)
_ENCODER = msgspec.json.Encoder()


class FixtureReader:
    """Reads a fixture once, from front to back, in constant memory. A context manager.

    Attributes:
        header: the first line.

    Raises:
        FixtureError: on opening or while iterating, with the file, the line and the reason.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise FixtureError(f"cannot open fixture {path}: {error.strerror}") from error
        try:
            self._texts = self._split()
            self.header = self._read_header()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __iter__(self) -> Iterator[Line]:
        """Yield the inputs in order, checking that `seq` rises and `at_ms` never falls."""
        seq, at_ms = -1, 0
        for number, text in enumerate(self._texts, start=2):
            try:
                line = decode_line(text)
            except ValueError as error:
                raise self._fault(number, str(error)) from error
            if line.seq <= seq:
                raise self._fault(number, f"seq {line.seq} does not rise above {seq}")
            if line.at_ms < at_ms:
                raise self._fault(number, f"at_ms {line.at_ms} is before the line above it ({at_ms})")
            seq, at_ms = line.seq, line.at_ms
            yield line

    def texts(self) -> Iterator[bytes]:
        """Yield the inputs as the lines of JSON they are, undecoded: for keeping them where any can be found again.

        Raises:
            FixtureError: the file is damaged, truncated, or goes on behind its end.
        """
        yield from self._texts

    def _fault(self, number: int, reason: str) -> FixtureError:
        return FixtureError(f"fixture {self.path}, line {number}: {reason}")

    def _read_header(self) -> Header:
        text = next(self._texts, b"")
        try:
            schema = msgspec.json.decode(text, type=_Schema).schema
            if schema > SCHEMA:
                raise FixtureError(
                    f"fixture {self.path} has schema {schema}, and this version reads up to {SCHEMA}: update Mallard"
                )
            return _HEADER.decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            raise self._fault(1, f"not a fixture header: {error}") from error

    def _split(self) -> Iterator[bytes]:
        """Yield decompressed lines, holding never more than one chunk and one line."""
        held: list[bytes] = []
        size = 0
        for chunk in self._decompress():
            # One line at a time, as a chunk may be millions of empty ones; and the parts of an unfinished line are put
            # together once, since adding each to those before would take hours to refuse a file that is one long line.
            start = 0
            while (end := chunk.find(b"\n", start)) >= 0:
                held.append(chunk[start:end])
                line = b"".join(held)
                self._check_size(len(line))
                yield line
                held, size, start = [], 0, end + 1
            held.append(chunk[start:])
            size += len(chunk) - start
            self._check_size(size)
        if size:
            yield b"".join(held)

    def _check_size(self, size: int) -> None:
        if size > MAX_LINE_BYTES:
            raise FixtureError(f"fixture {self.path} has a line of more than {MAX_LINE_BYTES} bytes")

    def _decompress(self) -> Iterator[bytes]:
        """Yield decompressed bytes; the library's own reader would take a cut file for a complete one."""
        engine = zstandard.ZstdDecompressor().decompressobj()
        compressed = self._file.read(CHUNK_BYTES)
        if not compressed.startswith(MAGIC):
            raise FixtureError(f"fixture {self.path} is not Zstandard-compressed")
        while compressed and not engine.eof:
            try:
                chunk = engine.decompress(compressed)
            except zstandard.ZstdError as error:
                raise FixtureError(f"fixture {self.path} is damaged: {error}") from error
            yield chunk
            compressed = self._file.read(CHUNK_BYTES)
        if compressed or engine.unused_data:
            raise FixtureError(f"fixture {self.path} is damaged: there are bytes behind its end")
        if not engine.eof:
            raise FixtureError(f"fixture {self.path} is truncated: it ends in the middle of the compressed stream")


class FixtureWriter:
    """Writes a fixture; it appears under its name only when complete. A context manager.

    Raises:
        ConfigurationError: the directory it is to be in does not exist.
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path, header: Header, level: int = LEVEL) -> None:
        if not path.parent.is_dir():
            raise ConfigurationError(f"there is no directory {path.parent}: make it, or name another place")
        self.path = path
        self.seq = 0
        self._part = path.with_name(path.name + ".part")
        self._file = self._part.open("wb")
        self._stream = zstandard.ZstdCompressor(level=level, write_checksum=True).stream_writer(
            self._file, closefd=False
        )
        self._stream.write(_ENCODER.encode(header) + b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stream.flush(zstandard.FLUSH_FRAME)
        self._file.close()
        if kind is None:
            self._part.replace(self.path)
        else:
            self._part.unlink(missing_ok=True)

    def write(self, at_ms: int, entered: Input) -> None:
        """Append one input, handled at `at_ms` (UTC epoch ms, never before the one above it)."""
        self.seq += 1
        self._stream.write(_ENCODER.encode(Line(self.seq, at_ms, entered)) + b"\n")


def decode_line(text: bytes) -> Line:
    """One line of a fixture, decoded.

    Raises:
        ValueError: it is none.
    """
    try:
        return _LINE.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(str(error)) from error


def find_fixture(name_or_path: str) -> Path:
    """Return the file of a fixture given by name (`saturday-rush`) or by path.

    Raises:
        FixtureError: nothing is there; the message lists the names that are.
    """
    path = Path(name_or_path)
    if name_or_path.endswith(SUFFIX) or len(path.parts) > 1:
        if path.is_file():
            return path
        raise FixtureError(f"there is no fixture at {name_or_path}")
    for folder in FOLDERS:
        candidate = folder / f"{name_or_path}{SUFFIX}"
        if candidate.is_file():
            return candidate
    known = ", ".join(fixture_names()) or "none"
    raise FixtureError(f"there is no fixture named {name_or_path}; known: {known}")


def fixture_names() -> list[str]:
    """Return the names that `find_fixture` knows, in alphabetical order."""
    return sorted({file.name.removesuffix(SUFFIX) for folder in FOLDERS for file in folder.glob(f"*{SUFFIX}")})


def companion_path(fixture: Path) -> Path:
    """Return where NAME.json of a fixture lies."""
    return fixture.with_name(fixture.name.removesuffix(SUFFIX) + ".json")


def read_companion(fixture: Path) -> Companion:
    """Read NAME.json beside a fixture.

    Raises:
        FixtureError: it is missing or not what a companion holds.
    """
    path = companion_path(fixture)
    try:
        return msgspec.json.decode(path.read_bytes(), type=Companion)
    except OSError as error:
        raise FixtureError(f"cannot open {path}, the companion of a fixture: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise FixtureError(f"{path} is not a fixture's companion: {error}") from error


def write_companion(fixture: Path, companion: Companion) -> None:
    """Write NAME.json beside a fixture, indented for people.

    Raises:
        OSError: the file cannot be written.
    """
    text = msgspec.json.format(_ENCODER.encode(companion), indent=2)
    companion_path(fixture).write_bytes(text + b"\n")


def demo_malls_path() -> Path:
    """Return the GeoJSON of the four demo malls.

    Raises:
        FixtureError: the file was not installed.
    """
    for folder in FOLDERS:
        if (folder / "malls.geojson").is_file():
            return folder / "malls.geojson"
    raise FixtureError("malls.geojson is neither in the checkout nor in the installed package")
