"""Each thing the doctor looks at: right when it is right, and a fault with its fix when it is not."""

import socket
from contextlib import closing
from pathlib import Path

import pytest

from streamer.edge import doctor
from streamer.edge.accounts import Accounts
from streamer.edge.finding import Finding
from streamer.edge.journal.contract import Snapshot
from streamer.edge.journal.sqlite import SqliteJournal
from streamer.edge.posture import check_posture
from tests.builders import T0
from tests.edge.floor_kit import a_header, write_journal
from tests.edge.test_journal import a_history, change
from tests.edge.test_journal_retention import Days


def faults(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if not finding.ok]


def test_every_fault_has_a_fix_of_one_line_and_nothing_else_has(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        findings = doctor.examine(tmp_path, [taken.getsockname()[1]])
    assert faults(findings)
    for finding in findings:
        assert bool(finding.fix) is not finding.ok
        assert "\n" not in finding.fix + finding.detail


def test_the_machine_the_tests_run_on_has_what_mallard_needs() -> None:
    looked_at = [doctor.check_python(), doctor.check_sqlite(), *doctor.check_libraries()]
    assert faults(looked_at) == []
    assert {"python", "sqlite", "websockets", "apsw", "msgspec"} <= {finding.check for finding in looked_at}


def test_an_old_python_is_a_fault() -> None:
    assert doctor.check_python((3, 10)) == Finding("python", False, "3.10", "install Python 3.11 or later")


@pytest.mark.parametrize(
    ("requirement", "ok"),
    [
        ("websockets>=17.4", True),
        ("websockets>=17.4.0", True),
        ("websockets", True),
        ("dash[fastapi]>=4.4.1", True),
        ("websockets>=999", False),
        ("no-such-distribution>=1", False),
    ],
)
def test_a_library_is_held_against_what_was_declared(requirement: str, ok: bool) -> None:
    (finding,) = doctor.check_libraries([requirement])
    assert finding.ok is ok


def test_a_missing_library_is_named_with_the_command_that_brings_it() -> None:
    (finding,) = doctor.check_libraries(["no-such-distribution>=1.2"])
    assert finding.fix == "pip install --upgrade 'no-such-distribution>=1.2'"


def test_libraries_of_extras_are_not_asked_for() -> None:
    assert doctor.check_libraries(['no-such-distribution>=1; extra == "cluster"']) == []


def test_database_settings_are_read_back_and_nothing_is_left_behind(tmp_path: Path) -> None:
    assert doctor.check_database(tmp_path).ok
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_not_made_yet_is_judged_by_the_one_above(tmp_path: Path) -> None:
    assert doctor.check_database(tmp_path / "a" / "b").ok
    assert doctor.check_disk(tmp_path / "a" / "b", min_free_bytes=1).ok
    assert faults(doctor.check_permissions(tmp_path / "a" / "b")) == []
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_takes_no_database_is_a_fault() -> None:
    assert not doctor.check_database(Path("/proc")).ok


def test_too_little_room_is_a_fault(tmp_path: Path) -> None:
    finding = doctor.check_disk(tmp_path, min_free_bytes=10**18)
    assert not finding.ok
    assert "1000000000.0 GB" in finding.fix


def test_secrets_as_mallard_makes_them_are_right(tmp_path: Path) -> None:
    accounts = Accounts(tmp_path / "floor")
    (tmp_path / "floor" / "link.secret").touch(0o600)
    looked_at = doctor.check_permissions(tmp_path / "floor")
    accounts.close()
    assert faults(looked_at) == []
    assert len(looked_at) == 5


@pytest.mark.parametrize("name", ["accounts.db", "link.secret"])
def test_a_secret_others_can_read_is_a_fault_with_its_chmod(tmp_path: Path, name: str) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / name).touch()
    (tmp_path / name).chmod(0o640)
    (fault,) = faults(doctor.check_permissions(tmp_path))
    assert fault.fix == f"chmod 600 {tmp_path / name}"


def test_a_directory_others_can_enter_is_a_fault(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (fault,) = faults(doctor.check_permissions(tmp_path))
    assert fault.fix == f"chmod 700 {tmp_path}"


def test_a_missing_fixture_is_a_fault() -> None:
    assert any("no-such-day" in fault.detail for fault in faults(doctor.check_fixtures(["no-such-day"])))


def test_a_port_is_free_or_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert not doctor.check_port("127.0.0.1", port).ok
    assert doctor.check_port("127.0.0.1", port).ok
    assert not doctor.check_port("127.0.0.1", 70_000).ok


# ---------------------------------------------------------------- the journal


NEWER = """UPDATE meta SET value = CAST(replace(CAST(value AS TEXT), '"schema":1', '"schema":9') AS BLOB)
    WHERE key = 'header'"""


def looked_at(folder: Path, running: bool = False) -> dict[str, Finding]:
    return {finding.check: finding for finding in doctor.check_journal(folder, running)}


def test_a_journal_that_is_not_made_yet_is_no_fault_and_is_not_made(tmp_path: Path) -> None:
    assert looked_at(tmp_path)["journal"].ok
    assert list(tmp_path.iterdir()) == []


def test_a_sound_journal_is_read_back_in_every_respect(tmp_path: Path) -> None:
    _, entries = a_history()
    write_journal(tmp_path, entries, Snapshot(entries[-1].seq, T0, b"x"))
    found = looked_at(tmp_path)
    assert faults(list(found.values())) == []
    assert list(found) == ["journal", "settings", "tail", "wal", "snapshots", "retention", "quarantine"]
    assert "schema 1" in found["journal"].detail
    for setting in ("synchronous=2", "journal_mode=wal", "busy_timeout=2000", "secure_delete=1"):
        assert setting in found["settings"].detail
    assert f"seq {entries[-1].seq}" in found["tail"].detail
    assert f"seq {entries[-1].seq}" in found["snapshots"].detail
    assert "pings of 1 days, from 20261113 on; a replay begins at the first input" in found["retention"].detail


@pytest.mark.parametrize(
    ("sql", "check"),
    [
        ("UPDATE entry SET body = zeroblob(4) WHERE seq = (SELECT max(seq) FROM entry)", "tail"),
        ("DELETE FROM entry WHERE seq = (SELECT max(seq) FROM entry)", "tail"),
        ("UPDATE entry SET body = zeroblob(4) WHERE seq = 1", "journal"),
        ("DELETE FROM meta WHERE key = 'header'", "journal"),
        (NEWER, "journal"),
        ("INSERT INTO quarantine(at_ms, reason, body) VALUES (1, 'KeyError', x'00')", "quarantine"),
    ],
    ids=["a torn tail", "a vanished tail", "damage", "no header", "a newer schema", "quarantine"],
)
def test_a_journal_that_is_not_sound_is_a_fault(tmp_path: Path, sql: str, check: str) -> None:
    _, entries = a_history()
    write_journal(tmp_path, entries)
    change(tmp_path, sql)
    assert [finding.check for finding in faults(list(looked_at(tmp_path).values()))] == [check]


def test_a_long_wal_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "MAX_WAL_BYTES", 1_000)
    journal = SqliteJournal(tmp_path, a_header())
    assert not looked_at(tmp_path, running=True)["wal"].ok
    journal.close()
    assert looked_at(tmp_path)["wal"].ok


def test_where_a_replay_begins_after_pings_went_is_said(tmp_path: Path) -> None:
    days = Days(tmp_path)
    for day in range(5):
        days.live(day)
        days.tidy()
    base = days.journal.base()
    days.journal.close()
    assert base is not None
    assert f"a replay begins at seq {base.seq} of 2026-11-" in looked_at(tmp_path)["retention"].detail


def test_a_floor_that_runs_is_said_and_its_ports_are_no_fault(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert any(str(port) in fault.detail for fault in faults(doctor.examine(tmp_path, [port])))
        journal = SqliteJournal(tmp_path, a_header())
        findings = doctor.examine(tmp_path, [port])
        journal.close()
    assert not any(str(port) in fault.detail for fault in faults(findings))
    said = {finding.check: finding.detail for finding in findings}
    assert said["port"] == f"127.0.0.1:{port} is in use, and a floor is running on this data"
    assert said["settings"].startswith("journal_mode=wal; a floor is running on it")


def test_the_doctor_changes_no_byte_of_the_journal(tmp_path: Path) -> None:
    _, entries = a_history()
    write_journal(tmp_path, entries)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    looked_at(tmp_path)
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    # A reader of a WAL database leaves an empty -wal and its index.
    assert after.pop("journal.db-wal", b"") == b""
    after.pop("journal.db-shm", b"")
    assert after == before


# ---------------------------------------------------------------- how open it is


def test_the_posture_counts_and_shows_no_value(tmp_path: Path) -> None:
    with closing(Accounts(tmp_path)) as accounts:
        accounts.add_user("maya", "correct horse battery", "dispatcher")
        token = accounts.mint_api_token("shop", "viewer", (), T0)
        accounts.revoke(accounts.mint_api_token("old", "viewer", (), T0), T0)
    secret = "a-secret-of-43-characters-or-thereabouts-yes"
    environment = {
        "MALLARD_LINK_SECRET": secret, "MALLARD_HOSTS": "floor.example", "MALLARD_SECURE": "1",
        "MALLARD_PROXIES": "10.0.0.1",
    }  # fmt: skip
    findings = check_posture(tmp_path, environment)
    assert faults(findings) == []
    told = " ".join(finding.detail for finding in findings)
    assert "1 host names, TLS declared, 1 proxies" in told
    assert "0 viewer, 1 dispatcher, 0 ops-lead" in told
    assert "0 driver, 0 gateway, 1 api" in told
    assert not [value for value in (secret, token, "maya", "shop", "floor.example", "10.0.0.1") if value in told]


@pytest.mark.parametrize(
    ("environment", "fix"),
    [
        ({"MALLARD_HOSTS": "floor.example"}, "set MALLARD_SECURE=1 and MALLARD_PROXIES"),
        ({"MALLARD_SECURE": "1"}, "set MALLARD_HOSTS and MALLARD_PROXIES"),
        ({"MALLARD_LINK_SECRET": "short"}, "take at least 32 random characters"),
    ],
)
def test_an_open_door_is_a_fault(tmp_path: Path, environment: dict[str, str], fix: str) -> None:
    assert [finding.fix for finding in faults(check_posture(tmp_path, environment))] == [fix]
