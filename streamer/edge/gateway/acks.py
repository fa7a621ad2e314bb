"""When sockets acknowledge: those whose turn is about now do so together, and no timer belongs to a single socket.

It must not know what an ack says, nor how it is sent.
"""

import asyncio
import math
from typing import Protocol

ROUND_S = 0.02
"""Acks that have to wait may do so as much longer as it takes to the next round. As far apart as commits under load."""


class Acknowledging(Protocol):
    """Somebody that has something to acknowledge."""

    def acknowledge(self) -> None:
        """Say all of it; never waits, and says nothing where there is nobody to be told any more."""


class AckRounds:
    """Calls whoever waits, once, in the order they came; never before the instant they named."""

    def __init__(self) -> None:
        self._now: list[Acknowledging] = []
        self._rounds: dict[int, list[Acknowledging]] = {}
        """By their number: instants of the loop's clock, in rounds since it began."""
        self._timer: asyncio.TimerHandle | None = None

    def wait(self, who: Acknowledging, from_s: float) -> None:
        """Have `who` acknowledge at or soon after an instant of the loop's clock, or, when that has passed, in the
        loop's next turn: what comes of the same commit until then goes into the same ack.
        """
        loop = asyncio.get_running_loop()
        if from_s <= loop.time():
            if not self._now:
                loop.call_soon(self._go_now)
            self._now.append(who)
            return
        number = math.ceil(from_s / ROUND_S)
        self._rounds.setdefault(number, []).append(who)
        if self._timer is None:
            self._timer = loop.call_at(number * ROUND_S, self._go_round)
        elif number * ROUND_S < self._timer.when():
            self._timer.cancel()
            self._timer = loop.call_at(number * ROUND_S, self._go_round)

    def _go_now(self) -> None:
        now, self._now = self._now, []
        for who in now:
            who.acknowledge()

    def _go_round(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        # Timers of the loop count in milliseconds, and may be early by a part of one.
        last = math.floor(loop.time() / ROUND_S + 0.1)
        for number in sorted(number for number in self._rounds if number <= last):
            for who in self._rounds.pop(number):
                who.acknowledge()
        if self._rounds and self._timer is None:
            self._timer = loop.call_at(min(self._rounds) * ROUND_S, self._go_round)
