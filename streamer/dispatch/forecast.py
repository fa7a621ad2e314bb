"""Orders to expect, from the orders seen so far today: drawn again, at the rate at which they come now.

It must not look ahead: it is given nothing but what has been placed. The draw is the same for the same seed.
Source: planning for sampled requests as in Bent and Van Hentenryck 2004 (doi:10.1287/opre.1040.0124), with one sample.
"""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

MINUTE_MS = 60_000


class Seen(Struct, frozen=True):
    """An order that was placed, or is expected: from where to where, and when. Places are any numbers."""

    store: int
    dropoff: int
    placed_ms: int
    ready_ms: int


class Foresight(Struct, frozen=True):
    """How far to look, and how much of the day so far to believe."""

    ahead_ms: int = 30 * MINUTE_MS
    """Orders are expected that are placed, and ready, within this from now."""
    memory_ms: int = 60 * MINUTE_MS
    """An order seen so long ago says 1/e as much about what comes as one seen now."""
    least_ms: int = 30 * MINUTE_MS
    """A day younger than this is taken to be this old: its first orders are no rush."""


USUAL = Foresight()


def expected(seen: Sequence[Seen], at_ms: int, seed: int, foresight: Foresight = USUAL) -> tuple[Seen, ...]:
    """A likely next half hour, placed after `at_ms`.

    As many as the rate says, spread evenly over the time, each like one that was seen: a store that is asked often is
    drawn often, in proportion and not by luck (systematic sampling), so that two draws differ little.
    """
    if not seen:
        return ()
    ordered = sorted(seen, key=lambda one: (one.store, one.placed_ms, one.dropoff))
    ages_ms = np.array([at_ms - one.placed_ms for one in ordered], dtype=np.float64)
    shares = np.exp(-ages_ms / foresight.memory_ms)
    day_ms = max(float(ages_ms.max()), foresight.least_ms)
    believed_ms = foresight.memory_ms * (1 - np.exp(-day_ms / foresight.memory_ms))
    count = round(float(shares.sum()) / believed_ms * foresight.ahead_ms)
    random = np.random.Generator(np.random.PCG64([seed, at_ms // 1000]))
    steps = (np.arange(count) + random.random()) / max(1, count)
    drawn = np.searchsorted(np.cumsum(shares) / shares.sum(), steps).clip(max=len(ordered) - 1)
    delays_ms = (random.permutation(count) + random.random(count)) / max(1, count) * foresight.ahead_ms
    found: list[Seen] = []
    for like, delay_ms in zip((ordered[at] for at in drawn.tolist()), delays_ms.tolist(), strict=True):
        placed_ms = at_ms + 1 + int(delay_ms)
        ready_ms = placed_ms + like.ready_ms - like.placed_ms
        if ready_ms <= at_ms + foresight.ahead_ms:
            found.append(Seen(like.store, like.dropoff, placed_ms, ready_ms))
    return tuple(found)
