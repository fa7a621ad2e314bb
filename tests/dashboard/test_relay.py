"""The feed for browsers: the same text to everybody, in order, within scope, and nobody waits for the slow."""

import asyncio
import socket as sockets
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect

from dashboard import relay as relay_module
from dashboard.app import create_app
from dashboard.auth import Principal
from dashboard.feed import SNAPSHOT_AGE, Feed, Head
from dashboard.relay import MAX_UNREAD, Asked, Reader, Relay, parse_query
from dashboard.settings import Settings

AFrame = Callable[..., str]
VERA = Principal("vera", "viewer")


def head(text: str) -> Head:
    return msgspec.json.decode(text, type=Head)


async def until(condition: Callable[[], object], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def feed_socket(site: str, headers: dict[str, str], query: str = "", **options: Any) -> connect:
    options = {"compression": None, "max_size": None, **options}
    return connect(f"ws://{site}/feed{query}", additional_headers=headers, proxy=None, **options)


async def read(socket: ClientConnection, number: int) -> list[tuple[str, str, int]]:
    heads = [head(str(await asyncio.wait_for(socket.recv(), 5))) for _ in range(number)]
    return [(each.mall_id, each.frame, each.seq) for each in heads]


# ---------------------------------------------------------------- over real sockets


async def test_readers_get_a_start_and_then_the_same_bytes(site: str, streamer: Any, a_frame: AFrame) -> None:
    vera = streamer.token_of("vera")
    await streamer.send(a_frame("m", 1, "snapshot"))
    await streamer.send(a_frame("m", 2))
    async with feed_socket(site, vera) as one:
        assert await read(one, 2) == [("m", "snapshot", 1), ("m", "delta", 2)]
        async with feed_socket(site, vera) as two:
            assert await read(two, 2) == [("m", "snapshot", 1), ("m", "delta", 2)]
            text = a_frame("m", 3, filler="Zoë ☂")
            await streamer.send(text)
            assert [await one.recv(), await two.recv()] == [text, text]


async def test_reader_that_comes_back_gets_only_what_it_missed(site: str, streamer: Any, a_frame: AFrame) -> None:
    vera = streamer.token_of("vera")
    for text in (a_frame("m", 1, "snapshot"), a_frame("m", 2), a_frame("m", 3), a_frame("n", 8, "snapshot")):
        await streamer.send(text)
    async with feed_socket(site, vera) as first:
        await read(first, 4)
    async with feed_socket(site, vera, "?since=m:2,n:8&epoch=e1") as again:
        assert await read(again, 1) == [("m", "delta", 3)]
        await streamer.send(a_frame("n", 9))
        assert await read(again, 1) == [("n", "delta", 9)]
    async with feed_socket(site, vera, "?malls=m&since=m:2&epoch=old") as other:
        assert await read(other, 3) == [("m", "snapshot", 1), ("m", "delta", 2), ("m", "delta", 3)]


async def test_scope_holds_for_start_and_deltas_whatever_is_asked(site: str, streamer: Any, a_frame: AFrame) -> None:
    only_m = streamer.token_of("vera", ("m",))
    for mall_id in ("m", "n"):
        await streamer.send(a_frame(mall_id, 1, "snapshot"))
    async with feed_socket(site, only_m, "?malls=m,n") as socket:
        assert await read(socket, 1) == [("m", "snapshot", 1)]
        await streamer.send(a_frame("n", 2))
        await streamer.send(a_frame("m", 2))
        assert await read(socket, 1) == [("m", "delta", 2)]


async def test_reader_before_the_first_frame_gets_the_snapshot_when_it_comes(
    site: str, streamer: Any, a_frame: AFrame
) -> None:
    async with feed_socket(site, streamer.token_of("vera")) as socket:
        await streamer.send(a_frame("m", 1, "snapshot"))
        assert await read(socket, 1) == [("m", "snapshot", 1)]


@pytest.mark.parametrize("query", ["?since=m", "?since=m:x", "?since=:1", "?since=m:-1", "?since=m:" + "9" * 99])
async def test_query_that_cannot_be_read_is_refused(site: str, streamer: Any, query: str) -> None:
    with pytest.raises(Exception, match="403"):
        async with feed_socket(site, streamer.token_of("vera"), query):
            pass


async def test_no_gap_and_no_repeat_over_restarts_of_both_ends(site: str, streamer: Any, a_frame: AFrame) -> None:
    vera = streamer.token_of("vera")
    frames = [a_frame("m", 0, "snapshot"), *(a_frame("m", seq) for seq in range(1, 60))]
    sent = 0
    streamer.on_subscribe = lambda request: frames[request["since"].get("m", -1) + 1 : sent]
    held: list[int] = []
    for round_number in range(1, 7):
        query = f"?since=m:{held[-1]}&epoch=e1" if held else ""
        async with feed_socket(site, vera, query) as socket:
            while sent < round_number * 10:
                if sent % 7 == 3:
                    await streamer.stop()
                    await streamer.start()
                    await until(lambda: streamer.sockets)
                text, sent = frames[sent], sent + 1
                await streamer.send(text)
            while not held or held[-1] < sent - 1:
                held += [seq for _mall, _frame, seq in await read(socket, 1)]
    assert held == list(range(60))


async def test_stalled_reader_is_cut_off_and_others_do_not_notice(
    streamer: Any, settings: Any, small_pages: Any, running: Any, a_frame: AFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "MAX_BEHIND_S", 0.5)
    monkeypatch.setattr("dashboard.server.STALLED_CLOSE_S", 0.2)
    app = create_app(settings, small_pages)
    vera = streamer.token_of("vera")
    async with running(app, settings) as site:
        assert await app.link.wait_up(5)
        await streamer.send(a_frame("m", 0, "snapshot"))
        stalled = sockets.create_connection(site.split(":"))
        stalled.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
        lines = [
            "GET /feed HTTP/1.1", f"Host: {site}", "Upgrade: websocket", "Connection: Upgrade",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Version: 13",
            f"Authorization: {vera['Authorization']}", "", "",
        ]  # fmt: skip
        stalled.sendall("\r\n".join(lines).encode())
        async with feed_socket(site, vera) as lively:
            assert await read(lively, 1) == [("m", "snapshot", 0)]
            await until(lambda: app.relay.readers == 2)
            filler = "x" * 200_000
            for seq in range(1, 100):
                await streamer.send(a_frame("m", seq, filler=filler))
                assert await read(lively, 1) == [("m", "delta", seq)]
            await until(lambda: app.relay.readers == 1)
            assert app.relay.closed_slow == 1
            assert app.relay.skips >= 1
        stalled.close()


async def test_reader_that_falls_behind_for_a_moment_is_started_anew(site: str, streamer: Any, a_frame: AFrame) -> None:
    vera = streamer.token_of("vera")
    frames = 200
    await streamer.send(a_frame("m", 0, "snapshot"))
    async with feed_socket(site, vera, max_queue=1) as socket:
        await read(socket, 1)
        for seq in range(1, frames):
            if seq == 150:
                # What the streamer would say to the renewal of an old snapshot.
                await streamer.send(a_frame("m", seq - 1, "snapshot"))
            await streamer.send(a_frame("m", seq, filler="x" * 200_000))
        held = await read(socket, 1)
        while held[-1][2] < frames - 1:
            held += await read(socket, 1)
    follows = [after[1] == "snapshot" or after[2] == before[2] + 1 for before, after in pairwise(held)]
    assert all(follows)
    assert "snapshot" in [frame for _mall, frame, _seq in held], "it was skipped once"


async def test_real_streamer_renews_its_snapshot_unnoticed_by_readers(
    floor: Any, secret: str, small_pages: Any, running: Any
) -> None:
    settings = Settings(link_url=floor.url, link_secret=secret)
    app = create_app(settings, small_pages)
    vera = floor.token("vera", "viewer")
    async with running(app, settings) as site:
        assert await app.link.wait_up(5)
        async with feed_socket(site, vera) as socket:
            ((_, first, start),) = await read(socket, 1)
            assert first == "snapshot"
            for seq in range(start + 1, start + SNAPSHOT_AGE + 5):
                floor.feed.tick()
                assert await read(socket, 1) == [("plaza", "delta", seq)]
        async with feed_socket(site, vera) as later:
            held = await read(later, 2)
    assert held[0][1] == "snapshot"
    assert held[0][2] >= start + SNAPSHOT_AGE, "a new reader starts from the renewed one"
    assert held[1] == ("plaza", "delta", held[0][2] + 1)


# ---------------------------------------------------------------- a reader by itself


def a_reader(feed: Feed, principal: Principal = VERA, malls: str | None = None) -> Reader:
    return Reader(feed, principal, parse_query(malls, None, None))


class Slow:
    """A socket that takes a text only when it is let."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.may_take = asyncio.Event()

    async def send_text(self, text: str) -> None:
        await self.may_take.wait()
        self.texts.append(text)


async def test_queue_never_holds_more_than_its_limit(a_frame: AFrame) -> None:
    feed, slow = Feed(), Slow()
    relay = Relay(feed)
    feed.take(a_frame("m", 0, "snapshot"))
    reader = a_reader(feed)
    relay._readers.add(reader)
    task = asyncio.create_task(reader.send_all(slow))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    for seq in range(1, 40):
        text = a_frame("m", seq, filler="x" * 100_000)
        taken = feed.take(text)
        assert taken is not None
        relay.publish(taken, text)
        assert reader._unread <= MAX_UNREAD
        await asyncio.sleep(0)
    assert reader.skips >= 1
    slow.may_take.set()
    await until(lambda: slow.texts and head(slow.texts[-1]).seq == 39)
    task.cancel()
    seqs = [(head(text).frame, head(text).seq) for text in slow.texts]
    assert seqs == [("snapshot", 0), ("snapshot", 0), *(("delta", seq) for seq in range(1, 40))]


async def test_frame_larger_than_the_limit_still_reaches_an_idle_reader(a_frame: AFrame) -> None:
    feed, eager = Feed(), Slow()
    eager.may_take.set()
    reader = a_reader(feed)
    task = asyncio.create_task(reader.send_all(eager))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    text = a_frame("m", 0, "snapshot", filler="x" * 2 * MAX_UNREAD)
    taken = feed.take(text)
    assert taken is not None
    reader.offer(taken, text)
    await until(lambda: eager.texts == [text])
    task.cancel()


async def test_reader_that_takes_nothing_times_out(a_frame: AFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "MAX_BEHIND_S", 0.05)
    feed = Feed()
    feed.take(a_frame("m", 0, "snapshot"))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(a_reader(feed).send_all(Slow()), 5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ((None, None, None), Asked(None, {}, None)),
        (("", "", ""), Asked(None, {}, None)),
        (("a,b", "a:1,b:22", "e"), Asked(frozenset({"a", "b"}), {"a": 1, "b": 22}, "e")),
    ],
)
def test_query_is_read(query: tuple[str | None, str | None, str | None], asked: Asked) -> None:
    assert parse_query(*query) == asked
