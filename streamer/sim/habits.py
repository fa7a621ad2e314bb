"""What makes one driver unlike another: pace, patience, shift, breaks.

It must not know roads, orders or phones.
"""

from msgspec import Struct
from msgspec.structs import replace
from numpy.random import Generator


class Habits(Struct, frozen=True):
    """One driver's ways. `pace` scales posted speeds, Saturday traffic included; chances are per offer or drop-off."""

    pace: float
    walk_mps: float
    accept_s: tuple[int, int]
    decline: float
    nobody_home: float
    on_ms: int
    off_ms: int
    break_ms: int | None
    """From when on the driver would like a break; None for none."""


def habits(rng: Generator, start_ms: int, end_ms: int, whole: bool = False) -> Habits:
    """Draw a driver's ways; most are on duty from the start and stay, some come later or leave (assumed).

    With `whole`, the driver is there all the time: trouble that a script counts on needs its driver.
    """
    span = end_ms - start_ms
    early = bool(rng.random() < 0.84) or whole
    on_ms = start_ms + int(rng.integers(0, 60) if early else rng.integers(60, max(61, int(span * 0.6 / 1000)))) * 1000
    leaves = bool(rng.random() < 0.12) and early and not whole
    off_ms = (
        start_ms + int(span * float(rng.uniform(0.45, 0.95)))
        if leaves
        else end_ms + int(rng.integers(1, 4)) * 3_600_000
    )
    rests = bool(rng.random() < 0.15) and not whole
    return Habits(
        pace=float(rng.uniform(0.7, 0.92)), walk_mps=float(rng.uniform(1.1, 1.5)),
        accept_s=(4, int(rng.integers(10, 35))), decline=float(rng.choice((0.0, 0.03, 0.1))), nobody_home=0.012,
        on_ms=on_ms, off_ms=off_ms // 60_000 * 60_000,
        break_ms=start_ms + int(span * float(rng.uniform(0.1, 0.9))) if rests else None,
    )  # fmt: skip


def rested(ways: Habits) -> Habits:
    """The same driver with its break behind it."""
    return replace(ways, break_ms=None)
