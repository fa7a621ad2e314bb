"""The app as a whole: probes, what Dash's callbacks know, and the process itself."""

import asyncio
import base64
import hashlib
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from dashboard.api.probes import exposition
from dashboard.settings import Settings, from_environment
from streamer.core.errors import ConfigurationError

AsPage = Callable[..., dict[str, str]]


# ---------------------------------------------------------------- probes


async def test_process_is_alive_and_ready(program: httpx.AsyncClient, streamer: Any) -> None:
    assert (await program.get("/healthz")).json() == {"status": "ok"}
    assert (await program.get("/readyz")).json() == {"status": "ready"}
    assert (await program.get("/version")).json()["name"] == "mallard"


async def test_journal_that_cannot_be_written_is_not_ready(program: httpx.AsyncClient, streamer: Any) -> None:
    streamer.handlers["ready"] = lambda _params, _who: (200, {"journal_writable": False})
    answer = await program.get("/readyz")
    assert (answer.status_code, answer.json()["reason"]) == (503, "the journal cannot be written")


async def test_lost_link_is_not_ready_but_alive(program: httpx.AsyncClient, streamer: Any) -> None:
    await streamer.stop()
    answer = await program.get("/readyz")
    assert (answer.status_code, answer.json()["reason"]) == (503, "the streamer cannot be reached")
    assert (await program.get("/healthz")).status_code == 200
    text = (await program.get("/metrics")).text
    assert "mallard_link_up 0" in text
    assert "mallard_streamer_" not in text


async def test_metrics_count_answers_and_feed(program: httpx.AsyncClient, streamer: Any, a_frame: Any) -> None:
    await program.get("/api/v1/kpis")
    await streamer.send(a_frame("m", 1, "snapshot"))
    await asyncio.sleep(0.05)
    text = (await program.get("/metrics")).text
    assert "mallard_link_up 1\n" in text
    assert 'mallard_http_answers_total{status="401"} 1\n' in text
    assert "mallard_feed_age_seconds 0." in text
    assert "mallard_feed_readers 0\n" in text


async def test_metrics_hold_the_counters_of_the_streamer(program: httpx.AsyncClient, streamer: Any) -> None:
    counters = {"seq": 12_345_678, "acks_total": 3, "nacks_total.code.bad_field": 4, "nacks_total.code.x_1": 5}
    streamer.handlers["counters"] = lambda _params, _who: (200, counters)
    text = (await program.get("/metrics")).text
    assert "# TYPE mallard_streamer_seq gauge\nmallard_streamer_seq 12345678\n" in text
    assert "# TYPE mallard_streamer_acks_total counter\nmallard_streamer_acks_total 3\n" in text
    assert (
        "# TYPE mallard_streamer_nacks_total counter\n"
        'mallard_streamer_nacks_total{code="bad_field"} 4\nmallard_streamer_nacks_total{code="x_1"} 5\n'
    ) in text


async def test_a_histogram_of_the_streamer_counts_up_to_each_bound(program: httpx.AsyncClient, streamer: Any) -> None:
    told = {"bounds": [0.01, 0.1], "counts": [3, 2, 1], "sum": 0.75}
    streamer.handlers["counters"] = lambda _params, _who: (200, {"ack_wait_seconds": told})
    text = (await program.get("/metrics")).text
    assert (
        "# TYPE mallard_streamer_ack_wait_seconds histogram\n"
        'mallard_streamer_ack_wait_seconds_bucket{le="0.01"} 3\n'
        'mallard_streamer_ack_wait_seconds_bucket{le="0.1"} 5\n'
        'mallard_streamer_ack_wait_seconds_bucket{le="+Inf"} 6\n'
        "mallard_streamer_ack_wait_seconds_sum 0.75\nmallard_streamer_ack_wait_seconds_count 6\n"
    ) in text


def test_exposition_has_help_and_type_for_each_metric() -> None:
    text = exposition([("a_total", "counter", "Words.", [('{x="1"}', 2.0)]), ("b", "gauge", "None yet.", [])])
    assert (
        text == '# HELP a_total Words.\n# TYPE a_total counter\na_total{x="1"} 2\n# HELP b None yet.\n# TYPE b gauge\n'
    )


# ---------------------------------------------------------------- Dash behind the gate


@pytest.mark.parametrize(("target", "said"), [("sync", "maya"), ("async", "maya 200")])
async def test_callback_knows_who_asks_and_reaches_the_link(
    browser: httpx.AsyncClient, as_page: AsPage, callback_body: Any, target: str, said: str
) -> None:
    answer = await browser.post("/_dash-update-component", json=callback_body(target), headers=as_page("maya"))
    assert answer.json()["response"][target]["children"] == said


@pytest.mark.parametrize(("target", "said"), [("sync", "vera"), ("async", "vera 200")])
async def test_callback_over_the_socket_knows_it_too(
    site: str, as_page: AsPage, callback_body: Any, target: str, said: str
) -> None:
    headers = as_page("vera")
    url = f"ws://{site}/_dash-ws-callback"
    async with connect(url, additional_headers=headers, origin=f"http://{site}", proxy=None) as socket:  # type: ignore[arg-type]
        request = {"type": "callback_request", "requestId": "1", "rendererId": "r", "payload": callback_body(target)}
        await socket.send(json.dumps(request))
        async with asyncio.timeout(5):
            answers: list[dict[str, Any]] = []
            while not answers:
                said_now = json.loads(await socket.recv())
                answers = [one for one in (said_now if isinstance(said_now, list) else [said_now]) if "payload" in one]
    assert answers[0]["payload"]["data"]["response"][target]["children"] == said


async def test_two_people_at_once_are_not_mixed_up(
    browser: httpx.AsyncClient, as_page: AsPage, callback_body: Any
) -> None:
    async def who(name: str) -> str:
        answer = await browser.post("/_dash-update-component", json=callback_body("async"), headers=as_page(name))
        return str(answer.json()["response"]["async"]["children"]).split()[0]

    names = ["maya", "vera", "olga"] * 10
    assert await asyncio.gather(*map(who, names)) == names


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"output":"no.such"}', b'{"output":1,"inputs":null}', b"[" * 9999]
)
async def test_garbage_callback_is_an_error_without_a_traceback(site: str, as_page: AsPage, body: bytes) -> None:
    headers = {**as_page("maya"), "Origin": f"http://{site}", "Content-Type": "application/json"}
    async with httpx.AsyncClient(base_url=f"http://{site}", trust_env=False) as client:
        answer = await client.post("/_dash-update-component", content=body, headers=headers)
        assert answer.status_code in {400, 422}
        assert "Traceback" not in answer.text
        assert (await client.get("/healthz")).status_code == 200


async def test_first_thing_after_a_restart_may_be_a_callback_socket(
    site: str, as_page: AsPage, callback_body: Any
) -> None:
    """Dash sets its callbacks up on the first HTTP request only; nobody has made one here."""
    url, headers = f"ws://{site}/_dash-ws-callback", as_page("maya")
    async with connect(url, additional_headers=headers, origin=f"http://{site}", proxy=None) as socket:  # type: ignore[arg-type]
        request = {"type": "callback_request", "requestId": "1", "rendererId": "r", "payload": callback_body("sync")}
        await socket.send(json.dumps(request))
        assert "maya" in str(await asyncio.wait_for(socket.recv(), 5))


async def test_page_runs_only_scripts_the_policy_names(site: str, as_page: AsPage) -> None:
    async with httpx.AsyncClient(base_url=f"http://{site}", trust_env=False) as client:
        answer = await client.get("/", headers=as_page("maya"))
        deep = await client.get("/queue?mall=m", headers=as_page("maya"))
    assert "DashRenderer" in deep.text, "a deep link gives the same page"
    policy = answer.headers["content-security-policy"]
    page = re.sub(r"<!--.*?-->", "", answer.text, flags=re.DOTALL)
    inline = re.findall(r"<script(?![^>]*(?:src=|application/json))[^>]*>(.*?)</script>", page, re.DOTALL)
    assert len(inline) == 2, "Dash's own renderer call and the clientside callback"
    for script in inline:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    for source in re.findall(r'(?:src|href)="([^"]+)"', answer.text):
        assert source.startswith("/"), f"{source} is not ours"
    assert "server" not in answer.headers


# ---------------------------------------------------------------- settings and process


def test_settings_are_read_from_the_environment() -> None:
    environment = {
        "MALLARD_LINK": "ws://127.0.0.1:9999/v1/link", "MALLARD_LINK_SECRET": "s", "MALLARD_PORT": "0",
        "MALLARD_HOSTS": "Floor.example, other", "MALLARD_SECURE": "1", "MALLARD_HOST": "0.0.0.0",
    }  # fmt: skip
    read = from_environment(environment)
    assert read == Settings("ws://127.0.0.1:9999/v1/link", "s", "0.0.0.0", 0, ("floor.example", "other"), secure=True)
    assert read.cookie.startswith("__Host-")


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "no link secret"),
        ({"MALLARD_LINK_SECRET_FILE": "/nonexistent"}, "cannot read the link secret"),
        ({"MALLARD_LINK_SECRET": "s", "MALLARD_PORT": "eighty"}, "eighty"),
        ({"MALLARD_LINK_SECRET": "s", "MALLARD_PORT": "70000"}, "70000"),
        ({"MALLARD_LINK_SECRET": "s", "MALLARD_HOST": "0.0.0.0"}, "cannot listen on 0.0.0.0"),
    ],
)
def test_wrong_setting_is_said_with_its_value(environment: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        from_environment(environment)


async def test_process_serves_and_stops_in_order(streamer: Any, secret: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ, "MALLARD_LINK": streamer.url, "MALLARD_LINK_SECRET": secret, "MALLARD_PORT": str(port),
    }  # fmt: skip
    dashboard = await asyncio.create_subprocess_exec(sys.executable, "-m", "dashboard", env=environment)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        async with asyncio.timeout(30):
            status = 0
            while status != 200:
                await asyncio.sleep(0.1)
                with suppress(httpx.TransportError):
                    status = (await client.get("/readyz")).status_code
        assert (await client.get("/")).status_code == 401
    dashboard.terminate()
    assert await asyncio.wait_for(dashboard.wait(), 10) == 0


def test_process_without_a_secret_ends_with_one_line() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLARD_")}
    ended = subprocess.run(
        [sys.executable, "-m", "dashboard"], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert "MALLARD_LINK_SECRET" in ended.stderr
