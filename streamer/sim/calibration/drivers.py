"""Fits cars and drivers: pace and traffic, parking, handing over, walking, answers to offers.

It must not know recordings, nor judge what it fits.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from math import sqrt

import numpy as np

from streamer.sim.calibration.drives import Reference
from streamer.sim.calibration.estimators import EVEN_SD, Apart, between, even_range
from streamer.sim.calibration.fitter import LEAST, LEAST_EACH, Fitter, grouped
from streamer.sim.calibration.observed import Drive, Observed, Sample
from streamer.sim.parameters import HOURS

LEAST_DRIVERS = 8
"""Drivers with drives of their own below which they differ as they did before."""
LEAST_HOUR = 40
"""Drives of one hour below which it has no traffic of its own."""
WILD = 3.0
"""A drive so many times slower or faster than usual was none: a break, a wrong turn, a clock."""
SLOWEST = 0.05
UNWILLING = 0.5
"""Who declines more has another reason than the offer."""


def fit_cars(fitter: Fitter, seen: Observed, references: Mapping[str, Reference]) -> None:
    """Fit the drivers' pace, and the traffic of hours that were driven in enough."""
    drives = believable(seen.drives, references)
    paces = {who: _pace(own, references) for who, own in grouped(drives).items() if len(own) >= LEAST_EACH}
    # The middle is that of all drives; drivers' own paces only tell how they differ.
    middle, _ = _pace(drives, references)
    first, last = fitter.parameters.cars.pace
    usual_sd = middle * (last - first) / (last + first) / EVEN_SD
    sd = between(paces).sd if len(paces) >= LEAST_DRIVERS else usual_sd
    low, high = Apart(middle, sd, len(paces)).range
    fitter.take("cars", len(drives), pace=(max(SLOWEST, low), max(SLOWEST, high)))
    by_hour: dict[int, list[Drive]] = defaultdict(list)
    for drive in drives:
        by_hour[drive.hour].append(drive)
    busy = {hour: _pace(own, references)[0] / middle for hour, own in by_hour.items() if len(own) >= LEAST_HOUR}
    if len(busy) < 2:
        why = f"{len(busy)} hours with {LEAST_HOUR} drives, 2 are needed"
        fitter.keep("cars", "traffic_by_hour", len(drives), why)
        return
    fitter.take("cars", len(drives), traffic_by_hour=tuple(busy.get(hour, 1.0) for hour in range(HOURS)))


def believable(drives: Sequence[Drive], references: Mapping[str, Reference]) -> list[Drive]:
    """The drives without the wild ones."""
    ratios = [drive.seconds / references[drive.mall_id].expected_s(drive, 1.0) for drive in drives]
    usual = float(np.median(ratios)) if ratios else 1.0
    pairs = zip(drives, ratios, strict=True)
    return [drive for drive, ratio in pairs if usual / WILD < ratio < usual * WILD]


def _pace(drives: Sequence[Drive], references: Mapping[str, Reference]) -> tuple[float, float]:
    """The pace of some drives together, and the variance of that (the delta method, a ratio of sums)."""
    parts = [references[drive.mall_id].parts(drive) for drive in drives]
    took_s = np.array([drive.seconds for drive in drives]) - np.array([fixed_s for fixed_s, _ in parts])
    at_one_s = np.array([paced_s for _, paced_s in parts])
    total_s = max(1.0, float(took_s.sum()))
    pace = float(at_one_s.sum()) / total_s
    left_s = took_s - at_one_s / pace
    error = sqrt(float(np.sum(left_s**2)) * len(drives) / max(1, len(drives) - 1)) / total_s
    return pace, (pace * error) ** 2


def fit_drivers(fitter: Fitter, seen: Observed) -> None:
    """Fit what drivers take at the mall and at doors, how they walk, and how they answer."""
    for name, samples in (
        ("park_s", seen.park_s), ("load_s", seen.load_s), ("collect_s", seen.collect_s), ("door_s", seen.door_s),
    ):  # fmt: skip
        values = [sample.value for sample in samples]
        fitter.enough("drivers", name, len(values), partial(_whole_range, values))
    walks = [float(np.median([sample.value for sample in own])) for own in grouped(seen.walk_mps).values()]
    fitter.enough("drivers", "walk_mps", len(walks), lambda: _above(even_range(walks), 0.1))
    homes = [sample.value for sample in seen.failed]
    fitter.enough("drivers", "nobody_home", len(homes), lambda: float(np.mean(homes)))
    shares = decline_shares(seen.declined)
    offers = len(seen.declined) if len(shares) >= LEAST_EACH else 0
    fitter.enough("drivers", "decline", offers, lambda: _thirds(shares))
    _fit_answers(fitter, seen)


def _fit_answers(fitter: Fitter, seen: Observed) -> None:
    values = [sample.value for sample in seen.answer_s]
    # Of an even range, twice the mean lies as far from its beginning as its end does.
    first = max(0, round(float(np.quantile(values, 0.02)))) if values else 0
    lasts: dict[str, tuple[float, float]] = {}
    for who, own in grouped(seen.answer_s).items():
        taken = np.array([sample.value for sample in own])
        if len(taken) >= LEAST_EACH:
            lasts[who] = 2 * float(taken.mean()) - first, 4 * float(taken.var(ddof=1)) / len(taken)
    if len(values) < LEAST or len(lasts) < LEAST_EACH:
        fitter.keep("drivers", "accept_last_s", len(values))
        return
    low, high = between(lasts).range
    begins = max(first + 1, round(low))
    last = begins, max(begins + 1, round(high) + 1)
    fitter.take("drivers", len(values), accept_first_s=first, accept_last_s=last)


def decline_shares(declined: Sequence[Sample]) -> dict[str, tuple[float, float]]:
    """By driver the share of offers declined, and its variance; without those who decline most of them."""
    shares: dict[str, tuple[float, int]] = {}
    for who, own in grouped(declined).items():
        share = float(np.mean([sample.value for sample in own]))
        if len(own) >= LEAST_EACH and share <= UNWILLING:
            shares[who] = share, len(own)
    offers = sum(n for _, n in shares.values())
    mean = sum(share * n for share, n in shares.values()) / offers if offers else 0.0
    return {who: (share, mean * (1 - mean) / n) for who, (share, n) in shares.items()}


def _thirds(shares: Mapping[str, tuple[float, float]]) -> tuple[float, ...]:
    """Three equally frequent chances with the middle and the spread of drivers' shares."""
    apart = between(shares)
    step = min(apart.sd * sqrt(3 / 2), apart.middle)
    return apart.middle - step, apart.middle, min(1.0, apart.middle + step)


def _whole_range(values: Sequence[float]) -> tuple[int, int]:
    """An even range of whole numbers, its end left out."""
    low, high = even_range(values)
    first = max(0, round(low))
    return first, max(first, round(high)) + 1


def _above(ends: tuple[float, float], least: float) -> tuple[float, float]:
    return max(least, ends[0]), max(least, ends[1])
