"""`mallard privacy` and `mallard audit head` as an operator types them."""

import json
import re
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streamer.cli.commands import app
from streamer.edge.accounts import Accounts
from streamer.edge.journal.backup import back_up
from streamer.edge.journal.sqlite import SqliteJournal
from tests.edge.floor_kit import a_header, live_through, write_journal
from tests.edge.test_privacy import ANN, BEN, a_day_with_ann

runner = CliRunner()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    from streamer.core.engine import Engine
    from tests.builders import a_floor

    folder = tmp_path / "data"
    write_journal(folder, live_through(Engine(a_floor()), a_day_with_ann()))
    with closing(Accounts(folder)) as accounts:
        accounts.register_driver("d-1", "Driver Name 1")
    back_up(folder, tmp_path / "backup")
    return folder


def mallard(*words: object) -> tuple[int, str, Exception | None]:
    done = runner.invoke(app, list(map(str, words)))
    error = done.exception if isinstance(done.exception, Exception) else None
    return done.exit_code, done.output, error


def test_export_prints_json_of_one_person(data: Path) -> None:
    code, out, _ = mallard("privacy", "export", "--customer", ANN.phone, "--data", data)
    assert code == 0
    assert json.loads(out)["inputs"][0]["input"]["dropoff"]["name"] == ANN.name
    assert BEN.name not in out


def test_erase_reaches_the_backups_and_the_chain_passes_through_kept_heads(data: Path, tmp_path: Path) -> None:
    heads = tmp_path / "heads.ndjson"
    heads.write_text(mallard("audit", "head", "--data", data)[1])
    code, out, error = mallard("privacy", "erase", "--driver", "d-1", "--data", data, "--backup", tmp_path / "backup")
    assert code == 0, error
    assert out.count("written anew") == 2
    for folder in (data, tmp_path / "backup"):
        held = b"".join(path.read_bytes() for path in folder.iterdir())
        assert b"Driver Name 1" not in held
    code, out, _ = mallard("audit", "verify", "--data", data, "--heads", heads)
    assert code == 0
    assert re.search(r"whole up to seq \d+, through 1 kept heads", out)
    assert mallard("privacy", "export", "--customer", "shop-77", "--data", tmp_path / "backup")[0] == 0


@pytest.mark.parametrize("who", [(), ("--driver", "d-1", "--customer", "x")])
def test_one_person_is_named_and_one_only(data: Path, who: tuple[str, ...]) -> None:
    assert mallard("privacy", "erase", *who, "--data", data)[0] == 2


def test_a_running_floor_is_not_erased_from(data: Path) -> None:
    with closing(SqliteJournal(data, a_header())):
        code, _, error = mallard("privacy", "erase", "--driver", "d-1", "--data", data)
    assert code == 1
    assert "a floor is running" in str(error)


def test_a_text_of_somebody_else_s_too_is_told_and_exits_1(data: Path) -> None:
    with closing(Accounts(data)) as accounts:
        accounts.register_driver("d-9", ANN.name)
    code, out, _ = mallard("privacy", "erase", "--customer", ANN.phone, "--data", data)
    assert code == 1
    assert f"still holds {ANN.name!r}" in out


@pytest.mark.parametrize("content", ["nonsense\n", '{"links":1}\n'])
def test_heads_that_are_none_are_a_line(data: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "heads").write_text(content)
    code, _, error = mallard("audit", "verify", "--data", data, "--heads", tmp_path / "heads")
    assert code == 1
    assert "does not hold lines of" in str(error)
