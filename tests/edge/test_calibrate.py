"""A world with other parameters is simulated, and calibration finds them again; what it cannot find it leaves alone."""

import json
import sys
from pathlib import Path

import msgspec
import pytest
from msgspec import Struct

from streamer import cli
from streamer.core.errors import ConfigurationError
from streamer.edge.journal.database import JournalReader
from streamer.edge.recordings.fixtures import FixtureReader
from streamer.edge.recordings.record import Cut, record
from streamer.edge.recordings.replay import replay
from streamer.edge.simulation.calibrate import Calibrated, calibrate, observe
from streamer.edge.simulation.parameters_file import read_parameters, write_parameters
from streamer.edge.simulation.to_file import simulate_to_file
from streamer.edge.simulation.worlds import plain_script
from streamer.sim.calibration.drives import Reference, references
from streamer.sim.calibration.fit import fit
from streamer.sim.calibration.fitter import Fitter
from streamer.sim.calibration.observed import Observed
from streamer.sim.parameters import (
    USUAL,
    CarRules,
    DriverRules,
    Parameters,
    PhoneRules,
    StoreRules,
)
from tests.edge.floor_kit import write_journal
from tests.edge.test_journal import a_history

T0 = 1_794_693_600_000
OTHER = Parameters(
    cars=CarRules(pace=(1.0, 1.2)),
    drivers=DriverRules(park_s=(5, 15), load_s=(60, 90), collect_s=(30, 50), door_s=(60, 90), decline=(0.2,)),
    stores=StoreRules(bias=(0.4, 0.6), spread=0.15),
    phones=PhoneRules(
        sigma_parked_m=9.0, sigma_open_m=9.0, moving_ms=8_000, still_ms=10_000, missed_indoors=0.1,
        latency_ms=(1_500, 3_000),
    ),
)  # fmt: skip


class Elsewhere(Struct):
    """A recording of a world with the parameters `OTHER`, and what was found in it."""

    path: Path
    known: dict[str, Reference]
    seen: Observed
    fitter: Fitter

    @property
    def found(self) -> Parameters:
        return self.fitter.parameters


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Elsewhere:
    path = tmp_path_factory.mktemp("elsewhere") / "elsewhere.ndjson.zst"
    script = plain_script(["baybrook"], drivers=16, orders=220, hours=1.3, seed=7, play_ms=T0)
    simulate_to_file(script, path, policy="nearest", parameters=OTHER)
    engine, seen = observe(path)
    known = references(list(engine.floor.malls.values()), USUAL, 1)
    return Elsewhere(path, known, seen, fit(seen, known, USUAL))


def test_a_recording_of_another_world_says_so_and_replays(elsewhere: Elsewhere) -> None:
    with FixtureReader(elsewhere.path) as fixture:
        assert msgspec.convert(fixture.header.parameters, Parameters) == OTHER
    assert replay(elsewhere.path).inputs > 5_000


def test_the_pace_of_drivers_is_found_again_within_eight_per_cent(elsewhere: Elsewhere) -> None:
    assert sum(elsewhere.found.cars.pace) / 2 == pytest.approx(1.1, rel=0.08)


@pytest.mark.parametrize(("name", "within_s"), [("door_s", 8), ("collect_s", 5), ("park_s", 8), ("load_s", 14)])
def test_what_drivers_take_is_found_again(elsewhere: Elsewhere, name: str, within_s: int) -> None:
    wanted, found = getattr(OTHER.drivers, name), getattr(elsewhere.found.drivers, name)
    assert found == pytest.approx(wanted, abs=within_s)


def test_stores_are_found_again_each_by_itself(elsewhere: Elsewhere) -> None:
    stores = elsewhere.found.stores
    assert stores.spread == pytest.approx(0.15, abs=0.05)
    assert stores.bias == pytest.approx((0.4, 0.6), abs=0.08)
    assert stores.biases
    assert all(0.37 < lean < 0.63 for lean in stores.biases.values())


def test_phones_are_found_again(elsewhere: Elsewhere) -> None:
    phones = elsewhere.found.phones
    assert phones.sigma_parked_m == pytest.approx(9.0, rel=0.25)
    assert (phones.moving_ms, phones.still_ms) == (8_000, 10_000)
    assert phones.missed_indoors == pytest.approx(0.1, abs=0.08)
    assert phones.latency_ms == pytest.approx((1_500, 3_000), abs=400)


def test_offers_are_declined_as_often(elsewhere: Elsewhere) -> None:
    decline = elsewhere.found.drivers.decline
    assert sum(decline) / len(decline) == pytest.approx(0.2, abs=0.08)


def test_what_was_not_seen_often_enough_is_kept_with_the_reason(elsewhere: Elsewhere) -> None:
    few = elsewhere.seen.part(lambda name, at_ms, who: name in {"drives", "door_s"})
    fitter = fit(few, elsewhere.known, USUAL)
    assert fitter.parameters.stores == USUAL.stores
    assert {row.name: row.kept for row in fitter.rows}["drivers.park_s"] == "0 seen, 30 are needed"


def test_the_fit_is_judged_by_what_it_did_not_see(elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamer.edge.simulation.calibrate.references", lambda *_: elsewhere.known)
    found: Calibrated = calibrate(elsewhere.path)
    checks = {one.what: one for one in found.checks}
    door, drive = checks["at the door"], checks["drive to a door"]
    all_doors = len(elsewhere.seen.door_s)
    assert 0.2 * all_doors < door.n < 0.45 * all_doors
    assert door.after.ks < 0.35 < door.before.ks
    assert drive.after.error is not None
    assert drive.before.error is not None
    assert drive.after.error < drive.before.error
    assert next(row.n for row in found.rows if row.name == "drivers.door_s") == all_doors - door.n


def test_the_command_line_calibrates_and_simulates_with_what_it_found(
    elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("streamer.edge.simulation.calibrate.references", lambda *_: elsewhere.known)
    out, day = tmp_path / "found.json", tmp_path / "day.ndjson.zst"
    told = json.loads(
        mallard(monkeypatch, capsys, "calibrate", elsewhere.path, "--json", "--out", out, "--hold-out", "drivers")[1]
    )
    assert told["judged_on"] == "every third driver"
    assert read_parameters(out).drivers.door_s[0] == pytest.approx(60, abs=6)
    words = "simulate --mall baybrook --drivers 2 --orders 2 --hours 0.05 --parameters"
    assert mallard(monkeypatch, capsys, *words.split(), out, "--out", day)[0] == 0
    with FixtureReader(day) as fixture:
        assert msgspec.convert(fixture.header.parameters, Parameters) == read_parameters(out)
    code, said = mallard(monkeypatch, capsys, "calibrate", day)
    assert code == 1
    assert said.startswith("mallard: too little to fit: 0 drives to a door and 0 times at a door, and 30 of each")


def test_a_journal_shows_the_same_as_the_fixture_cut_out_of_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    write_journal(tmp_path / "floor", a_history()[1])
    reader, out = JournalReader(tmp_path / "floor"), tmp_path / "day.ndjson.zst"
    try:
        record(reader, Cut(), out)
    finally:
        reader.close()
    _, from_journal = observe(tmp_path / "floor")
    assert from_journal == observe(out)[1]
    assert len(from_journal.latency_ms) == 80
    assert len(from_journal.orders) == 20
    code, said = mallard(monkeypatch, capsys, "calibrate", tmp_path / "floor")
    assert (code, said.startswith("mallard: too little to fit: ")) == (1, True)
    assert mallard(monkeypatch, capsys, "calibrate", tmp_path) == (1, f"mallard: there is no journal in {tmp_path}\n")


def mallard(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["mallard", *map(str, words)])
    capsys.readouterr()
    try:
        cli.main()
    except SystemExit as stop:
        said = capsys.readouterr()
        return int(stop.code or 0), said.err + said.out
    said = capsys.readouterr()
    return 0, said.err + said.out


# ---------------------------------------------------------------- files


def test_parameters_come_back_from_their_file(tmp_path: Path) -> None:
    write_parameters(tmp_path / "other.json", OTHER)
    assert read_parameters(tmp_path / "other.json") == OTHER


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "truncated"),
        ("[" * 100_000, "holds no parameters"),
        ('{"cars": {"pace": [0.9, 0.7]}}', "pace is no range: 0.9 to 0.7"),
        ('{"cars": {"speed": 3}}', "unknown field `speed`"),
        ('{"drivers": {"door_s": [60, 60]}}', "door_s is no range: 60 to 60"),
        ('{"drivers": {"accept_last_s": [3, 9]}}', "accept_last_s begins at 3, not after 4"),
        (f'{{"shoppers": {{"hourly": {[0] * 24}}}}}', "hourly is zero at every hour"),
        ('{"phones": {"missed_open": 1.5}}', "<= 1"),
    ],
)
def test_a_file_without_parameters_is_refused_with_the_reason(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(ConfigurationError, match=reason):
        read_parameters(tmp_path / "bad.json")
