"""`mallard backup`, `restore`, `quarantine` and `serve --retention-days`: what they print, and how they end."""

import json
from pathlib import Path

import pytest

from streamer.cli import run
from streamer.core.events import DriverRegistered, OrderCommand
from streamer.edge.journal.contract import Quarantined
from streamer.edge.journal.sqlite import SqliteJournal
from streamer.edge.server import LiveOptions, open_journal
from tests.builders import T0
from tests.edge.floor_kit import a_header, write_journal
from tests.edge.test_cli import Mallard, mallard
from tests.edge.test_journal import a_history, read_back

__all__ = ["mallard"]

GOOD = Quarantined(T0, "KeyError('x')", DriverRegistered("d-poison"))
BAD = Quarantined(T0, "KeyError('y')", OrderCommand("hold", "o-999", 1))


@pytest.fixture
def floor(tmp_path: Path) -> str:
    """The hash of a floor in `floor`, with two inputs in its quarantine."""
    engine, entries = a_history()
    write_journal(tmp_path / "floor", entries, GOOD, BAD)
    return engine.hash()


def test_a_backup_and_its_restore_print_the_state_they_verified(mallard: Mallard, tmp_path: Path, floor: str) -> None:
    code, out, err = mallard("backup", "--data", "floor", "--out", "copy")
    assert (code, err) == (0, "")
    assert out.startswith("copy: backed up up to seq ")
    assert out.endswith(f"state {floor}\n")
    code, out, err = mallard("restore", "copy", "--data", "new")
    assert (code, err) == (0, "")
    assert out.endswith(f"state {floor}\n")
    assert read_back(tmp_path / "new") == read_back(tmp_path / "floor")


def test_a_restore_over_a_floor_is_one_clear_line(mallard: Mallard, floor: str) -> None:
    mallard("backup", "--data", "floor", "--out", "copy")
    code, out, err = mallard("restore", "copy", "--data", "floor")
    assert (code, out) == (1, "")
    assert err == "mallard: floor is not empty: restore into a new directory, or move it away\n"


def test_the_quarantine_is_listed_for_people_and_as_json(mallard: Mallard, floor: str) -> None:
    code, out, _ = mallard("quarantine", "list", "--data", "floor")
    assert code == 0
    assert "driver, " in out
    assert "KeyError('y')" in out
    assert out.endswith("2 in quarantine\n")
    code, out, _ = mallard("quarantine", "list", "--data", "floor", "--json")
    assert code == 0
    assert [(row["id"], row["type"]) for row in json.loads(out)] == [(1, "driver"), (2, "command")]


def test_a_retry_ends_well_only_if_nothing_stays(mallard: Mallard, floor: str) -> None:
    code, out, err = mallard("quarantine", "retry", "--all", "--data", "floor")
    assert code == 1
    assert [line.split()[:2] for line in out.splitlines()] == [["1", "taken"], ["2", "refused:"]]
    assert err == "mallard: 1 of 2 stay in quarantine\n"
    assert mallard("quarantine", "list", "--data", "floor").out.endswith("1 in quarantine\n")


def test_one_row_can_be_tried_by_its_number(mallard: Mallard, floor: str) -> None:
    code, out, err = mallard("quarantine", "retry", "1", "--data", "floor")
    assert (code, err) == (0, "")
    assert out.split() == ["1", "taken"]


@pytest.mark.parametrize("words", ["", "1 --all"])
def test_a_retry_needs_one_row_or_all(mallard: Mallard, floor: str, words: str) -> None:
    assert mallard("quarantine", "retry", *words.split(), "--data", "floor").code == 2


def test_a_retry_while_the_floor_runs_is_one_clear_line(mallard: Mallard, tmp_path: Path, floor: str) -> None:
    journal = SqliteJournal(tmp_path / "floor", a_header())
    code, _, err = mallard("quarantine", "retry", "1", "--data", "floor")
    journal.close()
    assert code == 1
    assert err == "mallard: another program is running on floor: stop it, or name another --data\n"


@pytest.mark.parametrize(("days", "code"), [("0", 2), ("61", 2), ("x", 2)])
def test_retention_is_between_1_and_60_days(mallard: Mallard, days: str, code: int) -> None:
    done = mallard("serve", "--retention-days", days)
    assert done.code == code
    assert "--retention-days" in done.err


@pytest.mark.parametrize(("line", "days"), [("retention_days = 30", 30), ("", None)])
def test_the_config_file_may_say_the_retention(tmp_path: Path, line: str, days: int | None) -> None:
    (tmp_path / "floor.toml").write_text(line)
    assert run.read_config(tmp_path / "floor.toml").retention_days == days
    (tmp_path / "floor.toml").write_text("retention_days = 61")
    with pytest.raises(ValueError, match="retention_days"):
        run.read_config(tmp_path / "floor.toml")


@pytest.mark.parametrize("given", [1, 14, 60])
def test_a_live_floor_s_journal_has_the_retention_of_its_options(tmp_path: Path, given: int) -> None:
    journal = open_journal(LiveOptions(data=tmp_path, retention_days=given))
    kept = journal._store._retention
    journal.close()
    assert kept is not None
    assert kept._days == given
    assert LiveOptions(data=tmp_path).retention_days == 14


@pytest.mark.parametrize("words", ["backup", "restore", "quarantine", "quarantine list", "quarantine retry"])
def test_each_of_these_commands_has_help(mallard: Mallard, words: str) -> None:
    done = mallard(*words.split(), "--help")
    assert done.code == 0
    assert "Usage: mallard" in done.out
