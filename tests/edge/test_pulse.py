"""The loop's lag is seen when something holds the loop up."""

import asyncio
import time

from streamer.edge.pulse import BEAT_S, Pulse


async def test_a_loop_that_is_held_up_is_late_by_as_much() -> None:
    pulse = Pulse()
    beating = asyncio.create_task(pulse.run())
    await asyncio.sleep(BEAT_S / 2)
    time.sleep(BEAT_S / 2 + 0.3)
    await asyncio.sleep(0.01)
    beating.cancel()
    assert 0.25 < pulse.last_s < 2.0
    assert pulse.lag_s.total == 1
    assert pulse.lag_s.quantile(1.0) >= 0.25
