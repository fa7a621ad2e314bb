"""The `mallard` command: exit codes, one line for an error, secrets alone on stdout, and the demo from start to end."""

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import apsw
import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from streamer import cli
from streamer.cli.recordings import instant_ms
from streamer.core.engine import Engine
from streamer.edge.accounts import Accounts, BadLoginError
from streamer.edge.journal.contract import Note
from streamer.edge.recordings.fixtures import fixture_names, read_companion
from tests.builders import T0, a_collection, a_floor
from tests.edge.floor_kit import a_day, live_through, write_journal
from tests.edge.test_journal import a_history

TIMEOUT_S = 60


class Done(NamedTuple):
    code: int
    out: str
    err: str


Mallard = Callable[..., Done]


@pytest.fixture
def mallard(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Mallard:
    """Runs the command line in this program, in an empty directory."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["mallard", *map(str, words)])
        capsys.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        return Done(code, *capsys.readouterr())

    return run


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    "words",
    ["audit verify", "quarantine list", "record --out x.ndjson.zst", "backup --out copy", "quarantine retry --all"],
)
def test_a_file_that_is_no_database_is_one_clear_line(mallard: Mallard, tmp_path: Path, words: str) -> None:
    (tmp_path / "floor").mkdir()
    (tmp_path / "floor" / "journal.db").write_bytes(bytes(range(256)) * 100)
    done = mallard(*words.split(), "--data", "floor")
    assert done.code == 1
    assert "not a database" in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("replay nowhere", 1, "there is no fixture named nowhere; known: "),
        ("replay ./nowhere.ndjson.zst", 1, "there is no fixture at ./nowhere.ndjson.zst"),
        ("replay broken.ndjson.zst", 1, "is not Zstandard-compressed"),
        ("replay", 2, "Missing argument"),
        ("replay bad-day --speed fast", 2, "neither a number above 0 nor max"),
        ("replay bad-day --speed 0", 2, "neither a number above 0 nor max"),
        ("replay bad-day --verify --until 5", 2, "exclude each other"),
        ("demo nowhere", 1, "there is no fixture named nowhere"),
        ("demo --speed 0", 2, "speed"),
        ("demo --port 0", 2, "port"),
        ("demo --port nine", 2, "valid integer"),
        ("demo --data journal", 1, "holds the journal of a live floor"),
        ("serve --config none.toml", 1, "cannot read none.toml: No such file"),
        ("serve --config bad.toml", 1, "unknown field `prot`"),
        ("serve --config broken.toml", 1, "broken.toml: "),
        ("serve --autopilot wild", 2, "'wild' is not one of 'off', 'suggest', 'auto', 'auto_with_exceptions'"),
        ("serve --config mode.toml", 1, "mode.toml: Invalid enum value 'wild' - at `$.autopilot`"),
        ("serve --config port0.toml", 1, "port0.toml: Expected `int` >= 1 - at `$.port`"),
        ("serve --config port70000.toml", 1, "port70000.toml: Expected `int` <= 65535 - at `$.ingest_port`"),
        ("serve --config origin.toml", 1, "- at `$.origins[0]`"),
        ("serve --malls none.geojson", 1, "cannot read malls from none.geojson"),
        ("serve --malls bad.toml", 1, "bad.toml is not JSON"),
        ("serve --malls empty.geojson", 1, "no feature is a mall"),
        ("serve --malls zone.geojson", 1, "mall plaza: its timezone 'Mars/Olympus' is not in the time zone database"),
        ("serve --public", 1, "--public needs MALLARD_LINK_SECRET in the environment"),
        ("serve --data journal --malls malls.geojson", 1, "was begun with other malls"),
        ("record --out day.txt", 2, "a fixture is called NAME.ndjson.zst"),
        ("record --out none/day.ndjson.zst", 2, "there is no directory"),
        ("record --out day.ndjson.zst", 1, "there is no readable journal at mallard-data/journal.db"),
        ("record --out day.ndjson.zst --from 9 --to 8", 2, "--from is after --to"),
        ("record --data journal --out day.ndjson.zst --mall nope", 1, "there is no mall nope"),
        ("simulate", 2, "give one of --out FILE and --connect URL"),
        ("simulate --out day.ndjson.zst --connect ws://127.0.0.1:1", 2, "give one of"),
        ("simulate --connect ws://127.0.0.1:1", 2, "--connect needs --token"),
        ("simulate --out day.ndjson.zst --drivers 0", 2, "Invalid value for '--drivers': "),
        (
            "simulate --connect ws://127.0.0.1:1 --token t --api-token t --api http://127.0.0.1:1",
            1,
            "the API at http://127.0.0.1:1 cannot be used: ",
        ),
        ("simulate --connect ws://127.0.0.1:1 --token t --api-token t --api nowhere", 1, "the API at nowhere"),
        (
            "simulate --connect not-a-url --token t --api-token t",
            1,
            "not-a-url/v1/drivers is not the address of a gateway",
        ),
        ("simulate --out day.ndjson.zst --mall nope", 1, "there is no mall nope"),
        ("simulate --out day.ndjson.zst --story nope", 1, "there is no story nope"),
        ("simulate --out day.ndjson.zst --policy best", 2, "'best' is no policy: plan, no-hold, nearest"),
        ("token", 2, ""),
        ("token driver a/b", 1, "'a/b' cannot name a driver"),
        ("token api robot", 2, "Missing option '--role'"),
        ("token api robot --role king", 2, "'king' is no role"),
        ("token revoke d-7", 1, "there is no token of 'd-7' in mallard-data"),
        ("token revoke d-7 --kind api", 1, "there is no api token of 'd-7' in mallard-data"),
        ("token revoke d-7 --kind king", 2, "'king' is not one of"),
        ("user add maya --role king", 2, "'king' is no role"),
        ("user remove maya", 1, "there is no user 'maya' in mallard-data"),
        ("audit verify", 1, "there is no readable journal"),
        ("audit verify --data damaged", 1, "the audit chain breaks at seq "),
        ("nonsense", 2, "No such command"),
    ],
)
def test_an_error_is_one_clear_line_with_its_exit_code(
    mallard: Mallard, monkeypatch: pytest.MonkeyPatch, words: str, code: int, said: str
) -> None:
    for name in ("MALLARD_LINK_SECRET", "MALLARD_HOSTS", "MALLARD_SECURE"):
        monkeypatch.delenv(name, raising=False)
    Path("broken.ndjson.zst").write_bytes(b"nothing of the kind")
    Path("bad.toml").write_text("prot = 8050\n")
    Path("broken.toml").write_text("port = [\n")
    Path("port0.toml").write_text("port = 0\n")
    Path("mode.toml").write_text('autopilot = "wild"\n')
    Path("port70000.toml").write_text("ingest_port = 70000\n")
    Path("origin.toml").write_text('origins = ["https://app.example/"]\n')
    Path("zone.geojson").write_text(json.dumps(another_floor(timezone="Mars/Olympus")))
    Path("empty.geojson").write_text('{"type":"FeatureCollection","features":[]}')
    Path("malls.geojson").write_text(json.dumps(another_floor()))
    _, entries = a_history(3)
    write_journal(Path("journal"), entries)
    write_journal(Path("damaged"), entries)
    connection = apsw.Connection("damaged/journal.db")
    connection.execute("UPDATE entry SET link = zeroblob(32) WHERE kind = 'order'")
    connection.close()
    done = mallard(*words.split())
    assert done.code == code, done
    assert said in done.err.replace("\n", " ")
    assert "Traceback" not in done.err
    assert done.out == "" or words == "token"
    if code == 1:
        assert done.err.startswith("mallard: ")
        assert done.err.count("\n") == 1


def another_floor(**properties: object) -> dict[str, object]:
    collection = a_collection()
    collection["features"][0]["properties"].update({"name": "Another", **properties})
    return collection


@pytest.mark.parametrize(
    "words",
    ["", "demo", "serve", "replay", "record", "simulate", "token", "token driver", "token gateway", "token api",
     "token revoke", "user", "user add", "user remove", "doctor", "audit", "audit verify"],
)  # fmt: skip
def test_every_command_has_help(mallard: Mallard, words: str) -> None:
    done = mallard(*words.split(), "--help")
    assert done.code == 0
    assert "Usage: mallard" in done.out


# ---------------------------------------------------------------- recordings


def test_replay_prints_json_and_nothing_else(mallard: Mallard) -> None:
    done = mallard("replay", "bad-day", "--json", "--verify")
    assert (done.code, done.err) == (0, "")
    outcome = json.loads(done.out)
    assert outcome["verified"] is True
    assert set(outcome) == {"fixture", "inputs", "effective", "at_ms", "hash", "kpis", "learned", "verified"}


def test_replay_shows_figures_and_hash(mallard: Mallard) -> None:
    done = mallard("replay", "two-malls", "--until", "60000")
    assert done.code == 0
    assert re.search(r"state [0-9a-f]{32}\n$", done.out)
    assert "orders_per_trip" in done.out


def test_verify_exits_1_when_the_hash_differs(mallard: Mallard) -> None:
    made = mallard("simulate", "--out", "day.ndjson.zst", "--drivers", 3, "--orders", 5, "--hours", 0.05)
    assert made.code == 0, made
    assert mallard("replay", "./day.ndjson.zst", "--verify").code == 0
    companion = Path("day.json")
    companion.write_text(companion.read_text().replace('"hash": "', '"hash": "0'))
    done = mallard("replay", "./day.ndjson.zst", "--verify", "--json")
    assert done.code == 1
    assert json.loads(done.out)["verified"] is False
    assert "is stored beside it" in done.err


def test_record_cuts_a_fixture_that_verifies(mallard: Mallard, tmp_path: Path) -> None:
    engine, entries = a_history()
    write_journal(tmp_path / "mallard-data", entries)
    done = mallard("record", "--out", "day.ndjson.zst", "--from", T0 + 40_000, "--pseudonymise")
    assert done.code == 0, done
    assert mallard("replay", "./day.ndjson.zst", "--verify").code == 0
    assert mallard("record", "--out", "all.ndjson.zst").code == 0
    assert read_companion(Path("all.ndjson.zst")).hash == engine.hash()


@pytest.mark.parametrize("text", ["1794693600000", "2026-11-14T22:00:00Z", "2026-11-14T14:00-08:00"])
def test_an_instant_may_be_typed_as_a_number_or_as_people_write_it(text: str) -> None:
    assert instant_ms("--from", text) == 1_794_693_600_000


@pytest.mark.parametrize("text", ["yesterday", "2026-11-14T22:00:00", "-5", "1969-01-01T00:00Z", "9" * 30, "٢"])
def test_no_instant_is_wrong_usage(mallard: Mallard, text: str) -> None:
    done = mallard("record", "--out", "day.ndjson.zst", f"--from={text}")
    assert done.code == 2
    assert "is neither UTC epoch ms nor like 2026-11-14T14:00-08:00" in " ".join(done.err.replace("│", "").split())


# ---------------------------------------------------------------- accounts, audit, doctor


def test_a_token_is_alone_on_stdout_and_good(mallard: Mallard) -> None:
    accounts = Accounts(Path("mallard-data"))
    for words, kind, prefix in (
        ("driver d-7 --name Ana", "driver", "mld_"), ("gateway app --mall plaza", "gateway", "mlg_"),
        ("api robot --role dispatcher", "api", "mla_"),
    ):  # fmt: skip
        done = mallard("token", *words.split())
        assert (done.code, done.err) == (0, "")
        assert re.fullmatch(prefix + r"[A-Za-z0-9_-]{43}\n", done.out)
        owner = accounts.owner(done.out.strip())
        assert owner is not None
        assert owner.kind == kind
    driver = accounts.driver("d-7")
    assert driver is not None
    assert driver.name == "Ana"
    mallard("token", "driver", "d-7")
    assert accounts.driver("d-7") == driver, "a second token changes nothing else"
    accounts.close()


def test_a_password_is_read_from_stdin(mallard: Mallard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("correct horse\n"))
    done = mallard("user", "add", "maya", "--role", "ops-lead", "--mall", "plaza")
    assert (done.code, done.out) == (0, "")
    accounts = Accounts(Path("mallard-data"))
    _, principal = accounts.login("maya", "correct horse", T0)
    assert (principal.role, principal.mall_ids) == ("ops-lead", ("plaza",))
    accounts.close()
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert mallard("user", "add", "maya", "--role", "viewer").err == "mallard: no password was given\n"


def test_tokens_of_a_name_are_revoked_of_one_kind_or_of_all(mallard: Mallard) -> None:
    accounts = Accounts(Path("floor"))
    words = ("driver x", "driver x", "gateway x", "api x --role viewer", "driver y")
    tokens = [mallard("token", *each.split(), "--data", "floor").out.strip() for each in words]

    def alive() -> list[bool]:
        return [accounts.owner(token) is not None for token in tokens]

    assert mallard("token", "revoke", "x", "--kind", "driver", "--data", "floor") == (0, "2 revoked\n", "")
    assert alive() == [False, False, True, True, True]
    assert mallard("token", "revoke", "x", "--data", "floor") == (0, "2 revoked\n", "")
    assert alive() == [False, False, False, False, True]
    accounts.close()


def test_a_removed_user_is_logged_out(mallard: Mallard) -> None:
    accounts = Accounts(Path("floor"))
    accounts.add_user("maya", "correct horse", "viewer")
    session, _ = accounts.login("maya", "correct horse", T0)
    assert mallard("user", "remove", "maya", "--data", "floor").code == 0
    assert accounts.session(session, T0) is None
    with pytest.raises(BadLoginError):
        accounts.login("maya", "correct horse", T0)
    accounts.close()


def test_audit_verify_says_how_far_the_chain_is_whole(mallard: Mallard, tmp_path: Path) -> None:
    write_journal(tmp_path / "floor", live_through(Engine(a_floor()), a_day(3)), Note(T0, "login", "maya"))
    done = mallard("audit", "verify", "--data", "floor")
    assert re.fullmatch(r"11 links, whole up to seq \d+; head [0-9a-f]{64}\n", done.out), done


def test_doctor_says_what_is_wrong_and_how_to_mend_it(mallard: Mallard) -> None:
    ports = ("--port", free_port(), "--ingest-port", free_port())
    done = mallard("doctor", *ports, "--json")
    assert [finding for finding in json.loads(done.out) if not finding["ok"]] == []
    assert done.code == 0
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = mallard("doctor", "--port", port, "--ingest-port", free_port())
    assert done.code == 1
    assert f"FAULT port         127.0.0.1:{port}" in done.out
    assert "fix: stop what listens there" in done.out


# ---------------------------------------------------------------- programs


def run(*words: object, timeout: float = TIMEOUT_S) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *map(str, words)], capture_output=True, text=True, timeout=timeout, check=False
    )


def test_a_port_in_use_is_one_line_that_names_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for words in (
            ("streamer.cli", "demo", "bad-day", "--port", port),
            ("streamer.cli", "demo", "bad-day", "--port", free_port(), "--ingest-port", port),
            ("streamer.cli", "serve", "--data", tmp_path / "a", "--port", port, "--ingest-port", free_port()),
        ):
            done = run(*words)
            assert done.returncode == 1
            assert done.stderr == f"mallard: port {port} is in use: stop what listens there, or choose another\n"
        done = run("streamer", "--data", tmp_path / "b", "--ingest-port", port)
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith(f"streamer: port {port} is in use")
        assert "Traceback" not in done.stderr


class Demo:
    """A running `mallard demo`."""

    def __init__(self, folder: Path, *words: object) -> None:
        self.log = folder / "demo.log"
        self.port, self.ingest_port = free_port(), free_port()
        with self.log.open("w") as log:
            self.running = subprocess.Popen(
                [
                    sys.executable, "-m", "streamer.cli", "demo", "bad-day", "--port", str(self.port),
                    "--ingest-port", str(self.ingest_port), *map(str, words),
                ],
                stdout=log, stderr=subprocess.STDOUT, env={**os.environ, "TMPDIR": str(folder)},
            )  # fmt: skip
        self.card = self._card()

    def _card(self) -> str:
        for _ in range(TIMEOUT_S * 10):
            text = self.log.read_text()
            if "Ctrl-C stops it." in text:
                return text
            assert self.running.poll() is None, text
            time.sleep(0.1)
        raise AssertionError(self.log.read_text())

    def found(self, pattern: str) -> str:
        match = re.search(pattern, self.card)
        assert match is not None, self.card
        return match[1]

    def end(self) -> int:
        self.running.send_signal(signal.SIGTERM)
        return self.running.wait(timeout=15)


def test_a_demo_plays_shows_its_log_ins_and_cleans_up(tmp_path: Path) -> None:
    demo = Demo(tmp_path, "--speed", 20)
    try:
        for role in ("viewer", "dispatcher", "ops-lead"):
            assert demo.found(rf"(?m)^  {role} +\w+ / (\S{{12}})$")
        token = demo.found(r"API token +(mla_\S+)")
        with httpx.Client(
            base_url=f"http://127.0.0.1:{demo.port}", headers={"Authorization": f"Bearer {token}"}, trust_env=False
        ) as client:
            assert client.get("/readyz").status_code == 200
            first = client.get("/api/v1/state").json()
            time.sleep(1.5)
            later = client.get("/api/v1/state").json()
            assert later["at_ms"] - first["at_ms"] > 10_000
            assert later["seq"] > first["seq"]
            listed = {item["id"]: item["kind"] for item in client.get("/api/v1/recordings").json()["items"]}
            assert listed == dict.fromkeys(fixture_names(), "fixture"), "a demo has no day of its own"
            assert client.post("/api/v1/rooms", json={"source": "bad-day"}).status_code == 201
        hint = demo.found(r"drive it +(python -c .*)").replace("python", sys.executable, 1)
        said = subprocess.run(hint, shell=True, capture_output=True, text=True, timeout=20, check=True)
        assert '"type":"welcome"' in said.stdout
        assert '"type":"ack"' in said.stdout
        folder = Path(demo.found(r"accounts +(\S+)"))
        assert folder.is_dir()
    finally:
        code = demo.end()
    assert code == 0
    assert not folder.exists()
    with socket.create_server(("127.0.0.1", demo.port)):
        pass


def test_serve_does_what_its_file_says_about_origins_and_recordings(tmp_path: Path) -> None:
    data, port, ingest_port = tmp_path / "the floor", free_port(), free_port()
    (tmp_path / "shown").mkdir()
    (tmp_path / "shown" / "torn.ndjson.zst").write_bytes(b"torn")
    shown = json.dumps(str(tmp_path / "shown"))
    (tmp_path / "serve.toml").write_text(f'origins = ["https://drivers.example"]\nfixtures = {shown}\n')
    accounts = Accounts(data)
    api = {"Authorization": f"Bearer {accounts.mint_api_token('vera', 'viewer', (), T0)}"}
    accounts.register_driver("d-1")
    token = accounts.mint_driver_token("d-1", T0)
    accounts.close()
    log = tmp_path / "serve.log"
    with log.open("w") as out:
        running = subprocess.Popen(
            [
                sys.executable, "-m", "streamer.cli", "serve", "--config", str(tmp_path / "serve.toml"), "--data",
                str(data), "--port", str(port), "--ingest-port", str(ingest_port),
            ],
            stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        for _ in range(TIMEOUT_S * 10):
            if "add people with" in log.read_text():
                break
            assert running.poll() is None, log.read_text()
            time.sleep(0.1)
        assert f"mallard user add NAME --role ops-lead --data '{data}'\n" in log.read_text()
        for origin in (f"http://127.0.0.1:{port}", f"http://localhost:{port}", "https://drivers.example"):
            assert welcomed(ingest_port, token, origin), origin
        for origin in (f"http://127.0.0.1:{ingest_port}", "https://elsewhere.example"):
            assert not welcomed(ingest_port, token, origin), origin
        listed = httpx.get(f"http://127.0.0.1:{port}/api/v1/recordings", headers=api).json()["items"]
        assert [(item["id"], bool(item["problem"])) for item in listed] == [("torn", True)]
    finally:
        running.send_signal(signal.SIGTERM)
        assert running.wait(timeout=15) == 0


def welcomed(port: int, token: str, origin: str) -> bool:
    """Whether a browser's page of this origin, which can send no Authorization, gets in."""
    protocols = [Subprotocol("mallard.v1"), Subprotocol(f"bearer.{token}")]
    try:
        with connect(
            f"ws://127.0.0.1:{port}/v1/drivers", origin=Origin(origin), subprotocols=protocols, proxy=None
        ) as page:
            return '"type":"welcome"' in str(page.recv(timeout=10))
    except InvalidStatus as refused:
        if refused.response.status_code != 403:
            raise
        return False


@pytest.mark.parametrize("after_s", [0.7, 1.2, 2.0, 3.0])
def test_a_demo_stopped_while_it_starts_leaves_nothing_behind(tmp_path: Path, after_s: float) -> None:
    port = free_port()
    words = ["demo", "saturday-rush", "--port", str(port), "--ingest-port", str(free_port())]
    running = subprocess.Popen(
        [sys.executable, "-m", "streamer.cli", *words], env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    time.sleep(after_s)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=20)
    assert "Traceback" not in said
    assert [found.name for found in tmp_path.iterdir() if found.name.startswith("mallard-demo-")] == []
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_a_demo_ends_with_a_clear_line_when_its_dashboard_dies(tmp_path: Path) -> None:
    demo = Demo(tmp_path, "--data", tmp_path / "kept")
    try:
        children = Path(f"/proc/{demo.running.pid}/task/{demo.running.pid}/children").read_text().split()
        dashboards = [pid for pid in children if b"dashboard" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        os.kill(int(dashboards[0]), signal.SIGKILL)
        assert demo.running.wait(timeout=15) == 1
    finally:
        if demo.running.poll() is None:
            demo.end()
    assert demo.log.read_text().splitlines()[-1] == "mallard: the dashboard ended by itself (exit code -9)"
    assert (tmp_path / "kept" / "accounts.db").exists()
