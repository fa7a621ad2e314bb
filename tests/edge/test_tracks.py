"""Tracks from elsewhere become a day that can be watched; what cannot be is said, with its line."""

import sys
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer import cli
from streamer.core.errors import ConfigurationError, MallardError
from streamer.core.events import DriverRegistered, Ping, Report
from streamer.edge.recordings.fixtures import FixtureReader, demo_malls_path, read_companion
from streamer.edge.recordings.replay import replay
from streamer.edge.server import read_malls
from streamer.edge.tracks.contract import BadRow, Point, Reading, TrackError
from streamer.edge.tracks.derive import in_order, with_movement
from streamer.edge.tracks.gpx import read_gpx
from streamer.edge.tracks.importing import Import, driver_ids, import_tracks
from streamer.edge.tracks.table import read_table

FLOOR = read_malls(demo_malls_path())
LAT, LNG = 36.12722, -115.17194
"""Fashion Show."""
T0 = 1_794_693_600_000
GPX = """<?xml version="1.0"?>
<gpx version="1.1" xmlns="http://www.topografix.com/GPX/1/1" xmlns:x="http://www.garmin.com/xmlschemas/TrackPointExtension/v2">
<metadata><name>not a driver</name></metadata>
<trk><name>Ana &amp; Ben</name><trkseg>
<trkpt lat="36.1300" lon="-115.1700"><time>2026-11-14T22:00:00Z</time></trkpt>
<trkpt lat="36.1310" lon="-115.1700"><ele>600</ele><time>2026-11-14T22:00:10Z</time></trkpt>
<trkpt lat="36.1320"><time>2026-11-14T22:00:20Z</time></trkpt>
<trkpt lat="36.1320" lon="-115.1700"/>
<trkpt lat="36.1320" lon="-115.1688"><time>2026-11-14T22:00:20Z</time>
  <extensions><x:TrackPointExtension><x:speed>7.5</x:speed><x:course>91.5</x:course></x:TrackPointExtension></extensions></trkpt>
</trkseg></trk>
<trk><trkseg><trkpt lat="36.1290" lon="-115.1800"><time>2026-11-14T14:00:05-08:00</time></trkpt></trkseg></trk>
<wpt lat="1" lon="2"><time>2026-11-14T22:00:00Z</time></wpt>
</gpx>
"""


def a_reading(path: Path, bad: list[BadRow] | None = None, zone: str | None = None, **fields: object) -> Reading:
    kept: list[BadRow] = [] if bad is None else bad
    given = {"columns": {}, "swap": False, **fields}
    return Reading(path, ZoneInfo(zone) if zone else None, bad=kept.append, **given)  # type: ignore[arg-type]


def a_file(tmp_path: Path, text: str, name: str = "tracks.csv") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def rows_of(text: str, tmp_path: Path, **fields: object) -> tuple[list[Point], list[str]]:
    bad: list[BadRow] = []
    points = list(read_table(a_reading(a_file(tmp_path, text), bad, **fields)))  # type: ignore[arg-type]
    return points, [str(row) for row in bad]


# ---------------------------------------------------------------- GPX


def test_every_point_of_every_track_is_read_and_the_rest_is_said_with_its_line(tmp_path: Path) -> None:
    bad: list[BadRow] = []
    points = list(read_gpx(a_reading(a_file(tmp_path, GPX, "day.gpx"), bad)))
    assert [(p.who, p.fix_ms - T0, p.line) for p in points] == [
        ("Ana & Ben", 0, 5), ("Ana & Ben", 10_000, 6), ("Ana & Ben", 20_000, 9), ("day", 5_000, 12),
    ]  # fmt: skip
    assert (points[2].speed_mps, points[2].heading_deg) == (7.5, 91.5)
    assert [str(row) for row in bad] == ["day.gpx, line 7: no lng", "day.gpx, line 8: no time"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('<?xml version="1.0"?><!DOCTYPE gpx [<!ENTITY a "aa">]><gpx>&a;</gpx>', "line 1: a document type definition"),
        ("<kml></kml>", "is no GPX: it begins with <kml>"),
        ("<gpx><trk>", "is not well-formed XML: no element found: line 1"),
        ("", "is not well-formed XML: no element found"),
        ("<gpx>" + "<trk>" * 100, "nested more than 64 deep"),
        ("<gpx><trk><name>" + "a" * 20_000, "more than 10000 characters of text"),
        ('<?xml version="1.0" encoding="martian"?><gpx/>', "is not well-formed XML: unknown encoding"),
    ],
)
def test_what_is_no_gpx_is_refused_with_the_reason(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(TrackError, match=reason):
        list(read_gpx(a_reading(a_file(tmp_path, text, "bad.gpx"))))


# ---------------------------------------------------------------- CSV


@pytest.mark.parametrize(
    "time",
    ["1794693600", "1794693600.000", "1794693600000", "1794693600000000", "1794693600000000000",
     "2026-11-14T22:00:00Z", "2026-11-14 22:00:00+00:00", "2026/11/14 14:00:00-08:00", " 2026-11-14T14:00-08:00 "],
)  # fmt: skip
def test_an_instant_may_be_written_in_any_usual_way(tmp_path: Path, time: str) -> None:
    points, bad = rows_of(f"time,lat,lng\n{time},36.1,-115.1\n", tmp_path)
    assert (points[0].fix_ms, bad) == (T0, [])


def test_a_time_of_no_zone_needs_one_to_be_named(tmp_path: Path) -> None:
    text = "time,lat,lng\n2026-11-14 14:00:00,36.1,-115.1\n"
    assert "does not say how far it is from UTC: name its zone with --timezone" in rows_of(text, tmp_path)[1][0]
    assert rows_of(text, tmp_path, zone="America/Los_Angeles")[0][0].fix_ms == T0


@pytest.mark.parametrize(
    ("head", "row", "speed_mps"),
    [
        ("Vehicle;Timestamp;Latitude;Longitude;Speed (km/h)", "v7;1794693600;36,1;-115,1;36,0", 10.0),
        ("device_id\ttime\tlat\tlon\tspeed_mph", "v7\t1794693600\t36.1\t-115.1\t22.369363", 10.0),
        ("\ufeffid,fix_ms,y,x,speed_knots", 'v7,1794693600000,36.1,-115.1,"19.438445"', 10.0),
        ("driver,time,lat,lng,speed", "v7,1794693600,36.1,-115.1,99", None),
        ("driver,time,lat,lng,speed_mps", "v7,1794693600,36.1,-115.1,n/a", None),
    ],
)
def test_columns_go_by_their_names_and_carry_their_units(
    tmp_path: Path, head: str, row: str, speed_mps: float | None
) -> None:
    points, bad = rows_of(f"{head}\n{row}\n", tmp_path)
    assert not bad
    assert (points[0].who, points[0].lat, points[0].lng) == ("v7", 36.1, -115.1)
    assert points[0].speed_mps == (None if speed_mps is None else pytest.approx(speed_mps))


def test_a_column_of_another_name_can_be_named(tmp_path: Path) -> None:
    text = "Fahrer,Zeit,Breite,Länge,Tempo\nAna,1794693600,36.1,-115.1,36\n"
    with pytest.raises(TrackError, match="has no column for time, lat, lng; it has Fahrer, Zeit"):
        rows_of(text, tmp_path)
    columns = {"driver": "Fahrer", "time": "Zeit", "lat": "Breite", "lng": "Länge", "speed_kmh": "Tempo"}
    points, _ = rows_of(text, tmp_path, columns=columns)
    assert (points[0].who, points[0].speed_mps) == ("Ana", pytest.approx(10.0))


def test_each_bad_row_is_said_with_its_line_and_the_good_ones_are_kept(tmp_path: Path) -> None:
    rows = [
        "1794693600,36.1,-115.1", "", "1794693605,,-115.1", "1794693605,north,-115.1", "1794693605,-115.1,36.1",
        "1794693605,91,-200", "1794693605,0,0", "1794693605,nan,-115.1", "12,36.1,-115.1", "noon,36.1,-115.1",
        "1794693605", "1794693610,36.1,-115.1",
    ]  # fmt: skip
    points, bad = rows_of("time,lat,lng\n" + "\n".join(rows), tmp_path)
    assert [point.line for point in points] == [2, 13]
    assert bad == [
        "tracks.csv, line 4: no lat",
        "tracks.csv, line 5: lat is 'north', which is no number",
        "tracks.csv, line 6: lat and lng look swapped: there is no latitude -115.1",
        "tracks.csv, line 7: there is no place 91, -200",
        "tracks.csv, line 8: 0, 0 is what a receiver says that knows nothing",
        "tracks.csv, line 9: lat is 'nan', which is no number",
        "tracks.csv, line 10: '12' is no instant between 1973 and 2100",
        "tracks.csv, line 11: 'noon' is no instant: neither an epoch time nor ISO 8601",
        "tracks.csv, line 12: no lat",
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "is empty"), (b"time,lat,lng\n\xff\xfe\n", "is not UTF-8 text"), (b"\n\n", "no column")],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "bad.csv").write_bytes(content)
    with pytest.raises(TrackError, match=reason):
        list(read_table(a_reading(tmp_path / "bad.csv")))


@given(st.binary(max_size=400), st.sampled_from([b"", b"time,lat,lng\n", b"<gpx>", b"<gpx><trk><trkseg><trkpt lat='"]))
def test_no_bytes_do_more_than_be_refused(tmp_path_factory: pytest.TempPathFactory, tail: bytes, head: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.bin"
    path.write_bytes(head + tail)
    for read in (read_gpx, read_table):
        try:
            points = list(read(a_reading(path)))
        except TrackError:
            continue
        assert all(abs(point.lat) <= 90 and abs(point.lng) <= 180 for point in points)


# ---------------------------------------------------------------- movement


def test_a_track_is_put_in_order_and_moves(tmp_path: Path) -> None:
    points = [
        Point("a", T0 + 10_000, LAT + 0.001, LNG, line=1), Point("a", T0, LAT, LNG, line=2),
        Point("a", T0 + 10_000, LAT, LNG, line=3), Point("a", T0 + 20_000, LAT + 0.001, LNG + 0.001, line=4),
        Point("a", T0 + 25_000, LAT + 0.001, LNG + 0.00101, line=5), Point("a", T0 + 900_000, LAT, LNG, line=6),
    ]  # fmt: skip
    ordered, repeats = in_order(points)
    moved = with_movement(ordered)
    assert ([p.line for p in ordered], repeats) == ([2, 1, 4, 5, 6], 1)
    assert [p.speed_mps for p in moved] == [None, 11.1, 9.0, 0.2, None]
    assert [p.heading_deg for p in moved] == [None, 0.0, 90.0, 90.0, None]


def test_names_that_are_alike_become_ids_that_are_not() -> None:
    assert list(driver_ids(["Ana", "ana b.", "ana b", "", "мария"]).values()) == [
        "Ana", "ana-b", "ana-b-2", "driver", "driver-2",
    ]  # fmt: skip


# ---------------------------------------------------------------- a whole day


def a_csv(tmp_path: Path, lat: float = LAT, lng: float = LNG, name: str = "tracks.csv", minutes: int = 10) -> Path:
    """Two drivers on their way around a place, a fix every ten seconds; the second one pauses for half an hour."""
    rows = []
    for step in range(minutes * 6):
        at_s = T0 // 1000 + step * 10
        rows.append(f"Ana R.,{at_s},{lat + step * 0.0005:.5f},{lng:.5f}")
        rows.append(f"Ben,{at_s + (1_800 if step > 20 else 0)},{lat:.5f},{lng + step * 0.0005:.5f}")
    return a_file(tmp_path, "driver,time,lat,lng\n" + "\n".join(rows), name)


def test_tracks_become_a_fixture_that_verifies_with_everybody_on_duty(tmp_path: Path) -> None:
    out = tmp_path / "day.ndjson.zst"
    made = import_tracks(Import(files=(a_csv(tmp_path),)), FLOOR, out)
    assert (made.mall.id, made.bad_count, made.companion.counts.pings) == ("fashion-show", 0, 120)
    assert replay(out).hash == made.companion.hash == read_companion(out).hash
    with FixtureReader(out) as fixture:
        inputs = [line.input for line in fixture]
        assert fixture.header.start_ms == T0
        assert [mall["id"] for mall in fixture.header.malls["features"] if "mall_id" not in mall["properties"]] == [  # type: ignore[attr-defined]
            "fashion-show"
        ]
    assert [(i.driver_id, i.name) for i in inputs if isinstance(i, DriverRegistered)] == [
        ("Ana-R", "Ana R."),
        ("Ben", "Ben"),
    ]
    duty = [(i.driver_id, i.report) for i in inputs if isinstance(i, Report)]
    assert duty == [
        ("Ana-R", "on_duty"), ("Ben", "on_duty"), ("Ben", "off_duty"), ("Ana-R", "off_duty"), ("Ben", "on_duty"),
        ("Ben", "off_duty"),
    ]  # fmt: skip
    moving = [i for i in inputs if isinstance(i, Ping) and i.driver_id == "Ana-R"][1:]
    assert {ping.speed_mps for ping in moving} == {5.6}
    assert {ping.heading_deg for ping in moving} == {0.0}


@pytest.mark.parametrize(
    ("where", "fields", "reason"),
    [
        (
            (52.52, 13.405),
            {},
            r"no mall is near: .* 52.\d+, 13.\d+, and the nearest mall, Tysons .* is 6,\d+ km away: name",
        ),
        ((LNG / 2, LAT), {}, "no mall is near"),
        ((29.54217, -95.1484), {"mall_id": "fashion-show"}, "2,004 km from Fashion Show; baybrook is nearer, 0 km"),
        ((LAT, LNG), {"mall_id": "nowhere"}, "there is no mall nowhere; known: fashion-show"),
        ((LAT, LNG), {"to_ms": T0 - 1}, "all 120 fixes lie before --from or after --to"),
    ],
)
def test_tracks_that_belong_to_no_mall_are_refused_with_the_way_out(
    tmp_path: Path, where: tuple[float, float], fields: dict[str, object], reason: str
) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        import_tracks(Import(files=(a_csv(tmp_path, *where),), **fields), FLOOR, tmp_path / "day.ndjson.zst")  # type: ignore[arg-type]
    assert not list(tmp_path.glob("day*"))


def test_swapped_coordinates_are_noticed_and_can_be_swapped_back(tmp_path: Path) -> None:
    for lat, lng in ((38.91713, -77.22224), (LAT, LNG)):
        path, out = a_csv(tmp_path, lng, lat), tmp_path / "day.ndjson.zst"
        with pytest.raises(TrackError, match="look swapped"):
            import_tracks(Import(files=(path,)), FLOOR, out)
        assert import_tracks(Import(files=(path,), swap=True), FLOOR, out).companion.counts.pings == 120


def test_too_long_a_time_is_refused_with_a_way_to_cut_it(tmp_path: Path) -> None:
    text = f"time,lat,lng\n{T0},{LAT},{LNG}\n{T0 + 3 * 86_400_000},{LAT},{LNG}\n"
    out = tmp_path / "day.ndjson.zst"
    with pytest.raises(TrackError, match="more than 48 hours; cut a day out with --from and --to"):
        import_tracks(Import(files=(a_file(tmp_path, text),)), FLOOR, out)
    made = import_tracks(Import(files=(tmp_path / "tracks.csv",), to_ms=T0 + 86_400_000), FLOOR, out)
    assert (made.companion.counts.pings, made.outside) == (1, 1)


def mallard(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["mallard", *map(str, words)])
    capsys.readouterr()
    code = 0
    try:
        cli.main()
    except SystemExit as stop:
        code = int(stop.code or 0)
    said = capsys.readouterr()
    return code, said.err + said.out


def test_the_command_line_says_what_it_left_out_and_how_to_watch_the_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    path, gpx = a_csv(tmp_path), a_file(tmp_path, GPX, "day.gpx")
    with path.open("a") as file:
        file.write("\nAna R.,soon,1,2\n")
    code, said = mallard(monkeypatch, capsys, "import-tracks", path, gpx, "--out", "day.ndjson.zst")
    assert code == 0, said
    assert "skipped tracks.csv, line 122: 'soon' is no instant: neither an epoch time nor ISO 8601" in said
    assert "skipped day.gpx, line 7: no lng" in said
    assert "4 drivers, 124 pings; left out: 3 bad rows" in said
    assert "watch it: mallard demo ./day.ndjson.zst" in said
    assert mallard(monkeypatch, capsys, "replay", "./day.ndjson.zst", "--verify")[0] == 0
    code, said = mallard(monkeypatch, capsys, "import-tracks", path, "--out", "other.ndjson.zst", "--strict")
    assert (code, said.startswith("mallard: tracks.csv, line 122: ")) == (1, True)
    assert not Path("other.ndjson.zst").exists()
    for wrong in (("--timezone", "Mars/Base"), ("--column", "lat"), ("--column", "altitude=z")):
        assert mallard(monkeypatch, capsys, "import-tracks", path, "--out", "other.ndjson.zst", *wrong)[0] == 2


def test_every_error_of_reading_tracks_is_the_operators() -> None:
    assert issubclass(TrackError, MallardError)
