"""Stores: what they promise, and when the goods really are ready.

It must not know drivers.
"""

from math import exp

from msgspec import Struct
from numpy.random import Generator

from streamer.core.malls import Mall

PICK_MIN, ITEM_MIN = 11.0, 3.0
"""A promise: minutes to find and pack the first item, and each further one (assumed)."""
BUSY_MIN = 6.0
"""What a store adds to its promises in a rush (assumed)."""
SPREAD = 0.28
"""Lognormal spread of real over promised time (assumed: nothing about mall stores is public)."""
BIAS = (0.8, 1.35)
"""Each store's own lean: some are ready early, some always late (assumed)."""


class Store(Struct, frozen=True):
    """A store's habits. `bias` scales real times; `weight` is its share of the mall's orders."""

    id: str
    bias: float
    weight: float

    def promise_ms(self, placed_ms: int, items: int, rush: float) -> int:
        """When the store says it will be ready, to the minute, for `rush` in 0-1."""
        minutes = PICK_MIN + ITEM_MIN * (items - 1) + BUSY_MIN * rush
        return placed_ms + round(minutes) * 60_000

    def ready_ms(self, placed_ms: int, promised_ms: int, rng: Generator) -> int:
        """When it really is."""
        factor = self.bias * exp(SPREAD * float(rng.standard_normal()))
        return placed_ms + round((promised_ms - placed_ms) * factor / 1000) * 1000


def open_stores(mall: Mall, rng: Generator) -> list[Store]:
    """The stores of a mall with habits of their own; a few sell much, most little (Zipf, in drawn order)."""
    places = mall.stores
    order = [int(n) for n in rng.permutation(len(places))]
    return [
        Store(place.id, round(float(rng.uniform(*BIAS)), 2), 1 / (1 + rank) ** 0.7)
        for place, rank in zip(places, order, strict=True)
    ]
