"""When sockets acknowledge: not before their instant, soon after it, together, and once for each time they asked."""

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from itertools import pairwise
from typing import Any

import uvloop

from streamer.edge.gateway.acks import ROUND_S, AckRounds
from tests.faults.simulation.loop import SimulatedLoop


class Someone:
    """Notes when it acknowledged."""

    def __init__(self, at_s: list[tuple[float, str]], name: str = "") -> None:
        self.at_s = at_s
        self.name = name

    def acknowledge(self) -> None:
        self.at_s.append((asyncio.get_running_loop().time(), self.name))


def in_simulated_time(main: Callable[[list[tuple[float, str]]], Coroutine[Any, Any, None]]) -> list[tuple[float, str]]:
    """Who acknowledged when, until two seconds after `main` ended."""
    noted: list[tuple[float, str]] = []

    async def run() -> None:
        await main(noted)
        await asyncio.sleep(2.0)

    loop = SimulatedLoop()
    try:
        loop.run_until_complete(run())
    finally:
        loop.close()
    return noted


def test_who_may_acknowledge_now_does_so_in_the_next_turn_and_not_before() -> None:
    async def main(noted: list[tuple[float, str]]) -> None:
        rounds = AckRounds()
        await asyncio.sleep(0.5)
        for name in ("a", "b"):
            rounds.wait(Someone(noted, name), 0.5)
        assert noted == []
        await asyncio.sleep(0)
        assert noted == [(0.5, "a"), (0.5, "b")]

    assert len(in_simulated_time(main)) == 2


def test_nobody_acknowledges_before_its_instant_or_a_round_after_it() -> None:
    due = [0.003 + 0.0137 * number for number in range(70)]

    async def main(noted: list[tuple[float, str]]) -> None:
        rounds = AckRounds()
        # Not in order: each finds its round, whichever was asked for first.
        for from_s in due[::2] + due[1::2]:
            rounds.wait(Someone(noted, f"{from_s:.6f}"), from_s)

    noted = in_simulated_time(main)
    assert len(noted) == len(due)
    for at_s, name in noted:
        assert float(name) <= at_s + 1e-6 <= float(name) + ROUND_S + 1e-3


def test_those_of_one_round_acknowledge_together() -> None:
    async def main(noted: list[tuple[float, str]]) -> None:
        rounds = AckRounds()
        for number in range(10):
            rounds.wait(Someone(noted, str(number)), 5 * ROUND_S + number * ROUND_S / 20 + 0.001)

    noted = in_simulated_time(main)
    assert [name for _, name in noted] == [str(number) for number in range(10)]
    assert len({at_s for at_s, _ in noted}) == 1


def test_who_waits_again_while_acknowledging_is_called_again() -> None:
    async def main(noted: list[tuple[float, str]]) -> None:
        rounds = AckRounds()

        class Again(Someone):
            def acknowledge(self) -> None:
                super().acknowledge()
                if len(noted) < 4:
                    rounds.wait(self, asyncio.get_running_loop().time() + 0.3)

        rounds.wait(Again(noted), 0.0)

    at_s = [at_s for at_s, _ in in_simulated_time(main)]
    assert len(at_s) == 4
    assert all(0.3 <= later - earlier <= 0.3 + ROUND_S + 1e-3 for earlier, later in pairwise(at_s))


def test_a_round_that_is_overdue_keeps_nobody_waiting() -> None:
    """Of an instant that has come, uvloop makes no timer, but a handle that knows no instant."""
    noted: list[tuple[float, str]] = []
    gone = asyncio.Event()

    async def main() -> None:
        rounds, loop = AckRounds(), asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: noted.append((loop.time(), str(context["exception"]))))

        class Slow(Someone):
            def acknowledge(self) -> None:
                super().acknowledge()
                time.sleep(2 * ROUND_S)
                loop.call_later(60, gone.set).cancel()  # From here on the loop knows how late it is.
                loop.call_soon(lambda: rounds.wait(Someone(noted, "later"), loop.time() + 0.001))
                loop.call_later(5 * ROUND_S, gone.set)

        first_s = math.ceil(loop.time() / ROUND_S) * ROUND_S + 0.001
        rounds.wait(Slow(noted, "slow"), first_s)
        rounds.wait(Someone(noted, "overdue"), first_s + ROUND_S)
        await gone.wait()

    uvloop.run(main())
    assert [name for _, name in noted] == ["slow", "overdue", "later"]
