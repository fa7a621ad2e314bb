"""Holds parameters against samples they were not fitted to: how far off they are, and how alike the distributions.

It must not know how anything was fitted. Both the parameters before and after are judged, by the same samples.
"""

from collections.abc import Mapping, Sequence
from math import exp

import numpy as np
from msgspec import Struct
from numpy.random import Generator

from streamer.sim.calibration.drives import Reference
from streamer.sim.calibration.estimators import likeness
from streamer.sim.calibration.observed import Drive, Observed, Visit
from streamer.sim.calibration.places import errors
from streamer.sim.parameters import Parameters, Seconds, StoreRules
from streamer.sim.town import stream

LEAST_CHECKED = 15
"""Samples below which a judgement says nothing."""
DRAWS = 4
"""Draws for each sample, so that the expected distribution is the smoother of the two."""
BRANCH = 4_000


class Expected(Struct, frozen=True):
    """What parameters expect of one quantity: draws of it, and for each sample its own expectation, if it has one."""

    draws: Sequence[float]
    each: Sequence[float] | None = None


class Judged(Struct, frozen=True):
    """Parameters against samples: the median (or share) they expect, the median error where each sample has an
    expectation of its own, and the Kolmogorov-Smirnov statistic with its chance, which says nothing of positions, since
    neighbouring ones err alike.
    """

    median: float
    error: float | None
    ks: float
    p: float


class Check(Struct, frozen=True):
    """One quantity: what it is, how many samples, their median, and both sets of parameters against them."""

    what: str
    unit: str
    n: int
    median: float
    before: Judged
    after: Judged


def check(unseen: Observed, references: Mapping[str, Reference], before: Parameters, after: Parameters) -> list[Check]:
    """Judge what was seen at least `LEAST_CHECKED` times; the rest is left out."""
    one, other = (_expected(unseen, references, rules) for rules in (before, after))
    return [
        Check(
            what, unit, len(actual), _middle_of(actual), _judged(actual, one[what]), _judged(actual, other[what]),
        )
        for what, (unit, actual) in _actual(unseen).items()
        if len(actual) >= LEAST_CHECKED
    ]  # fmt: skip


def _judged(actual: Sequence[float], expected: Expected) -> Judged:
    found = likeness(actual, expected.draws)
    error = None
    if expected.each is not None:
        error = round(float(np.median(np.abs(np.array(actual) - np.array(expected.each)))), 3)
    return Judged(_middle_of(expected.draws), error, round(found.ks, 4), float(f"{found.p:.3g}"))


def _middle_of(values: Sequence[float]) -> float:
    """The median; of yes and no, whose median says nothing, the share of yes."""
    is_share = set(values) <= {0.0, 1.0}
    return round(float(np.mean(values) if is_share else np.median(values)), 3)


def _actual(unseen: Observed) -> dict[str, tuple[str, list[float]]]:
    return {
        "drive to a door": ("s", [drive.seconds for drive in unseen.drives]),
        "dwell at the mall": ("s", [visit.seconds for visit in unseen.visits]),
        "ready, of promised": ("×", [exp(sample.value) for sample in unseen.readiness]),
        "parking": ("s", [sample.value for sample in unseen.park_s]),
        "handing out": ("s", [sample.value for sample in unseen.collect_s]),
        "loading": ("s", [sample.value for sample in unseen.load_s]),
        "at the door": ("s", [sample.value for sample in unseen.door_s]),
        "offers declined": ("", [sample.value for sample in unseen.declined]),
        "position error, parked": ("m", [abs(error) for error in errors(unseen.at_door)]),
        "position error, indoors": ("m", [abs(error) for error in errors(unseen.at_counter)]),
    }


def _expected(unseen: Observed, references: Mapping[str, Reference], rules: Parameters) -> dict[str, Expected]:
    """What these parameters expect of each quantity, in the circumstances in which each sample was taken."""
    rng, drivers = stream(1, BRANCH), rules.drivers
    return {
        "drive to a door": Expected(
            [references[d.mall_id].seconds(d, _pace(d, rules, rng), rng) for d in unseen.drives for _ in range(DRAWS)],
            [references[d.mall_id].expected_s(d, _pace(d, rules)) for d in unseen.drives],
        ),
        "dwell at the mall": Expected(
            [_dwell_s(visit, rules, rng) for visit in unseen.visits for _ in range(DRAWS)],
            [_dwell_s(visit, rules) for visit in unseen.visits],
        ),
        "ready, of promised": Expected(
            [_lean(s.who, rules.stores) * exp(rules.stores.spread * float(rng.standard_normal()))
             for s in unseen.readiness for _ in range(DRAWS)],
            [_lean(sample.who, rules.stores) for sample in unseen.readiness],
        ),
        "parking": _seconds(drivers.park_s, len(unseen.park_s), rng),
        "handing out": _seconds(drivers.collect_s, len(unseen.collect_s), rng),
        "loading": _seconds(drivers.load_s, len(unseen.load_s), rng),
        "at the door": _seconds(drivers.door_s, len(unseen.door_s), rng),
        "offers declined": Expected(
            [float(rng.random() < rng.choice(drivers.decline)) for _ in range(DRAWS * len(unseen.declined))]
        ),
        "position error, parked": _errors(rules.phones.sigma_parked_m, len(unseen.at_door), rng),
        "position error, indoors": _errors(rules.phones.sigma_indoors_m, len(unseen.at_counter), rng),
    }  # fmt: skip


def _pace(drive: Drive, rules: Parameters, rng: Generator | None = None) -> float:
    """Some driver's pace at that hour, or without a generator the middle one."""
    low, high = rules.cars.pace
    pace = (low + high) / 2 if rng is None else float(rng.uniform(low, high))
    return pace * rules.cars.traffic_by_hour[drive.hour]


def _dwell_s(visit: Visit, rules: Parameters, rng: Generator | None = None) -> float:
    """How long a visit with this way, this wait and so many orders takes."""
    drivers = rules.drivers
    walk_mps = sum(drivers.walk_mps) / 2 if rng is None else float(rng.uniform(*drivers.walk_mps))
    once = [drivers.park_s, drivers.load_s, *[drivers.collect_s] * visit.orders]
    stood_s = sum(_middle(span) if rng is None else int(rng.integers(*span)) for span in once)
    return visit.walk_m / walk_mps + visit.wait_s + stood_s


def _middle(span: Seconds) -> float:
    return (span[0] + span[1] - 1) / 2


def _lean(store: str, rules: StoreRules) -> float:
    return rules.biases.get(store, sum(rules.bias) / 2)


def _seconds(span: Seconds, n: int, rng: Generator) -> Expected:
    return Expected([float(x) for x in rng.integers(*span, n * DRAWS)] if n else [])


def _errors(sigma_m: float, n: int, rng: Generator) -> Expected:
    return Expected([abs(float(x)) for x in rng.normal(0.0, sigma_m, 2 * n * DRAWS)])
