"""What makes one driver unlike another: pace, patience, shift, breaks.

It must not know roads, orders or phones.
"""

from msgspec import Struct
from msgspec.structs import replace
from numpy.random import Generator

from streamer.sim.parameters import USUAL, Parameters


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


def habits(rng: Generator, start_ms: int, end_ms: int, whole: bool = False, parameters: Parameters = USUAL) -> Habits:
    """Draw a driver's ways; most are on duty from the start and stay, some come later or leave.

    With `whole`, the driver is there all the time: trouble that a script counts on needs its driver.
    """
    span, rules = end_ms - start_ms, parameters.drivers
    early = bool(rng.random() < rules.early) or whole
    on_ms = start_ms + int(rng.integers(0, 60) if early else rng.integers(60, max(61, int(span * 0.6 / 1000)))) * 1000
    leaves = bool(rng.random() < rules.leaves) and early and not whole
    off_ms = (
        start_ms + int(span * float(rng.uniform(0.45, 0.95)))
        if leaves
        else end_ms + int(rng.integers(1, 4)) * 3_600_000
    )
    rests = bool(rng.random() < rules.rests) and not whole
    return Habits(
        pace=float(rng.uniform(*parameters.cars.pace)), walk_mps=float(rng.uniform(*rules.walk_mps)),
        accept_s=(rules.accept_first_s, int(rng.integers(*rules.accept_last_s))),
        decline=float(rng.choice(rules.decline)), nobody_home=rules.nobody_home,
        on_ms=on_ms, off_ms=off_ms // 60_000 * 60_000,
        break_ms=start_ms + int(span * float(rng.uniform(0.1, 0.9))) if rests else None,
    )  # fmt: skip


def rested(ways: Habits) -> Habits:
    """The same driver with its break behind it."""
    return replace(ways, break_ms=None)
