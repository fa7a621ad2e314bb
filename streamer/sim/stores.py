"""Stores: what they promise, and when the goods really are ready.

It must not know drivers.
"""

from math import exp

from msgspec import Struct
from numpy.random import Generator

from streamer.core.malls import Mall
from streamer.sim.parameters import USUAL, StoreRules


class Store(Struct, frozen=True):
    """A store's habits. `bias` scales real times; `weight` is its share of the mall's orders."""

    id: str
    bias: float
    weight: float
    rules: StoreRules = USUAL.stores

    def promise_ms(self, placed_ms: int, items: int, rush: float) -> int:
        """When the store says it will be ready, to the minute, for `rush` in 0-1."""
        rules = self.rules
        minutes = rules.pick_min + rules.item_min * (items - 1) + rules.busy_min * rush
        return placed_ms + round(minutes) * 60_000

    def ready_ms(self, placed_ms: int, promised_ms: int, rng: Generator) -> int:
        """When it really is."""
        factor = self.bias * exp(self.rules.spread * float(rng.standard_normal()))
        return placed_ms + round((promised_ms - placed_ms) * factor / 1000) * 1000


def open_stores(mall: Mall, rng: Generator, rules: StoreRules = USUAL.stores) -> list[Store]:
    """The stores of a mall with habits of their own; a few sell much, most little (Zipf, in drawn order)."""
    places = mall.stores
    order = [int(n) for n in rng.permutation(len(places))]
    # A lean is drawn for the known ones too, so that knowing one store does not move the others.
    drawn = [round(float(rng.uniform(*rules.bias)), 2) for _ in places]
    return [
        Store(place.id, rules.biases.get(place.id, lean), 1 / (1 + rank) ** 0.7, rules)
        for place, rank, lean in zip(places, order, drawn, strict=True)
    ]
