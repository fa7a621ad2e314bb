"""How often one person or address may ask.

It must not know what is asked, nor how a refusal is worded.
"""

import time
from collections import OrderedDict
from collections.abc import Callable

from streamer.core.rates import TokenBucket

MOST_REMEMBERED = 10_000
"""Askers with a bucket of their own; the one that was silent longest goes first, and comes back with a full one."""


class Rates:
    """A bucket for each asker.

    Args:
        per_s: requests on average.
        burst: requests at once.
        clock: monotonic seconds.
    """

    def __init__(self, per_s: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s, self._burst, self._clock = per_s, burst, clock
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def has_room(self, asker: str) -> bool:
        """Whether this asker could ask now, without doing so."""
        bucket = self._buckets.get(asker)
        return bucket is None or not bucket.is_empty(self._clock())

    def take(self, asker: str) -> bool:
        """Whether this asker may ask once more."""
        now_s = self._clock()
        bucket = self._buckets.get(asker)
        if bucket is None:
            bucket = self._buckets[asker] = TokenBucket(self._per_s, self._burst, now_s)
            if len(self._buckets) > MOST_REMEMBERED:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(asker)
        return bucket.take(now_s)
