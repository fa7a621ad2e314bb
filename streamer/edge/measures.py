"""Counting how long things take: histograms with fixed bounds, cheap to add to and ready to print.

It must not know what is measured, in which unit, or who prints it.
"""

import math
from bisect import bisect_left


class Histogram:
    """How often a value fell between which bounds. One thread adds; any may read.

    Attributes:
        bounds: upper bounds, rising; a value equal to one counts below it.
        counts: how many values fell below each bound and above the one before; the last, above them all.
        total: how many values there were.
        sum: of all values.
    """

    __slots__ = ("bounds", "counts", "sum", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += 1
        self.sum += value

    def quantile(self, q: float) -> float:
        """The bound that at least the share `q` of the values lies at or below: never too low, and 0 without values.

        Infinity when the value lies above the last bound.
        """
        if not self.total:
            return 0.0
        rank = max(1, math.ceil(q * self.total))
        for bound, count in zip(self.bounds, self.counts, strict=False):
            rank -= count
            if rank <= 0:
                return bound
        return math.inf
