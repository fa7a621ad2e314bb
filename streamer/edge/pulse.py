"""Listens to the loop's heartbeat: how late it is with what it was asked to do.

It must not know what holds it up.
"""

import asyncio

from streamer.edge.measures import Histogram

BEAT_S = 0.1
LAG_BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Pulse:
    """The lag of the loop it runs on.

    Attributes:
        lag_s: how late the beats were, in seconds.
        last_s: how late the last one was.
    """

    def __init__(self) -> None:
        self.lag_s = Histogram(LAG_BOUNDS_S)
        self.last_s = 0.0

    async def run(self) -> None:
        """Beat until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + BEAT_S
            await asyncio.sleep(BEAT_S)
            self.last_s = max(0.0, loop.time() - due_s)
            self.lag_s.add(self.last_s)
