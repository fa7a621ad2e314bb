"""The socket to the streamer: answers, silence, breaks and coming back."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from dashboard import link as link_module
from dashboard.auth import Principal
from dashboard.feed import Feed, Head
from dashboard.link import FIRST_PAUSE_S, LONGEST_PAUSE_S, Link, full_jitter

MAYA = Principal("maya", "dispatcher", ("fashion-show",))


@pytest.fixture
def frames() -> list[Head]:
    return []


@pytest.fixture
async def link(streamer: Any, secret: str, frames: list[Head]) -> AsyncIterator[Link]:
    async with Link(streamer.url, secret, Feed(), lambda head, _text: frames.append(head), lambda _n: 0.02) as link:
        assert await link.wait_up(5)
        yield link


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


async def test_call_carries_params_and_principal_and_brings_the_body(link: Link, streamer: Any) -> None:
    streamer.handlers["order"] = lambda params, _who: (200, {"id": params["order_id"], "version": 3})
    reply = await link.call("order", {"order_id": "o-1", "cursor": None}, MAYA)
    assert reply.ok
    assert reply.body == {"id": "o-1", "version": 3}
    who = {"name": "maya", "role": "dispatcher", "mall_ids": ["fashion-show"]}
    assert streamer.calls[-1] == ("order", {"order_id": "o-1"}, who), "a None is left out"


async def test_problem_comes_back_whole(link: Link, streamer: Any) -> None:
    streamer.handlers["command"] = lambda _params, _who: (409, {"code": "version_conflict", "order": {"version": 9}})
    reply = await link.call("command", {}, MAYA)
    assert not reply.ok
    assert (reply.status, reply.problem) == (409, {"code": "version_conflict", "order": {"version": 9}})


async def test_answers_find_their_callers_in_any_order(link: Link, streamer: Any) -> None:
    async def echo(params: dict[str, Any], _who: object) -> tuple[int, dict[str, object]]:
        return 200, {"n": params["n"]}

    streamer.handlers["echo"] = echo
    replies = await asyncio.gather(*(link.call("echo", {"n": n}) for n in range(50)))
    assert [reply.body["n"] for reply in replies] == list(range(50))


async def test_call_without_a_streamer_is_link_lost_at_once(secret: str) -> None:
    link = Link("ws://127.0.0.1:9/v1/link", secret, Feed())
    reply = await link.call("state")
    assert (reply.status, reply.problem["code"]) == (503, "link_lost")


async def test_silence_is_a_timeout(link: Link, streamer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(_params: object, _who: object) -> tuple[int, dict[str, object]]:
        await asyncio.sleep(0.3)
        return 200, {}

    streamer.handlers["state"] = never
    monkeypatch.setattr(link_module, "CALL_TIMEOUT_S", 0.05)
    reply = await link.call("state")
    assert (reply.status, reply.problem["code"]) == (504, "timeout")


async def test_half_a_surrogate_pair_is_refused_before_it_is_sent(link: Link, streamer: Any) -> None:
    reply = await link.call("place", {"order": {"external_id": "\ud800"}})
    assert (reply.status, reply.problem["code"]) == (422, "bad_field")
    assert streamer.called("place") == []


async def test_break_answers_waiting_calls_and_the_link_comes_back(link: Link, streamer: Any) -> None:
    async def hang(_params: object, _who: object) -> tuple[int, dict[str, object]]:
        for socket in list(streamer.sockets):
            socket.transport.abort()
        return 200, {}

    streamer.handlers["command"] = hang
    reply = await link.call("command")
    assert (reply.status, reply.problem["code"]) == (503, "link_lost")
    assert "unknown" in str(reply.problem["detail"])
    assert await link.wait_up(5)
    assert (await link.call("ready")).ok


async def test_resubscribes_from_where_it_was(
    link: Link, streamer: Any, frames: list[Head], a_frame: Callable[..., str]
) -> None:
    await streamer.send(a_frame("m", 4, "snapshot"))
    await streamer.send(a_frame("m", 5))
    await until(lambda: len(frames) == 2)
    await streamer.stop()
    await until(lambda: not link.up)
    await streamer.start()
    await until(lambda: len(streamer.subscriptions) == 2)
    first, second = streamer.subscriptions
    assert first == {"call": "subscribe", "malls": [], "since": {}, "epoch": ""}
    assert second == {"call": "subscribe", "malls": [], "since": {"m": 5}, "epoch": "e1"}


async def test_gap_in_the_feed_is_healed_by_a_snapshot(
    link: Link, streamer: Any, frames: list[Head], a_frame: Callable[..., str]
) -> None:
    streamer.on_subscribe = lambda _request: [a_frame("m", 9, "snapshot")]
    await streamer.send(a_frame("m", 4, "snapshot"))
    await streamer.send(a_frame("n", 1, "snapshot"))
    await streamer.send(a_frame("m", 6))
    await until(lambda: len(frames) == 3)
    assert streamer.subscriptions[-1]["since"] == {"n": 1}
    assert [(head.frame, head.mall_id, head.seq) for head in frames] == [
        ("snapshot", "m", 4),
        ("snapshot", "n", 1),
        ("snapshot", "m", 9),
    ]


async def test_nonsense_from_the_streamer_ends_the_connection_not_the_link(link: Link, streamer: Any) -> None:
    await streamer.send('{"frame":"poem"}')
    await until(lambda: len(streamer.subscriptions) == 2)
    assert await link.wait_up(5)


async def test_wrong_secret_never_gets_up(streamer: Any) -> None:
    async with Link(streamer.url, "wrong", Feed(), pause=lambda _n: 0.02) as link:
        assert not await link.wait_up(0.2)
        assert (await link.call("state")).status == 503


def test_pauses_spread_out_under_a_growing_bound() -> None:
    draws = [full_jitter(0) for _ in range(1000)]
    assert all(0 <= draw <= FIRST_PAUSE_S for draw in draws)
    assert len({round(draw, 2) for draw in draws}) > 15
    assert max(full_jitter(50) for _ in range(1000)) <= LONGEST_PAUSE_S
