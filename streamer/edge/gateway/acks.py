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
        self._timer: asyncio.Handle | None = None
        self._running: asyncio.AbstractEventLoop | None = None
        self._timer_s = math.inf
        """When the timer goes; a loop need not say so of one that is due at once."""

    def wait(self, who: Acknowledging, from_s: float) -> None:
        """Have `who` acknowledge at or soon after an instant of the loop's clock, or, when that has passed, in the
        loop's next turn: what comes of the same commit until then goes into the same ack.
        """
        loop = self._running or self._loop()
        if from_s <= loop.time():
            if not self._now:
                loop.call_soon(self._go_now)
            self._now.append(who)
            return
        number = math.ceil(from_s / ROUND_S)
        self._rounds.setdefault(number, []).append(who)
        if number * ROUND_S < self._timer_s:
            self._set_timer(number * ROUND_S)

    def _loop(self) -> asyncio.AbstractEventLoop:
        """Kept, since asking costs a system call, and every ping asks."""
        self._running = asyncio.get_running_loop()
        return self._running

    def _set_timer(self, at_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_s = self._loop().call_at(at_s, self._go_round), at_s

    def _go_now(self) -> None:
        now, self._now = self._now, []
        for who in now:
            who.acknowledge()

    def _go_round(self) -> None:
        self._timer, self._timer_s = None, math.inf
        # Timers of the loop count in milliseconds, and may be early by a part of one.
        last = math.floor(self._loop().time() / ROUND_S + 0.1)
        for number in sorted(number for number in self._rounds if number <= last):
            for who in self._rounds.pop(number):
                who.acknowledge()
        if self._rounds and min(self._rounds) * ROUND_S < self._timer_s:
            self._set_timer(min(self._rounds) * ROUND_S)
