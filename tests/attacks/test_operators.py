"""T23 to T28, T30: what those who run the floor, or the makers of what it is made of, could do to people."""

import asyncio
import json
import os
import re
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from dashboard.app import create_app
from dashboard.settings import Settings
from tests.attacks.product import Product, hear, ping, report

ROOT = Path(__file__).parents[2]
LEAKS = re.compile(r"Traceback|File \"|site-packages|\.py\b|/(?:home|root|tmp|usr)/|line \d+, in")
"""What an answer must not hold: places and names of our files."""


def mallard(
    *arguments: str, env: dict[str, str] | None = None, within_s: float = 60
) -> subprocess.CompletedProcess[str]:
    """Runs the command line to its end."""
    return subprocess.run(
        [sys.executable, "-m", "streamer.cli", *arguments], capture_output=True, text=True, timeout=within_s,
        env={**os.environ, **(env or {})}, check=False,
    )  # fmt: skip


# ---------------------------------------------------------------- T23


async def test_t23_where_somebody_is_off_duty_is_written_nowhere(product: Product) -> None:
    """A position is 8 bytes a number in the journal; those of a driver at work are found by the same search."""
    home, work = (36.127171717, -115.171919191), (36.127373737, -115.171616161)
    async with product.phone("d-4") as phone:
        await phone.send(json.dumps(report("off_duty", "t23-off")))
        await hear(phone, "ack")
        for seq in range(10**6, 10**6 + 5):
            await phone.send(json.dumps(ping(seq, home)))
            assert (await hear(phone, "nack"))["code"] == "off_duty"
        await phone.send(json.dumps(report("on_duty", "t23-on")))
        await hear(phone, "ack")
        await phone.send(json.dumps(ping(10**6 + 9, work)))
        await hear(phone, "ack")
        await phone.send(json.dumps(report("on_break", "t23-break")))
        await hear(phone, "ack")
        await phone.send(json.dumps(ping(10**6 + 10, home)))
        assert (await hear(phone, "nack"))["code"] == "off_duty"
    await asyncio.sleep(0.2)
    stored = b"".join(product.files().values())
    for place, found in ((home, False), (work, True)):
        for degrees in place:
            packed = (struct.pack(">d", degrees), struct.pack("<d", degrees), str(degrees).encode())
            assert any(each in stored for each in packed) is found, (place, degrees)
    assert str(home[0]) not in product.log()


# ---------------------------------------------------------------- T24


@pytest.fixture
def a_past(product: Product, tmp_path: Path) -> Path:
    """A copy of the floor's data, as an administrator could take it, change it, and put it back."""
    with product.client("dina") as rest:
        for number in range(6):
            order = product.place()
            change = {"expected_version": product.order(order["id"])["version"], "reason": f"because {number}"}
            rest.post(f"/api/v1/orders/{order['id']}/hold", json=change)
    answer = mallard("backup", "--data", str(product.data), "--out", str(tmp_path / "past"))
    assert answer.returncode == 0, answer.stderr
    return tmp_path / "past"


@pytest.mark.parametrize("name", ["edit", "delete", "swap", "cut"])
def test_t24_whoever_changes_the_past_is_found_out_at_the_place(a_past: Path, name: str) -> None:
    heads = a_past.parent / "heads.ndjson"
    heads.write_text(mallard("audit", "head", "--data", str(a_past)).stdout)
    assert mallard("audit", "verify", "--data", str(a_past), "--heads", str(heads)).returncode == 0
    journal = sqlite3.connect(a_past / "journal.db")
    chained = [seq for (seq,) in journal.execute("SELECT seq FROM entry WHERE link IS NOT NULL ORDER BY seq, note")]
    victim, later = chained[len(chained) // 2], chained[len(chained) // 2 + 1]

    def content(seq: int) -> tuple[bytes, int]:
        found = journal.execute("SELECT body, crc FROM entry WHERE seq = ? AND link NOT NULL", (seq,)).fetchone()
        return found[0], found[1]

    change: dict[str, Callable[[], object]] = {
        "edit": lambda: journal.execute(
            "UPDATE entry SET body = CAST(substr(body, 1, 20) || x'58' || substr(body, 22) AS BLOB)"
            " WHERE seq = ? AND link NOT NULL",
            (victim,),
        ),
        "delete": lambda: journal.execute("DELETE FROM entry WHERE seq = ? AND link NOT NULL", (victim,)),
        "swap": lambda: journal.executemany(
            "UPDATE entry SET body = ?, crc = ? WHERE seq = ? AND link NOT NULL",
            [
                (
                    *journal.execute("SELECT body, crc FROM entry WHERE seq = ? AND link NOT NULL", (one,)).fetchone(),
                    other,
                )
                for one, other in ((victim, later), (later, victim))
            ],
        ),
        "cut": lambda: journal.execute("DELETE FROM entry WHERE seq >= ? AND link NOT NULL", (victim,)),
    }
    change[name]()
    journal.commit()
    journal.close()
    found = mallard("audit", "verify", "--data", str(a_past), "--heads", str(heads))
    assert found.returncode == 1
    assert "Traceback" not in found.stderr
    told = re.search(r"breaks at seq (\d+)", found.stderr)
    assert told, found.stderr
    before = max((seq for seq in chained if seq < victim), default=0)
    expected = {"edit": {victim}, "delete": {later}, "swap": {victim}, "cut": {before + 1}}
    assert int(told[1]) in expected[name], (told[0], victim, later, before)


# ---------------------------------------------------------------- T25


def test_t25_no_secret_is_written_or_told_anywhere(product: Product) -> None:
    page = product.page("olga")
    session = page["Cookie"].partition("=")[2]
    link = (product.data / "link.secret").read_text()
    with product.client() as stranger:
        for token in product.tokens.values():
            stranger.get("/api/v1/orders", params={"token": token}, headers={"Authorization": f"Bearer {token}x"})
        told = "".join(
            stranger.get(path).text for path in ("/metrics", "/version", "/readyz", "/healthz", "/login", "/nothing")
        )
    with product.client("olga") as rest:
        told += "".join(rest.get(f"/api/v1{path}").text for path in ("/drivers", "/state", "/openapi.json", "/nothing"))
    stored = b"".join(text for name, text in product.files().items() if name != "link.secret").decode("latin-1")
    started = "".join(
        Path(f"/proc/{pid}/cmdline").read_text() for pid in (product.process.pid, product.dashboard_pid())
    )
    for secret in (*product.tokens.values(), session, link, "correct horse battery"):
        for where, text in (("log", product.log()), ("files", stored), ("answers", told), ("command lines", started)):
            assert secret not in text, f"a secret is in the {where}"
    for path in product.data.iterdir():
        assert path.stat().st_mode & 0o077 == 0, f"{path.name} is open to others"


def test_t25_no_secret_is_in_the_repository() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.split(b"\0")
    wanted = re.compile(rb"ml[dga]_[A-Za-z0-9_-]{43}|-----BEGIN [A-Z ]*PRIVATE KEY|AKIA[0-9A-Z]{16}")
    for name in filter(None, listed):
        path = ROOT / name.decode()
        if path.is_file() and path.suffix not in {".zst", ".png"}:
            assert not wanted.search(path.read_bytes()), name


# ---------------------------------------------------------------- T26


@pytest.mark.parametrize(
    ("arguments", "env", "reason"),
    [
        (("serve", "--public"), {}, "MALLARD_LINK_SECRET"),
        (("serve", "--public"), {"MALLARD_LINK_SECRET": "s" * 43}, "MALLARD_HOSTS"),
        (("serve", "--public"), {"MALLARD_LINK_SECRET": "s" * 43, "MALLARD_HOSTS": "floor.example"}, "MALLARD_SECURE"),
        (
            ("serve", "--public"),
            {"MALLARD_LINK_SECRET": "s" * 43, "MALLARD_HOSTS": "floor.example", "MALLARD_SECURE": "1"},
            "MALLARD_PROXIES",
        ),
        (
            ("serve", "--public"),
            {
                "MALLARD_LINK_SECRET": "short",
                "MALLARD_HOSTS": "a",
                "MALLARD_SECURE": "1",
                "MALLARD_PROXIES": "10.0.0.1",
            },
            "MALLARD_LINK_SECRET",
        ),
        (("demo", "--public"), {}, "No such option"),
        (("demo", "--host", "0.0.0.0"), {}, "No such option"),
    ],
)
def test_t26_nothing_is_open_to_the_world_by_mistake(
    tmp_path: Path, arguments: tuple[str, ...], env: dict[str, str], reason: str
) -> None:
    answer = mallard(*arguments, "--data", str(tmp_path / "data"), env={"TERM": "dumb", "COLUMNS": "200", **env})
    assert answer.returncode != 0
    assert reason in answer.stderr + answer.stdout
    assert "Traceback" not in answer.stderr


def test_t26_the_dashboard_by_itself_refuses_too() -> None:
    env = {**os.environ, "MALLARD_HOST": "0.0.0.0", "MALLARD_LINK_SECRET": "s" * 43}
    answer = subprocess.run(
        [sys.executable, "-m", "dashboard"], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert answer.returncode == 1
    assert "MALLARD_SECURE" in answer.stderr


def test_t26_what_runs_listens_on_loopback_only(product: Product) -> None:
    listening = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            address, port = local.split(":")
            if state == "0A" and int(port, 16) in {product.port, product.ingest_port}:
                listening.add(address)
    assert listening == {"0100007F"}


# ---------------------------------------------------------------- T27


def test_t27_there_is_no_customer_link_to_abuse(product: Product) -> None:
    """The product gives customers no address of their own: nothing about an order is told without a log-in."""
    order = product.place(external_id="t27-order")
    with product.client() as customer:
        for path in (
            f"/track/{order['id']}", f"/t/{order['id']}", f"/orders/{order['id']}", f"/api/v1/orders/{order['id']}",
            "/api/v1/orders?q=t27-order", f"/api/v1/track/{order['id']}", f"/?order={order['id']}",
        ):  # fmt: skip
            answer = customer.get(path)
            assert answer.status_code == 401, path
            assert order["id"] not in answer.text


# ---------------------------------------------------------------- T28


def locked() -> dict[str, tuple[str, int]]:
    """Version and number of hashes of each package in the lock."""
    text = (ROOT / "requirements.lock").read_text()
    found = re.findall(
        r"^([a-z0-9._-]+)==(\S+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", text, re.MULTILINE
    )
    return {name: (number, listed.count("--hash")) for name, number, listed in found}


def test_t28_everything_we_stand_on_is_locked_by_hash() -> None:
    text = (ROOT / "requirements.lock").read_text()
    lock = locked()
    assert len(lock) == len(re.findall(r"^[a-z0-9._-]+==", text, re.MULTILINE)) > 30
    assert "://" not in text, "the lock names no registry"
    for name, (number, hashes) in lock.items():
        assert hashes >= 1, name
        assert version(name) == number, f"{name}: tested with another version than is locked"


def test_t28_known_faults_of_what_we_stand_on_were_looked_for() -> None:
    report_text = (ROOT / "docs" / "dependencies.md").read_text()
    assert re.search(r"^Looked at on 20\d\d-\d\d-\d\d", report_text, re.MULTILINE)
    bill = json.loads((ROOT / "docs" / "sbom.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    parts = {part["name"].lower().replace("_", "-"): part["version"] for part in bill["components"]}
    assert {name: number for name, (number, _) in locked().items() if parts.get(name) != number} == {}


# ---------------------------------------------------------------- T30


def test_t30_no_answer_tells_how_it_is_made(product: Product) -> None:
    page = product.page("olga")
    with product.client() as browser:
        for method, path, sent in (
            ("GET", "/nothing/at/all", {}), ("GET", "/api/v1/nothing", {}), ("PATCH", "/api/v1/orders", {}),
            ("POST", "/api/v1/orders", {"content": "{", "headers": {"Content-Type": "application/json"}}),
            ("POST", "/api/v1/orders/import", {"content": b"\xff\x00", "headers": {"Content-Type": "text/csv"}}),
            ("POST", "/_dash-update-component", {"json": {"output": "x"}}), ("GET", "/assets/../app.py", {}),
            ("POST", "/_dash-update-component", {"json": {"output": "outcome.data", "inputs": [], "outputs": []}}),
            ("GET", "/_dash-component-suites/dash/../../app.py", {}), ("GET", "/_dash-component-suites/os/x.js", {}),
            ("GET", "/assets/%2e%2e/%2e%2e/etc/passwd", {}), ("GET", "/_reload-hash", {}), ("TRACE", "/", {}),
        ):  # fmt: skip
            headers = {**page, **sent.pop("headers", {})}  # type: ignore[arg-type]
            answer = browser.request(method, path, headers=headers, **sent)  # type: ignore[arg-type]
            assert answer.status_code < 500, (method, path, answer.text[:300])
            if "html" not in answer.headers.get("content-type", ""):
                assert not LEAKS.search(answer.text), (method, path, answer.text[:300])
            assert "root:" not in answer.text
            assert not {"server", "x-powered-by"} & set(answer.headers)


async def test_t30_a_fault_of_our_own_is_told_to_nobody(caplog: pytest.LogCaptureFixture) -> None:
    import httpx

    from dashboard.api.routes import build_api

    app = create_app(Settings())
    secret = "a-path-/srv/secret.py"

    async def broken(*_: object) -> None:
        raise RuntimeError(secret)

    app.identities.who = broken  # type: ignore[method-assign,assignment]
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8050") as client:
        answer = await client.get("/api/v1/state", headers={"Authorization": "Bearer x"})
    assert answer.status_code == 500
    assert secret not in answer.text
    assert not LEAKS.search(answer.text)
    assert build_api().debug is False
