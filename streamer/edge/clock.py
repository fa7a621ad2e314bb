"""Where the edge gets its instants: the wall, a paced recording, or a test's hand.

It must not know what happens at an instant; the engine is only ever told the number.
"""

import time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """Anything that tells the time as UTC epoch milliseconds and never goes back."""

    def now_ms(self) -> int:
        """Now, in UTC epoch milliseconds."""
        ...


class WallClock:
    """The machine's clock, made to run on at half its pace while the machine sets it back.

    Standing still until the machine has caught up would stop every timer of the floor for as long as the step was
    wide; going back would break the order of time. A step forward is followed at once, since phones are judged by it.
    """

    def __init__(
        self, wall_ns: Callable[[], int] = time.time_ns, monotonic_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        """Both are given in tests only."""
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._latest_ns = 0
        self._asked_ns = monotonic_ns()

    def now_ms(self) -> int:
        """Now, in UTC epoch milliseconds; never less than the answer before."""
        now_ns = self._wall_ns()
        if now_ns < self._latest_ns:
            now_ns = self._latest_ns + (self._monotonic_ns() - self._asked_ns) // 2
        self._asked_ns = self._monotonic_ns()
        self._latest_ns = now_ns
        return now_ns // 1_000_000


class ManualClock:
    """A clock that stands until it is set; headless replays and tests run by it."""

    def __init__(self, at_ms: int = 0) -> None:
        self.at_ms = at_ms

    def now_ms(self) -> int:
        """The instant it was set to, in UTC epoch milliseconds."""
        return self.at_ms


class PacedClock:
    """Stands at `start_ms` until `go`, then runs `speed` times as fast as the machine's monotonic clock."""

    def __init__(self, start_ms: int, speed: float) -> None:
        self.start_ms = start_ms
        self.speed = speed
        self._went_ns: int | None = None

    def go(self) -> None:
        """Start running; a second call changes nothing."""
        if self._went_ns is None:
            self._went_ns = time.monotonic_ns()

    def now_ms(self) -> int:
        """The paced instant, in UTC epoch milliseconds."""
        if self._went_ns is None:
            return self.start_ms
        return self.start_ms + int((time.monotonic_ns() - self._went_ns) / 1_000_000 * self.speed)

    def wait_s(self, until_ms: int) -> float:
        """Wall seconds until the paced instant `until_ms`; 0 when it has passed."""
        return max(0.0, (until_ms - self.now_ms()) / 1000 / self.speed)
