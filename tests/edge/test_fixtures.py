"""Fixtures: what is written is read again, what is damaged is named, and the three on disk hold what they promise."""

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import zstandard

from streamer.core.engine import Engine
from streamer.core.events import DriverRegistered, Input, Ping, Tick
from streamer.core.kpis import Kpis, kpis
from streamer.core.malls import parse_malls
from streamer.core.settings import Settings
from streamer.core.snapshot import dump_state, state_hash
from streamer.edge.recordings import fixtures
from streamer.edge.recordings.fixtures import (
    Companion,
    Counts,
    FixtureError,
    FixtureReader,
    FixtureWriter,
    Header,
    companion_path,
    find_fixture,
    fixture_names,
    read_companion,
    write_companion,
)

T0 = 1_794_693_600_000
FIXTURES = Path(__file__).parents[2] / "fixtures"
NAMES = ("bad-day", "saturday-rush", "two-malls")
MALLS = json.loads((FIXTURES / "malls.geojson").read_text())
HEADER = Header(1, MALLS, Settings(tick_ms=4_000), "tests", "CC0-1.0", "a quiet day", T0, seed=7)
LINES: list[tuple[int, Input]] = [
    (T0, DriverRegistered("d-01", "Ana R.", mall_ids=("baybrook",))),
    (T0, Tick()),
    (T0 + 5_000, Ping(T0 + 4_800, 29.54, -95.14, "d-01", 1, 8.0)),
]
COMPANION = Companion("a quiet day", 7_200_000, Counts(1, 0, 1, 3), Kpis(open=2, on_time=0.5), "ab12")

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A fixture of these texts, a line each, compressed like a real one."""

    def build(*texts: str, header: str | None = None, end: str = "\n") -> Path:
        path = tmp_path / "made.ndjson.zst"
        first = msgspec.json.encode(HEADER).decode() if header is None else header
        path.write_bytes(zstandard.compress(("\n".join((first, *texts)) + end).encode()))
        return path

    return build


def a_line(seq: int = 1, at_ms: int = T0, entered: object = None) -> str:
    return json.dumps({"seq": seq, "at_ms": at_ms, "input": {"type": "tick"} if entered is None else entered})


def read(path: Path) -> list[fixtures.Line]:
    with FixtureReader(path) as reader:
        return list(reader)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "quiet.ndjson.zst"
    with FixtureWriter(path, HEADER) as writer:
        for at_ms, entered in LINES:
            writer.write(at_ms, entered)
    with FixtureReader(path) as reader:
        assert reader.header == HEADER
        assert [(line.seq, line.at_ms, line.input) for line in reader] == [
            (number, *line) for number, line in enumerate(LINES, 1)
        ]


def test_the_lines_are_those_of_the_protocol(tmp_path: Path) -> None:
    path = tmp_path / "quiet.ndjson.zst"
    with FixtureWriter(path, HEADER) as writer:
        writer.write(*LINES[1])
    header, line = zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes()).decode().splitlines()
    assert {"schema", "malls", "settings", "seed", "made_by", "licence", "story"} <= set(json.loads(header))
    assert json.loads(line) == {"seq": 1, "at_ms": T0, "input": {"type": "tick"}}


def test_a_state_to_start_from_comes_through(tmp_path: Path) -> None:
    engine = Engine(parse_malls(MALLS))
    for at_ms, entered in LINES:
        engine.handle(at_ms, entered)
    path = tmp_path / "cut.ndjson.zst"
    with FixtureWriter(path, msgspec.structs.replace(HEADER, start=engine.state)):
        pass
    with FixtureReader(path) as reader:
        assert reader.header.start is not None
        assert dump_state(reader.header.start) == dump_state(engine.state)


def test_a_fixture_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "broken.ndjson.zst"
    with pytest.raises(TypeError), FixtureWriter(path, HEADER) as writer:
        writer.write(T0, object())  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_the_last_line_may_lack_its_end(write: Write) -> None:
    assert len(read(write(a_line(), end=""))) == 1


# ---------------------------------------------------------------- damage


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FixtureError, match=r"cannot open fixture .*nowhere\.ndjson\.zst: No such file"):
        FixtureReader(tmp_path / "nowhere.ndjson.zst")


@pytest.mark.parametrize("content", [b"", b"{}", b"PK\x03\x04 a zip file", b"\x28\xb5\x2f"])
def test_a_file_that_is_not_zstandard_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.ndjson.zst"
    path.write_bytes(content)
    with pytest.raises(FixtureError, match="not Zstandard-compressed"):
        FixtureReader(path)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
def test_a_file_cut_short_is_refused_and_not_taken_for_a_short_day(tmp_path: Path, share: float) -> None:
    whole = (FIXTURES / "bad-day.ndjson.zst").read_bytes()
    path = tmp_path / "cut.ndjson.zst"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(FixtureError, match="truncated"):
        read(path)


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    content = bytearray((FIXTURES / "bad-day.ndjson.zst").read_bytes())
    content[len(content) // 2] ^= 0x10
    path = tmp_path / "flipped.ndjson.zst"
    path.write_bytes(content)
    with pytest.raises(FixtureError):
        read(path)


def test_bytes_behind_the_end_are_refused(write: Write) -> None:
    path = write(a_line())
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(FixtureError, match="bytes behind its end"):
        read(path)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("", "not a fixture header"),
        ("[1, 2]", "Expected `object`, got `array`"),
        ('{"malls": {}}', "missing required field `schema`"),
        ('{"schema": 1, "malls": {}}', "missing required field `settings`"),
        ('{"schema": "1"}', "Expected `int`, got `str`"),
        ("[" * 100_000, "not a fixture header"),
    ],
)
def test_a_bad_header_is_refused_with_the_reason(write: Write, header: str, reason: str) -> None:
    with pytest.raises(FixtureError, match="line 1: not a fixture header") as caught:
        FixtureReader(write(header=header))
    assert reason in str(caught.value)


def test_a_newer_schema_asks_for_an_update(write: Write) -> None:
    with pytest.raises(FixtureError, match=r"schema 2, and this version reads up to 1: update Mallard"):
        FixtureReader(write(header='{"schema": 2, "what_is_new": true}'))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "Input data was truncated"),
        ("", "truncated"),
        (a_line(entered={"type": "teleport"}), "Invalid value 'teleport'"),
        (a_line(entered={"type": "ping", "fix_ms": 1, "lat": 91, "lng": 0}), "<= 90"),
        (json.dumps({"at_ms": T0, "input": {"type": "tick"}}), "missing required field `seq`"),
        (a_line(seq=1), "seq 1 does not rise above 1"),
        (a_line(seq=2, at_ms=T0 - 1), f"at_ms {T0 - 1} is before the line above it ({T0})"),
    ],
)
def test_a_bad_line_is_refused_with_its_number_and_the_reason(write: Write, text: str, reason: str) -> None:
    with pytest.raises(FixtureError, match="line 3: ") as caught:
        read(write(a_line(seq=1), text))
    assert reason in str(caught.value)


def test_the_lines_before_a_bad_one_are_read(write: Write) -> None:
    with FixtureReader(write(a_line(1), a_line(2), "{")) as reader:
        lines = iter(reader)
        assert [next(lines).seq, next(lines).seq] == [1, 2]
        with pytest.raises(FixtureError):
            next(lines)


def test_an_endless_line_is_refused_before_it_fills_the_memory(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fixtures, "MAX_LINE_BYTES", 100_000)
    with pytest.raises(FixtureError, match="more than 100000 bytes"):
        read(write("x" * 10_000_000))


def test_an_error_of_a_fixture_is_the_operators_and_a_value_error() -> None:
    assert issubclass(FixtureError, ValueError)


# ---------------------------------------------------------------- names and companions


@pytest.mark.parametrize("name", NAMES)
def test_a_fixture_is_found_by_name_and_by_path(name: str) -> None:
    path = find_fixture(name)
    assert path.name == f"{name}.ndjson.zst"
    assert find_fixture(str(path)) == path


def test_an_unknown_name_lists_those_there_are() -> None:
    with pytest.raises(FixtureError, match=r"no fixture named sunday; known: bad-day, saturday-rush, two-malls"):
        find_fixture("sunday")


@pytest.mark.parametrize("path", ["/nowhere/sunday.ndjson.zst", "sunday.ndjson.zst", "../sunday"])
def test_an_unknown_path_is_named(path: str) -> None:
    with pytest.raises(FixtureError, match="there is no fixture at"):
        find_fixture(path)


def test_names_are_those_on_disk() -> None:
    assert fixture_names() == list(NAMES)


def test_a_companion_is_written_beside_its_fixture_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "quiet.ndjson.zst"
    write_companion(path, COMPANION)
    assert read_companion(path) == COMPANION
    assert json.loads((tmp_path / "quiet.json").read_text())["hash"] == "ab12"


@pytest.mark.parametrize(("content", "reason"), [(None, "cannot open"), ("{}", "not a fixture's companion")])
def test_a_bad_companion_is_named(tmp_path: Path, content: str | None, reason: str) -> None:
    path = tmp_path / "quiet.ndjson.zst"
    if content is not None:
        companion_path(path).write_text(content)
    with pytest.raises(FixtureError, match=reason):
        read_companion(path)


# ---------------------------------------------------------------- the three on disk


@pytest.mark.parametrize("name", NAMES)
def test_a_fixture_on_disk_is_small_and_replays_to_its_hash(name: str) -> None:
    path = FIXTURES / f"{name}.ndjson.zst"
    companion = read_companion(path)
    assert path.stat().st_size < 3_000_000
    with FixtureReader(path) as reader:
        engine = Engine(parse_malls(reader.header.malls), reader.header.settings)
        first_ms = last_ms = 0
        seen: dict[str, int] = {}
        for line in reader:
            engine.handle(line.at_ms, line.input)
            first_ms, last_ms = first_ms or line.at_ms, line.at_ms
            kind = type(line.input).__name__
            seen[kind] = seen.get(kind, 0) + 1
    assert first_ms < reader.header.start_ms
    assert last_ms - reader.header.start_ms == companion.length_ms
    assert companion.counts == Counts(seen["DriverRegistered"], seen["OrderPlaced"], seen["Ping"], sum(seen.values()))
    assert kpis(engine.state, None) == companion.kpis
    assert state_hash(engine.state) == companion.hash


@pytest.mark.parametrize(
    ("name", "hours", "drivers", "orders"),
    [("saturday-rush", 2, 80, 350), ("two-malls", 1, 40, 120), ("bad-day", 1, 40, 100)],
)
def test_the_fixtures_are_as_large_as_promised(name: str, hours: int, drivers: int, orders: int) -> None:
    companion = read_companion(FIXTURES / f"{name}.ndjson.zst")
    assert companion.length_ms == hours * 3_600_000
    assert companion.counts.drivers >= drivers
    assert companion.counts.orders >= orders


def test_the_rush_is_a_rush_but_most_is_on_time() -> None:
    figures = read_companion(FIXTURES / "saturday-rush.ndjson.zst").kpis
    assert figures.busy > 2 * figures.free
    assert figures.on_time is not None
    assert 0.7 <= figures.on_time < 1.0
    assert figures.late > 0
    assert figures.at_risk > 0
    assert 3 <= figures.unassigned <= 90
    assert figures.orders_per_trip is not None
    assert figures.orders_per_trip > 1.5


def test_the_demo_malls_are_the_four() -> None:
    floor = parse_malls(MALLS)
    assert {mall.id: mall.timezone for mall in floor.malls.values()} == {
        "fashion-show": "America/Los_Angeles", "tysons-corner-center": "America/New_York",
        "chandler-fashion-center": "America/Phoenix", "baybrook": "America/Chicago",
    }  # fmt: skip
    for mall in floor.malls.values():
        kinds = [place.kind for place in mall.places]
        assert kinds.count("entrance") >= 4
        assert kinds.count("curbside") >= 1
        assert 8 <= kinds.count("store") <= 14
        assert 9_000 <= mall.service_radius_m <= 12_000
