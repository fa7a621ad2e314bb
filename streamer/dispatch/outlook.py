"""What a mall is likely to be asked for next: how many orders, and of which stores, for people to see.

It must not decide anything. It is the forecast that plans can rest on, told as counts.
"""

from collections import Counter
from collections.abc import Iterable

from msgspec import Struct

from streamer.core.state import Order
from streamer.dispatch.forecast import Foresight, Seen, expected

AHEAD_MS = 30 * 60_000
ALL_OF_IT = Foresight(ahead_ms=AHEAD_MS)


class Outlook(Struct, frozen=True):
    """Orders likely to be placed within `ahead_ms` from `at_ms`."""

    mall_id: str
    at_ms: int
    ahead_ms: int
    orders: int
    seen: int
    """Orders of the mall that this rests on; with few, it is a guess."""
    stores: dict[str, int]
    """How many of them ask each store, most first; an order of two stores counts at both."""


def outlook(orders: Iterable[Order], mall_id: str, at_ms: int) -> Outlook:
    """From the orders of a mall placed so far, cancelled ones too: they were asked for."""
    past = [order for order in orders if order.mall_id == mall_id and order.placed_ms <= at_ms]
    kinds: dict[tuple[str, ...], int] = {}
    seen = [
        # Only when it is placed matters here, so an order counts as ready at once.
        Seen(kinds.setdefault(order.stores, len(kinds)), number, order.placed_ms, order.placed_ms)
        for number, order in enumerate(past)
    ]
    drawn = expected(seen, at_ms, 0, ALL_OF_IT)
    of = list(kinds)
    counts = Counter(store for one in drawn for store in of[one.store])
    stores = dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))
    return Outlook(mall_id, at_ms, AHEAD_MS, len(drawn), len(past), stores)
