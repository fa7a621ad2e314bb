"""The link over a real socket: calls, the feed, its secret, and a reader that stops reading."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from streamer.core.errors import ConfigurationError, StorageError
from streamer.edge import link as linking
from streamer.edge.journal.database import open_to_read
from streamer.edge.journal.sqlite import SqliteJournal
from streamer.edge.link import link_secret
from streamer.edge.server import Streamer
from tests.edge.floor_kit import SECRET, a_header, a_streamer

WHO = {"name": "maya", "role": "dispatcher", "mall_ids": []}


@pytest.fixture
async def streamer(tmp_path: Path) -> AsyncIterator[Streamer]:
    async with a_streamer(SqliteJournal(tmp_path, a_header()), tmp_path / "accounts") as streamer:
        yield streamer


def linked(streamer: Streamer, secret: str = SECRET, path: str = "/v1/link") -> connect:
    return connect(
        f"ws://127.0.0.1:{streamer.port}{path}", additional_headers={"Authorization": f"Bearer {secret}"},
        compression=None, max_size=None, proxy=None,
    )  # fmt: skip


async def ask(socket: ClientConnection, call: str, number: int = 1, **params: Any) -> dict[str, Any]:
    await socket.send(json.dumps({"id": number, "call": call, "params": params, "principal": WHO}))
    while True:
        answer: dict[str, Any] = json.loads(await asyncio.wait_for(socket.recv(), 10))
        if "frame" not in answer:
            return answer


async def frames(socket: ClientConnection, count: int) -> list[dict[str, Any]]:
    return [json.loads(await asyncio.wait_for(socket.recv(), 10)) for _ in range(count)]


async def drained(socket: ClientConnection) -> None:
    """Reads to the end."""
    with suppress(ConnectionClosed):
        while True:
            await socket.recv()


async def test_a_supervisor_is_told_whether_the_process_lives_and_can_write(streamer: Streamer) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{streamer.port}") as asker:
        assert (await asker.get("/healthz")).status_code == 200
        assert (await asker.get("/readyz")).status_code == 200
        streamer.runner.full = True
        assert (await asker.get("/healthz")).status_code == 200
        unready = await asker.get("/readyz")
        assert (unready.status_code, unready.text) == (503, "cannot write the journal\n")
        streamer.runner.full = False


async def test_who_looks_for_metrics_here_is_told_whose_port_has_them(streamer: Streamer) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{streamer.port}") as asker:
        missed = await asker.get("/metrics")
    assert missed.status_code == 404
    assert missed.text.startswith("there is no /metrics here: sockets are /v1/drivers, ")
    assert missed.text.endswith("and /metrics are on the dashboard's port\n")


async def test_a_call_of_which_nobody_can_say_what_became_is_not_answered(
    streamer: Streamer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(_call: object) -> None:
        raise StorageError("the last sync failed")

    async with linked(streamer) as socket:
        with monkeypatch.context() as broken:
            broken.setattr(streamer.link.desk, "answer", failing)
            await socket.send(json.dumps({"id": 1, "call": "state", "params": {}, "principal": WHO}))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(socket.recv(), 0.3)
        assert (await ask(socket, "state", 2))["id"] == 2


@pytest.mark.parametrize("secret", ["", "wrong", SECRET + "x", SECRET[:-1], "ünïcode"])
async def test_without_the_secret_nobody_gets_in(streamer: Streamer, secret: str) -> None:
    headers = {"Authorization": f"Bearer {secret}".encode().decode("latin-1")} if secret else {}
    with pytest.raises(InvalidStatus) as refused:
        async with connect(f"ws://127.0.0.1:{streamer.port}/v1/link", additional_headers=headers, proxy=None):
            pass
    assert refused.value.response.status_code == 401


async def test_another_path_is_404(streamer: Streamer) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with linked(streamer, path="/v1/other"):
            pass
    assert refused.value.response.status_code == 404


async def test_calls_are_answered_under_their_id(streamer: Streamer) -> None:
    async with linked(streamer) as socket:
        order = await ask(socket, "order", 7, order_id="o-1")
        assert (order["id"], order["status"], order["body"]["id"]) == (7, 200, "o-1")
        missing = await ask(socket, "order", 8, order_id="o-99")
        assert missing == {
            "id": 8, "status": 404, "problem": {"code": "not_found", "detail": "there is no order o-99"},
        }  # fmt: skip


async def test_many_calls_at_once_are_all_answered(streamer: Streamer) -> None:
    async with linked(streamer) as socket:
        for number in range(1000):
            await socket.send(json.dumps({"id": number, "call": "state", "params": {}, "principal": WHO}))
        answered = {json.loads(await asyncio.wait_for(socket.recv(), 10))["id"] for _ in range(1000)}
    assert answered == set(range(1000))


@pytest.mark.parametrize(
    "text", ["", "nonsense", "[]", '{"id":1}', '{"call":5}', "[" * 5000, '{"call":"subscribe","malls":5}']
)
async def test_what_cannot_be_read_is_answered_and_the_socket_lives(streamer: Streamer, text: str) -> None:
    async with linked(streamer) as socket:
        await socket.send(text)
        (answer,) = await frames(socket, 1)
        assert (answer["id"], answer["status"] in {400, 422}) == (0, True)
        assert (await ask(socket, "state"))["status"] == 200


async def test_a_subscriber_gets_a_snapshot_and_then_every_delta(streamer: Streamer) -> None:
    async with linked(streamer) as socket:
        await socket.send(json.dumps({"call": "subscribe", "malls": ["plaza"]}))
        snapshot, first, second = await frames(socket, 3)
        assert [frame["frame"] for frame in (snapshot, first, second)] == ["snapshot", "delta", "delta"]
        assert [first["seq"], second["seq"]] == [snapshot["seq"] + 1, snapshot["seq"] + 2]
    async with linked(streamer) as socket:
        since = {"plaza": first["seq"]}
        await socket.send(json.dumps({"call": "subscribe", "since": since, "epoch": snapshot["epoch"]}))
        assert (await frames(socket, 1))[0] == second
        unknown = {"call": "subscribe", "malls": ["nowhere"]}
        await socket.send(json.dumps(unknown))
        while "frame" in (answer := (await frames(socket, 1))[0]):
            pass
        assert answer["status"] == 404


async def test_an_answer_to_a_command_follows_its_commit(streamer: Streamer) -> None:
    async with linked(streamer) as socket:
        order = (await ask(socket, "order", order_id="o-1"))["body"]
        held = await ask(
            socket, "command", action="hold", order_id="o-1", expected_version=order["version"], reason="x"
        )
        assert held["body"]["held"]
    journal = streamer.runner.journal
    assert isinstance(journal, SqliteJournal)
    rows = open_to_read(journal.path).execute("SELECT body FROM entry WHERE kind = 'command' ORDER BY seq DESC LIMIT 1")
    assert b'"hold"' in rows.fetchall()[0][0]  # type: ignore[operator]


async def test_a_reader_that_stalls_is_bounded_and_closed(streamer: Streamer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linking, "MAX_BEHIND_S", 0.5)
    async with linked(streamer) as socket:
        await socket.send(json.dumps({"call": "subscribe"}))
        await frames(socket, 1)
        socket.transport.pause_reading()
        server_side = next(iter(streamer._server.connections))  # type: ignore[union-attr]
        largest = 0
        reader = next(iter(streamer.feed._malls["plaza"].live))
        for _ in range(400):
            if reader.ready():
                reader.send(b'{"frame":"delta","padding":"' + b"x" * 50_000 + b'"}')
            largest = max(largest, server_side.transport.get_write_buffer_size())
            await asyncio.sleep(0.01)
            if server_side.transport.is_closing():
                break
        assert server_side.transport.is_closing()
        assert 1024 * 1024 < largest < 1.2 * 1024 * 1024
        socket.transport.resume_reading()
        await asyncio.wait_for(drained(socket), 5)


async def test_a_restart_closes_links_with_1012(streamer: Streamer) -> None:
    async with linked(streamer) as socket:
        await ask(socket, "state")
        await streamer.close()
        await asyncio.wait_for(socket.wait_closed(), 5)
        assert socket.close_code == 1012


def test_the_secret_is_made_once_and_for_the_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MALLARD_LINK_SECRET", raising=False)
    secret = link_secret(tmp_path)
    assert len(secret) >= 43
    assert link_secret(tmp_path) == secret
    path = tmp_path / "link.secret"
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        link_secret(tmp_path)
    monkeypatch.setenv("MALLARD_LINK_SECRET", "given")
    assert link_secret(tmp_path) == "given"
