"""F31: what an operator can get wrong before a start. Each is refused with exit code 1 and one line: reason and fix."""

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest
from msgspec import Struct

from dashboard.__main__ import main as run_dashboard
from streamer import cli
from streamer.edge.accounts import Accounts
from streamer.edge.journal import database
from tests.builders import a_collection, a_mall_feature, a_place_feature
from tests.edge.floor_kit import a_header, write_journal
from tests.edge.test_journal import a_history
from tests.faults.evidence import Evidence

Prepare = Callable[[Path], str]
"""Spoils something in an empty directory; the words after `mallard`, or `dashboard NAME=VALUE`."""


class Wrong(Struct, frozen=True):
    """One bad configuration, and what the line about it has to say."""

    name: str
    prepare: Prepare
    reason: str
    fix: str


def text_file(name: str, text: str, words: str) -> Prepare:
    """A file with this text."""

    def prepare(folder: Path) -> str:
        (folder / name).write_text(text)
        return words

    return prepare


def plain(words: str) -> Prepare:
    return lambda _folder: words


def malls(*features: dict[str, Any]) -> Prepare:
    return text_file(
        "malls.geojson", msgspec.json.encode(a_collection(*features)).decode(), "serve --malls malls.geojson"
    )


def a_journal(folder: Path) -> str:
    """A floor with a short history, in `data`."""
    write_journal(folder / "data", a_history()[1])
    return "serve --data data"


def changed(sql: str, *bindings: Any) -> Prepare:
    """A journal in which something was changed behind our back."""

    def prepare(folder: Path) -> str:
        words = a_journal(folder)
        connection = apsw.Connection(str(folder / "data" / "journal.db"))
        connection.execute(sql, bindings)
        connection.close()
        return words

    return prepare


def newer_schema(folder: Path) -> str:
    words = a_journal(folder)
    connection = apsw.Connection(str(folder / "data" / "journal.db"))
    header = msgspec.json.encode({**msgspec.to_builtins(a_header()), "schema": 99})
    connection.execute("UPDATE meta SET value = ? WHERE key = 'header'", (header,))
    connection.close()
    return words


def secret_file(content: str, mode: int) -> Prepare:
    def prepare(folder: Path) -> str:
        a_journal(folder)
        Accounts(folder / "data").close()
        path = folder / "data" / "link.secret"
        path.write_text(content)
        path.chmod(mode)
        return f"serve --data data --port {free_port()} --ingest-port {free_port()}"

    return prepare


def data_is_a_file(folder: Path) -> str:
    (folder / "data").write_text("not a directory")
    return f"serve --data data --port {free_port()} --ingest-port {free_port()}"


def journal_is_text(folder: Path) -> str:
    (folder / "data").mkdir()
    (folder / "data" / "journal.db").write_text("not a database at all " * 500)
    return f"serve --data data --port {free_port()} --ingest-port {free_port()}"


def on_free_ports(prepare: Prepare) -> Prepare:
    return lambda folder: f"{prepare(folder)} --port {free_port()} --ingest-port {free_port()}"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


STORE = a_place_feature("macys", "store")
CONFIG = "serve --config c.toml"
NOTHING = '{"type":"FeatureCollection","features":[]}'
MIDDLE = "DELETE FROM entry WHERE seq = (SELECT seq FROM entry WHERE note = 0 ORDER BY seq LIMIT 1 OFFSET 9)"
WRONG = [
    Wrong("no config file", plain("serve --config none.toml"), "No such file", "none.toml"),
    Wrong("config is no TOML", text_file("c.toml", "port = ", CONFIG), "Invalid value", "c.toml"),
    Wrong("unknown option", text_file("c.toml", "prot = 1", CONFIG), "unknown field", "`prot`"),
    Wrong("port 0", text_file("c.toml", "port = 0", CONFIG), ">= 1", "$.port"),
    Wrong("port 70000", text_file("c.toml", "ingest_port = 70000", CONFIG), "<= 65535", "$.ingest_port"),
    Wrong("origin with a path", text_file("c.toml", 'origins = ["https://a/b"]', CONFIG), "matching", "$.origins[0]"),
    Wrong("setting out of range", text_file("c.toml", "[settings]\ntick_ms = 1", CONFIG), ">= 100", "$.settings.tick"),
    Wrong(
        "unknown setting", text_file("c.toml", "[settings.risk]\nat = 1", CONFIG), "unknown field", "$.settings.risk"
    ),
    Wrong("no malls file", plain("serve --malls none.geojson"), "cannot read malls", "none.geojson"),
    Wrong("malls are no JSON", text_file("malls.geojson", "{", "serve --malls malls.geojson"), "not JSON", "malls"),
    Wrong(
        "no mall at all", text_file("m", '{"type":"FeatureCollection","features":[]}', "serve --malls m"), "mall", "is"
    ),
    Wrong("unknown time zone", malls(a_mall_feature(timezone="Mars/Olympus"), STORE), "'Mars/Olympus'", "mall plaza"),
    Wrong(
        "a mall without a radius", malls(a_mall_feature(service_radius_m=-1)), "service_radius_m", "feature 1 (plaza)"
    ),
    Wrong("public without secrets", plain("serve --public"), "--public needs", "MALLARD_LINK_SECRET"),
    Wrong("no such data for an audit", plain("audit verify --data none"), "no readable journal", "none/journal.db"),
    Wrong("data is a file", data_is_a_file, "data", "exists"),
    Wrong("the journal is text", journal_is_text, "not a database", "journal.db"),
    Wrong("a newer journal", on_free_ports(newer_schema), "schema 99", "update Mallard"),
    Wrong("a hole in the journal", on_free_ports(changed(MIDDLE)), "hole", "restore a backup"),
    Wrong("no header", on_free_ports(changed("DELETE FROM meta WHERE key = 'header'")), "not a journal", "journal.db"),
    Wrong("a secret others can read", secret_file("s" * 40, 0o644), "can be read by others", "chmod 600"),
    Wrong("an empty secret", secret_file("", 0o600), "is empty", "delete it"),
    Wrong("dashboard without a secret", plain("dashboard"), "no link secret", "MALLARD_LINK_SECRET"),
    Wrong("dashboard for everybody", plain("dashboard MALLARD_HOST=0.0.0.0"), "cannot listen on", "MALLARD_SECURE=1"),
    Wrong(
        "dashboard without a port", plain("dashboard MALLARD_LINK_SECRET=s MALLARD_PORT=x"), "no port", "MALLARD_PORT"
    ),
]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[str], Any]:
    """Runs a command line in this program; exit code and what it said on stderr."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("MALLARD_")]:
        monkeypatch.delenv(name)

    def begin(words: str) -> tuple[int, str]:
        program, *rest = words.split()
        capsys.readouterr()
        if program == "dashboard":
            for setting in rest:
                monkeypatch.setenv(*setting.split("=", 1))
            return run_dashboard(), capsys.readouterr().err
        monkeypatch.setattr(sys, "argv", ["mallard", program, *rest])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return int(stop.value.code or 0), capsys.readouterr().err

    return begin


@pytest.mark.parametrize("wrong", WRONG, ids=[wrong.name.replace(" ", "-") for wrong in WRONG])
def test_f31_a_bad_configuration_is_refused_in_one_line(
    wrong: Wrong, run: Callable[[str], tuple[int, str]], tmp_path: Path
) -> None:
    code, said = run(wrong.prepare(tmp_path))
    assert code == 1
    # What the log says of a start that failed is for machines; what is left is for the operator.
    lines = [line for line in said.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, said
    assert wrong.reason in lines[0]
    assert wrong.fix in lines[0]


def test_f31_a_taken_port_and_a_held_journal_are_named(
    run: Callable[[str], tuple[int, str]], tmp_path: Path, evidence: Evidence
) -> None:
    a_journal(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, said = run(f"serve --data data --port {free_port()} --ingest-port {taken.getsockname()[1]}")
    assert (code, "is in use: stop what listens there" in said) == (1, True)
    lock = database.lock(tmp_path / "data")
    code, said = run(f"serve --data data --port {free_port()} --ingest-port {free_port()}")
    os.close(lock)
    assert (code, "another program is running on" in said) == (1, True)
    evidence("bad configurations refused in one line", len(WRONG) + 2)


def test_f31_other_malls_or_settings_than_the_journal_was_begun_with_are_refused(
    run: Callable[[str], tuple[int, str]], tmp_path: Path
) -> None:
    write_journal(tmp_path / "data", a_history(rounds=2)[1])
    (tmp_path / "c.toml").write_text("[settings.risk]\nat_risk_ms = 1\n")
    code, said = run(f"serve --data data --config c.toml --port {free_port()} --ingest-port {free_port()}")
    assert (code, "other settings" in said, "name a new --data" in said) == (1, True, True)
