"""What the figures rest on: the load speaks the protocol, the peers do the work, and a bad run does not count."""

import sqlite3
from pathlib import Path

import msgspec
import pytest
from websockets.frames import Frame
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from streamer.core.events import Ping, Report
from streamer.edge import wire
from tests.bench import redis_peer
from tests.bench.__main__ import put_into_page
from tests.bench.fleet import Fleet, driver_name, framed
from tests.bench.groups.engine import APPLY
from tests.bench.groups.group import figures_of
from tests.bench.groups.latency import joined
from tests.bench.groups.nearest import a_floor_of_drivers
from tests.bench.naive import NaiveIngestor, NaiveServer
from tests.bench.places import MALLS, centres, homes, the_floor
from tests.bench.plan import Outcome, Sent, quantile
from tests.bench.server import Marks
from tests.bench.table import Medians, Row, Target, as_markdown, render

NOW_MS = 1_794_560_400_000


def an_outcome(**changed: float | str) -> Outcome:
    given = {
        "pings": 1_000, "seconds": 1.0, "server_cpu_s": 0.01, "load_share": 0.2, "unanswered": 0, "nacks": 0,
        "complaint": "", "ack_p50_ms": 1.0, "ack_p99_ms": 2.0, "rss_before_kib": 1, "rss_open_kib": 2, "rss_end_kib": 3,
    }  # fmt: skip
    return msgspec.convert({**given, **changed}, Outcome)


def test_a_load_driver_speaks_the_protocol() -> None:
    fleet = Fleet(3)
    messages = [fleet.on_duty(1, NOW_MS), fleet.ping(1, NOW_MS), fleet.batch([0, 1], NOW_MS)]
    report, *pings = (item for message in messages for item in wire.decode_frame(message))
    assert isinstance(report, Report)
    assert (report.driver_id, report.report) == (driver_name(1), "on_duty")
    assert [(ping.driver_id, ping.seq) for ping in pings if isinstance(ping, Ping)] == [
        (driver_name(1), 1), (driver_name(0), 1), (driver_name(1), 2),
    ]  # fmt: skip


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_a_load_frame_is_one_the_library_reads(size: int) -> None:
    protocol = ServerProtocol(state=OPEN, max_size=None)
    protocol.receive_data(framed(b"x" * size))
    (frame,) = protocol.events_received()
    assert isinstance(frame, Frame)
    assert (bytes(frame.data), frame.fin) == (b"x" * size, True)


def test_the_forty_malls_are_a_floor_and_drivers_are_in_them() -> None:
    floor = the_floor()
    assert len(floor.malls) == MALLS
    naive = NaiveIngestor(floor)
    for number, (lat, lng) in enumerate(centres().tolist()):
        ping = {"driver_id": str(number), "seq": 1, "lat": lat, "lng": lng}
        assert naive.apply(ping)
    assert {driver["mall"] for driver in naive.drivers.values()} == set(floor.malls)


def test_the_naive_ingestor_keeps_a_ping_once_and_refuses_a_bad_one(tmp_path: Path) -> None:
    naive = NaiveServer(NaiveIngestor(the_floor()), tmp_path / "naive.db")
    (ping,) = naive.ingestor.decode(Fleet(1).ping(0, NOW_MS))
    assert naive.ingestor.apply(ping)
    assert not naive.ingestor.apply(ping)
    naive.keep(naive.ingestor.drivers[ping["driver_id"]])
    naive.database.close()
    kept = sqlite3.connect(tmp_path / "naive.db")
    assert kept.execute("SELECT driver_id, seq FROM ping").fetchall() == [(driver_name(0), 1)]
    assert kept.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    kept.close()
    with pytest.raises(ValueError, match="coordinate"):
        naive.ingestor.decode(b'{"type":"ping","fix_ms":1,"lat":91,"lng":0}')


def test_the_naive_commit_is_as_durable_as_ours(tmp_path: Path) -> None:
    naive = NaiveServer(NaiveIngestor(the_floor()), tmp_path / "naive.db")
    assert naive.database.execute("PRAGMA synchronous").fetchone() == (2,)
    naive.database.close()


@pytest.mark.parametrize(
    ("target", "value", "verdict"),
    [
        (Target(6, 10, more=True), 10.0, "aim"), (Target(6, 10, more=True), 6.0, "must"),
        (Target(6, 10, more=True), 5.99, "no"), (Target(1.2, 0.9), 0.9, "aim"), (Target(1.2, 0.9), 1.2, "must"),
        (Target(1.2, 0.9), 1.21, "no"),
    ],
)  # fmt: skip
def test_a_target_is_judged_by_its_direction(target: Target, value: float, verdict: str) -> None:
    assert Row("w", 1.0, "µs", ratio=value, target=target).verdict == verdict


def test_a_target_of_our_own_figure_is_not_judged_by_the_ratio() -> None:
    assert Row("w", 4.0, "s", ratio=100.0, target=Target(5, 2, of="ours", unit="s")).verdict == "must"


def test_medians_and_ratios_are_of_the_same_figure() -> None:
    medians = Medians(
        {"ours": [{"us": 2.0}, {"us": 90.0}, {"us": 4.0}], "peer": [{"us": 8.0}, {"us": 40.0}, {"us": 1.0}]}
    )
    row = medians.speedup("w", "us", "µs", "ours", "peer", "a peer")
    assert (row.ours, row.theirs, row.ratio) == (4.0, 8.0, 2.0)
    assert medians.share("w", "us", "µs", "ours", "peer", "a peer").ratio == 0.5


@pytest.mark.parametrize("changed", [{"unanswered": 1}, {"nacks": 1}, {"load_share": 0.91}])
def test_one_bad_run_makes_the_row_invalid(changed: dict[str, float]) -> None:
    good, bad = figures_of(an_outcome()), figures_of(an_outcome(**changed))
    medians = Medians({"ours": [good, bad, good], "peer": [good, good, good]})
    assert medians.speedup("w", "us", "µs", "peer", "peer", "p", Target(0.5, 1, more=True)).verdict == "aim"
    assert medians.speedup("w", "us", "µs", "ours", "peer", "p", Target(0.5, 1, more=True)).verdict == "invalid"
    assert medians.speedup("w", "us", "µs", "peer", "ours", "p", Target(0.5, 1, more=True)).verdict == "invalid"


def test_cpu_a_ping_and_the_ceiling_follow_from_each_other() -> None:
    figures = figures_of(an_outcome(pings=2_000, server_cpu_s=0.1))
    assert figures["us"] == pytest.approx(50.0)
    assert figures["ceiling"] == pytest.approx(20_000)


def test_delays_are_joined_by_driver_and_seq_and_only_of_the_measured_seconds(tmp_path: Path) -> None:
    sent, applied = tmp_path / "sent", tmp_path / "applied"
    sent.write_bytes(msgspec.msgpack.encode(Sent([0, 0, 1], [1, 2, 1], [1_000_000, 9_000_000, 9_000_000], 5_000_000)))
    marks = Marks([driver_name(1), driver_name(0), driver_name(0)], [1, 1, 2], [12_000_000, 90_000_000, 10_000_000])
    applied.write_bytes(msgspec.msgpack.encode(marks))
    assert joined(sent, applied) == [1.0, 3.0]


def test_quantiles_of_nothing_are_nothing() -> None:
    assert quantile([], 0.99) == 0.0
    assert quantile([1, 2, 3, 4], 0.5) == 3
    assert quantile([1, 2, 3, 4], 0.99) == 4


def test_without_redis_the_rows_say_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert redis_peer.absence() == "redis-server is not on this machine"
    rows = APPLY.rows(Medians({"ours": [{"us": 4.0}], "naive": [{"us": 12.0}]}))
    assert [row.peer for row in rows] == ["naive apply", "redis-server is not on this machine"]
    assert rows[1].verdict == ""
    assert render("t", {"g": rows}).row_count == 3


def test_free_drivers_of_the_bench_are_the_ones_the_engine_finds() -> None:
    where = homes(500)
    engine, free = a_floor_of_drivers(where)
    lat, lng = where[free[0]].tolist()
    found = [driver_id for driver_id, _ in engine.nearest(lat, lng, 500)]
    assert found[0] == driver_name(free[0])
    assert sorted(found) == [driver_name(number) for number in free]


def test_a_page_keeps_what_stands_around_its_figures(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Title\n<!-- figures -->\nold\n<!-- end of figures -->\nlast words\n")
    row = Row("w", 4.0, "µs", "p", 8.0, 2.0, Target(5, 8, more=True))
    put_into_page(page, as_markdown("today", {"a group": [row]}))
    text = page.read_text()
    assert text.startswith("# Title\n<!-- figures -->\n")
    assert text.endswith("<!-- end of figures -->\nlast words\n")
    assert "| w | 4 | µs | p | 8 | 2× | ≥ 5 / 8 × | NO |" in text
    assert "old" not in text
