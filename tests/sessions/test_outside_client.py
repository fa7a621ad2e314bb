"""A stranger with PROTOCOL.md, a websocket library and an HTTP client, and nothing of ours."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

MALLARD = [sys.executable, "-m", "streamer.cli"]
INSIDE = {"lat": 36.12722, "lng": -115.17194}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Served:
    """A running `mallard serve`, and its secrets."""

    def __init__(self, folder: Path, ports: tuple[int, int] | None = None) -> None:
        self.folder = folder
        self.http_port, self.socket_port = ports or (free_port(), free_port())
        self.log = (folder / "log.txt").open("w")
        self.running = subprocess.Popen(
            [
                *MALLARD, "serve", "--data", str(folder / "floor"),
                "--port", str(self.http_port), "--ingest-port", str(self.socket_port),
            ],
            stdout=self.log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self.api = f"http://127.0.0.1:{self.http_port}/api/v1"
        self.wait_until_ready()
        self.bearer = {"Authorization": f"Bearer {self.token('api', 'tester', '--role', 'ops-lead')}"}

    def wait_until_ready(self) -> None:
        for _ in range(300):
            assert self.running.poll() is None, (self.folder / "log.txt").read_text()
            try:
                if httpx.get(f"http://127.0.0.1:{self.http_port}/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        raise AssertionError((self.folder / "log.txt").read_text())

    def token(self, *words: str) -> str:
        made = subprocess.run(
            [*MALLARD, "token", *words, "--data", str(self.folder / "floor")],
            capture_output=True,
            text=True,
            check=True,
        )
        return made.stdout.strip()

    def get(self, path: str, **params: Any) -> Any:
        answer = httpx.get(self.api + path, headers=self.bearer, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        return httpx.post(self.api + path, json=body, headers={**self.bearer, **headers})

    def driver(self, token: str) -> ClientConnection:
        return connect(
            f"ws://127.0.0.1:{self.socket_port}/v1/drivers", additional_headers={"Authorization": f"Bearer {token}"}
        )

    def stop(self) -> int:
        os.kill(self.running.pid, signal.SIGTERM)
        code = self.running.wait(20)
        self.log.close()
        return code


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served(tmp_path_factory.mktemp("outside"))
    yield served
    code, log = served.stop(), (served.folder / "log.txt").read_text()
    assert code == 0, log
    assert "Traceback" not in log
    assert "Fatal" not in log


def receive(driver: ClientConnection, kind: str, **match: Any) -> dict[str, Any]:
    """The next message of a kind that matches; others on the way are passed over."""
    until = time.monotonic() + 8
    while time.monotonic() < until:
        message: dict[str, Any] = json.loads(driver.recv(timeout=8))
        if message["type"] == kind and all(message.get(name) == value for name, value in match.items()):
            return message
    raise AssertionError(f"no {kind} {match}")


def close_code(driver: ClientConnection) -> int | None:
    try:
        while True:
            driver.recv(timeout=8)
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None


def say(driver: ClientConnection, message: Any) -> None:
    driver.send(json.dumps(message))


def a_ping(seq: int, **fields: Any) -> dict[str, Any]:
    return {"type": "ping", "seq": seq, "fix_ms": time.time_ns() // 1_000_000, **INSIDE, "accuracy_m": 8.0, **fields}


def a_report(report_id: str, report: str, order: dict[str, Any], assignment: int) -> dict[str, Any]:
    return {
        "type": "report", "id": report_id, "report": report, "order_ids": [order["id"]], "assignment": assignment,
        "fix_ms": time.time_ns() // 1_000_000,
    }  # fmt: skip


def on_duty(driver: ClientConnection) -> dict[str, Any]:
    welcome = receive(driver, "welcome")
    say(
        driver,
        {"type": "report", "id": f"duty-{time.time_ns()}", "report": "on_duty", "fix_ms": time.time_ns() // 1_000_000},
    )
    receive(driver, "ack")
    return welcome


def place(served: Served, **fields: Any) -> dict[str, Any]:
    now = time.time_ns() // 1_000_000
    body = {
        "mall_id": "fashion-show", "stores": ["fs-macys"], "items": 2, "placed_ms": now, "due_ms": now + 5_400_000,
        "dropoff": {"name": "Jo", "address": "3355 Spring Mountain Rd", "lat": 36.126, "lng": -115.192}, **fields,
    }  # fmt: skip
    answer = served.post("/orders", body)
    assert answer.status_code == 201, answer.text
    placed: dict[str, Any] = answer.json()
    return placed


def test_ping_to_pixel_and_back_to_the_driver(served: Served) -> None:
    with served.driver(served.token("driver", "mia")) as mia, served.driver(served.token("driver", "noor")) as noor:
        for driver, name in ((mia, "mia"), (noor, "noor")):
            assert on_duty(driver)["driver_id"] == name
            say(driver, [a_ping(seq) for seq in range(1, 6)])
            assert receive(driver, "ack", seq=5)
        seen = served.get("/drivers/mia")
        assert (seen["mall_id"], seen["last_seq"], seen["state"], seen["verdict"]) == ("fashion-show", 5, "free", "ok")
        assert (seen["lat"], seen["lng"], len(seen["hex"])) == (INSIDE["lat"], INSIDE["lng"], 15)

        order = place(served)
        candidates = served.get(f"/orders/{order['id']}/candidates")
        assert {one["driver_id"] for one in candidates["items"]} == {"mia", "noor"}
        for one in candidates["items"]:
            assert one["cost"] == pytest.approx(sum(one["terms"].values()), abs=0.01)
        given = served.post(f"/orders/{order['id']}/assign", {"expected_version": order["version"], "driver_id": "mia"})
        assert given.status_code == 200, given.text
        route = receive(mia, "route", assignment=given.json()["assignment"])
        assert [stop["kind"] for stop in route["stops"]] == ["pickup", "dropoff"]

        body = {"expected_version": given.json()["version"], "driver_id": "noor", "reason": "nearer"}
        first = served.post(f"/orders/{order['id']}/reassign", body)
        second = served.post(f"/orders/{order['id']}/reassign", body)
        assert (first.status_code, second.status_code) == (200, 409)
        assert second.headers["content-type"].startswith("application/problem+json")
        assert second.json()["order"]["driver_id"] == "noor"
        assert receive(mia, "route", stops=[])
        number = receive(noor, "route", assignment=first.json()["assignment"])["assignment"]

        stale = {
            "type": "report",
            "id": "s-1",
            "report": "accepted",
            "order_ids": [order["id"]],
            "assignment": route["assignment"],
            "fix_ms": 1,
        }
        say(mia, stale)
        assert receive(mia, "nack", id="s-1")["code"] == "stale_assignment"
        for step in ("accepted", "arrived_at_pickup", "picked_up", "arrived_at_dropoff", "delivered"):
            say(
                noor,
                {
                    "type": "report",
                    "id": step,
                    "report": step,
                    "order_ids": [order["id"]],
                    "assignment": number,
                    "fix_ms": 1,
                },
            )
            assert receive(noor, "ack", id=step)
        assert served.get(f"/orders/{order['id']}")["status"] == "delivered"
        actions = [line["action"] for line in served.get(f"/orders/{order['id']}/history")["items"]]
        assert actions[:3] == ["placed", "assign", "reassign"]


def test_without_a_good_token_there_is_no_socket(served: Served) -> None:
    for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic abc"}):
        with pytest.raises(InvalidStatus) as refused:
            connect(f"ws://127.0.0.1:{served.socket_port}/v1/drivers", additional_headers=headers)
        assert refused.value.response.status_code == 401
    token = served.token("driver", "browser")
    with connect(
        f"ws://127.0.0.1:{served.socket_port}/v1/drivers", subprotocols=["mallard.v1", f"bearer.{token}"]
    ) as driver:  # type: ignore[list-item]
        assert driver.subprotocol == "mallard.v1"
        assert receive(driver, "welcome")["driver_id"] == "browser"


BAD_MESSAGES = [
    ("{nonsense", "bad_json"),
    ("[1,2", "bad_json"),
    ('{"type":"ping"}', "bad_field"),
    ('{"type":"ping","fix_ms":NOW,"lat":91,"lng":0}', "bad_coordinate"),
    ('{"type":"ping","fix_ms":NOW,"lat":NaN,"lng":0}', "bad_coordinate"),
    ('{"type":"ping","fix_ms":NOW000,"lat":36.1,"lng":-115.1}', "future"),
    ('{"type":"ping","fix_ms":1,"lat":36.1,"lng":-115.1}', "too_old"),
    ('{"type":"ping","fix_ms":NOW,"lat":36.1,"lng":-115.1,"battery":7}', "bad_field"),
    ('{"type":"report","id":"x","report":"danced","fix_ms":1}', "bad_field"),
    ('{"type":"report","id":"y","report":"delivered","order_ids":["o-9"],"assignment":1,"fix_ms":1}', "not_yours"),
    ('{"type":"song"}', "bad_field"),
]


def test_each_bad_message_gets_its_code_and_the_next_good_one_is_served(served: Served) -> None:
    with served.driver(served.token("driver", "bad")) as driver:
        welcome = receive(driver, "welcome")
        say(driver, a_ping(1))
        assert receive(driver, "nack", seq=1)["code"] == "off_duty"
        say(driver, {"type": "report", "id": "d", "report": "on_duty", "fix_ms": 1})
        receive(driver, "ack", id="d")
        for message, code in BAD_MESSAGES:
            driver.send(message.replace("NOW", str(welcome["server_ms"])))
            nack = receive(driver, "nack")
            assert (nack["code"], bool(nack["message"])) == (code, True), (message, nack)
        say(driver, a_ping(7))
        assert receive(driver, "ack", seq=7)


def test_newer_socket_of_a_driver_supersedes_the_older(served: Served) -> None:
    token = served.token("driver", "twice")
    with served.driver(token) as first:
        receive(first, "welcome")
        with served.driver(token) as second:
            receive(second, "welcome")
            assert close_code(first) == 4409
            on_duty_again = {"type": "report", "id": "z", "report": "on_duty", "fix_ms": 1}
            say(second, on_duty_again)
            assert receive(second, "ack", id="z")


def test_gateway_speaks_for_several_drivers(served: Served) -> None:
    token = served.token("gateway", "fleet", "--mall", "fashion-show")
    for name in ("g-1", "g-2"):
        assert served.post(f"/drivers/{name}/on-duty", {}).status_code == 200
    with served.driver(token) as gateway:
        receive(gateway, "welcome")
        say(gateway, [a_ping(n, driver_id=name) for n in (1, 2) for name in ("g-1", "g-2")])
        assert receive(gateway, "ack", driver_id="g-1", seq=2)
    for name in ("g-1", "g-2"):
        assert served.get(f"/drivers/{name}")["last_seq"] == 2


def test_rest_says_what_is_wrong(served: Served) -> None:
    order = place(served)
    path = f"/orders/{order['id']}"
    assert httpx.get(served.api + path).status_code == 401
    assert served.post(f"{path}/hold", {}).status_code == 428
    assert served.post(f"{path}/assign", {"expected_version": 1, "driver_id": "nobody"}).status_code == 404
    assert served.post("/orders", {"mall_id": "fashion-show"}).status_code == 422
    assert served.post("/orders", {**order, "mall_id": "nowhere"}).json()["code"] == "bad_field"
    held = served.post(f"{path}/hold", {"expected_version": 1}, **{"Idempotency-Key": "k-1"})
    again = served.post(f"{path}/hold", {"expected_version": 1}, **{"Idempotency-Key": "k-1"})
    other = served.post(f"{path}/hold", {"expected_version": 1, "reason": "x"}, **{"Idempotency-Key": "k-1"})
    assert (held.status_code, again.status_code, other.status_code) == (200, 200, 422)
    assert held.json() == again.json()
    undone = served.post("/undo", {"command_id": held.json()["command_id"]})
    assert undone.status_code == 200, undone.text
    assert not served.get(path)["held"]


def test_everything_acknowledged_is_there_after_a_kill(tmp_path: Path) -> None:
    served = Served(tmp_path)
    with served.driver(served.token("driver", "kim")) as driver:
        on_duty(driver)
        say(driver, [a_ping(seq) for seq in range(1, 301)])
        receive(driver, "ack", seq=300)
        order = place(served)
        before = served.get("/state")
        served.running.kill()
        served.running.wait()
    served.log.close()
    again = Served(tmp_path, (served.http_port, served.socket_port))
    assert again.get("/drivers/kim")["last_seq"] == 300
    assert again.get(f"/orders/{order['id']}")["version"] == order["version"]
    assert again.get("/state")["seq"] >= before["seq"]
    assert again.stop() == 0
