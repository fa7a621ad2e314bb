"""Each thing the doctor looks at: right when it is right, and a fault with its fix when it is not."""

import socket
from pathlib import Path

import pytest

from streamer.edge import doctor
from streamer.edge.accounts import Accounts
from streamer.edge.doctor import Finding


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
