"""Parameters while they are being fitted: what was changed, from how many samples, and why something was kept.

It must not know how anything is estimated.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from streamer.sim.calibration.observed import Drive, Sample
from streamer.sim.parameters import Parameters

LEAST = 30
"""Samples below which a parameter is kept; the quantiles of fewer say little."""
LEAST_EACH = 4
"""Samples of one driver or store below which it says nothing of how they differ."""

Taken = TypeVar("Taken", Sample, Drive)


class Row(Struct, frozen=True):
    """One parameter: its name, what it was, what it is now, from how many samples. `kept`: why it was not fitted."""

    name: str
    before: tuple[float, ...]
    after: tuple[float, ...]
    n: int
    kept: str = ""


class Fitter:
    """Parameters on their way from what they were to what was seen.

    Attributes:
        parameters: as they are now.
        rows: what was done, in order.
    """

    def __init__(self, before: Parameters) -> None:
        self.parameters = before
        self.rows: list[Row] = []

    def take(self, group: str, n: int, **values: Any) -> None:
        """Set parameters of a group, rounded to four digits, fitted from `n` samples."""
        rules = getattr(self.parameters, group)
        values = {name: _rounded(value) for name, value in values.items()}
        for name, value in values.items():
            self.rows.append(Row(f"{group}.{name}", _flat(getattr(rules, name)), _flat(value), n))
        self.parameters = replace(self.parameters, **{group: replace(rules, **values)})

    def keep(self, group: str, name: str, n: int, why: str = "") -> None:
        """Leave a parameter as it was."""
        value = _flat(getattr(getattr(self.parameters, group), name))
        self.rows.append(Row(f"{group}.{name}", value, value, n, why or f"{n} seen, {LEAST} are needed"))

    def enough(self, group: str, name: str, n: int, found: Callable[[], Any]) -> None:
        """Set a parameter to what is found, or keep it where fewer than `LEAST` were seen."""
        if n >= LEAST:
            self.take(group, n, **{name: found()})
        else:
            self.keep(group, name, n)


def grouped(samples: Sequence[Taken]) -> dict[str, list[Taken]]:
    """The samples of each driver or store, in the order of their names."""
    by_who: dict[str, list[Taken]] = defaultdict(list)
    for sample in samples:
        by_who[sample.who].append(sample)
    return dict(sorted(by_who.items()))


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, tuple):
        return tuple(_rounded(each) for each in value)
    return value


def _flat(value: Any) -> tuple[float, ...]:
    match value:
        case dict():
            return tuple(value.values())
        case tuple():
            return value
        case _:
            return (value,)
